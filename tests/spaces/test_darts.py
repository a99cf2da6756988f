from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from genas.spaces import DARTS, NONE, Architecture
from genas.spaces.darts_cell import EDGES, NUM_NODES

SPACE = DARTS()
DARTS_V2 = SPACE.parse("DARTS_V2")
VARIANTS = ("darts", "darts7", "s1", "s2", "s3", "s4")


def node5(genes: np.ndarray) -> np.ndarray:
    """Codes 0 .. 489 of (pair of inputs, operation, operation) at node 5, from both cells. Shape ``(2 * n,)``."""
    incoming = np.concatenate([genes[:, 9:14], genes[:, 23:28]])
    sources = np.argsort(incoming == NONE, axis=1, kind="stable")[:, :2]
    pairs = {pair: code for code, pair in enumerate((a, b) for a in range(5) for b in range(a + 1, 5))}
    operations = np.take_along_axis(incoming, sources, axis=1) - 1
    return np.array([pairs[a, b] for a, b in sources.tolist()]) * 49 + operations @ [7, 1]


def test_unknown_variant() -> None:
    with pytest.raises(ValueError, match="must be one of darts, darts7, s1, s2, s3, s4, but got 's5'"):
        DARTS("s5")


def test_size() -> None:
    assert DARTS("darts").size == DARTS("darts7").size == (180 * 7**8) ** 2 == 1_037_664_180**2
    assert all(DARTS(name).size == (180 * 2**8) ** 2 for name in ("s1", "s2", "s3", "s4"))


def test_candidates_of_the_variants() -> None:
    held = {
        name: {tuple(DARTS(name).operations[op] for op in edge) for edge in DARTS(name).candidates} for name in VARIANTS
    }
    assert held["darts"] == {SPACE.operations}
    assert held["darts7"] == {SPACE.operations[1:]}
    assert held["s2"] == {("skip_connect", "sep_conv_3x3")}
    assert held["s3"] == {("none", "skip_connect", "sep_conv_3x3")}
    assert held["s4"] == {("sep_conv_3x3", "noise")}
    assert {len(edge) for edge in held["s1"]} == {2}
    assert "noise" not in SPACE.operations


def test_s1_has_its_own_operations_on_every_edge() -> None:
    s1 = DARTS("s1")
    named = [tuple(s1.operations[op] for op in edge) for edge in s1.candidates]
    assert named[0] == ("skip_connect", "dil_conv_3x3")
    assert named[13] == ("dil_conv_3x3", "dil_conv_5x5")
    assert named[14] == ("max_pool_3x3", "avg_pool_3x3")
    assert named[27] == ("skip_connect", "dil_conv_5x5")
    normal, reduction = (
        Counter(op for edge in named[:14] for op in edge),
        Counter(op for edge in named[14:] for op in edge),
    )
    assert normal == {"skip_connect": 12, "dil_conv_3x3": 6, "dil_conv_5x5": 4, "sep_conv_3x3": 4, "max_pool_3x3": 2}
    assert reduction == {
        "max_pool_3x3": 8,
        "avg_pool_3x3": 6,
        "skip_connect": 6,
        "dil_conv_5x5": 5,
        "dil_conv_3x3": 2,
        "sep_conv_3x3": 1,
    }
    with pytest.raises(
        ValueError, match=r"Gene 0 \(edge 0 -> 2 of the normal cell\) of s1 must be one of 0 \(none\), 3 "
    ):
        s1.check(DARTS_V2)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_node_has_two_live_inputs(name: str, rng: np.random.Generator) -> None:
    space = DARTS(name)
    choices = [list(edge) for edge in space.choices]
    for _ in range(200):
        broken = [int(rng.choice(edge)) for edge in choices]
        for architecture in (space.sample(rng), space.repair(broken, rng)):
            for genes in space.split(architecture):
                live = Counter(target for (_, target), gene in zip(EDGES, genes, strict=True) if gene != NONE)
                assert live == {2: 2, 3: 2, 4: 2, 5: 2}


def test_samples_are_uniform(rng: np.random.Generator) -> None:
    samples = np.array([SPACE.sample(rng) for _ in range(20_000)])
    assert stats.chisquare(np.bincount(node5(samples), minlength=490)).pvalue > 1e-3


def test_repair_of_uniform_genes_is_uniform(rng: np.random.Generator) -> None:
    # 30,000 nodes from 15,000 vectors, both cells count: 61 of each outcome. 2 x 10^5 vectors would take ten seconds.
    raw = rng.integers(8, size=(15_000, 28)).tolist()
    repaired = np.array([SPACE.repair(genes, rng) for genes in raw])
    assert stats.chisquare(np.bincount(node5(repaired), minlength=490)).pvalue > 1e-3


def test_repair_keeps_what_it_can(rng: np.random.Generator) -> None:
    full = [gene or 7 for gene in DARTS_V2]
    kept = np.array([SPACE.repair(full, rng) for _ in range(200)])
    assert all(set(column) <= {NONE, gene} for column, gene in zip(kept.T.tolist(), full, strict=True))
    sparse = [gene if position % 5 == 0 else NONE for position, gene in enumerate(DARTS_V2)]
    grown = np.array([SPACE.repair(sparse, rng) for _ in range(200)])
    alive = np.flatnonzero(sparse)
    assert (grown[:, alive] == np.array(sparse)[alive]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {4: 1},
            r"Node 3 of the normal cell must have exactly two .*, but got 3: from 0, 1, 2\. Set .* 1 of 3 are 0",
        ),
        (
            {0: 0},
            r"Node 2 of the normal cell must have exactly two live inputs, but got 1: from 1\. Set .* 0 of 2 are 0",
        ),
        (
            {0: 0, 1: 0},
            r"Node 2 of the normal cell must have exactly two .*, but got none\. .* or call repair",
        ),
        ({27: 1}, r"Node 5 of the reduction cell must have exactly two .*, but got 3: from 1, 2, 4"),
        (
            {27: 8},
            r"Gene 27 \(edge 4 -> 5 of the reduction cell\) of darts must .*7 \(dil_conv_5x5\), but got 8",
        ),
    ],
)
def test_invalid_architectures(change: dict[int, int], message: str) -> None:
    genes = [change.get(position, gene) for position, gene in enumerate(DARTS_V2)]
    with pytest.raises(ValueError, match=message):
        SPACE.check(genes)


def moves(space: DARTS, architecture: Architecture) -> set[Architecture]:
    """Oracle: every vector that differs in one gene, or in two genes of one node, and is valid."""
    found: set[Architecture] = set()
    for position, choices in enumerate(space.choices):
        found |= {(*architecture[:position], gene, *architecture[position + 1 :]) for gene in choices}
        for other in range(position):
            genes = list(architecture)
            if (genes[position] == NONE) != (genes[other] == NONE):
                live, free = (other, position) if genes[position] == NONE else (position, other)
                genes[live] = NONE
                for operation in space.choices[free][1:]:
                    genes[free] = operation
                    found.add(tuple(genes))
    valid = set()
    for candidate in found - {architecture}:
        try:
            valid.add(space.check(candidate))
        except ValueError:
            continue
    return valid


@pytest.mark.parametrize(
    ("name", "count"), [("darts", 264), ("darts7", 264), ("s1", 64), ("s2", 64), ("s3", 64), ("s4", 64)]
)
def test_number_of_neighbors(name: str, count: int, rng: np.random.Generator) -> None:
    space = DARTS(name)
    centre = space.sample(rng)
    near = set(space.neighbors(centre))
    assert len(near) == count
    assert near == moves(space, centre)


def test_neighbors_at_two_moves_against_breadth_first_search(rng: np.random.Generator) -> None:
    space = DARTS("s3")
    centre = space.sample(rng)
    first = moves(space, centre)
    second = {far for near in first for far in moves(space, near)} - first - {centre}
    listed = list(space.neighbors(centre, 2))
    assert set(listed[: len(first)]) == first
    assert set(listed[len(first) :]) == second
    assert len(listed) == len(first) + len(second)
    assert {space.distance(centre, far) for far in second} == {2}


def test_distance() -> None:
    changed_operation = (5, *DARTS_V2[1:])
    moved_input = (*DARTS_V2[:2], 0, *DARTS_V2[3:4], 4, *DARTS_V2[5:])
    swapped = (*DARTS_V2[:5], 4, 3, *DARTS_V2[7:])  # node 4 reads the same nodes through exchanged operations
    assert SPACE.distance(DARTS_V2, changed_operation) == 1
    assert SPACE.distance(DARTS_V2, SPACE.check(moved_input)) == 1
    assert SPACE.distance(DARTS_V2, SPACE.check(swapped)) == 2
    assert SPACE.distance(DARTS_V2, tuple(gene and 7 for gene in DARTS_V2)) == 16


def test_mutation_changes_both_cells(rng: np.random.Generator) -> None:
    children = [SPACE.mutate(DARTS_V2, rng) for _ in range(2_000)]
    changed = (np.array(children) != np.array(DARTS_V2)).mean(axis=0)
    assert changed.min() > 0.05
    assert changed[:14].sum() == pytest.approx(changed[14:].sum(), rel=0.1)
    distances = Counter(SPACE.distance(DARTS_V2, child) for child in children)
    assert distances[0] == 0
    assert distances[1] > 0
    assert max(distances) > 2


def test_mutation_without_a_change_is_a_uniform_move(rng: np.random.Generator) -> None:
    space = DARTS("s3")
    parent = space.sample(rng)
    children = Counter(space.mutate(parent, rng, rate=0.0) for _ in range(1_600))
    assert set(children) == set(space.neighbors(parent))
    assert stats.chisquare(list(children.values())).pvalue > 1e-3


def test_mutation_reaches_every_operation_and_input(rng: np.random.Generator) -> None:
    seen = np.array([SPACE.mutate(DARTS_V2, rng, 0.3) for _ in range(3_000)])
    assert all(set(column) >= set(range(1, 8)) for column in seen.T.tolist())


def test_keys_of_shared_weights_are_the_architecture() -> None:
    for key in (SPACE.supernet_key, SPACE.angle_key):
        assert key(DARTS_V2) == DARTS_V2


def test_renumbered_nodes_make_no_other_network(rng: np.random.Generator) -> None:
    """Against the smallest matrix of operations over all renumberings, whether edges point forwards or not."""

    def smallest(genes: Architecture) -> list[tuple[int, ...]]:
        found = []
        for cell in SPACE.split(genes):
            matrix = np.zeros((NUM_NODES, NUM_NODES), dtype=int)
            for (source, target), gene in zip(EDGES, cell, strict=True):
                matrix[source, target] = gene
            orders = ([0, 1, *order] for order in itertools.permutations(range(2, NUM_NODES)))
            found.append(min(tuple(matrix[np.ix_(order, order)].ravel()) for order in orders))
        return found

    cells = [[3 if gene else NONE for gene in SPACE.sample(rng)[: len(EDGES)]] for _ in range(200)]
    drawn = [SPACE.check([*cell, *cell]) for cell in cells]
    keys, expected, pairs = (
        [*map(SPACE.unique_key, drawn)],
        [*map(smallest, drawn)],
        [*itertools.combinations(range(200), 2)],
    )
    same = [keys[a] == keys[b] for a, b in pairs]
    assert same == [expected[a] == expected[b] for a, b in pairs]
    assert sum(same) > 1.5 * sum(drawn[a] == drawn[b] for a, b in pairs)


def test_two_nodes_that_change_places_make_another_network_if_a_third_reads_one_of_them() -> None:
    first, swapped, inputs, reader = (4, 6, 5, 7, 0), (5, 7, 4, 6, 0), (3, 3, 0, 0), (3, 0, 3, 0)
    last, reduction = (3, 3, 0, 0, 0), DARTS_V2[len(EDGES) :]
    keys = [
        SPACE.unique_key(SPACE.check((*nodes, *fourth, *last, *reduction)))
        for fourth in (inputs, reader)
        for nodes in (first, swapped)
    ]
    assert keys[0] == keys[1]
    assert keys[2] != keys[3]


def test_skeletons() -> None:
    supernet = SPACE.supernet_skeleton(10, 32)
    assert (supernet.kind, supernet.channels, supernet.cells, supernet.affine) == ("darts-search", 16, 8, True)
    cifar, imagenet = SPACE.standalone_skeleton(10, 32), SPACE.standalone_skeleton(1000, 224)
    assert (cifar.kind, cifar.channels, cifar.cells) == ("darts-cifar", 36, 20)
    assert (imagenet.kind, imagenet.channels, imagenet.cells) == ("darts-imagenet", 48, 14)
    assert [SPACE.standalone_skeleton(10, size).kind for size in (127, 128)] == ["darts-cifar", "darts-imagenet"]
    assert SPACE.standalone_skeleton(1000, 224, channels=52).channels == 52
    assert SPACE.standalone_skeleton(10, 32, cells=3).cells == 3
    for skeleton, reductions in ((supernet, [2, 5]), (imagenet, [4, 9]), (cifar, [6, 13])):
        assert [position for position, block in enumerate(skeleton.blocks) if block.stride == 2] == reductions
        assert [position for position, block in enumerate(skeleton.blocks) if block.cell_type == 1] == reductions


def test_number_of_live_genes_matches_the_size() -> None:
    pairs = math.prod(math.comb(sources, 2) for sources in (2, 3, 4, 5))
    assert SPACE.size == (pairs * 7**8) ** 2
