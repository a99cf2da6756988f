"""Limits on the cost of found architectures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

from genas.spaces import Architecture, Cost


@final
@dataclass(frozen=True)
class Constraint:
    """Upper limits on the macs and the parameters of an architecture.

    Args:
        cost: Cost of an architecture, in the network that the limits refer to.
        max_macs: Largest number of multiply-accumulates per image, or ``None`` for no limit.
        max_params: Largest number of trainable weights, or ``None`` for no limit.

    Raises:
        ValueError: If there is no limit, or one is not positive.

    Example:
        >>> from genas.spaces import Cost
        >>> limit = Constraint(lambda architecture: Cost(macs=1_000_000 * sum(architecture)), max_macs=3_000_000)
        >>> limit.allows((1, 2)), limit.allows((2, 2))
        (True, False)
        >>> str(limit)
        'macs <= 3,000,000'
    """

    cost: Callable[[Architecture], Cost]
    max_macs: int | None = None
    max_params: int | None = None

    def __post_init__(self) -> None:
        if not self.limits:
            raise ValueError(
                "A constraint needs max_macs, max_params or both, but got neither; leave the constraint out."
            )
        for name, limit in self.limits.items():
            if limit < 1:
                raise ValueError(f"max_{name} must be at least 1, but got {limit}.")

    @property
    def limits(self) -> dict[str, int]:
        """The limits that are set, by the name of the limited quantity."""
        limits = {"macs": self.max_macs, "params": self.max_params}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def amounts(self, architecture: Architecture) -> dict[str, int]:
        """Return the limited quantities of an architecture, by name."""
        cost = self.cost(architecture)
        return {name: int(getattr(cost, name)) for name in self.limits}

    def admits(self, amounts: Mapping[str, int]) -> bool:
        """Return whether quantities from :meth:`amounts` are within the limits."""
        return all(amounts[name] <= limit for name, limit in self.limits.items())

    def allows(self, architecture: Architecture) -> bool:
        """Return whether an architecture is within the limits."""
        return self.admits(self.amounts(architecture))

    def __str__(self) -> str:
        return " and ".join(f"{name} <= {limit:,}" for name, limit in self.limits.items())
