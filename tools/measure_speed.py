"""Measure genas against a slow, obvious reference, side by side in one run: ``python tools/measure_speed.py --help``.

First both are shown to compute the same (``speed_check.py``). Then they take turns at every job (``speed_sides.py``):
genas as its commands run it, the reference (``slow_reference.py``) in one process with all threads.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, final

import numpy as np
import speed_sides as sides
import torch
from safetensors.torch import save_file
from speed_check import BATCH_SIZE, check_same_scores, check_same_training
from torch import Tensor

from genas.arguments import read_arguments
from genas.commands.evaluation import ContextRecipe, Scores, measure_rows
from genas.commands.reporting import say, table
from genas.data import DataOptions
from genas.devices import available_cores, device_facts
from genas.environment import environment
from genas.files import write_json
from genas.metrics import Context, ScoringSettings, angle_table, parse_metric
from genas.runs import Run
from genas.search import process_pool
from genas.seeding import generator
from genas.spaces import Architecture, SearchSpace
from genas.spelling import UsageError
from genas.supernet import Calibration, CellNetwork, SupernetTrainer, TrainingSettings
from genas.supernet.project import COMMAND, NetworkOptions, SupernetConfig, TrainedSupernet, load_supernet

METRIC = parse_metric("angle+accuracy+flatness")
ANGLES, REFERENCE_ANGLES = 15_625, 20
WARM_STEPS = 5
MIXED = {"nasbench201": "3,1,2,1,3,2", "darts": "3,6,0,4,4,0,6,6,0,0,0,0,4,3,5,2,0,6,4,0,3,0,6,0,0,5,0,7"}
"""The subnet whose evaluation is timed: one with most of the operations; GeNAS' flattest on CIFAR-10."""


@final
@dataclass(frozen=True)
class Comparison:
    """The rates of both sides, round by round.

    Args:
        job: What was done.
        unit: Unit of the rates.
        genas: Rate of genas in each round.
        reference: Rate of the reference in each round.
    """

    job: str
    unit: str
    genas: list[float]
    reference: list[float]

    @property
    def row(self) -> list[str]:
        """Medians with the least and the greatest value."""
        ratios = [ours / theirs for ours, theirs in zip(self.genas, self.reference, strict=True)]
        return [self.job, self.unit, *(_with_spread(values) for values in (self.genas, self.reference, ratios))]


def _with_spread(values: Sequence[float]) -> str:
    return f"{median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def measure_speed(
    space: Literal["nasbench201", "darts"] = "nasbench201",
    data: str | None = None,
    data_root: Path | None = None,
    channels: int = 16,
    cells: int | None = None,
    rounds: int = 3,
    steps: int = 20,
    candidates: int = 6,
    images: int = 500,
    calibration_images: int = 256,
    calibration: Literal["ema", "exact"] = "ema",
    precision: str = "auto",
    threads: int | None = None,
    loader_workers: int = 0,
    json: Path | None = None,
) -> None:
    """Measure training, scoring, evaluation and angles of genas and of a slow reference, which take turns.

    Args:
        space: Search space.
        data: Name of a data set, such as cifar10 or npz:PATH; by default random 32x32 images.
        data_root: Folder of downloaded data sets.
        channels: Channels of the first cells.
        cells: Cells per stage (NAS-Bench-201) or number of cells (DARTS); by default the published number.
        rounds: How often each job is timed on each side.
        steps: Training steps of 64 images per round.
        candidates: Architectures scored per round.
        images: Validation images.
        calibration_images: Images of a BN calibration.
        calibration: How genas finds BN statistics; ema is what the reference does, exact is what genas recommends.
        precision: Of genas: auto, fp32 or bf16. The reference computes in fp32.
        threads: Threads of training, of the reference, and number of processes with which genas scores; by default
            all cores.
        loader_workers: Worker processes of each of the reference's data loaders.
        json: File for all figures.
    """
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"warning: other processes are busy (load average {load:.2f}): expect wrong figures", file=sys.stderr)
    count = max(images, calibration_images, steps * BATCH_SIZE)
    scoring = ScoringSettings(images, Calibration(calibration, calibration_images, BATCH_SIZE), BATCH_SIZE)
    training = TrainingSettings(flip=True, batch_size=BATCH_SIZE)
    with tempfile.TemporaryDirectory() as name, _process() as ours, _process() as reference:
        for process in (ours, reference):  # they start while this process is small: their peaks start at its size
            process.submit(sides.peak_memory).result()
        folder = Path(name)
        config = SupernetConfig(
            space=space,
            data=data or f"npz:{_random_images(folder / 'images.npz', count)}",
            data_options=DataOptions(data_root),
            network=NetworkOptions(channels, cells),
            training=training,
            device="cpu",
            precision=precision,
        )
        recipe = ContextRecipe(_make_run(folder / "run", config), scoring, 0, "cpu", precision)
        setting = sides.Setting(config, recipe, threads or available_cores(), loader_workers)
        result = _measure(setting, ours, reference, rounds, steps, candidates)
    result["load average before"] = load
    _report(setting, result)
    if json is not None:
        write_json(json, result)


