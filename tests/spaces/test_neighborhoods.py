"""Neighbourhoods one by one and all at once: counts, closed forms against enumeration, identities of the NA paper."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from genas.spaces import DARTS, NASBench201, space
from genas.spaces.neighborhoods import (
    AGGREGATES,
    aggregated,
    aggregated_everywhere,
    gathered,
    mean_everywhere,
    neighborhood,
    sampled_neighborhood,
    variance_everywhere,
)

NB201 = NASBench201()
SHAPE = (5,) * 6


def landscape(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(50, 10, size=shape)


def enumerated(scores: np.ndarray, centre: tuple[int, ...], distance: int) -> list[float]:
    """The slow twin: all vectors, those that differ in at most so many genes, the centre first."""
    members = [
        genes
        for genes in itertools.product(*map(range, scores.shape))
        if 0 < sum(a != b for a, b in zip(genes, centre, strict=True)) <= distance
    ]
    return [float(scores[genes]) for genes in [centre, *members]]


# ----------------------------------------------------------------------------------------------------------- one by one


@pytest.mark.parametrize(("distance", "members"), [(1, 25), (2, 265), (6, 15_625)])
def test_sizes_on_nasbench201(distance, members) -> None:
    centre = (0, 1, 2, 3, 4, 0)
    found = neighborhood(NB201, centre, distance)
    assert found[0] == centre
    assert len(found) == len(set(found)) == members
    assert max(NB201.distance(centre, each) for each in found) == distance


def test_membership_is_mutual() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        centre = NB201.sample(rng)
        assert all(centre in neighborhood(NB201, each) for each in neighborhood(NB201, centre))


@pytest.mark.parametrize("name", ["nasbench201", "darts", "s3"])
@pytest.mark.parametrize("distance", [1, 2, 3])
def test_samples_are_different_members_and_begin_with_the_centre(name, distance) -> None:
    where, rng = space(name), np.random.default_rng(1)
    for samples in (1, 2, 10):
        centre = where.sample(rng)
        found = sampled_neighborhood(where, centre, samples, rng, distance)
        assert found[0] == centre
        assert len(found) == len(set(found)) == samples
        assert all(where.check(each) == each and where.distance(centre, each) <= distance for each in found)


def test_more_samples_than_members_give_them_all() -> None:
    rng = np.random.default_rng(0)
    centre = (4, 3, 2, 1, 0, 4)
    for samples in (25, 26, 1000):
        found = sampled_neighborhood(NB201, centre, samples, rng)
        assert sorted(found) == sorted(neighborhood(NB201, centre))


def test_members_that_no_walk_comes_to_are_drawn_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two operations an edge, a walk of two moves cannot end at all that lies nearer."""
    monkeypatch.setattr("genas.spaces.neighborhoods._MISSES", 30)  # after seconds they would have come to all others
    where, rng = space("s2"), np.random.default_rng(0)
    centre = where.sample(rng)
    everything = neighborhood(where, centre, 2)
    for samples in (len(everything), len(everything) - 2):
        found = sampled_neighborhood(where, centre, samples, rng, 2)
        assert len(set(found)) == samples
        assert set(found) <= set(everything)


@pytest.mark.parametrize(("where", "distance"), [(NB201, 1), (NB201, 2), (space("s3"), 1)])
def test_every_member_is_drawn_equally_often(where, distance) -> None:
    centre = where.sample(np.random.default_rng(3))
    others = neighborhood(where, centre, distance)[1:]
    rng, draws, size = np.random.default_rng(2), 1500, 5
    counts = Counter(
        each for _ in range(draws) for each in sampled_neighborhood(where, centre, 1 + size, rng, distance)[1:]
    )
    assert counts.keys() == set(others)
    expected = draws * size / len(others)
    chi_square = sum((counts[each] - expected) ** 2 / expected for each in others)
    assert abs(chi_square - len(others)) < 5 * np.sqrt(2 * len(others))


def test_walks_reach_the_whole_distance() -> None:
    darts, rng = DARTS(), np.random.default_rng(4)
    centre = darts.sample(rng)
    distances = {darts.distance(centre, each) for each in sampled_neighborhood(darts, centre, 40, rng, 6)[1:]}
    assert max(distances) == 6
    assert min(distances) >= 1


def test_the_generator_alone_decides() -> None:
    draws = [sampled_neighborhood(NB201, (0,) * 6, 8, np.random.default_rng(seed), 2) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_wrong_numbers_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="samples counts the architecture itself, so it must be at least 1, but got 0"):
        sampled_neighborhood(NB201, (0,) * 6, 0, rng)
    for call in (
        lambda: sampled_neighborhood(NB201, (0,) * 6, 3, rng, 0),
        lambda: mean_everywhere(landscape(), 0),
        lambda: list(gathered(landscape(), -1)),
        lambda: neighborhood(NB201, (0,) * 6, 7),
        lambda: mean_everywhere(landscape(), 7),
    ):
        with pytest.raises(ValueError, match=r"distance must lie in 1 \.\. 6, the number of genes, but got (0|-1|7)\."):
            call()


# ----------------------------------------------------------------------------------------------------------- aggregates


def test_aggregates_by_hand() -> None:
    scores = np.array([[4.0, 1.0, 7.0], [0.0, 0.0, 3.0]])
    assert aggregated(scores, "mean").tolist() == [4.0, 1.0]
    assert aggregated(scores, "median").tolist() == [4.0, 0.0]
    assert aggregated(scores, "worst").tolist() == [1.0, 0.0]
    expected = [4 - 0.5 * np.sqrt(6), -0.5 * np.sqrt(2)]
    assert aggregated(scores, "penalized", penalty=0.5).tolist() == pytest.approx(expected)


def test_without_penalty_the_own_score_is_left() -> None:
    scores = landscape()
    np.testing.assert_array_equal(aggregated_everywhere(scores, "penalized", penalty=0.0), scores)


@pytest.mark.parametrize("how", AGGREGATES)
def test_an_increasing_affine_map_of_scores_maps_the_aggregate(how) -> None:
    scores = landscape(shape=(3, 4, 2))
    found = aggregated_everywhere(3 * scores - 7, how, distance=2)
    np.testing.assert_allclose(found, 3 * aggregated_everywhere(scores, how, distance=2) - 7, rtol=1e-12)


@pytest.mark.parametrize("how", AGGREGATES)
def test_the_papers_error_criteria_are_the_negative_aggregates(how) -> None:
    errors = np.random.default_rng(5).uniform(5, 90, size=(20, 25))
    paper = {
        "mean": errors.mean(axis=1),
        "median": np.median(errors, axis=1),
        "worst": errors.max(axis=1),
        "penalized": errors[:, 0] + 1.5 * errors.std(axis=1),
    }
    np.testing.assert_allclose(-aggregated(-errors, how, penalty=1.5), paper[how])


# --------------------------------------------------------------------------------------------------------- whole spaces


@pytest.mark.parametrize("how", AGGREGATES)
@pytest.mark.parametrize("distance", [1, 2])
def test_the_whole_space_agrees_with_enumeration(how, distance) -> None:
    scores, rng = landscape(), np.random.default_rng(6)
    everywhere = aggregated_everywhere(scores, how, distance=distance, penalty=2.0)
    for _ in range(3):
        centre = NB201.sample(rng)
        one = aggregated(np.array(enumerated(scores, centre, distance)), how, penalty=2.0)
        assert everywhere[centre] == pytest.approx(float(one), rel=1e-12)


@pytest.mark.parametrize("distance", range(1, 6))
def test_closed_form_of_the_mean_on_unequal_axes(distance) -> None:
    scores = landscape(shape=(3, 2, 4, 5, 1))
    found = mean_everywhere(scores, distance)
    slow = np.concatenate([part.mean(axis=1) for part in gathered(scores, distance)]).reshape(scores.shape)
    np.testing.assert_allclose(found, slow, rtol=1e-13)
    for centre in [(0, 0, 0, 0, 0), (2, 1, 3, 4, 0)]:
        assert found[centre] == pytest.approx(np.mean(enumerated(scores, centre, distance)), rel=1e-13)


def test_distance_one_is_the_formula_of_the_specification() -> None:
    scores = landscape()
    sums = sum(scores.sum(axis=axis, keepdims=True) for axis in range(6))
    np.testing.assert_allclose(mean_everywhere(scores), (sums - 5 * scores) / 25, rtol=1e-13)


@pytest.mark.parametrize("distance", [1, 2, 3, 6])
def test_the_mean_of_the_means_is_the_mean(distance) -> None:
    scores = landscape(1)
    assert mean_everywhere(scores, distance).mean() == pytest.approx(scores.mean(), rel=1e-13)


def test_the_largest_neighbourhood_is_the_space() -> None:
    scores = landscape(2)
    np.testing.assert_allclose(mean_everywhere(scores, 6), scores.mean(), rtol=1e-12)


@pytest.mark.parametrize("how", AGGREGATES)
def test_a_constant_is_unchanged(how) -> None:
    scores = np.full(SHAPE, 93.76)
    np.testing.assert_allclose(aggregated_everywhere(scores, how, distance=1), scores, rtol=1e-14)
    np.testing.assert_allclose(variance_everywhere(scores), 0, atol=1e-20)


def test_variance_is_that_of_the_members() -> None:
    scores = landscape(shape=(4, 3, 5, 2, 1))
    centre = (3, 1, 4, 1, 0)
    assert variance_everywhere(scores, 2)[centre] == pytest.approx(np.var(enumerated(scores, centre, 2)), rel=1e-12)


@pytest.mark.parametrize("how", AGGREGATES)
def test_a_failure_is_seen_by_its_neighbours_only(how) -> None:
    scores = landscape()
    failed = (1, 2, 3, 4, 0, 1)
    scores[failed] = np.nan
    lost = {tuple(each) for each in np.argwhere(np.isnan(aggregated_everywhere(scores, how))).tolist()}
    assert lost == set(neighborhood(NB201, failed))


def test_gathered_pieces_are_whole_and_in_order(monkeypatch) -> None:
    scores = landscape(shape=(4, 3, 5))
    whole = np.concatenate(list(gathered(scores)))
    monkeypatch.setattr("genas.spaces.neighborhoods._CHUNK", 70)
    pieces = list(gathered(scores))
    assert len(pieces) > 5
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    np.testing.assert_array_equal(whole[:, 0], scores.ravel())


def test_neighbourhoods_that_cannot_be_listed_are_refused() -> None:
    """Distance 3 on DARTS: two million architectures."""
    centre = DARTS().sample(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"At most 131,072 architectures can be listed, .* 3 in darts has more"):
        neighborhood(DARTS(), centre, 3)


def test_an_unknown_aggregate_is_refused() -> None:
    """The paper's max is ``worst`` here."""
    with pytest.raises(ValueError, match="aggregate must be one of mean, median, worst, penalized, but got 'max'"):
        aggregated(np.zeros(3), "max")  # type: ignore[arg-type]
