"""Work of the processes of ``measure_speed.py``: genas and the reference, each with a supernet that it builds once."""

from __future__ import annotations

import copy
import functools
import itertools
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from genas.commands.evaluation import ContextRecipe
from genas.data import ImageData
from genas.devices import keep_freed_memory
from genas.metrics import Flatness
from genas.seeding import generator, torch_generator
from genas.spaces import Architecture
from genas.supernet import CellNetwork, NetworkPath, PathSampler, SupernetTrainer, calibrate, fold_bn
from genas.supernet import evaluate as evaluate_subnet
from genas.supernet.supernet_run import SupernetConfig, load_supernet
from speed.check import BATCH_SIZE, reference_of, scoring_loaders
from speed.reference import (
    Images,
    Loader,
    accuracy,
    angle,
    augmented,
    evaluate,
    flatness,
    gaussian_noise,
    make_optimizer,
    recalibrate,
    train_step,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """The setting that both sides share.

    Args:
        config: The supernet.
        recipe: Its run folder, and the settings of scoring.
        threads: Threads of a process that has the machine to itself.
        loader_workers: Processes of each of the reference's data loaders.
    """

    config: SupernetConfig
    recipe: ContextRecipe
    threads: int
    loader_workers: int


def peak_memory() -> float:
    """Return the largest resident memory of this process so far in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def in_a_worker(function: Callable[..., T], *arguments: object) -> tuple[int, T]:
    """Return the worker's process id and what the function returns; the wait lets another worker take the next call."""
    time.sleep(0.2)
    return os.getpid(), function(*arguments)


# ------------------------------------------------------------------------------------------------ genas


@functools.lru_cache(maxsize=1)
def _trainer(setting: Setting) -> SupernetTrainer:
    keep_freed_memory()
    torch.set_num_threads(setting.threads)
    trained = load_supernet(setting.recipe.run, device="cpu", precision=setting.recipe.precision)
    return SupernetTrainer(
        trained.network, trained.data, setting.config.training, seed=setting.recipe.seed, precision=trained.precision
    )


def train_genas(setting: Setting, steps: int) -> float:
    """Return the seconds of some training steps."""
    trainer = _trainer(setting)
    start = time.perf_counter()
    for _ in range(steps):
        trainer.step()
    return time.perf_counter() - start


@functools.lru_cache(maxsize=1)
def _folded(recipe: ContextRecipe, architecture: Architecture) -> tuple[CellNetwork, Tensor, Tensor]:
    """A subnet in the form that genas evaluates, and the validation images."""
    trained = load_supernet(recipe.run, device="cpu", precision=recipe.precision)
    data, settings, count = trained.data, recipe.scoring.calibration, recipe.scoring.valid_images
    subnet = trained.network.subnet(architecture)
    calibrate(subnet, data.normalize(data.train.images[: settings.images]), settings)
    subnet = fold_bn(subnet.eval()).to(trained.precision)
    return subnet, data.normalize(data.valid.images[:count], trained.precision), data.valid.labels[:count]


def evaluate_genas(recipe: ContextRecipe, architecture: Architecture) -> float:
    """Return the seconds of evaluating a subnet whose BN statistics are known."""
    subnet, images, labels = _folded(recipe, architecture)
    start = time.perf_counter()
    evaluate_subnet(subnet, images, labels, batch_size=recipe.scoring.batch_size)
    return time.perf_counter() - start


# ------------------------------------------------------------------------------------------- reference


class Reference:
    """The slow reference with the run's weights, images and paths.

    Args:
        setting: The run.
    """

    def __init__(self, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        self.seed, workers = setting.recipe.seed, setting.loader_workers
        trained = load_supernet(setting.recipe.run, device="cpu", precision="fp32")
        self.initial, self.supernet = reference_of(trained.initial), reference_of(trained.network)
        self.loaders = scoring_loaders(trained.data, setting.recipe.scoring, self.seed, workers)
        self.noise = functools.partial(gaussian_noise, torch_generator(self.seed, "reference noise"))
        self.in_training = copy.deepcopy(self.supernet)
        self.optimizer = make_optimizer(self.in_training)
        self.batches = self._batches(trained.data, workers)
        self.paths = self._paths(PathSampler(trained.network, setting.config.training.paths))

    @staticmethod
    def _batches(data: ImageData, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        transform = augmented(data.mean, data.std, data.image_size, data.crop_padding)
        images = Images(data.train.images.permute(0, 2, 3, 1).numpy(), data.train.labels.numpy(), transform)
        loader: Loader = DataLoader(images, BATCH_SIZE, shuffle=True, num_workers=workers)
        return itertools.chain.from_iterable(itertools.repeat(loader))

    def _paths(self, sampler: PathSampler) -> Iterator[NetworkPath]:
        """Yield the paths that genas samples, step by step."""
        for step in itertools.count():
            (path,) = sampler.sample(generator(self.seed, "paths", step))
            yield path

    def train(self, steps: int) -> None:
        """Train some steps."""
        for _ in range(steps):
            images, labels = next(self.batches)
            train_step(self.in_training, self.optimizer, images, labels, next(self.paths))

    def score(self, architecture: Architecture) -> tuple[float, float, float]:
        """Return angle, accuracy and flatness."""
        return (
            self.angle(architecture),
            accuracy(self.supernet, architecture, *self.loaders),
            flatness(self.supernet, architecture, *self.loaders, Flatness().noise.stds, self.noise),
        )

    def angle(self, architecture: Architecture) -> float:
        """Return the angle in radians."""
        return angle(self.initial, self.supernet, architecture)


@functools.lru_cache(maxsize=1)
def _reference(setting: Setting) -> Reference:
    return Reference(setting)


@functools.lru_cache(maxsize=1)
def _recalibrated(setting: Setting, architecture: Architecture) -> nn.Module:
    reference = _reference(setting)
    supernet = copy.deepcopy(reference.supernet)
    recalibrate(supernet, supernet.path(architecture), reference.loaders[0])
    return supernet


def train_reference(setting: Setting, steps: int) -> float:
    """Return the seconds of some training steps."""
    reference = _reference(setting)
    start = time.perf_counter()
    reference.train(steps)
    return time.perf_counter() - start


def score_reference(setting: Setting, architectures: Sequence[Architecture]) -> float:
    """Return the seconds of scoring some architectures."""
    reference = _reference(setting)
    start = time.perf_counter()
    for architecture in architectures:
        reference.score(architecture)
    return time.perf_counter() - start


def evaluate_reference(setting: Setting, architecture: Architecture) -> float:
    """Return the seconds of evaluating a subnet whose BN statistics are known."""
    supernet, (_, validation) = _recalibrated(setting, architecture), _reference(setting).loaders
    start = time.perf_counter()
    evaluate(supernet, supernet.path(architecture), validation)
    return time.perf_counter() - start


def angles_reference(setting: Setting, architectures: Sequence[Architecture]) -> float:
    """Return the seconds of some angles."""
    reference = _reference(setting)
    start = time.perf_counter()
    for architecture in architectures:
        reference.angle(architecture)
    return time.perf_counter() - start
