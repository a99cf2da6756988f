"""Shared parts of training-free metrics: a stand-alone network at initialisation, and measurements of it."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor, nn

from genas.metrics.base import Measurement, Metric
from genas.metrics.context import Context
from genas.metrics.images import initial_batch
from genas.seeding import derived_seed
from genas.spaces import Architecture, Skeleton
from genas.supernet import CellNetwork


def initialised_network(context: Context, channels: int | None, cells: int | None, repeat: int = 0) -> CellNetwork:
    """One freshly initialised network that holds all stand-alone networks of a space.

    It has the stand-alone macro-structure and, on every edge, all operations. The initial stand-alone network of an
    architecture is its path: ``network(images, network.path(architecture))``. So the same operation on the same edge
    starts from the same weights in all architectures (common random numbers: they compare architectures, not draws),
    and no network has to be built for each. BN keeps no statistics: in any mode it normalises by those of the batch, as
    in the first training step of a network.

    Args:
        context: Provides the space, the size of the images and the seed.
        channels: Channels of the first cells; ``None``: the published number.
        cells: Cells as in :class:`genas.spaces.Skeleton`; ``None``: the published number.
        repeat: Number of the repeat; each has other weights.

    Returns:
        The network on the context's device in at least float32, with torch's default initialisation. It belongs to the
        calling thread, in which it is kept as long as the context, and is shared by all metrics: do not change it.
    """

    def work_out() -> CellNetwork:
        skeleton = standalone_skeleton(context, channels, cells)
        network = CellNetwork.initialised(context.space, skeleton, derived_seed(context.seed, "stand-alone", repeat))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean = module.running_var = module.num_batches_tracked = None
        return network.to(context.device, torch.promote_types(context.precision, torch.float32))

    name = "initialised network", channels, cells, repeat
    return context.once_per_thread(name, work_out)


def standalone_skeleton(context: Context, channels: int | None, cells: int | None) -> Skeleton:
    """The macro-structure of the stand-alone networks.

    Args:
        context: Provides the space and the size of the images.
        channels: Channels of the first cells; ``None``: the published number.
        cells: Cells as in :class:`genas.spaces.Skeleton`; ``None``: the published number.

    Returns:
        The skeleton.

    Raises:
        ValueError: If the space has no network of this size.
    """
    data = context.data
    return context.space.standalone_skeleton(
        data.num_classes, data.image_size, data.image_channels, channels=channels, cells=cells
    )


def prunable_weights(network: CellNetwork) -> list[Tensor]:
    """The weights of all convolutions and of the classifier, over which pruning scores are summed; no biases, no BN."""
    return [module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


@dataclass(frozen=True)
class InitialMeasurement(Measurement):
    """Numbers of a stand-alone network at its initialisation.

    Architectures with equal ``supernet_key`` are the same function of the same weights here too, so they share numbers:
    an operation is identified by its edge, and dead edges are not run.

    Args:
        channels: Channels of the first cells; ``None``: as published.
        cells: Number of cells; ``None``: as published.
        repeat: Number of the initialisation.
    """

    needs_supernet: ClassVar[bool] = False

    channels: int | None
    cells: int | None
    repeat: int

    def check(self, context: Context) -> None:
        """Also refuse a size that the networks of the space cannot have."""
        super().check(context)
        standalone_skeleton(context, self.channels, self.cells)

    def network(self, context: Context) -> CellNetwork:
        """The network that holds all architectures."""
        return initialised_network(context, self.channels, self.cells, self.repeat)

    def output(self, context: Context, network: CellNetwork, images: Tensor, architecture: Architecture) -> Tensor:
        """Logits of an architecture; noise operations draw the same numbers for every architecture.

        Args:
            context: Provides the seed.
            network: The network that holds all architectures.
            images: Input of the network.
            architecture: A valid architecture.

        Returns:
            Shape ``(n, num_classes)``.
        """
        network.seed_noise(derived_seed(context.seed, "noise operations", self.repeat))
        logits: Tensor = network(images, network.path(architecture))
        return logits


@dataclass(frozen=True)
class BatchMeasurement(InitialMeasurement):
    """Numbers that depend on a batch of training images, the same for every architecture.

    Args:
        batch_size: Largest number of images.
    """

    batch_size: int

    def batch(self, context: Context) -> tuple[Tensor, Tensor]:
        """The batch that :func:`genas.metrics.images.initial_batch` draws."""
        dtype = torch.promote_types(context.precision, torch.float32)
        return context.once(
            ("initial batch", self.batch_size, self.repeat),
            lambda: initial_batch(context.data, self.batch_size, self.repeat, context.seed, dtype),
        )


@dataclass(frozen=True)
class TrainingFree(Metric):
    """A metric of a stand-alone network at its initialisation, averaged over several of them; it needs no supernet.

    Args:
        channels: Channels of the first cells; ``None``: those of the published network. Fewer are cheaper.
        cells: Cells as in :class:`genas.spaces.Skeleton` (per stage in NAS-Bench-201); ``None``: as published.
        repeats: Number of initialisations (and batches) whose mean is taken.

    Raises:
        ValueError: If a number is not positive.
    """

    column: ClassVar[int] = 0
    """Position of the metric's value among the measured numbers."""

    channels: int | None = None
    cells: int | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        for name in ("channels", "cells", "repeats"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, but got {value}.")

    @abc.abstractmethod
    def measurement(self, repeat: int) -> InitialMeasurement:
        """The measurement of one initialisation."""

    @final
    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """One measurement for each repeat, so that more repeats add to the stored ones."""
        return tuple(self.measurement(repeat) for repeat in range(self.repeats))

    @final
    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """The mean over the repeats for each architecture."""
        numbers = [context.measure(each, architectures)[:, self.column] for each in self.measurements]
        return np.asarray(np.mean(numbers, axis=0), dtype=np.float64)


@dataclass(frozen=True)
class OnBatch(TrainingFree):
    """A training-free metric that reads a batch of training images.

    Args:
        batch_size: Largest number of images.

    Raises:
        ValueError: If there are fewer than two images.
    """

    batch_size: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 2:
            raise ValueError(f"batch_size must be at least 2, but got {self.batch_size}.")
