"""The settings of a differentiable search: optimisation of weights and architecture parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from genas.supernet.schedules import LearningRate
from genas.supernet.training import Optimization


@dataclass(frozen=True)
class AlphaOptimization:
    """Adam for the architecture parameters.

    Args:
        learning_rate: Constant learning rate.
        betas: Decay of the two running means.
        weight_decay: L2 penalty inside the gradient.

    Raises:
        ValueError: If a number is out of range.
    """

    learning_rate: float = 3e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate of the alphas must be positive, but got {self.learning_rate}.")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), but got {self.betas}.")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay of the alphas must not be negative, but got {self.weight_decay}.")


@dataclass(frozen=True)
class SearchSettings(Optimization):
    """Settings of a differentiable search; by default those of DARTS on its own space.

    Settings of every training are described at :class:`genas.supernet.Optimization`.

    Args:
        alphas: The optimiser of the architecture parameters.
        learn_alphas: Whether they are updated at all; if not, the supernet is trained at its initial mixture
            (``blank``).
        search_batch_size: Validation images per step of the architecture; ``None``: as many as training images.
        augment_search: Whether these are augmented like training images.
        track_statistics: Whether BN keeps running statistics (the authors' code of most methods). Without them
            (NATS-Bench's) every loss uses the statistics of its batch; the result of adversarial smoothing (SDARTS)
            depends on this.
        update_order: Which is updated first in a step.
        warmup: Epochs at the beginning in which only the weights are updated; below 1, a share of all epochs.
        eigenvalue_every: Epochs between two computations of the dominant eigenvalue for the log; 0 for none.
        eigenvalue_batches: Validation batches over which its Hessian is averaged.

    Raises:
        ValueError: If a number is out of range.
    """

    epochs: int = 50
    learning_rate: LearningRate = field(default_factory=LearningRate)
    nesterov: bool = False
    weight_decay: float = 3e-4
    alphas: AlphaOptimization = field(default_factory=AlphaOptimization)
    learn_alphas: bool = True
    search_batch_size: int | None = None
    augment_search: bool = True
    track_statistics: bool = True
    update_order: Literal["alpha_first", "weights_first"] = "alpha_first"
    warmup: float = 0.0
    eigenvalue_every: int = 0
    eigenvalue_batches: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.search_batch_size is not None and self.search_batch_size < 1:
            raise ValueError(f"search_batch_size must be at least 1, but got {self.search_batch_size}.")
        if self.warmup < 0 or self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup must not be negative and leave some of the {self.epochs} epochs, but got {self.warmup}."
            )
        if self.eigenvalue_every < 0:
            raise ValueError(f"eigenvalue_every must not be negative, but got {self.eigenvalue_every}.")
        if self.eigenvalue_every > self.epochs:
            raise ValueError(
                f"eigenvalue_every must be at most the number of epochs, {self.epochs}, but got "
                f"{self.eigenvalue_every}; 0 computes none."
            )
        if self.eigenvalue_batches < 1:
            raise ValueError(f"eigenvalue_batches must be at least 1, but got {self.eigenvalue_batches}.")

    @property
    def warmup_epochs(self) -> int:
        """Number of epochs in which the architecture is not updated, rounded to an integer."""
        return round(self.warmup * self.epochs if self.warmup < 1 else self.warmup)
