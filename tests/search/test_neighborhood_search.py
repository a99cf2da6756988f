"""Random search by neighbourhoods."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from genas.errors import GenasError
from genas.search import Constraint, NeighborhoodRandomSearch, RandomSearch, search
from genas.spaces import DARTS, Architecture, Cost, NASBench201
from genas.spaces.neighborhoods import AGGREGATES, Aggregate, aggregated_everywhere

SPACE = NASBench201()


def run(searcher: NeighborhoodRandomSearch, scores: np.ndarray) -> list[list[Architecture]]:
    batches = []
    while batch := searcher.ask():
        searcher.tell(batch, [scores[each] for each in batch])
        batches.append(batch)
    return batches


@pytest.mark.parametrize("how", AGGREGATES)
def test_the_best_neighbourhood_wins(how: Aggregate) -> None:
    """With whole neighbourhoods the outcome is known from the tensor of all aggregated scores."""
    scores = np.random.default_rng(0).normal(size=(5,) * 6)
    penalty = 0.7 if how == "penalized" else 1.0
    searcher = NeighborhoodRandomSearch(SPACE, seed=3, steps=30, samples=25, aggregate=how, penalty=penalty)
    batches = run(searcher, scores)
    everywhere = aggregated_everywhere(scores, how, penalty=penalty)
    ranking = searcher.ranking
    assert len(ranking) == len({centre for centre, _ in ranking}) == 30
    assert [score for _, score in ranking] == sorted((score for _, score in ranking), reverse=True)
    for centre, score in ranking:
        assert score == pytest.approx(everywhere[centre], rel=1e-12)
    assert len(batches) <= 30
    assert searcher.finished_because == "30 neighbourhoods were scored"


def test_the_neighbourhood_reaches_as_far_as_asked() -> None:
    scores = np.random.default_rng(0).normal(size=(5,) * 6)
    searcher = NeighborhoodRandomSearch(SPACE, seed=3, steps=3, samples=265, distance=2)
    run(searcher, scores)
    everywhere = aggregated_everywhere(scores, "mean", distance=2)
    for centre, score in searcher.ranking:
        assert score == pytest.approx(everywhere[centre], rel=1e-12)


def test_steps_share_what_was_asked_before() -> None:
    searcher = NeighborhoodRandomSearch(SPACE, seed=0, steps=400, samples=25)
    batches = run(searcher, np.zeros((5,) * 6))
    asked = list(itertools.chain.from_iterable(batches))
    assert len(asked) == len(set(asked)) < searcher.budget == 10_000
    assert len(searcher.ranking) == 400


def test_one_sample_is_random_search() -> None:
    """Without neighbours nothing but the architecture counts."""
    scores = np.random.default_rng(1).normal(size=(5,) * 6)
    searcher = NeighborhoodRandomSearch(SPACE, seed=0, steps=50, samples=1)
    asked = list(itertools.chain.from_iterable(run(searcher, scores)))
    assert searcher.ranking == sorted(((each, scores[each]) for each in asked), key=lambda pair: -pair[1])


def test_a_small_space_is_searched_to_its_end() -> None:
    limit = Constraint(lambda architecture: Cost(macs=1 + sum(architecture)), max_macs=2)
    searcher = NeighborhoodRandomSearch(SPACE, seed=0, steps=100, samples=25, constraint=limit)
    batches = run(searcher, np.zeros((5,) * 6))
    assert sum(map(len, batches)) == 7  # all genes zero, or one of them 1
    assert len(searcher.ranking) == 7
    assert searcher.finished_because == "all 7 architectures of nasbench201 with macs <= 2 were proposed"


def test_a_neighbourhood_within_limits_is_filled() -> None:
    """Drawn among those within the limits, not thinned by them: a small one would be judged by fewer scores."""
    limit = Constraint(lambda architecture: Cost(macs=1 + sum(architecture)), max_macs=11)
    searcher = NeighborhoodRandomSearch(SPACE, seed=0, steps=40, samples=8, constraint=limit)
    drawn, groups = run(searcher, np.zeros((5,) * 6)), searcher._groups
    assert drawn
    for group in groups:
        within = [each for each in SPACE.neighbors(group[0], 1) if limit.allows(each)]
        assert len(set(group)) == min(8, len(within) + 1)
        assert set(group[1:]) <= set(within)
    assert any(not limit.allows(each) for group in groups for each in SPACE.neighbors(group[0], 1))


def test_the_neighbours_of_an_edge_case_do_not_take_forever() -> None:
    """Two of millions of architectures within distance three are within the limit."""
    space, rare = DARTS(), []

    def cost(architecture: Architecture) -> Cost:
        if not rare:
            rare.append(architecture)
        return Cost(macs=1 if architecture == rare[0] else 2)

    searcher = NeighborhoodRandomSearch(
        space, seed=0, steps=1, samples=2, distance=3, constraint=Constraint(cost, max_macs=1)
    )
    assert searcher.ask() == rare


def test_a_failure_takes_its_step_out_of_the_ranking() -> None:
    searcher = NeighborhoodRandomSearch(SPACE, seed=0, steps=5, samples=4)
    batches = []
    while batch := searcher.ask():
        batches.append(batch)
        searcher.tell(batch, [np.nan if len(batches) == 2 and each == batch[-1] else 1.0 for each in batch])
    assert len(batches) == 5
    assert len(searcher.ranking) == 4


def test_the_loop_runs_it_on_darts() -> None:
    searcher = NeighborhoodRandomSearch(DARTS(), seed=1, steps=4, samples=5, distance=3)
    result = search(searcher, lambda batch: [float(sum(each)) for each in batch], progress=False)
    assert result.evaluations == 20
    assert list(result.top) == searcher.ranking
    assert len(result.top) == 4


def test_the_loop_says_when_every_neighbourhood_has_a_failure() -> None:
    searcher = NeighborhoodRandomSearch(SPACE, seed=0, steps=2, samples=4)
    with pytest.raises(GenasError, match="NeighborhoodRandomSearch ranks nothing: too many evaluations failed"):
        search(searcher, lambda batch: [np.nan, *[1.0] * (len(batch) - 1)], progress=False)


def test_the_mean_resists_noise_that_misleads_random_search() -> None:
    """Where a smooth truth is hidden by noise, neighbourhoods find better architectures with as many evaluations."""
    gains = np.linspace(0, 1, 5)
    truth = sum(gains.reshape([-1 if axis == gene else 1 for axis in range(6)]) for gene in range(6))
    differences = []
    for seed in range(20):
        noisy = truth + np.random.default_rng(seed).standard_cauchy(size=truth.shape)
        smooth = NeighborhoodRandomSearch(SPACE, seed=seed, steps=40, samples=25, aggregate="median")
        run(smooth, noisy)
        plain = RandomSearch(SPACE, seed=seed, evaluations=smooth.budget)
        found = search(plain, lambda batch, noisy=noisy: [noisy[each] for each in batch], progress=False)
        differences.append(truth[smooth.ranking[0][0]] - truth[found.best])
    assert np.mean(differences) > 0.5


def test_numbers_must_be_positive() -> None:
    for numbers in ({"steps": 0}, {"samples": 0}, {"distance": 0}):
        with pytest.raises(ValueError, match="steps, samples and distance must be at least 1, but got"):
            NeighborhoodRandomSearch(SPACE, seed=0, **numbers)
    with pytest.raises(ValueError, match="penalty is a setting of aggregate=penalized, but aggregate is mean"):
        NeighborhoodRandomSearch(SPACE, seed=0, penalty=2)
    with pytest.raises(ValueError, match="penalty must be a non-negative number, but got -2"):
        NeighborhoodRandomSearch(SPACE, seed=0, aggregate="penalized", penalty=-2)
    with pytest.raises(ValueError, match=r"aggregate must be one of mean, .*, but got 'variance'"):
        NeighborhoodRandomSearch(SPACE, seed=0, aggregate="variance")  # type: ignore[arg-type]


def test_failures_are_not_asked_again() -> None:
    searcher, asked = NeighborhoodRandomSearch(SPACE, seed=0, steps=400, samples=25), []
    while batch := searcher.ask():
        asked += batch
        searcher.tell(batch, [np.nan] * len(batch))
    assert len(asked) == len(set(asked))
