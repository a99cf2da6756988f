"""Scores of the sample of ``genas rank`` by metrics of one or several supernets, and by baselines."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from genas.commands.evaluation import ContextRecipe, measure, score_store
from genas.metrics import Context, Metric, Needs, needs_of, parse_metric
from genas.report import ScoredMetric
from genas.scores import ScoreStore
from genas.spaces import Architecture, SearchSpace

_BASELINES = ("params", "macs", "count", "live_edges", "random")


@final
@dataclass(frozen=True)
class Scorer:
    """Scores a sample by metrics of several supernets; nothing is measured twice.

    Args:
        space: The space of the truth.
        architectures: The sample.
        executor: Runs the measurements; ``None``: this process.
        progress: Whether to show progress bars.
    """

    space: SearchSpace
    architectures: Sequence[Architecture]
    executor: Executor | None
    progress: bool

    def scores(
        self, recipes: Sequence[ContextRecipe], asked: Mapping[str, Metric], own_store: Path, *, baselines: bool
    ) -> list[ScoredMetric]:
        """Measure and score.

        Args:
            recipes: Recipe of the context of each supernet, or of the one without a supernet.
            asked: The metrics by label.
            own_store: File in which measurements are kept where there is no supernet's that can be written.
            baselines: Whether to score by the baselines, too.

        Returns:
            The metrics, then the baselines.
        """
        found: dict[str, list[np.ndarray]] = {label: [] for label in asked}
        compared: list[ScoredMetric] = []
        with contextlib.ExitStack() as stack:
            first: ScoreStore | None = None
            for recipe in recipes:
                store = ScoreStore(own_store) if recipe.run is None else score_store(recipe.run, own_store)
                stack.callback(store.close)
                context = recipe.context(store)
                self._measure(context, recipe, asked, first)
                for label, metric in asked.items():
                    found[label].append(metric.score(context, self.architectures))
                if baselines and first is None:
                    compared = self._baselines(context, has_images=recipe.run is not None or recipe.data is not None)
                first = first or store
        scored = [
            ScoredMetric(label, False, _by_supernet(asked[label], scores), asked[label].unit)
            for label, scores in found.items()
        ]
        return [*scored, *compared]

    def _measure(
        self, context: Context, recipe: ContextRecipe, asked: Mapping[str, Metric], first: ScoreStore | None
    ) -> None:
        needs = needs_of(asked.values(), context, self.architectures)
        if first is not None:
            _take_over(context, needs, first)
        description = "measure" if recipe.run is None else recipe.run.name
        measure(context, needs, self.executor, recipe, progress=self.progress, description=description)

    def _baselines(self, context: Context, *, has_images: bool) -> list[ScoredMetric]:
        names = [name for name in _BASELINES if has_images or name not in ("params", "macs")]
        if "nor_conv_3x3" not in self.space.operations:
            names.remove("count")
        metrics = {name: parse_metric(name) for name in names}
        return [
            ScoredMetric(name, True, (metric.values(context, self.architectures),), metric.unit)
            for name, metric in metrics.items()
        ]


def _take_over(context: Context, needs: Needs, first: ScoreStore) -> None:
    """Copy measurements that do not depend on the supernet from the first one's store."""
    wanted: dict[str, dict[Architecture, None]] = {}
    for architecture, measurements in needs.items():
        for each in measurements:
            if not each.needs_supernet:
                key, member = context.key(each), each.representative(context.space, architecture)
                wanted.setdefault(key, {})[member] = None
    for key, members in wanted.items():
        known = context.store.get(key, members)
        context.store.put(key, first.get(key, [member for member in members if member not in known]))


def _by_supernet(metric: Metric, scores: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The scores of each supernet; one array where a metric that measures none of them has the same for all."""
    measures = any(each.needs_supernet for each in metric.measurements)
    same = all(np.array_equal(scores[0], each, equal_nan=True) for each in scores[1:])
    return tuple(scores if measures or not same else scores[:1])
