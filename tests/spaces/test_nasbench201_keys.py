from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import pytest

from genas.spaces import Architecture, NASBench201
from genas.spaces.nasbench201_cell import CELL
from genas.spaces.nasbench201_keys import algebraic_key, angle_key, benchmark_key, supernet_key

Key = Callable[[Architecture], Hashable]
SPACE = NASBench201()
DISCONNECTED, ONLY_SKIPS = 341, 808 - 341


@pytest.mark.parametrize(
    ("key", "classes"),
    [
        (lambda architecture: benchmark_key(architecture, consider_zero=False), 12_751),
        (SPACE.unique_key, 6_466),
        (algebraic_key, 4_930),
        (SPACE.supernet_key, 7_810),
        (SPACE.angle_key, 6_604),
    ],
)
def test_class_counts(key: Key, classes: int, all_nasbench201: list[Architecture]) -> None:
    assert len({key(architecture) for architecture in all_nasbench201}) == classes


def test_benchmark_notation() -> None:
    architecture = SPACE.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|avg_pool_3x3~2|")
    assert benchmark_key(architecture, consider_zero=True) == "#+(#+(0)@nor_conv_3x3)@avg_pool_3x3+(0)@nor_conv_3x3"
    inlined = "((0)@none+(0)@nor_conv_3x3)@avg_pool_3x3+(0)@none+(0)@nor_conv_3x3"
    assert benchmark_key(architecture, consider_zero=False) == inlined


def test_disconnected_cells(all_nasbench201: list[Architecture]) -> None:
    dead = [architecture for architecture in all_nasbench201 if not CELL.live_edges(architecture)]
    assert len(dead) == DISCONNECTED
    assert {supernet_key(architecture) for architecture in dead} == {"0"}
    assert {algebraic_key(architecture) for architecture in dead} == {"0"}
    assert sum(supernet_key(architecture) == "0" for architecture in all_nasbench201) == DISCONNECTED


def test_cells_without_anything_to_learn_or_pool(all_nasbench201: list[Architecture]) -> None:
    idle = [
        architecture
        for architecture in all_nasbench201
        if all(architecture[edge] == 1 for edge in CELL.live_edges(architecture))
    ]
    assert len(idle) == DISCONNECTED + ONLY_SKIPS
    assert [architecture for architecture in all_nasbench201 if angle_key(architecture) == ()] == idle


def values(architectures: Sequence[Architecture], *, by_edge: bool) -> np.ndarray:
    """Outputs of all cells on one input, with random smooth operations of zero at zero. Shape ``(cells, 3)``."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(5, 3, 3))
    genes = np.array(architectures)
    nodes = np.zeros((4, len(genes), 3))
    nodes[0] = rng.normal(size=3)
    for edge, (source, target) in enumerate(CELL.edges):
        weights = shared.copy()
        if by_edge:
            weights[2:4] = rng.normal(size=(2, 3, 3))
        for operation in (2, 3, 4):
            nodes[target] += np.where(genes[:, [edge]] == operation, np.tanh(nodes[source] @ weights[operation]), 0)
        nodes[target] += np.where(genes[:, [edge]] == 1, nodes[source], 0)
    return nodes[3]


@pytest.mark.parametrize(("key", "by_edge"), [(algebraic_key, False), (supernet_key, True)])
def test_equal_keys_are_equal_functions(key: Key, by_edge: bool, all_nasbench201: list[Architecture]) -> None:
    """Oracle: evaluate all cells with numbers. Same partition, so keys neither join nor split too much."""
    outputs = [tuple(row) for row in np.round(values(all_nasbench201, by_edge=by_edge), 9) + 0.0]
    keys = [key(architecture) for architecture in all_nasbench201]
    assert len(set(keys)) == len(set(outputs)) == len(set(zip(keys, outputs, strict=True)))
