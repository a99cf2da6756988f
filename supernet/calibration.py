"""BN statistics of a subnet: the supernet's own running statistics mix all paths and would rank subnets at random."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genas.choices import check_choices
from genas.supernet.inference import batches
from genas.supernet.network import CellNetwork


@dataclass(frozen=True)
class Calibration:
    """Settings of the BN statistics of a subnet.

    Args:
        mode: ``exact``: mean and variance over all calibration images, pooled, in one pass; ``ema``: the papers' code:
            exponential moving average over batches from (0, 1), of which ``(1 - ema_momentum) ** batches`` remains;
            ``batch``: none are kept, every validation batch is normalised by its own statistics (NATS-Bench), so scores
            depend on ``batch_size``.
        images: Largest number of training images to calibrate on.
        ema_batch_size: Images per batch of ``ema``.
        ema_momentum: Weight of the newest batch in ``ema``.
        augmented: Whether the images are augmented as in training (the papers' code) or plain.

    Raises:
        ValueError: If a number is out of range, or an option is given that the mode does not read.
    """

    mode: Literal["exact", "ema", "batch"] = "exact"
    images: int = 1024
    ema_batch_size: int = 64
    ema_momentum: float = 0.1
    augmented: bool = False

    def __post_init__(self) -> None:
        check_choices(self)
        if self.images < 1 or self.ema_batch_size < 1:
            raise ValueError(
                f"images and ema_batch_size must be at least 1, but got {self.images} and {self.ema_batch_size}."
            )
        if not 0 < self.ema_momentum <= 1:
            raise ValueError(f"ema_momentum must lie in (0, 1], but got {self.ema_momentum}.")
        unread = {"exact": ("ema_batch_size", "ema_momentum"), "batch": (*_NAMES,), "ema": ()}[self.mode]
        given = [name for name in unread if getattr(self, name) != getattr(type(self), name)]
        if given:
            raise ValueError(f"{' and '.join(given)} would do nothing in mode {self.mode}; leave it out.")


_NAMES = [each.name for each in fields(Calibration) if each.name != "mode"]


@torch.no_grad()
def calibrate(network: CellNetwork, images: Tensor, settings: Calibration) -> CellNetwork:
    """Set the BN statistics of a subnet in place and put it in the mode for evaluation.

    Args:
        network: A stand-alone network whose BN buffers are not shared, e.g. from :meth:`CellNetwork.subnet`.
        images: Normalised calibration images, shape ``(n, image_channels, H, W)``, of which the first
            ``settings.images`` are used; ``exact`` runs them as one batch.
        settings: Settings of the statistics.

    Returns:
        The same network: in evaluation mode, or for ``batch`` with its BN layers in training mode.
    """
    images = images[: settings.images]
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.train()
    if settings.mode == "ema":
        with _momentum(layers, settings.ema_momentum):
            for batch in batches(images, settings.ema_batch_size):
                network(batch)
        network.eval()
    elif settings.mode == "exact":
        with _momentum(layers, 1.0), contextlib.ExitStack() as hooks:
            for layer in layers:
                hooks.callback(layer.register_forward_hook(_unbiased_to_population).remove)
            network(images)
        network.eval()
    return network


@contextlib.contextmanager
def _momentum(layers: list[nn.BatchNorm2d], value: float) -> Iterator[None]:
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = value
    try:
        yield
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum


def _unbiased_to_population(layer: nn.Module, inputs: tuple[Any, ...], _: Any) -> None:
    """Replace torch's unbiased variance by that of the population: evaluation then repeats the calibration exactly."""
    variance = layer.running_var
    assert isinstance(variance, Tensor)
    count = inputs[0].numel() // inputs[0].shape[1]
    variance.mul_((count - 1) / count)
