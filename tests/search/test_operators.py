"""Mutation and crossover against their distributions, before the space repairs the child."""

from __future__ import annotations

import itertools
import random
from types import SimpleNamespace

import numpy as np
import pytest

from genas.search.operators import crossed, deap_random, mutated
from genas.seeding import generator
from genas.spaces import DARTS, NASBench201

UNREPAIRED_DARTS = SimpleNamespace(choices=DARTS().choices, repair=lambda genes, _: tuple(genes))
DRAWS = 4000


def mutants(space, parent, count=DRAWS, **options) -> np.ndarray:
    rng = generator(0, "mutants")
    with deap_random(rng):
        return np.array([mutated(space, parent, rng, **options) for _ in range(count)])


def assert_rates(seen: np.ndarray, expected: np.ndarray | float) -> None:
    error = np.sqrt(np.maximum(expected * (1 - np.asarray(expected)), 1e-12) / DRAWS)
    assert np.all(np.abs(seen - expected) < 5 * error), (seen, expected)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_every_gene_changes_with_the_rate_times_the_share_of_other_values(rate: float) -> None:
    children = mutants(NASBench201(), (0, 1, 2, 3, 4, 2), rate=rate)
    assert_rates((children != (0, 1, 2, 3, 4, 2)).mean(axis=0), rate * (1 - 1 / 5))


def test_number_of_changed_genes_is_binomial() -> None:
    changed = (mutants(NASBench201(), (3,) * 6, rate=0.1) != 3).sum(axis=1)
    chance = 0.1 * 4 / 5
    binomial = [chance**k * (1 - chance) ** (6 - k) * [1, 6, 15, 20, 15, 6, 1][k] for k in range(4)]
    assert_rates(np.array([(changed == k).mean() for k in range(4)]), np.array(binomial))
    assert abs(changed.mean() - 6 * 0.1 * (1 - 1 / 5)) < 5 * np.sqrt(6 * chance * (1 - chance) / DRAWS)


def test_new_values_are_uniform() -> None:
    children = mutants(NASBench201(), (3,) * 6, rate=1.0)
    for value in range(5):
        assert_rates((children == value).mean(axis=0), 1 / 5)


def test_rlnas_never_draws_none_but_keeps_an_old_one() -> None:
    children = mutants(NASBench201(), (0, 0, 0, 3, 3, 3), rate=0.4, excludes_none=True)
    assert_rates((children[:, :3] == 0).mean(axis=0), 0.6)
    assert not (children[:, 3:] == 0).any()
    for value in range(1, 5):
        assert_rates((children[:, :3] == value).mean(axis=0), 0.4 / 4)


def test_both_darts_cells_mutate() -> None:
    parent = DARTS().sample(generator(1))
    changed = mutants(UNREPAIRED_DARTS, parent, rate=0.1) != parent
    assert_rates(changed.mean(axis=0), 0.1 * (1 - 1 / 8))


def test_legacy_switch_mutates_the_first_cell_only() -> None:
    parent = DARTS().sample(generator(1))
    changed = mutants(UNREPAIRED_DARTS, parent, rate=0.1, genes=14) != parent
    assert_rates(changed[:, :14].mean(axis=0), 0.1 * (1 - 1 / 8))
    assert not changed[:, 14:].any()
    repaired = mutants(DARTS(), parent, count=200, rate=0.1, genes=14)
    assert (repaired[:, 14:] == parent[14:]).all()


def test_choices_with_gaps_are_respected() -> None:
    space = DARTS("s3")
    parent = space.sample(generator(2))
    raw = mutants(SimpleNamespace(choices=space.choices, repair=UNREPAIRED_DARTS.repair), parent, count=500, rate=1.0)
    assert set(raw.ravel().tolist()) == {0, 3, 4}
    raw = mutants(
        SimpleNamespace(choices=((0,), (0, 3)), repair=UNREPAIRED_DARTS.repair), (0, 0), rate=1.0, excludes_none=True
    )
    assert {tuple(child) for child in raw.tolist()} == {(0, 3)}


@pytest.mark.parametrize("space", [NASBench201(), DARTS(), DARTS("s1")])
def test_children_are_valid(space) -> None:
    rng = generator(3)
    parents = [space.sample(rng) for _ in range(50)]
    with deap_random(rng):
        for first, second in itertools.pairwise(parents):
            for child in (mutated(space, first, rng, rate=0.3), crossed(space, first, second, rng)):
                assert space.check(child) == child


def test_crossover_takes_each_gene_from_either_parent() -> None:
    rng = generator(4)
    first, second = DARTS().sample(rng), DARTS().sample(rng)
    with deap_random(rng):
        children = np.array([crossed(UNREPAIRED_DARTS, first, second, rng) for _ in range(DRAWS)])
    assert ((children == first) | (children == second)).all()
    differ = np.array(first) != np.array(second)
    assert_rates((children == first).mean(axis=0)[differ], 0.5)
    halves = (children == first)[:, differ]
    correlations = np.corrcoef(halves.T)[np.triu_indices(differ.sum(), 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(DRAWS)


def test_fence_feeds_and_restores_the_global_generators() -> None:
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = (random.random(), np.random.random())  # noqa: NPY002
    inside = []
    for _ in range(2):
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002
        with deap_random(generator(0)):
            inside.append((random.random(), np.random.random()))  # noqa: NPY002
        assert (random.random(), np.random.random()) == expected  # noqa: NPY002
    assert inside[0] == inside[1] != expected
    with deap_random(generator(1)):
        assert random.random() != inside[0][0]


def test_fence_restores_after_an_error() -> None:
    state = random.getstate()
    with pytest.raises(KeyError), deap_random(generator(0)):
        raise KeyError
    assert random.getstate() == state


def test_repair_draws_from_the_generator() -> None:
    seen, rng = [], generator(0, "repair")
    spied = SimpleNamespace(choices=DARTS().choices, repair=lambda genes, used: seen.append(used) or tuple(genes))
    with deap_random(rng):
        mutated(spied, (0,) * 28, rng, rate=0.5)
        crossed(spied, (0,) * 28, (1,) * 28, rng)
    assert len(seen) == 2
    assert all(used is rng for used in seen)
