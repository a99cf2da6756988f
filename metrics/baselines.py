"""Baselines that a metric must beat: numbers that read only the architecture, and chance. Costs are in :mod:`.cost`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np

from genas.metrics.base import Metric
from genas.metrics.context import Context
from genas.seeding import derived_seed
from genas.spaces import NONE, Architecture, SearchSpace


@final
@dataclass(frozen=True)
class Count(Metric):
    """Number of edges with one operation.

    Args:
        operation: A name of the space's vocabulary.
        live: Whether to leave out dead edges, which are on no path without ``none`` from an input of a cell to its
            output.
    """

    name: ClassVar[str] = "count"
    unit: ClassVar[str] = "edges"
    cost_hint: ClassVar[Literal["free", "weights", "forward"]] = "free"

    operation: str = "nor_conv_3x3"
    live: bool = False

    def __post_init__(self) -> None:
        if self.live and self.operation == "none":
            raise ValueError("count(operation=none, live=True) is 0 always, as none ends every path; leave out live.")

    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """The number for each architecture.

        Args:
            context: Provides the space.
            architectures: Valid architectures.

        Returns:
            Float64 array of shape ``(len(architectures),)``.

        Raises:
            ValueError: If the space has no such operation.
        """
        space = context.space
        if self.operation not in space.operations:
            raise ValueError(
                f"The operation of count must be one of {', '.join(space.operations)} in {space.name}, but got "
                f"{self.operation!r}; write count(operation=...)."
            )
        index = space.operations.index(self.operation)
        counted = [_live_genes(space, each) if self.live else each for each in architectures]
        return np.array([list(genes).count(index) for genes in counted], dtype=np.float64)


@final
@dataclass(frozen=True)
class LiveEdges(Metric):
    """Number of edges on a path without ``none`` from an input of a cell to its output."""

    name: ClassVar[str] = "live_edges"
    unit: ClassVar[str] = "edges"
    cost_hint: ClassVar[Literal["free", "weights", "forward"]] = "free"

    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """The number for each architecture."""
        return np.array([len(_live_genes(context.space, each)) for each in architectures], dtype=np.float64)


def _live_genes(space: SearchSpace, architecture: Architecture) -> list[int]:
    """The operations of the live edges of all cells."""
    return [gene for gene in space.without_dead_edges(architecture) if gene != NONE]


@final
@dataclass(frozen=True)
class Random(Metric):
    """A random number in [0, 1) for each architecture, determined by the seed of the context."""

    name: ClassVar[str] = "random"
    cost_hint: ClassVar[Literal["free", "weights", "forward"]] = "free"

    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """The number for each architecture."""
        return np.array([derived_seed(context.seed, "random", *each) / 2**63 for each in architectures])
