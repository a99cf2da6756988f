"""The losses of a supernet that runs weighted mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from genas.search.differentiable.parts import Objective, Weights
from genas.seeding import derived_seed
from genas.supernet import CellNetwork
from genas.supernet.mixtures import Mixture
from genas.supernet.network import Statistics

Batch = tuple[Tensor, Tensor]
"""Normalised and augmented images, shape ``(n, image_channels, H, W)``, and their classes, shape ``(n,)``."""


@final
class NetworkObjective(Objective):
    """The losses of a network on the two batches of a step.

    Nothing is kept from one call to the next. Noise operations (S4) draw the same noise in each call on a batch.

    Args:
        network: The supernet, on its device. BN uses the statistics of each loss, whatever the network's mode.
        search_batch: Images and classes of the search loss, on the same device.
        training_batch: Images and classes of the training loss.
        precision: Compute type of the forward pass: float32, or bfloat16 through autocast.
        label_smoothing: Mass moved from the true class to the uniform distribution.
        track_statistics: Whether BN keeps running statistics (the authors' code of most methods). Without them
            (NATS-Bench's) every loss uses the statistics of its batch, whatever is requested.
        seed: Seed of the step's noise operations.
        weights: The network's parameters by name, where they are known already; it takes a while to list them.

    Example:
        >>> from genas.spaces import NASBench201
        >>> space = NASBench201()
        >>> skeleton = space.supernet_skeleton(num_classes=10, image_size=8, channels=4, cells=1)
        >>> batch = torch.zeros(2, 3, 8, 8), torch.tensor([3, 5])
        >>> network = CellNetwork.initialised(space, skeleton, seed=0)
        >>> objective = NetworkObjective(network, search_batch=batch, training_batch=batch)
        >>> alphas = torch.zeros(6, 5, requires_grad=True)
        >>> loss = objective.search_loss(objective.spread([Mixture(alphas.softmax(dim=1))]))
        >>> torch.autograd.grad(loss, alphas)[0].shape
        torch.Size([6, 5])
    """

    def __init__(
        self,
        network: CellNetwork,
        search_batch: Batch,
        training_batch: Batch,
        *,
        precision: torch.dtype = torch.float32,
        label_smoothing: float = 0.0,
        track_statistics: bool = True,
        seed: int = 0,
        weights: Weights | None = None,
    ) -> None:
        self.network, self.search_batch, self.training_batch = network, search_batch, training_batch
        self.precision, self.label_smoothing, self.seed = precision, label_smoothing, seed
        self.track_statistics = track_statistics
        self._weights = weights

    @property
    def weights(self) -> Weights:
        """The network's parameters."""
        if self._weights is None:
            self._weights = dict(self.network.named_parameters())
        return self._weights

    @property
    def cell_types(self) -> tuple[int, ...]:
        """The cell types of the network."""
        return self.network.cell_types

    def search_loss(self, mixtures: Sequence[Mixture], weights: Weights | None = None) -> Tensor:
        """The loss on the search batch; see :meth:`Objective.search_loss`."""
        return self._loss("search", mixtures, weights, "batch")

    def training_loss(
        self, mixtures: Sequence[Mixture], weights: Weights | None = None, *, statistics: Statistics = "batch"
    ) -> Tensor:
        """The loss on the training batch; see :meth:`Objective.training_loss`."""
        return self._loss("training", mixtures, weights, statistics)

    def logits(self, images: Tensor, mixtures: Sequence[Mixture]) -> Tensor:
        """Logits of other images with the live weights and the statistics of their batch. Changes nothing.

        Args:
            images: Images like those of the batches.
            mixtures: One per cell.

        Returns:
            Shape ``(n, num_classes)``, at least float32.
        """
        return self._logits("search", images, mixtures, None, "batch")

    def _loss(self, which: str, mixtures: Sequence[Mixture], weights: Weights | None, statistics: Statistics) -> Tensor:
        images, labels = self.search_batch if which == "search" else self.training_batch
        logits = self._logits(which, images, mixtures, weights, statistics)
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def _logits(
        self, noise: str, images: Tensor, mixtures: Sequence[Mixture], weights: Weights | None, statistics: Statistics
    ) -> Tensor:
        network, narrow = self.network, self.precision != torch.float32
        network.seed_noise(derived_seed(self.seed, "noise operations", noise))
        with (
            network.statistics(statistics if self.track_statistics else "batch"),
            torch.autocast(images.device.type, self.precision, enabled=narrow),
        ):
            if weights is None:
                logits: Tensor = network(images, mixtures)
            else:
                # No weight of the network has two names, for which torch would look at every call.
                logits = functional_call(network, dict(weights), (images, mixtures), tie_weights=False)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))
