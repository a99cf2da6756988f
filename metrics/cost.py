"""Cost of the found network, as metrics: parameters and macs in closed form."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np

from genas.choices import check_choices
from genas.metrics.base import Metric
from genas.metrics.context import Context
from genas.spaces import Architecture, Cost, cost
from genas.supernet import CellNetwork

CostOf = Literal["standalone", "subnet"]
"""The network whose cost is computed: ``standalone``, the published network that is trained from scratch; ``subnet``,
the supernet's."""


def architecture_cost(supernet: CellNetwork, architecture: Architecture, of: CostOf = "standalone") -> Cost:
    """Parameters and macs of an architecture.

    Args:
        supernet: Provides the space, the number of classes and the size of the images.
        architecture: A valid architecture.
        of: The network whose cost is computed.

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
        context: Provides the space, and the supernet or the images.
        architecture: A valid architecture.
        of: The network whose cost is computed.

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

    def __post_init__(self) -> None:
        check_choices(self)

    higher_is_better: ClassVar[bool] = False
    cost_hint: ClassVar[Literal["free", "weights", "forward"]] = "free"

    @abc.abstractmethod
    def number(self, costs: Cost) -> int:
        """The field of the cost."""

    @final
    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """The cost of each architecture."""
        costs = (context_cost(context, architecture, self.of) for architecture in architectures)
        return np.array([self.number(each) for each in costs], dtype=np.float64)


@final
@dataclass(frozen=True)
class Macs(_CostMetric):
    """Multiply-accumulates per image.

    Args:
        of: The network whose cost is computed.
    """

    name: ClassVar[str] = "macs"
    unit: ClassVar[str] = "macs"

    def number(self, costs: Cost) -> int:
        """The macs."""
        return costs.macs


@final
@dataclass(frozen=True)
class Params(_CostMetric):
    """Trainable weights.

    Args:
        of: The network whose cost is computed.
    """

    name: ClassVar[str] = "params"
    unit: ClassVar[str] = "weights"

    def number(self, costs: Cost) -> int:
        """The number of weights."""
        return costs.params
