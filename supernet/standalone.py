"""Training the stand-alone network of one architecture from scratch: the ground truth of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import torch

from genas.data import ImageData
from genas.supernet.network import CellNetwork, NetworkPath
from genas.supernet.path_training import PathTrainer
from genas.supernet.schedules import LearningRate
from genas.supernet.training import Optimization


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
class StandaloneTrainer(PathTrainer):
    """Trains a network that has one operation per edge; the arguments are those of :class:`PathTrainer`."""

    def paths(self, step: int) -> Sequence[NetworkPath | None]:  # noqa: ARG002
        """The network's only path."""
        return (None,)


def train_standalone(
    network: CellNetwork,
    data: ImageData,
    settings: StandaloneSettings,
    *,
    seed: int,
    precision: torch.dtype = torch.float32,
) -> CellNetwork:
    """Train a stand-alone network to the end, in place and in memory.

    Args:
        network: One operation per edge, on the device of the data.
        data: The data set.
        settings: Training settings.
        seed: Root seed of batches and augmentation: networks with equal seeds see equal images.
        precision: Compute type of the forward pass.

    Returns:
        The same network, in evaluation mode.

    Raises:
        TrainingDiverged: If the loss or the weights are not finite at the end of an epoch.
    """
    trainer = StandaloneTrainer(network, data, settings, seed=seed, precision=precision)
    while not trainer.finished:
        trainer.step()
        if trainer.step_number % trainer.steps_per_epoch == 0:
            trainer.check_finite()
    return network.eval()
