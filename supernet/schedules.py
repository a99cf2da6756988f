"""Learning-rate schedules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from genas.choices import check_choices


@dataclass(frozen=True)
class LearningRate:
    """The learning rate as a function of training progress.

    Args:
        start: Learning rate of the first step.
        end: Learning rate at the horizon.
        shape: ``cosine``: ``end + (start - end) (1 + cos(pi t / T)) / 2``; ``linear``: ``end + (start - end) (1 - t /
            T)``; ``constant``: always ``start``; of the other settings only ``warmup`` applies.
        horizon: T in epochs. A training shorter than the horizon takes the first part of the schedule, a longer one
            stays at ``end`` after it; ``None``: the training's epochs.
        every: ``epoch``: constant inside an epoch (t = 0, 1, ...); ``step``: t grows with every step.
        lead: Added to t. GeNAS' code anneals before its first epoch: 1.
        warmup: Epochs over which the learning rate first grows linearly from ``start / (warmup steps)`` to the
            schedule's value.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> LearningRate(0.025, 0.001, horizon=250).at(epoch=0, step=0, steps_per_epoch=391, epochs=250)
        0.025
    """

    start: float = 0.025
    end: float = 0.001
    shape: Literal["cosine", "linear", "constant"] = "cosine"
    horizon: int | None = None
    every: Literal["epoch", "step"] = "epoch"
    lead: float = 0.0
    warmup: float = 0.0

    def __post_init__(self) -> None:
        check_choices(self)
        if not (math.isfinite(self.start) and self.start > 0):
            raise ValueError(f"A learning rate must start above 0, but got start={self.start}.")
        if self.shape != "constant" and not 0 <= self.end <= self.start:
            raise ValueError(f"A learning rate must end in [0, start], but got start={self.start}, end={self.end}.")
        if self.horizon is not None and self.horizon < 1:
            raise ValueError(f"horizon must be at least one epoch, but got {self.horizon}.")
        if not (0 <= self.lead < math.inf and 0 <= self.warmup < math.inf):
            raise ValueError(f"lead and warmup must not be negative, but got {self.lead} and {self.warmup}.")

    def at(self, *, epoch: int, step: int, steps_per_epoch: int, epochs: int) -> float:
        """The learning rate of one step.

        Args:
            epoch: Number of the epoch, from 0.
            step: Number of the step inside the epoch, from 0.
            steps_per_epoch: Steps of an epoch.
            epochs: Epochs of the training: the horizon where none is given.

        Returns:
            The learning rate.
        """
        progress = epoch + step / steps_per_epoch
        time = (progress if self.every == "step" else epoch) + self.lead
        fraction = min(time / (self.horizon or epochs), 1.0)
        rate = self.start
        if self.shape == "cosine":
            rate = self.end + (self.start - self.end) * (1 + math.cos(math.pi * fraction)) / 2
        elif self.shape == "linear":
            rate = self.end + (self.start - self.end) * (1 - fraction)
        if progress < self.warmup:
            rate *= min((progress * steps_per_epoch + 1) / (self.warmup * steps_per_epoch), 1.0)
        return rate
