"""Training along discrete paths: a supernet's sampled ones, or the only path of a stand-alone network."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from genas.supernet.network import NetworkPath
from genas.supernet.training import Trainer


class PathTrainer(Trainer):
    """A trainer whose steps run the network along discrete paths, which a subclass chooses."""

    @abc.abstractmethod
    def paths(self, step: int) -> Sequence[NetworkPath | None]:
        """The paths of one step, whose gradients are summed.

        Args:
            step: Number of the step, from 0; with the seed it determines all random draws.

        Returns:
            At least one path; ``None`` is the only path of a stand-alone network.
        """

    @property
    def keeps_zero_gradients(self) -> bool:
        """Whether weights that a step left out get zero gradients, not none: they still decay and keep momentum."""
        return False

    @final
    def learn(self, images: Tensor, labels: Tensor) -> None:
        """Sum the gradients of the step's paths and update the weights."""
        # Zeros instead of None let weight decay and momentum act on operations that this step leaves out.
        self.optimizer.zero_grad(set_to_none=not self.keeps_zero_gradients)
        paths = self.paths(self.step_number)
        for path in paths:
            with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                logits = self.network(images, path)
            loss = self.loss(logits, labels)
            loss.backward()  # type: ignore[no-untyped-call]
            self.loss_sum += loss.detach() / len(paths)
        self.move_weights()
