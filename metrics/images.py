"""Images on which subnets are calibrated and evaluated: drawn once by the seed, the same for every architecture."""

from __future__ import annotations

import torch
from torch import Tensor

from genas.data import Augmentation, ImageData
from genas.data.splits import stratified_order
from genas.seeding import generator, torch_generator
from genas.supernet import Calibration


def validation_images(data: ImageData, limit: int | None, seed: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Normalised validation images and their labels.

    Args:
        data: The images.
        limit: Largest number of images, with the classes in proportion; ``None``: all.
        seed: Root seed.
        dtype: Floating type of the images.

    Returns:
        Images of shape ``(n, image_channels, H, W)`` and labels of shape ``(n,)``, in an order in which every batch
        holds the classes in proportion: BN statistics of batches of a single class would take the class out of them.
    """
    split = data.valid
    order = stratified_order(split.labels.cpu().numpy(), generator(seed, "validation images"))[:limit]
    chosen = torch.from_numpy(order).to(split.labels.device)
    return data.normalize(split.images[chosen], dtype), split.labels[chosen]


def calibration_images(
    data: ImageData, calibration: Calibration, augmentation: Augmentation, seed: int, dtype: torch.dtype
) -> Tensor:
    """Normalised training images on which BN statistics are calibrated.

    Args:
        data: The images.
        calibration: Their number, and whether they are augmented.
        augmentation: Augmentation of the supernet's training.
        seed: Root seed.
        dtype: Floating type of the images.

    Returns:
        Images of shape ``(n, image_channels, H, W)`` in random order.
    """
    count = min(calibration.images, len(data.train))
    chosen = torch.from_numpy(generator(seed, "calibration images").permutation(len(data.train))[:count])
    if calibration.augmented:
        rng = torch_generator(seed, "calibration augmentation")
        images, _ = data.training_batch(chosen, augmentation, rng, dtype)
        return images
    return data.normalize(data.train.images[chosen.to(data.train.labels.device)], dtype)


def initial_batch(data: ImageData, count: int, repeat: int, seed: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Normalised training images, not augmented, on which freshly initialised networks are measured.

    Args:
        data: The images.
        count: Number of images, uniformly drawn; all training images if there are fewer.
        repeat: Number of the repeat; each draws other images.
        seed: Root seed.
        dtype: Floating type of the images.

    Returns:
        Images of shape ``(n, image_channels, H, W)`` and labels of shape ``(n,)``.
    """
    order = generator(seed, "initial batch", repeat).permutation(len(data.train))[:count]
    chosen = torch.from_numpy(order).to(data.train.labels.device)
    return data.normalize(data.train.images[chosen], dtype), data.train.labels[chosen]
