"""The two cells of DARTS, their operations, and the operations on each edge in each variant of the space."""

from __future__ import annotations

from genas.spaces.base import CellType

LIVE_INPUTS = 2
"""Number of edges that a node of an architecture keeps."""

NUM_INPUTS = 2
NUM_NODES = 6
EDGES = tuple((source, target) for target in range(NUM_INPUTS, NUM_NODES) for source in range(target))
"""Two edges into node 2, three into node 3, four into node 4, five into node 5."""

CELLS = (
    CellType("normal", NUM_INPUTS, NUM_NODES, EDGES, "concat"),
    CellType("reduction", NUM_INPUTS, NUM_NODES, EDGES, "concat"),
)
"""Node 0 is the output of the cell before the last one, node 1 of the last one."""

OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""In the order of the published code."""

OPERATIONS_WITH_NOISE = (*OPERATIONS, "noise")

# S1, two operations per edge: those that remained after Zela et al. had repeatedly dropped the least important ones.
_S1_NORMAL = (
    (3, 6),
    (3, 7),
    (3, 7),
    (3, 4),
    (3, 6),
    (1, 3),
    (3, 4),
    (3, 4),
    (3, 6),
    (3, 4),
    (1, 3),
    (3, 6),
    (6, 7),
    (6, 7),
)
_S1_REDUCTION = (
    (1, 2),
    (1, 6),
    (1, 2),
    (1, 2),
    (3, 7),
    (1, 2),
    (1, 4),
    (3, 6),
    (3, 7),
    (1, 2),
    (1, 2),
    (3, 7),
    (3, 7),
    (3, 7),
)

CANDIDATES: dict[str, tuple[tuple[int, ...], ...]] = {
    "darts": (tuple(range(8)),) * 28,
    "darts7": (tuple(range(1, 8)),) * 28,
    "s1": _S1_NORMAL + _S1_REDUCTION,
    "s2": ((3, 4),) * 28,
    "s3": ((0, 3, 4),) * 28,
    "s4": ((4, 8),) * 28,
}
"""Variant to the operations that its supernet holds on each of the 28 edges."""
