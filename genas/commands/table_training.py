"""Training of a table's networks, one after the other in a worker process."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from genas.commands.standalone_network import StandaloneNetwork
from genas.data import DataOptions, ImageData
from genas.devices import resolve_precision
from genas.errors import TrainingDiverged
from genas.files import to_json
from genas.spaces import Architecture, SearchSpace
from genas.spaces import space as space_by_name
from genas.supernet import CellNetwork, StandaloneSettings, evaluate, fold_bn, train_standalone
from genas.tables import Column, Kind

KINDS: tuple[Kind, ...] = ("valid", "test")
"""Accuracies that are measured of a network, in the order of a row."""


@final
@dataclass(frozen=True)
class TrainingPlan:
    """Everything that a worker process needs to train any network of a table.

    Args:
        space: Name of the search space.
        data: Name of the data set.
        data_options: Its options.
        dataset: Its name in the columns.
        network: Size of the networks.
        training: Training settings.
        seed: Root seed.
        device: The device.
    """

    space: str
    data: str
    data_options: DataOptions
    dataset: str
    network: StandaloneNetwork
    training: StandaloneSettings
    seed: int
    device: str = "cpu"

    def source(self, data: ImageData) -> str:
        """Source of the accuracies, in words: all that they depend on except the images and the seed of each.

        Args:
            data: The data set, whose augmentation counts where the settings leave it to the data set.

        Returns:
            The words.
        """
        augmentation = dataclasses.asdict(self.training.augmentation(data))
        settings = {
            "seed": self.seed,
            "network": dataclasses.asdict(self.network),
            "training": dataclasses.asdict(self.training) | augmentation,
        }
        return f"stand-alone networks trained by genas build-table on {self.dataset}: {to_json(settings)}"

    @property
    def search_space(self) -> SearchSpace:
        """The space."""
        return space_by_name(self.space)

    def load_data(self) -> ImageData:
        """The data set, on the device."""
        return self.data_options.load(self.data, seed=self.seed).to(torch.device(self.device))

    def column(self, kind: Kind, seed: int | None = None) -> Column:
        """The table's column of an accuracy."""
        return Column(self.dataset, kind, self.training.epochs, seed)

    def initial_network(self, data: ImageData, seed: int) -> CellNetwork:
        """All operations with their initial weights: equal edges of all architectures start equally."""
        device = torch.device(self.device)
        resolve_precision("fp32", device)  # in a worker process, too
        skeleton = self.network.skeleton(self.search_space, data)
        return CellNetwork.initialised(self.search_space, skeleton, seed).to(device)


@functools.lru_cache(maxsize=1)
def _worker_data(plan: TrainingPlan) -> ImageData:
    return plan.load_data()


@functools.lru_cache(maxsize=1)
def _worker_network(plan: TrainingPlan, seed: int) -> CellNetwork:
    return plan.initial_network(_worker_data(plan), seed)


def train_rows(plan: TrainingPlan, seed: int, architectures: Sequence[Architecture]) -> dict[Architecture, np.ndarray]:
    """Train networks in a worker process and measure them.

    Args:
        plan: The training plan.
        seed: Seed of initial weights and batches.
        architectures: The architectures to train, one after the other.

    Returns:
        For each architecture the fractions of validation and test images that it classifies correctly; NaN for a split
        that the data set does not have, and for both if the training diverged.
    """
    data, initial = _worker_data(plan), _worker_network(plan, seed)
    rows = {}
    for architecture in architectures:
        try:
            network = train_standalone(initial.subnet(architecture), data, plan.training, seed=seed)
        except TrainingDiverged:
            rows[architecture] = np.full(len(KINDS), np.nan)
        else:
            rows[architecture] = np.array(list(_accuracies(fold_bn(network), data)))
    return rows


def _accuracies(network: CellNetwork, data: ImageData) -> Iterator[float]:
    for kind in KINDS:
        split = data.splits.get(kind)
        if split is None:
            yield np.nan
        else:
            yield evaluate(network, data.normalize(split.images), split.labels, batch_size=128).accuracy
