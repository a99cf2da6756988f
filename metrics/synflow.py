"""SynFlow and log-SynFlow: the flow through the weights of an untrained network, without data."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import nn

from genas.metrics.context import Context
from genas.metrics.initialisation import InitialMeasurement, TrainingFree, prunable_weights
from genas.spaces import Architecture
from genas.supernet import CellNetwork


def linearised(network: CellNetwork) -> CellNetwork:
    """The network that SynFlow measures: absolute weights, no BN, float64.

    Flows multiply over layers: those of deep networks exceed float32's largest number. MPS has no float64, and one
    image is little work, so the network is on the CPU.

    Args:
        network: A network; not changed.

    Returns:
        A network that is linear on images without negative pixels.
    """
    linear = copy.deepcopy(network).to("cpu", torch.float64)
    for module in list(linear.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                module.register_module(name, nn.Identity())
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.abs_()
    return linear


@final
@dataclass(frozen=True)
class SynapticFlow(InitialMeasurement):
    """SynFlow and log-SynFlow, from one backward pass."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The two sums."""
        return ("synflow", "log_synflow")

    def run(self, context: Context, architecture: Architecture) -> Sequence[float]:
        """One forward and one backward pass of one image of ones."""
        name = "linearised network", self.channels, self.cells, self.repeat
        network = context.once_per_thread(name, lambda: linearised(self.network(context)))
        skeleton = network.skeleton
        image = torch.ones(1, skeleton.image_channels, skeleton.image_size, skeleton.image_size, dtype=torch.float64)
        weights = prunable_weights(network)
        flow = self.output(context, network, image, architecture).sum()
        gradients = torch.autograd.grad(flow, weights, allow_unused=True)  # None: not on the path
        pairs = [(weight.detach(), g.abs()) for weight, g in zip(weights, gradients, strict=True) if g is not None]
        plain = torch.stack([torch.sum(weight * gradient) for weight, gradient in pairs]).sum()
        logarithmic = torch.stack([torch.sum(weight * gradient.log1p()) for weight, gradient in pairs]).sum()
        return float(plain), float(logarithmic)


@dataclass(frozen=True)
class _FlowMetric(TrainingFree):
    """One column of :class:`SynapticFlow`."""

    @final
    def measurement(self, repeat: int) -> SynapticFlow:
        """The measurement of one initialisation."""
        return SynapticFlow(self.channels, self.cells, repeat)


@final
@dataclass(frozen=True)
class SynFlow(_FlowMetric):
    r"""Synaptic flow; higher is better.

    .. math:: S = \sum_\theta \Bigl| \theta \, \frac{\partial R}{\partial \theta} \Bigr|, \qquad
        R = \sum_k f_k(\mathbf{1}; |\theta|)

    The sum of the logits :math:`f_k` for an image of ones, in a network with the absolute values of its weights and
    without BN; :math:`\theta` runs over the (absolute) weights of convolutions and classifier. Values span many orders
    of magnitude. A disconnected cell has the lowest value, 0.

    Reference:
        Tanaka et al., Pruning neural networks without any data by iteratively conserving synaptic flow, NeurIPS 2020;
        as a score of whole networks: Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021.
    """

    name: ClassVar[str] = "synflow"
    column: ClassVar[int] = 0


@final
@dataclass(frozen=True)
class LogSynFlow(_FlowMetric):
    r"""SynFlow with the logarithms of the gradients, which keeps single layers from outweighing all others.

    .. math:: S = \sum_\theta |\theta| \, \log\Bigl(1 + \Bigl|\frac{\partial R}{\partial \theta}\Bigr|\Bigr)

    with :math:`R` and :math:`\theta` as in :class:`SynFlow`; higher is better, 0 for a disconnected cell.

    Reference:
        Cavagnero et al., FreeREA: Training-Free Evolution-Based Architecture Search, WACV 2023.
    """

    name: ClassVar[str] = "log_synflow"
    column: ClassVar[int] = 1
