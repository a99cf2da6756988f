"""Compare the speed of genas with a slow, straightforward reference, side by side in one run.

``python tools/measure_speed.py one-shot``: a first check confirms that both compute the same (``speed/check.py``). Then
they take turns at every job (``speed/bench.py``): genas as its commands run it, the reference (``speed/reference.py``)
in one process with all threads. ``python tools/measure_speed.py search``: the jobs are the steps of differentiable
searches, the reference is ``speed/textbook_search.py``. Either with ``--help`` lists its options.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
from safetensors.torch import save_file
from speed.bench import ANGLES, WARM_STEPS, Bench
from speed.check import BATCH_SIZE
from speed.search_bench import METHODS, SearchSetting, measure_search
from speed.sides import Setting, peak_memory
from tqdm import tqdm

from genas.arguments import read_command_line
from genas.commands.evaluation import ContextRecipe
from genas.commands.reporting import say, table
from genas.data import DataOptions
from genas.devices import available_cores, resolve_device, resolve_precision
from genas.errors import UsageError
from genas.files import write_json
from genas.metrics import ScoringSettings
from genas.runs import Run
from genas.seeding import generator
from genas.supernet import Calibration, CellNetwork, SupernetTrainer, TrainingSettings
from genas.supernet.supernet_run import NetworkOptions, SupernetConfig


def measure_oneshot(
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
    """Measure training, scoring, evaluation and angles of genas and of a slow reference in turns.

    Args:
        space: Search space.
        data: Name of a data set, such as cifar10 or npz:PATH; by default random 32x32 images.
        data_root: Folder of downloaded data sets.
        channels: Channels of the first cells.
        cells: Cells per stage (NAS-Bench-201) or number of cells (DARTS); by default the published number.
        rounds: Number of timings of each job on each side.
        steps: Training steps of 64 images per round.
        candidates: Architectures scored per round.
        images: Validation images.
        calibration_images: Images of a BN calibration.
        calibration: How genas calibrates BN statistics: ema as the reference, or exact, which genas recommends.
        precision: Precision of genas: auto, fp32 or bf16. The reference computes in fp32.
        threads: Threads of training and of the reference, and number of processes with which genas scores; by default
            all cores.
        loader_workers: Worker processes of each of the reference's data loaders.
        json: File for all figures.
    """
    load = _load_average()
    count = max(images, calibration_images, steps * BATCH_SIZE)
    scoring = ScoringSettings(images, Calibration(calibration, calibration_images, BATCH_SIZE))
    training = TrainingSettings(flip=True, batch_size=BATCH_SIZE)
    with tempfile.TemporaryDirectory() as name, _process() as ours, _process() as reference:
        for process in (ours, reference):  # start them while this process is small: their peaks start at its size
            process.submit(peak_memory).result()
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
        setting = Setting(config, recipe, threads or available_cores(), loader_workers)
        bench = Bench(setting, ours, reference, rounds)
        facts = {**bench.facts(), "load average before": load}
        say("\n".join(f"{name}: {value}" for name, value in facts.items()) + "\n")
        bench.check()
        figures = bench.run(steps, candidates)
    say(table(["job", "unit", "genas", "reference", "ratio"], [figure.cells for figure in figures]))
    seconds = ANGLES / median(figures[-1].genas)
    say(f"\nMedians (least to greatest) of {rounds} rounds. {ANGLES} angles by genas: {seconds:.2f} s.")
    if json is not None:
        write_json(json, {"facts": facts, "figures": [asdict(figure) for figure in figures]})


def measure_search_steps(
    space: Literal["nasbench201", "darts"] = "nasbench201",
    channels: int = 16,
    cells: int | None = None,
    methods: str = ",".join(METHODS),
    rounds: int = 3,
    steps: int = 2,
    precision: str = "auto",
    threads: int | None = None,
    json: Path | None = None,
) -> None:
    """Measure steps of differentiable searches by genas and by the textbook in turns, on random 32x32 images.

    Args:
        space: Search space.
        channels: Channels of the first cells.
        cells: Cells per stage (NAS-Bench-201) or number of cells (DARTS); by default the published number.
        methods: Names of the searches, separated by commas.
        rounds: Number of timings of each search on each side.
        steps: Search steps of 64 images per round.
        precision: Precision of genas: auto, fp32 or bf16. The textbook computes in fp32.
        threads: Threads of each side; by default all cores.
        json: File for all figures.
    """
    load = _load_average()
    names = methods.split(",")
    unknown = sorted(set(names) - set(METHODS))
    if unknown:
        raise UsageError(f"methods must be some of {','.join(METHODS)}, but {unknown[0]!r} is not one of them.")
    compute = resolve_precision(precision, resolve_device("cpu"))
    settings = [SearchSetting(space, channels, cells, name, threads or available_cores(), compute) for name in names]
    figures = []
    for setting in tqdm(settings, unit="method", leave=False, disable=None):
        figures += measure_search(setting, rounds, steps)
    say(table(["job", "unit", "genas", "textbook", "ratio"], [figure.cells for figure in figures]))
    say(f"\nMedians (least to greatest) of {rounds} rounds; gradients of both sides were the same before.")
    if names[0] == "darts" and len(names) > 1:
        plain, *others = [median(figure.genas) for figure in figures[::2]]
        ratios = ", ".join(f"{name} {other / plain:.2f}" for name, other in zip(names[1:], others, strict=True))
        say(f"A step of genas, in steps of darts: {ratios}.")
    if json is not None:
        facts = {"load average before": load, "settings": [str(setting) for setting in settings]}
        write_json(json, {"facts": facts, "figures": [asdict(figure) for figure in figures]})


def _load_average() -> float:
    """Return the number of busy processes in the last minute, and warn of them."""
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"warning: other processes are busy (load average {load:.2f}): expect wrong figures.", file=sys.stderr)
    return load


def _process() -> ProcessPoolExecutor:
    """Return a separate process, so that genas' allocator settings and memory do not affect the reference's."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def _random_images(path: Path, count: int) -> Path:
    """Write ``count`` images for training and as many for validation."""
    rng = generator(0, "random images")
    pixels = rng.integers(256, size=(2 * count, 32, 32, 3), dtype=np.uint8)
    np.savez(path, x_train=pixels, y_train=np.arange(2 * count) % 10)
    return path


def _make_run(path: Path, config: SupernetConfig) -> Path:
    """Write the run of a supernet after a few training steps, so that its angles are not zero."""
    data = config.load_data()
    network = config.initial_network(data)
    trainer = SupernetTrainer(network, data, config.training, seed=config.seed)
    with Run.create(path, config.settings(data)) as run:
        _save(network, run.initial)
        for _ in range(WARM_STEPS):
            trainer.step()
        _save(network, run.weights)
    return path


def _save(network: CellNetwork, path: Path) -> None:
    save_file({name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}, path)


JOBS = {"one-shot": measure_oneshot, "search": measure_search_steps}


def main(argv: Sequence[str]) -> int:
    """Read the command line, measure, and return the exit code."""
    job, *words = argv or [""]
    if job in ("-h", "--help"):
        print(__doc__)
        return 0
    try:
        if job not in JOBS:
            raise UsageError(f"the first word must be {' or '.join(JOBS)}, but got {job!r}.")
        read_command_line(JOBS[job], f"measure_speed.py {job}", words).call()
    except UsageError as error:
        print(f"measure_speed.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
