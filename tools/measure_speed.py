"""Measure genas against a slow, obvious reference, side by side in one run: ``python tools/measure_speed.py --help``.

First both are shown to compute the same (``speed_check.py``). Then they take turns: genas as its commands run it, the reference
(``slow_reference.py``) in one process with all threads. Each side trains in a process of its own, so that memory is told apart.
"""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from safetensors.torch import save_file
from slow_reference import Images, accuracy, angle, augmented, evaluate, flatness, gaussian_noise, make_optimizer, recalibrate, train_step
from speed_check import BATCH_SIZE, check_same_scores, check_same_training, reference_of, scoring_loaders
from torch.utils.data import DataLoader

from genas.arguments import read_arguments
from genas.commands.evaluation import ContextRecipe, Scores, measure_rows
from genas.commands.reporting import say, table
from genas.data import DataOptions
from genas.devices import available_cores, keep_freed_memory
from genas.environment import environment
from genas.files import write_json
from genas.metrics import Context, Flatness, ScoringSettings, angle_table, parse_metric
from genas.runs import Run
from genas.search import process_pool
from genas.seeding import generator, torch_generator
from genas.spaces import Architecture, SearchSpace
from genas.spaces import space as space_of
from genas.supernet import Calibration, SupernetTrainer, TrainingSettings
from genas.supernet.project import COMMAND, NetworkOptions, SupernetConfig, load_supernet
from genas.spelling import UsageError

T = TypeVar("T")
METRIC = "angle+accuracy+flatness"
ANGLES = 15_625
MIXED_CELLS = {
    "nasbench201": "3,1,2,1,3,2",
    "darts": "3,6,0,4,4,0,6,6,0,0,0,0,4,3,5,2,0,6,4,0,3,0,6,0,0,5,0,7",
}
"""The subnet whose evaluation is timed: one with most operations, and GeNAS' flattest on CIFAR-10."""


@dataclass(frozen=True)
class Setting:
    """What the processes of both sides share.

    Args:
        config: The supernet.
        recipe: Its run folder and how subnets are scored.
        threads: Threads of a process that has the machine for itself.
        loader_workers: Processes of the reference's data loaders.
    """

    config: SupernetConfig
    recipe: ContextRecipe
    threads: int
    loader_workers: int


# ------------------------------------------------------------------------------------------------- genas, in its processes


@functools.lru_cache(maxsize=1)
def _trainer(setting: Setting) -> SupernetTrainer:
    keep_freed_memory()
    torch.set_num_threads(setting.threads)
    trained = load_supernet(setting.recipe.run, precision=setting.recipe.precision)
    return SupernetTrainer(trained.network, trained.data, setting.config.training, seed=0, precision=trained.precision)


def train_genas(setting: Setting, steps: int) -> float:
    """Train on; images per second."""
    trainer = _trainer(setting)
    start = time.perf_counter()
    for _ in range(steps):
        trainer.step()
    return steps * BATCH_SIZE / (time.perf_counter() - start)


@functools.lru_cache(maxsize=1)
def _context(recipe: ContextRecipe) -> Context:
    trained = load_supernet(recipe.run, device=recipe.device, precision=recipe.precision)
    return Context(trained, recipe.scoring, seed=recipe.seed)


def evaluate_genas(recipe: ContextRecipe, architecture: Architecture) -> float:
    """Evaluate a subnet whose BN statistics are known; images per second."""
    context = _context(recipe)
    start = time.perf_counter()
    context.evaluate(architecture)
    return recipe.scoring.valid_images / (time.perf_counter() - start)
