"""Cost of the found network, as metrics: parameters and macs in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np

from genas.choices import check_choices
from genas.metrics.base import Metric
from genas.metrics.context import Context
from genas.metrics.initialisation import standalone_skeleton
from genas.spaces import Architecture, Cost, cost

CostOf = Literal["standalone", "subnet"]
"""The network whose cost is computed: ``standalone``, trained from scratch; ``subnet``, the supernet's."""


def architecture_cost(
    context: Context,
    architecture: Architecture,
    of: CostOf = "standalone",
    *,
    channels: int | None = None,
    cells: int | None = None,
) -> Cost:
    """Parameters and macs of an architecture; those of the stand-alone network need no supernet.

    Args:
        context: Provides the space, the number of classes and the size of the images, and the supernet of subnets.
        architecture: A valid architecture.
        of: The network whose cost is computed.
        channels: Channels of the first cells of the stand-alone network; ``None``: the published number.
        cells: Its cells as in :class:`genas.spaces.Skeleton`; ``None``: the published number.

    Returns:
        The exact cost.

    Raises:
        MissingInputError: If the context lacks what ``of`` needs.
    """
    skeleton = context.supernet.skeleton if of == "subnet" else standalone_skeleton(context, channels, cells)
    return cost(context.space, skeleton, architecture)


@dataclass(frozen=True)
class _CostMetric(Metric):
    """The field of a cost that is called like the metric; its score is the negative cost.

    Args:
        of: The network whose cost is computed.
        channels: Channels of the first cells of the stand-alone network; ``None``: the published number.
        cells: Its cells as in :class:`genas.spaces.Skeleton`; ``None``: the published number.

    Raises:
        ValueError: If a size is given, but the cost is that of the subnet.
    """

    of: CostOf = "standalone"
    channels: int | None = None
    cells: int | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        if self.of == "subnet" and (self.channels, self.cells) != (None, None):
            raise ValueError(
                "channels and cells are of the stand-alone network, but the cost is the subnet's; leave them out."
            )

    higher_is_better: ClassVar[bool] = False
    cost_hint: ClassVar[Literal["free", "weights", "forward"]] = "free"

    @final
    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """The cost of each architecture."""
        costs = [
            architecture_cost(context, architecture, self.of, channels=self.channels, cells=self.cells)
            for architecture in architectures
        ]
        return np.array([getattr(each, self.name) for each in costs], dtype=np.float64)


@final
@dataclass(frozen=True)
class Macs(_CostMetric):
    """Multiply-accumulates per image."""

    name: ClassVar[str] = "macs"
    unit: ClassVar[str] = "macs"


@final
@dataclass(frozen=True)
class Params(_CostMetric):
    """Trainable weights."""

    name: ClassVar[str] = "params"
    unit: ClassVar[str] = "weights"
