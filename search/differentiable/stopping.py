"""Rules for ending a search, and the epoch whose architecture is its result."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from genas.search.differentiable.selection import SKIP, Collapse
from genas.spaces import Architecture, SearchSpace


@final
@dataclass(frozen=True)
class EpochSummary:
    """Facts of a finished epoch on which stopping rules decide.

    Args:
        architecture: Architecture derived after the epoch's last step.
        collapse: Signs of a collapse.
        eigenvalue: Largest eigenvalue of the Hessian of the search loss, if it was computed in this epoch.
    """

    architecture: Architecture
    collapse: Collapse
    eigenvalue: float | None = None

    def record(self) -> dict[str, Any]:
        """The summary as plain values for the log, which :meth:`from_record` reads."""
        return {
            "genes": list(self.architecture),
            "skips": dict(self.collapse.skips),
            "nones": dict(self.collapse.nones),
            "disconnected": self.collapse.disconnected,
            "eigenvalue": self.eigenvalue,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> EpochSummary:
        """The summary of an epoch from its line of the log."""
        collapse = Collapse(record["skips"], record["nones"], record["disconnected"])
        return cls(tuple(record["genes"]), collapse, record["eigenvalue"])


@final
@dataclass(frozen=True)
class Outcome:
    """The end of a search: its result and the reason.

    Args:
        epoch: Number of the epoch, from 0, whose architecture is the result.
        because: Reason for the end, as a sentence without capital and full stop.
    """

    epoch: int
    because: str


class Stopping(abc.ABC):
    """A rule for ending a search early: a function of the finished epochs, so that it has no state to keep."""

    def wants_eigenvalue(self, epoch: int) -> bool:  # noqa: ARG002
        """Whether the rule needs the dominant eigenvalue after this epoch (from 0)."""
        return False

    def check(self, space: SearchSpace) -> None:  # noqa: B027 (most rules suit every space)
        """Refuse a space in which the rule could never end a search.

        Args:
            space: The search space.

        Raises:
            ValueError: If the rule looks at something that the space does not have.
        """

    def after_warmup(self, epochs: int) -> Stopping:  # noqa: ARG002 (most rules do not look back)
        """The rule for a search in whose first epochs the architecture does not move from its random beginning.

        Args:
            epochs: Number of these epochs; none of them may be the result.

        Returns:
            This rule, unless it could go back that far.
        """
        return self

    @abc.abstractmethod
    def outcome(self, history: Sequence[EpochSummary]) -> Outcome | None:
        """Decide after an epoch.

        Args:
            history: All finished epochs, at least one.

        Returns:
            The end of the search, or ``None`` to go on.
        """

    def remark(self, history: Sequence[EpochSummary]) -> str:  # noqa: ARG002
        """A remark for a search that the rule did not end before the last epoch; empty by default."""
        return ""


@final
@dataclass(frozen=True)
class Fixed(Stopping):
    """All epochs are run; the result is the last one's."""

    def outcome(self, history: Sequence[EpochSummary]) -> Outcome | None:  # noqa: ARG002
        """Never ends a search early."""
        return None


@final
@dataclass(frozen=True)
class DominantEigenvalue(Stopping):
    r"""DARTS-ES: end when the dominant eigenvalue of the Hessian of the search loss grows fast.

    It is computed every ``frequency`` epochs (0, 2, 4, ...) and averaged over the last ``window`` values, as soon as
    half of them are available. The average is assigned to the middle of its window. The search ends when

    .. math:: \bar\lambda_i / \bar\lambda_{i - \text{delta}} > \text{factor},

    and its result is the architecture of the epoch that the earlier average is assigned to, if that is not before
    ``earliest``; epochs are counted from 0. With the authors' numbers the first decision is after epoch 22 and returns
    epoch 10 at the earliest.

    Args:
        frequency: Epochs between two eigenvalues.
        window: Number of eigenvalues in an average, odd.
        delta: Number of eigenvalues between the averages that are compared.
        factor: Growth that ends the search. The paper has 1 / 0.75, the code 1.3.
        earliest: Number of epochs before the first that may be the result.

    Raises:
        ValueError: If a number is out of range.

    Reference:
        Zela et al., Understanding and Robustifying Differentiable Architecture Search, ICLR 2020, Section 4.3.
    """

    frequency: int = 2
    window: int = 5
    delta: int = 4
    factor: float = 1.3
    earliest: int = 10

    def __post_init__(self) -> None:
        for name in ("frequency", "window", "delta"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but got {getattr(self, name)}.")
        if self.window % 2 == 0:
            raise ValueError(f"window must be odd, so that an average has a middle, but got {self.window}.")
        if not (math.isfinite(self.factor) and self.factor > 0):
            raise ValueError(f"factor must be positive, but got {self.factor}.")
        if self.earliest < 0:
            raise ValueError(f"earliest must not be negative, but got {self.earliest}.")

    def after_warmup(self, epochs: int) -> DominantEigenvalue:
        """The rule with ``earliest`` after these epochs."""
        return replace(self, earliest=max(self.earliest, epochs))

    def wants_eigenvalue(self, epoch: int) -> bool:
        """Every ``frequency`` epochs, from the first one on."""
        return epoch % self.frequency == 0

    def outcome(self, history: Sequence[EpochSummary]) -> Outcome | None:
        """Compare the last two averages that lie ``delta`` eigenvalues apart."""
        if not self.wants_eigenvalue(len(history) - 1):
            return None
        values = [summary.eigenvalue for summary in history[:: self.frequency]]
        known = [value for value in values if value is not None]
        if len(known) != len(values):
            raise ValueError(
                f"There must be an eigenvalue after every {self.frequency} epochs, but {len(values) - len(known)} of "
                f"{len(values)} are missing."
            )
        half, last = self.window // 2, len(known) - 1
        epoch = self.frequency * (last - half - self.delta)
        before, now = self._average(known, last - self.delta), self._average(known, last)
        if before is None or now is None or epoch < self.earliest or not (before > 0 and now / before > self.factor):
            return None
        return Outcome(
            epoch,
            f"the dominant eigenvalue grew from {before:.3g} to {now:.3g}, by more than {self.factor:g}, "
            f"until epoch {len(history)}",
        )

    def remark(self, history: Sequence[EpochSummary]) -> str:
        """The first epoch in which the rule can end a search, if this search was shorter."""
        first = self.frequency * (self.window // 2 + self.delta + math.ceil(self.earliest / self.frequency)) + 1
        return "" if len(history) >= first else f"; eigenvalues can end a search from epoch {first} on"

    def _average(self, values: Sequence[float], position: int) -> float | None:
        """The mean of the window that ends at a position; ``None`` while less than half of it is available."""
        if position < self.window // 2:
            return None
        return float(np.mean(values[max(0, position + 1 - self.window) : position + 1]))


@final
@dataclass(frozen=True)
class SkipCount(Stopping):
    """End when a cell has more skip connections than allowed; the result is the last architecture within the limit.

    DARTS+ and P-DARTS keep at most two in the normal cell. The search goes on until an epoch has been within the limit:
    at its beginning the architecture is random.

    Args:
        most: Largest number of skip connections allowed in a cell type.
        cell: Name of the cell type that is checked; ``None``: all.
        earliest: First epoch that may be the result, such as the first in which the architecture is updated.

    Raises:
        ValueError: If ``most`` or ``earliest`` is negative.

    Reference:
        Liang et al., DARTS+: Improved Differentiable Architecture Search with Early Stopping, 2019, Criterion 1.
    """

    most: int = 2
    cell: str | None = None
    earliest: int = 0

    def __post_init__(self) -> None:
        for name in ("most", "earliest"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but got {getattr(self, name)}.")

    def check(self, space: SearchSpace) -> None:
        """Refuse a cell that is not there, and a space, or a cell of it, without skip connections, such as S4."""
        cells = {cell.name: edges for cell, edges in zip(space.cell_types, space.split(space.candidates), strict=True)}
        if self.cell is not None and self.cell not in cells:
            raise ValueError(f"cell must be one of {', '.join(cells)}, but got {self.cell!r}.")
        counted = [edges for name, edges in cells.items() if self.cell in (None, name)]
        if not any(space.operations[each] == SKIP for edges in counted for edge in edges for each in edge):
            where = space.name if self.cell is None else f"the {self.cell} cell of {space.name}"
            raise ValueError(f"The rule counts skip connections, but {where} has none; choose another rule, or none.")

    def after_warmup(self, epochs: int) -> SkipCount:
        """The rule with ``earliest`` after these epochs."""
        return replace(self, earliest=max(self.earliest, epochs))

    def outcome(self, history: Sequence[EpochSummary]) -> Outcome | None:
        """Count the skip connections of the last epoch, and go back to the last epoch within the limit."""
        too_many = self._too_many(history[-1])
        kept = [epoch for epoch in range(self.earliest, len(history)) if not self._too_many(history[epoch])]
        if not too_many or not kept:
            return None
        return Outcome(
            kept[-1], f"more than {self.most} skip connections after epoch {len(history)}: {_told(too_many)}"
        )

    def remark(self, history: Sequence[EpochSummary]) -> str:
        """The cell types with too many skip connections, if any."""
        too_many = self._too_many(history[-1])
        return f"; none kept to {self.most} skip connections, the last has {_told(too_many)}" if too_many else ""

    def _too_many(self, summary: EpochSummary) -> dict[str, int]:
        """The cell types that break the rule, with their skip connections."""
        skips = summary.collapse.skips
        return {name: count for name, count in skips.items() if self.cell in (None, name) and count > self.most}


def _told(too_many: dict[str, int]) -> str:
    return " and ".join(f"{count} in the {name} cell" for name, count in too_many.items())


def final_outcome(stopping: Stopping, history: Sequence[EpochSummary]) -> Outcome:
    """The outcome of a search that has ended, early or not.

    Args:
        stopping: Its rule.
        history: All of its epochs.

    Returns:
        The outcome of the rule, or else that the last epoch is the result.
    """
    return stopping.outcome(history) or Outcome(
        len(history) - 1, f"all {len(history)} epochs were run{stopping.remark(history)}"
    )
