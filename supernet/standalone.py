"""Training the stand-alone network of one architecture from scratch: the ground truth of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from genas.supernet.network import NetworkPath
from genas.supernet.schedules import LearningRate
from genas.supernet.training import Optimization, Trainer


@dataclass(frozen=True)
class StandaloneSettings(Optimization):
    """Settings of a stand-alone training: by default NAS-Bench-201's (Dong & Yang, ICLR 2020, Table 1).

    They are described at :class:`genas.supernet.Optimization`.
    """

    epochs: int = 200
    batch_size: int = 256
    learning_rate: LearningRate = field(default_factory=lambda: LearningRate(0.1, 0.0))
    gradient_clip: float = 0.0


@final
class StandaloneTrainer(Trainer):
    """Trains a network that has one operation per edge; the arguments are those of :class:`Trainer`."""

    def paths(self, step: int) -> Sequence[NetworkPath | None]:  # noqa: ARG002
        """The network's only path."""
        return (None,)
