"""Which paths are drawn: supports, uniformity, sharing, fairness."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from genas.spaces import NONE, NASBench201, SearchSpace, space
from genas.supernet import CellNetwork, NetworkPath, PathSampler, PathSampling


def sampler(name: str = "nasbench201", settings: PathSampling | None = None, cells: int | None = None) -> PathSampler:
    depth = (1 if name == "nasbench201" else 3) if cells is None else cells
    return PathSampler(network_of(space(name), depth), settings or PathSampling())


def network_of(search_space: SearchSpace, cells: int = 1) -> CellNetwork:
    """A network without any operation, which the draws do not need."""
    with torch.device("meta"):
        skeleton = search_space.supernet_skeleton(10, 8, channels=2, cells=cells)
        return CellNetwork(search_space, skeleton, candidates=[()] * search_space.num_genes)


class Uneven(NASBench201):
    """An edge lacks an operation that the others have."""

    name = "uneven"
    choices = candidates = ((0, 1, 2, 3, 4),) * 5 + ((0, 1, 2, 3),)


def draw(sampling: PathSampler, steps: int, seed: int = 0) -> list[NetworkPath]:
    rng = np.random.default_rng(seed)
    return [path for _ in range(steps) for path in sampling.sample(rng)]


def is_uniform(counts: Counter[object], support: int) -> bool:
    """Pearson's chi-square with a one in a million chance of a false alarm (the seed is fixed anyway)."""
    total = sum(counts.values())
    expected = total / support
    statistic = (
        sum((count - expected) ** 2 for count in counts.values()) / expected + (support - len(counts)) * expected
    )
    return bool(chi2.sf(statistic, support - 1) > 1e-6 and chi2.cdf(statistic, support - 1) > 1e-6)


def has_no_dead_node(genes: tuple[int, ...]) -> bool:
    return genes[0] != NONE and any(genes[1:3]) and any(genes[3:6])


# ----------------------------------------------------------------------------------------------------------- uniformity


def test_the_default_draws_uniformly_from_the_11904_cells_without_dead_nodes() -> None:
    cells = [genes for path in draw(sampler(cells=5), 4_000) for genes in path]
    assert len(cells) == 60_000
    counts = Counter(cells)
    support = {genes for genes in NASBench201().architectures() if has_no_dead_node(genes)}
    assert len(support) == 4 * 24 * 124 == 11_904
    assert set(counts) <= support
    assert is_uniform(counts, 11_904)


def test_without_rejection_all_15625_cells_are_equally_likely() -> None:
    cells = [
        genes
        for path in draw(sampler(settings=PathSampling(reject_dead_nodes=False), cells=5), 5_000)
        for genes in path
    ]
    counts = Counter(cells)
    assert any(not has_no_dead_node(genes) for genes in counts)
    assert is_uniform(counts, 15_625)


def test_every_cell_is_uniform_and_independent_of_the_others() -> None:
    paths = draw(sampler(), 10_000)
    for cell in range(3):
        assert is_uniform(Counter(path[cell][:3] for path in paths), 4 * 24)
        assert is_uniform(Counter((path[cell][0], path[(cell + 1) % 3][0]) for path in paths), 16)


def test_darts_draws_a_uniform_pair_of_inputs_and_uniform_operations_for_node_five() -> None:
    paths = draw(sampler("darts"), 10_000)
    for cell in (0, 1):  # normal, reduction
        counts = Counter(path[cell][9:] for path in paths)
        assert all(sum(gene != NONE for gene in genes) == 2 for genes in counts)
        assert is_uniform(counts, 10 * 49)


# -------------------------------------------------------------------------------------------------------------- sharing


def test_cells_differ_per_cell_and_are_equal_per_network() -> None:
    assert all(len(path) == 15 for path in draw(sampler(cells=5), 3))
    assert all(len(set(path)) > 10 for path in draw(sampler(cells=5, settings=PathSampling(sharing="per_cell")), 20))
    shared = draw(sampler(cells=5, settings=PathSampling(sharing="network")), 200)
    assert all(len(set(path)) == 1 for path in shared)
    assert all(has_no_dead_node(path[0]) for path in shared)


def test_darts_shares_one_normal_and_one_reduction_cell_unless_told_otherwise() -> None:
    for path in draw(sampler("darts", cells=8), 20):
        normal = {path[position] for position in (0, 1, 3, 4, 6, 7)}
        assert len(normal) == 1
        assert path[2] == path[5] not in normal
    free = draw(sampler("darts", PathSampling(sharing="per_cell"), cells=8), 5)
    assert all(len(set(path)) == 8 for path in free)


@pytest.mark.parametrize("name", ["nasbench201", "darts", "darts7", "s1", "s3", "s4"])
@pytest.mark.parametrize("sharing", ["network", "per_cell"])
@pytest.mark.parametrize("fair", [False, True])
def test_every_path_is_made_of_valid_cells(name, sharing, fair) -> None:
    sampling = sampler(name, PathSampling(sharing=sharing, strict_fairness=fair))
    search_space, types = space(name), sampler(name)._cell_types
    for path in draw(sampling, 20):
        for position, genes in enumerate(path):
            if len(search_space.cell_types) == 1:
                search_space.check(genes)
            else:  # each cell completed with a cell of the other type
                whole = list(search_space.sample(np.random.default_rng(0)))
                start = 14 * types[position]
                whole[start : start + 14] = genes
                search_space.check(whole)


# ------------------------------------------------------------------------------------------------------ strict fairness


@pytest.mark.parametrize("sharing", ["network", "per_cell"])
def test_fair_steps_train_each_operation_of_each_edge_exactly_once(sharing) -> None:
    sampling, rng = (
        sampler(settings=PathSampling(sharing=sharing, strict_fairness=True), cells=2),
        np.random.default_rng(0),
    )
    for _ in range(20):
        paths = sampling.sample(rng)
        assert len(paths) == 5
        for cell, edge in itertools.product(range(6), range(6)):
            assert sorted(path[cell][edge] for path in paths) == [0, 1, 2, 3, 4]
        assert all((len(set(path)) == 1) is (sharing == "network") for path in paths)


@pytest.mark.parametrize(
    ("name", "operations"), [("darts", 7), ("darts7", 7), ("s1", 2), ("s2", 2), ("s3", 2), ("s4", 2)]
)
def test_fair_darts_steps_train_each_operation_once_on_the_edges_of_one_topology(name, operations) -> None:
    sampling, rng = sampler(name, PathSampling(strict_fairness=True)), np.random.default_rng(0)
    search_space = space(name)
    topologies = set()
    for _ in range(30):
        paths = sampling.sample(rng)
        assert len(paths) == operations
        for cell, kind in enumerate((0, 1)):
            for edge in range(14):
                trained = [path[cell][edge] for path in paths]
                held = [gene for gene in search_space.choices[14 * kind + edge] if gene != NONE]
                assert sorted(trained) in (held, [NONE] * operations)
        topologies.add(tuple(gene != NONE for gene in paths[0][0]))
    assert len(topologies) > 10


def test_fair_paths_are_uniform_permutations() -> None:
    sampling, rng = sampler("s1", PathSampling(strict_fairness=True)), np.random.default_rng(0)
    counts = Counter(sampling.sample(rng)[0][0][:2] for _ in range(4_000))
    assert is_uniform(counts, 4)


# ---------------------------------------------------------------------------------------------------- generator, errors


@pytest.mark.parametrize(
    "settings", [PathSampling(), PathSampling(sharing="network"), PathSampling(strict_fairness=True)]
)
@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_paths_depend_on_the_generator_alone(name, settings) -> None:
    np.random.seed(1)  # noqa: NPY002 (the global generator must not matter)
    first = draw(sampler(name, settings), 10, seed=3)
    np.random.seed(2)  # noqa: NPY002
    assert first == draw(sampler(name, settings), 10, seed=3) != draw(sampler(name, settings), 10, seed=4)
    assert all(type(gene) is int for path in first for genes in path for gene in genes)


def test_refused_combinations() -> None:
    with pytest.raises(
        ValueError,
        match="reject_dead_nodes needs a space whose nodes can lose all inputs, but every node of darts has ",
    ):
        sampler("darts", PathSampling(reject_dead_nodes=True))
    with pytest.raises(
        ValueError,
        match="strict_fairness trains every operation equally often, so reject_dead_nodes cannot hold",
    ):
        sampler(settings=PathSampling(strict_fairness=True, reject_dead_nodes=True))
    with pytest.raises(ValueError, match=r"must have equally many, but those of uneven have 4 or 5; leave it"):
        PathSampler(network_of(Uneven()), PathSampling(strict_fairness=True))
    PathSampler(network_of(Uneven()), PathSampling())
    assert not sampler(settings=PathSampling(strict_fairness=True)).reject_dead_nodes
    assert not sampler("darts", PathSampling(reject_dead_nodes=False)).reject_dead_nodes
