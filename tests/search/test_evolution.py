"""Evolution: it finds optima that are known, and never strays from its rules."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from genas.search import Constraint, Evolution, EvolutionConfig, RandomSearch, search
from genas.spaces import DARTS, Cost, NASBench201

SMALL = EvolutionConfig(population=12, generations=8, parents=4, mutations=5, crossovers=5)
RLNAS = EvolutionConfig(population=100, parents=30, mutation_excludes_none=True)

FRESH_PROCESS = """
import random, sys
import numpy as np
random.seed(sys.argv[1]); np.random.seed(int(sys.argv[1]))
from genas.search import Evolution, EvolutionConfig, search
from genas.spaces import DARTS
config = EvolutionConfig(population=10, generations=4, parents=3, mutations=4, crossovers=4)
score = lambda batch: [sum(gene * place for place, gene in enumerate(arch)) for arch in batch]
result = search(Evolution(DARTS(), seed=5, config=config), score, progress=False)
print([batch.architectures for batch in result.history])
"""


def convolutions(batch) -> np.ndarray:
    return np.array([sum(gene in (4, 5) for gene in architecture) for architecture in batch], dtype=float)


@pytest.mark.parametrize(("config", "seeds"), [(RLNAS, 20), (EvolutionConfig(), 10)])
def test_finds_the_optimum_of_rugged_objectives(config: EvolutionConfig, seeds: int, rugged, all_cells) -> None:
    ranks = []
    for seed in range(seeds):
        score = rugged(seed)
        result = search(Evolution(NASBench201(), seed=seed, config=config), score, progress=False)
        ranks.append(int((score(all_cells) > result.top[0][1] + 1e-9).sum()))
    assert max(ranks) < 16  # the top 0.1 %
    assert ranks.count(0) >= seeds - 1


def test_beats_random_search_on_darts() -> None:
    evolved = search(Evolution(DARTS(), seed=0), convolutions, progress=False)
    random = search(RandomSearch(DARTS(), seed=0, evaluations=1000), convolutions, progress=False)
    assert evolved.top[0][1] == 16 > random.top[0][1]


def test_mutation_can_exclude_none(rugged) -> None:
    """Every gene is redrawn in the second generation."""
    config = EvolutionConfig(
        population=30,
        generations=2,
        parents=30,
        mutations=30,
        crossovers=0,
        mutation_rate=1.0,
        mutation_excludes_none=True,
    )
    first, second = search(Evolution(NASBench201(), seed=0, config=config), rugged(0), progress=False).history
    assert any(0 in genes for genes in first.architectures)
    assert all(0 not in genes for genes in second.architectures)


def test_every_generation_is_scored_and_none_twice(rugged) -> None:
    result = search(Evolution(NASBench201(), seed=0), rugged(0), progress=False)
    assert [len(batch.architectures) for batch in result.history] == [50] * 20
    asked = list(itertools.chain.from_iterable(batch.architectures for batch in result.history))
    assert len(set(asked)) == 1000 == result.evaluations == Evolution(NASBench201(), seed=0).budget
    assert result.finished_because == "20 generations were scored"


def test_archive_is_the_best_of_all_and_only_improves(rugged) -> None:
    searcher, score = Evolution(NASBench201(), seed=1, config=SMALL), rugged(1)
    seen: dict[tuple[int, ...], float] = {}
    worst = -np.inf
    while batch := searcher.ask():
        scores = score(batch)
        seen |= dict(zip(batch, scores.tolist(), strict=True))
        searcher.tell(batch, scores)
        best = sorted(seen.items(), key=lambda pair: -pair[1])[: SMALL.parents]
        assert searcher.archive == best
        assert best[-1][1] >= worst
        worst = best[-1][1]


def test_children_descend_from_the_archive() -> None:
    config = replace(SMALL, population=50, mutations=25, crossovers=25, generations=2, mutation_rate=0.04)
    searcher = Evolution(DARTS(), seed=0, config=config)
    batch = searcher.ask()
    searcher.tell(batch, convolutions(batch))
    parents = np.array([architecture for architecture, _ in searcher.archive])
    children = np.array(searcher.ask())
    nearest = (children[:, None] != parents[None]).sum(axis=2).min(axis=1)
    assert nearest.max() < 20
    assert nearest[:25].mean() < 5  # mutations first; two random architectures differ in 17 genes on average


def test_every_pair_of_parents_is_crossed() -> None:
    config = EvolutionConfig(population=10, generations=2, parents=3, mutations=0, crossovers=10, tries=20)
    searcher = Evolution(NASBench201(), seed=0, config=config)
    batch = searcher.ask()
    searcher.tell(batch, convolutions(batch))
    parents = [architecture for architecture, _ in searcher.archive]
    with patch("genas.search.evolution.crossed", return_value=batch[0]) as seen:
        searcher.ask()
    assert {call.args[1:3] for call in seen.call_args_list} == set(itertools.product(parents, repeat=2))


@pytest.mark.parametrize("tries", [1, 7])
def test_a_child_is_tried_as_often_as_configured(tries: int) -> None:
    config = EvolutionConfig(population=20, generations=2, mutations=5, crossovers=0, tries=tries)
    searcher = Evolution(NASBench201(), seed=0, config=config)
    batch = searcher.ask()
    searcher.tell(batch, convolutions(batch))
    with patch("genas.search.evolution.mutated", return_value=batch[0]) as seen:
        searcher.ask()
    assert seen.call_count == 5 * tries


def test_failed_evaluations_are_no_parents() -> None:
    searcher = Evolution(NASBench201(), seed=2, config=SMALL)
    failed: set[tuple[int, ...]] = set()
    asked: list[tuple[int, ...]] = []
    while batch := searcher.ask():
        scores = np.array([np.nan if sum(architecture) > 12 else sum(architecture) for architecture in batch])
        failed |= {architecture for architecture, score in zip(batch, scores, strict=True) if np.isnan(score)}
        asked += batch
        searcher.tell(batch, scores)
        assert not failed & {architecture for architecture, _ in searcher.archive}
    assert failed
    assert len(set(asked)) == len(asked) == searcher.budget


def test_infinite_scores_are_ranked() -> None:
    searcher = Evolution(NASBench201(), seed=0, config=SMALL)
    batch = searcher.ask()
    searcher.tell(batch, [np.inf, -np.inf, *range(10)])
    assert [score for _, score in searcher.archive] == [np.inf, 9, 8, 7]
    assert searcher.archive[0][0] == batch[0]


def test_generations_shrink_when_the_space_is_used_up() -> None:
    limit = Constraint(lambda architecture: Cost(macs=1 + int("".join(map(str, architecture)), 5)), max_macs=40)
    result = search(Evolution(NASBench201(), seed=0, config=SMALL, constraint=limit), convolutions, progress=False)
    assert [len(batch.architectures) for batch in result.history] == [12, 12, 12, 4]
    assert result.finished_because == "all 40 architectures of nasbench201 with macs <= 40 were proposed"


def test_first_generation_may_be_the_whole_space() -> None:
    limit = Constraint(lambda architecture: Cost(macs=1 + sum(architecture)), max_macs=2)
    result = search(Evolution(NASBench201(), seed=0, config=SMALL, constraint=limit), convolutions, progress=False)
    assert [len(batch.architectures) for batch in result.history] == [7]


def test_constraint_is_never_violated_on_darts() -> None:
    limit = Constraint(lambda architecture: Cost(macs=sum(architecture)), max_macs=60)
    result = search(Evolution(DARTS(), seed=0, config=SMALL, constraint=limit), convolutions, progress=False)
    assert result.evaluations == 96
    assert all(limit.allows(architecture) for batch in result.history for architecture in batch.architectures)


def test_equal_functions_are_scored_once() -> None:
    space = NASBench201()
    result = search(Evolution(space, seed=0, config=SMALL, dedup_key=space.supernet_key), convolutions, progress=False)
    keys = [space.supernet_key(architecture) for batch in result.history for architecture in batch.architectures]
    assert len(set(keys)) == len(keys) == 96


def test_mutation_of_normal_genes_leaves_the_reduction_cell_to_crossover() -> None:
    config = EvolutionConfig(crossovers=0, mutations=50, generations=2, mutated_genes="normal")
    searcher = Evolution(DARTS(), seed=0, config=config)
    batch = searcher.ask()
    searcher.tell(batch, convolutions(batch))
    reductions = {architecture[14:] for architecture, _ in searcher.archive}
    assert {architecture[14:] for architecture in searcher.ask()} <= reductions


def test_history_is_the_same_in_fresh_processes() -> None:
    histories = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", FRESH_PROCESS, seed]
        histories.append(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert histories[0] == histories[1]
    assert histories[0].count("(") == 4 + 40


def test_by_default_half_of_the_children_are_mutations() -> None:
    assert EvolutionConfig(population=21).children == (10, 10)
    assert EvolutionConfig(population=21, mutations=3).children == (3, 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"population": 0}, "population must be at least 1, but got 0"),
        ({"generations": 0}, "generations must be at least 1"),
        ({"parents": 0}, "parents must be at least 1"),
        ({"tries": 0}, "tries must be at least 1"),
        ({"mutations": -1}, r"must not be negative and fit .* of 50, but got -1 \+ 25"),
        ({"mutations": 26}, r"fit into the population of 50, but got 26 \+ 25"),
        ({"mutation_rate": 1.5}, r"mutation_rate must lie in \[0, 1\], but got 1.5"),
        ({"mutations": 0, "crossovers": 0, "parents": 3}, "parents would do nothing without mutations and crossovers"),
        ({"mutations": 0, "crossovers": 0, "tries": 3}, "tries would do nothing without mutations and crossovers"),
        ({"mutations": 0, "mutation_rate": 0.2}, "mutation_rate would do nothing with mutations=0; leave it out"),
        ({"mutations": 0, "mutated_genes": "normal"}, "mutated_genes would do nothing"),
        ({"mutated_genes": "reduction"}, "mutated_genes must be one of all, normal, but got 'reduction'"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvolutionConfig(**change)
