"""Scores for a search: measured in this process or in several, kept in the store, joined by a metric."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from genas.metrics import Combined, Context, Measurement, Metric, ScoringSettings, architecture_cost
from genas.search import measure_in_parallel
from genas.spaces import Architecture
from genas.supernet.project import load_supernet


@final
@dataclass(frozen=True)
class ContextRecipe:
    """What a worker process needs to make the context of a supernet for itself.

    Args:
        run: Folder of the supernet's run.
        scoring: On what subnets are evaluated.
        seed: Root seed of the context.
        device: Where.
        precision: In which precision.
    """

    run: Path
    scoring: ScoringSettings
    seed: int
    device: str
    precision: str


@functools.lru_cache(maxsize=1)
def _worker_context(recipe: ContextRecipe) -> Context:
    trained = load_supernet(recipe.run, device=recipe.device, precision=recipe.precision)
    return Context(trained, recipe.scoring, seed=recipe.seed)


def measure_rows(
    recipe: ContextRecipe, measurements: tuple[Measurement, ...], architectures: Sequence[Architecture]
) -> dict[Architecture, np.ndarray]:
    """Measure in a worker process; the context is made at the first call.

    Args:
        recipe: How to make the context.
        measurements: What to measure.
        architectures: Valid architectures.

    Returns:
        For each architecture the numbers of all measurements, one after the other.
    """
    context = _worker_context(recipe)
    context.prepare(measurements, architectures)
    columns = [context.measure(measurement, architectures) for measurement in measurements]
    return dict(zip(architectures, np.concatenate(columns, axis=1), strict=True))


@final
class Scores:
    """Scores architectures by a metric: what the store lacks is measured first, by the workers if there are any.

    Args:
        context: The supernet and its store.
        metric: The metric.
        executor: Runs the measurements; ``None``: this process.
        recipe: How the executor's workers make their context; needed with an executor.
    """

    def __init__(self, context: Context, metric: Metric, executor: Executor | None, recipe: ContextRecipe) -> None:
        self._context, self._metric, self._executor, self._recipe = context, metric, executor, recipe

    def __call__(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """Scores, higher is better, NaN where a measurement failed.

        Args:
            architectures: Valid architectures.

        Returns:
            Float64 array of shape ``(len(architectures),)``.
        """
        if self._executor is not None:
            self._measure_ahead(self._executor, architectures)
        return self._metric.score(self._context, architectures)

    def _measure_ahead(self, executor: Executor, architectures: Sequence[Architecture]) -> None:
        metric = self._metric
        if isinstance(metric, Combined) and metric.join == "standardized":
            architectures = [*metric.reference_architectures(self._context), *architectures]
        lacking: defaultdict[Architecture, list[Measurement]] = defaultdict(list)
        for measurement in metric.measurements:
            for architecture in self._context.missing(measurement, architectures):
                lacking[architecture].append(measurement)
        groups: defaultdict[tuple[Measurement, ...], list[Architecture]] = defaultdict(list)
        for architecture, lacks in lacking.items():
            groups[tuple(lacks)].append(architecture)
        for measurements, members in groups.items():
            # The most expensive first: a late one would keep the other workers waiting.
            members.sort(key=lambda each: architecture_cost(self._context.supernet, each, "subnet").macs, reverse=True)
            measure = functools.partial(measure_rows, self._recipe, measurements)
            ends = np.cumsum([len(measurement.columns) for measurement in measurements])[:-1]
            for rows in measure_in_parallel(executor, measure, members, chunk_size=1):
                for architecture, row in rows.items():
                    for measurement, part in zip(measurements, np.split(row, ends), strict=True):
                        self._context.store.put(self._context.key(measurement), {architecture: part})
