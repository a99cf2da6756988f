"""The cell of NAS-Bench-201: its graph and its operations."""

from __future__ import annotations

from genas.spaces.base import CellType

CELL = CellType("cell", 1, 4, ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)), "last")
"""Four nodes, every earlier node feeds every later one, a node is the sum of its edges."""

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""In the benchmark's order."""
