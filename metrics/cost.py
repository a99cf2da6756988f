"""What the found network will cost, as metrics: parameters and macs in closed form."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np

from genas.metrics.base import Metric
from genas.metrics.context import Context
from genas.spaces import Architecture, Cost, cost
from genas.supernet import CellNetwork

CostOf = Literal["standalone", "subnet"]
"""In which network an architecture is costed: ``standalone``, the published network that is trained from scratch;
``subnet``, the supernet's."""


def architecture_cost(supernet: CellNetwork, architecture: Architecture, of: CostOf = "standalone") -> Cost:
    """Parameters and macs of an architecture.

    Args:
        supernet: Gives the space, the number of classes and the images.
        architecture: A valid architecture.
        of: In which network.

    Returns:
        The exact cost.
    """
    skeleton = supernet.skeleton
    if of == "standalone":
        skeleton = supernet.space.standalone_skeleton(
            skeleton.num_classes, skeleton.image_size, skeleton.image_channels
        )
    return cost(supernet.space, skeleton, architecture)


def context_cost(context: Context, architecture: Architecture, of: CostOf = "standalone") -> Cost:
    """Parameters and macs of an architecture; the published network needs no supernet, only the images' size.

    Args:
        context: Gives the space, and the supernet or the images.
        architecture: A valid architecture.
        of: In which network.

    Returns:
        The exact cost. A context without what ``of`` needs raises :class:`genas.errors.MissingInputError`.
    """
    if of == "subnet":
        return architecture_cost(context.supernet, architecture, "subnet")
    data, space = context.data, context.space
    skeleton = space.standalone_skeleton(data.num_classes, data.image_size, data.image_channels)
    return cost(space, skeleton, architecture)


@dataclass(frozen=True)
class _CostMetric(Metric):
    """One field of a cost; its score is the negative cost."""

    of: CostOf = "standalone"

    higher_is_better: ClassVar[bool] = False
    cost_hint: ClassVar[Literal["free", "weights", "forward"]] = "free"

    @abc.abstractmethod
    def number(self, costs: Cost) -> int:
        """The field."""

    @final
    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """The cost of each architecture."""
        space = context.space
        if not space.is_product or not architectures:
            return np.array([self._cost(context, each) for each in architectures], dtype=np.float64)
        base, added = context.once((type(self), self.of), lambda: self._additive(context))
        genes = np.asarray(architectures, dtype=np.int64)
        return np.asarray(base + added[np.arange(space.num_genes), genes].sum(axis=1), dtype=np.float64)

    def _cost(self, context: Context, architecture: Architecture) -> int:
        return self.number(context_cost(context, architecture, self.of))

    def _additive(self, context: Context) -> tuple[int, np.ndarray]:
        """Costs add up over edges: where every choice is free, one change at a time tells all of them.

        Returns:
            The cost of one architecture, and for every gene and operation what it adds to that.
        """
        space = context.space
        first = tuple(choices[0] for choices in space.choices)
        base = self._cost(context, first)
        added = np.zeros((space.num_genes, len(space.operations)), dtype=np.int64)
        for gene, choices in enumerate(space.choices):
            for operation in choices:
                changed = (*first[:gene], operation, *first[gene + 1 :])
                added[gene, operation] = self._cost(context, changed) - base
        return base, added


@final
@dataclass(frozen=True)
class Macs(_CostMetric):
    """Multiply-accumulates per image.

    Args:
        of: In which network.
    """

    name: ClassVar[str] = "macs"

    def number(self, costs: Cost) -> int:
        """The macs."""
        return costs.macs


@final
@dataclass(frozen=True)
class Params(_CostMetric):
    """Trainable weights.

    Args:
        of: In which network.
    """

    name: ClassVar[str] = "params"

    def number(self, costs: Cost) -> int:
        """The number of weights."""
        return costs.params
