"""Scores for searches and rankings: measured in this process or in several, kept in the store, joined by a metric."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
from tqdm import tqdm

from genas import spaces
from genas.data import DataOptions
from genas.devices import resolve_device, resolve_precision
from genas.errors import RunError
from genas.metrics import (
    Context,
    Measurement,
    Metric,
    Needs,
    ScoringSettings,
    architecture_cost,
    lacking,
)
from genas.runs import Run
from genas.scores import ScoreStore
from genas.search import measure_in_parallel, process_pool
from genas.spaces import Architecture
from genas.supernet.supernet_run import load_supernet


@final
@dataclass(frozen=True)
class ContextRecipe:
    """Everything that a process needs to make its own context, with or without a supernet.

    Args:
        run: Folder of the supernet's run; ``None``: there is no supernet.
        scoring: Settings of the evaluation of subnets.
        seed: Root seed of the context.
        device: The device.
        precision: The precision.
        space: The search space, where there is no supernet.
        data: The data set, where there is no supernet; ``None``: no images.
        data_options: Its options.
    """

    run: Path | None
    scoring: ScoringSettings
    seed: int
    device: str
    precision: str
    space: str = "nasbench201"
    data: str | None = None
    data_options: DataOptions = field(default_factory=DataOptions)

    def context(self, store: ScoreStore | None = None) -> Context:
        """Make the context.

        Args:
            store: The store of its measurements; by default in memory.

        Returns:
            A new context.
        """
        if self.run is not None:
            trained = load_supernet(self.run, device=self.device, precision=self.precision)
            return Context(trained, self.scoring, seed=self.seed, store=store)
        where = resolve_device(self.device)
        images = None if self.data is None else self.data_options.load(self.data, seed=self.seed).to(where)
        precision = resolve_precision(self.precision, where)
        return Context.untrained(
            spaces.space(self.space), images, self.scoring, precision=precision, seed=self.seed, store=store
        )


@functools.lru_cache(maxsize=1)
def _worker_context(recipe: ContextRecipe) -> Context:
    return recipe.context()


def measure_rows(
    recipe: ContextRecipe, measurements: tuple[Measurement, ...], architectures: Sequence[Architecture]
) -> dict[Architecture, np.ndarray]:
    """Measure in a worker process; the context is made at the first call.

    Args:
        recipe: Recipe of the context.
        measurements: The measurements.
        architectures: Valid architectures.

    Returns:
        For each architecture the numbers of all measurements, one after the other.
    """
    context = _worker_context(recipe)
    context.prepare(measurements, architectures)
    columns = [context.measure(measurement, architectures) for measurement in measurements]
    return dict(zip(architectures, np.concatenate(columns, axis=1), strict=True))


def score_store(supernet: Path, own: Path) -> ScoreStore:
    """The store in which measurements of a supernet are kept.

    Args:
        supernet: Folder of the supernet.
        own: File in the folder of the search or ranking.

    Returns:
        The supernet's, so that others need not measure again; where that cannot be written, the own one with all that
        the supernet's has, and notes, also where that cannot be read.
    """
    shared = Run.open(supernet).scores
    if os.access(supernet, os.W_OK) and (not shared.exists() or os.access(shared, os.W_OK)):
        return ScoreStore(shared)
    print(f"note: {supernet} cannot be written, so measurements are kept in {own}.", file=sys.stderr)
    store = ScoreStore(own)
    if shared.exists():
        try:
            store.take_over(shared)
        except RunError as error:
            print(f"note: the measurements in {supernet} are made again. {error}", file=sys.stderr)
    return store


@contextlib.contextmanager
def worker_pool(workers: int, metrics: Iterable[Metric]) -> Iterator[Executor | None]:
    """Start the processes that measure, if more than one is wanted and there is something to measure.

    Args:
        workers: Number of processes.
        metrics: The metrics that will be scored.

    Yields:
        The executor; ``None``: measure in this process.
    """
    if workers == 1 or not any(metric.measurements for metric in metrics):
        yield None
        return
    with process_pool(workers) as pool:
        yield pool


def measure(
    context: Context,
    needs: Needs,
    executor: Executor | None,
    recipe: ContextRecipe,
    *,
    progress: bool = False,
    description: str = "measure",
) -> None:
    """Measure what the store of a context lacks, and keep it there.

    Args:
        context: The supernet and its store.
        needs: Measurements of each architecture.
        executor: Runs the measurements; ``None``: this process.
        recipe: Recipe of the workers' context.
        progress: Whether to show a progress bar, on the standard error stream, where there is something to do.
        description: Label of the bar.
    """
    missing = lacking(context, needs)
    with tqdm(total=len(missing), desc=description, unit="arch", disable=not (progress and missing)) as bar:
        if executor is None:
            for architecture, measurements in missing.items():
                context.prepare(measurements, [architecture])
                bar.update()
            return
        groups: defaultdict[tuple[Measurement, ...], list[Architecture]] = defaultdict(list)
        for architecture, measurements in missing.items():
            groups[measurements].append(architecture)
        for measurements, members in groups.items():
            if any(each.needs_images for each in measurements):
                # The most expensive first: a late one would keep the other workers waiting.
                members.sort(key=lambda each: _macs(context, each), reverse=True)
            work = functools.partial(measure_rows, recipe, measurements)
            for rows in measure_in_parallel(executor, work, members, chunk_size=1):
                _keep(context, measurements, rows)
                bar.update(len(rows))


def _macs(context: Context, architecture: Architecture) -> int:
    return architecture_cost(context, architecture, "subnet" if context.has_supernet else "standalone").macs


def _keep(context: Context, measurements: Sequence[Measurement], rows: Mapping[Architecture, np.ndarray]) -> None:
    ends = np.cumsum([len(measurement.columns) for measurement in measurements])[:-1]
    for architecture, row in rows.items():
        for measurement, part in zip(measurements, np.split(row, ends), strict=True):
            context.store.put(context.key(measurement), {architecture: part})


@final
class Scores:
    """Scores architectures by a metric: what the store lacks is measured first, by the workers if there are any.

    Args:
        context: The supernet and its store.
        metric: The metric.
        executor: Runs the measurements; ``None``: this process.
        recipe: Recipe of the workers' context; needed with an executor.
        progress: Whether each call shows a progress bar of its own.
    """

    def __init__(
        self,
        context: Context,
        metric: Metric,
        executor: Executor | None,
        recipe: ContextRecipe,
        *,
        progress: bool = False,
    ) -> None:
        self._context, self._metric, self._executor, self._recipe = context, metric, executor, recipe
        self._progress = progress

    def __call__(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """Scores, higher is better, NaN where a measurement failed.

        Args:
            architectures: Valid architectures.

        Returns:
            Float64 array of shape ``(len(architectures),)``.
        """
        if self._executor is not None or self._progress:
            needs = self._metric.needs(self._context, architectures)
            measure(self._context, needs, self._executor, self._recipe, progress=self._progress)
        return self._metric.score(self._context, architectures)
