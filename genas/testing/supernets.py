"""Tiny supernets made by hand: random weights on made-up images, nothing trained, nothing on disk."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from genas.data import ImageData, Split
from genas.spaces import SearchSpace, Skeleton
from genas.spaces import space as space_by_name
from genas.supernet import CellNetwork
from genas.supernet.supernet_run import SupernetConfig, TrainedSupernet


def tiny_supernet(
    space: str = "nasbench201",
    *,
    channels: int = 2,
    cells: int | None = None,
    size: int = 8,
    classes: int = 6,
    train: int = 40,
    valid: int = 30,
    seed: int = 0,
    precision: torch.dtype = torch.float64,
    **options: Any,
) -> TrainedSupernet:
    """A supernet as training leaves it, in milliseconds and without training, for the context of a metric under test.

    No part of it can be left out unnoticed: BN weights, biases and (stale) statistics are random as well. The
    classifier is large, so that the losses of architectures spread out. The class of an image is its colour.

    Args:
        space: Name of the search space.
        channels: Channels of the first cells.
        cells: Cells per stage (NAS-Bench-201) or number of cells; by default as few as have every kind.
        size: Height and width of the images in pixels.
        classes: Number of classes.
        train: Number of training images.
        valid: Number of validation images.
        seed: Seed of the weights.
        precision: Compute type; float64 for comparisons with a slow version.
        **options: Other fields of the :class:`genas.spaces.Skeleton`, such as ``affine`` and ``image_channels``.

    Returns:
        The supernet with its initial weights and its images.
    """
    cells_of = space_by_name(space)
    fewest = 1 if len(cells_of.cell_types) == 1 else 4  # normal, two reductions, normal
    skeleton = replace(
        cells_of.supernet_skeleton(classes, size, channels=channels, cells=fewest if cells is None else cells),
        **options,
    )
    stored = torch.promote_types(precision, torch.float32)
    initial, network = (_network(cells_of, skeleton, 2 * seed + k, stored) for k in range(2))
    data = _coloured(train, valid, classes, size, skeleton.image_channels)
    return TrainedSupernet(SupernetConfig(space=space), network, initial, data, precision)


def _coloured(train: int, valid: int, classes: int, size: int, channels: int) -> ImageData:
    rng = np.random.default_rng(7)
    colours = rng.integers(60, 196, size=(classes, 1, 1, 3))

    def split(count: int) -> Split:
        labels = rng.permutation(np.arange(count) % classes)
        pixels = colours[labels] + rng.integers(-60, 60, size=(count, size, size, 3))
        return Split.from_arrays(pixels[..., :channels].clip(0, 255).astype(np.uint8), labels.astype(np.int64))

    names = tuple(f"class {k}" for k in range(classes))
    mean, std = (0.5, 0.4, 0.6), (0.25, 0.2, 0.3)
    return ImageData(
        "colours", names, mean[:channels], std[:channels], split(train), split(valid), None, True, 1, "synthetic"
    )


def _network(space: SearchSpace, skeleton: Skeleton, seed: int, dtype: torch.dtype) -> CellNetwork:
    network = CellNetwork.initialised(space, skeleton, seed).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                if module.affine:
                    module.weight.uniform_(0.5, 1.5, generator=generator)
                    module.bias.normal_(generator=generator)
                module.running_mean.normal_(generator=generator)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5, generator=generator)  # type: ignore[union-attr]
        network.head.classifier.weight *= 4
    return network.eval()
