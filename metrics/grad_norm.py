"""The norm of the loss' gradient at initialisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch.nn import functional

from genas.metrics.context import Context
from genas.metrics.initialisation import BatchMeasurement, OnBatch, prunable_weights
from genas.spaces import Architecture


@final
@dataclass(frozen=True)
class LayerGradients(BatchMeasurement):
    """The norms of the gradients of all layers, added up."""

    @property
    def columns(self) -> tuple[str, ...]:
        """One number."""
        return ("sum_of_norms",)

    def run(self, context: Context, architecture: Architecture) -> Sequence[float]:
        """One forward and one backward pass."""
        network, (images, labels) = self.network(context), self.batch(context)
        loss = functional.cross_entropy(self.output(context, network, images, architecture), labels)
        gradients = torch.autograd.grad(loss, prunable_weights(network), allow_unused=True)  # None: not on the path
        norms = torch.stack([gradient.norm() for gradient in gradients if gradient is not None])
        return (float(norms.cpu().double().sum()),)


@final
@dataclass(frozen=True)
class GradNorm(OnBatch):
    r"""Sum over the layers of the Euclidean norm of the loss' gradient; higher is better.

    .. math:: S = \sum_l \Bigl\| \frac{\partial L}{\partial W_l} \Bigr\|_2

    with the mean cross-entropy :math:`L` of a batch and the weights :math:`W_l` of convolutions and classifier. BN
    normalises by the batch. A disconnected cell has the lowest value, 0: nothing that depends on weights reaches the
    logits.

    Args:
        batch_size: Largest number of images; the paper's 64.

    Reference:
        Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021, Section 3.1.
    """

    name: ClassVar[str] = "grad_norm"

    def measurement(self, repeat: int) -> LayerGradients:
        """The measurement of one initialisation."""
        return LayerGradients(self.channels, self.cells, repeat, self.batch_size)
