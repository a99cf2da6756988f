"""What the processes of ``measure_speed.py`` do: genas on one side, the slow reference on the other; each builds its supernet once."""

from __future__ import annotations

import functools
import itertools
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from slow_reference import (
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
from speed_check import BATCH_SIZE, reference_of, scoring_loaders
from torch import Tensor, nn
from torch.utils.data import DataLoader

from genas.commands.evaluation import ContextRecipe
from genas.devices import keep_freed_memory
from genas.metrics import Context, Flatness
from genas.seeding import generator, torch_generator
from genas.spaces import Architecture
from genas.supernet import SupernetTrainer
from genas.supernet.project import SupernetConfig, load_supernet


@dataclass(frozen=True)
class Setting:
    """What both sides share.

    Args:
        config: The supernet.
        recipe: Its run folder, and how subnets are scored.
        threads: Threads of a process that has the machine for itself.
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
def _context(recipe: ContextRecipe) -> Context:
    return Context(load_supernet(recipe.run, device="cpu", precision=recipe.precision), recipe.scoring)


def evaluate_genas(recipe: ContextRecipe, architecture: Architecture) -> float:
    """Return the seconds of evaluating a subnet; its BN statistics are kept from the first call."""
    context = _context(recipe)
    start = time.perf_counter()
    context.evaluate(architecture)
    return time.perf_counter() - start


# -------------------------------------------------------------------------------------------- reference


class Reference:
    """The slow reference with the run's weights, data loaders and paths.

    Args:
        setting: The run.
    """

    def __init__(self, setting: Setting) -> None:
        torch.set_num_threads(setting.threads)
        trained = load_supernet(setting.recipe.run, device="cpu", precision="fp32")
        self.data, self.seed = trained.data, setting.recipe.seed
        self.initial, self.supernet = reference_of(trained.initial), reference_of(trained.network)
        self.optimizer = make_optimizer(self.supernet)
        self.calibration, self.validation = scoring_loaders(
            trained.data, setting.recipe.scoring, setting.recipe.seed, setting.loader_workers
        )
        self.batches = self._batches(setting.loader_workers)
        self.sampler = SupernetTrainer(
            trained.network, trained.data, setting.config.training, seed=self.seed
        ).sampler
        self.steps = 0

    def _batches(self, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        data = self.data
        pixels = data.train.images.permute(0, 2, 3, 1).numpy()
        transform = augmented(data.mean, data.std, data.image_size, data.crop_padding)
        images = Images(pixels, data.train.labels.numpy(), transform)
        loader: Loader = DataLoader(images, BATCH_SIZE, shuffle=True, num_workers=workers)
        return itertools.chain.from_iterable(itertools.repeat(loader))

    def train(self, steps: int) -> None:
        """Train on the paths that genas takes at these steps."""
        for images, labels in itertools.islice(self.batches, steps):
            (path,) = self.sampler.sample(generator(self.seed, "paths", self.steps))
            train_step(self.supernet, self.optimizer, images, labels, path)
            self.steps += 1
