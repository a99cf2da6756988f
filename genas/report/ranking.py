"""Rankings of architectures by metrics: as JSON, as a text table, as a file of scores."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np

from genas.files import json_number
from genas.metrics import FEWEST_REPEATED, Estimate, NoiseCeiling, RankingSettings, ranking_statistics
from genas.spaces import Architecture, SearchSpace
from genas.tables import Column

_FEW_TIES = 0.05
"""Share of tied pairs of accuracies that is not worth a word: tau-b loses half of it."""


@final
@dataclass(frozen=True, eq=False)
class ScoredMetric:
    """A metric and its scores.

    Args:
        label: Its unique name in results.
        is_baseline: Whether it is a baseline: a bare number of which more is better.
        scores: Higher is better, NaN where it failed; one array of shape ``(n,)`` for each supernet, or one in all
            where they are the same for all: a baseline, a training-free metric on the same images.
        unit: Their unit, empty for a bare number.
    """

    label: str
    is_baseline: bool
    scores: tuple[np.ndarray, ...]
    unit: str = ""

    @property
    def failures(self) -> list[int]:
        """Number of NaN scores of each supernet."""
        return [int(np.isnan(scores).sum()) for scores in self.scores]


@final
@dataclass(frozen=True, eq=False)
class RankedMetric:
    """A metric and how well it ranks.

    Args:
        metric: The metric.
        statistics: Statistics of each supernet, named as by :func:`genas.metrics.ranking_statistics`.
    """

    metric: ScoredMetric
    statistics: tuple[Mapping[str, Estimate], ...]

    def values(self, name: str) -> np.ndarray:
        """One statistic of all supernets, shape ``(supernets,)``."""
        return np.array([each[name].value for each in self.statistics])

    def text(self, name: str, digits: int = 3, *, interval: bool = False) -> str:
        """One statistic as text.

        Args:
            name: Name of the statistic.
            digits: Number of decimals.
            interval: Whether to show the interval, where there is one supernet.

        Returns:
            ``0.574``, ``0.574 [0.565, 0.582]`` or, over several supernets, ``0.574 ± 0.003``; a dash where one of them
            has no value.
        """
        if len(self.statistics) > 1:
            values = self.values(name)
            if np.isnan(values).any():
                return "-"
            return f"{_number(values.mean(), digits)} ± {_number(values.std(ddof=1), digits)}"
        only = self.statistics[0][name]
        if not interval or math.isnan(only.low):
            return _number(only.value, digits)
        return f"{_number(only.value, digits)} [{_number(only.low, digits)}, {_number(only.high, digits)}]"

    def plain(self, runs: Sequence[str]) -> dict[str, Any]:
        """Plain values for a JSON file.

        Args:
            runs: Names of the supernets.

        Returns:
            The statistics of each supernet and, over several, their mean and standard deviation.
        """
        names = runs if len(self.statistics) == len(runs) else [""]
        known: dict[str, Any] = {
            "metric": self.metric.label,
            "baseline": self.metric.is_baseline,
            "failures": self.metric.failures,
            "supernets": [
                {"run": run, **{name: _plain_numbers(each) for name, each in statistics.items()}}
                for run, statistics in zip(names, self.statistics, strict=True)
            ],
        }
        if len(self.statistics) > 1:
            for summary, take in (("mean", np.mean), ("std", _std)):
                known[summary] = {name: json_number(float(take(self.values(name)))) for name in self.statistics[0]}
        return known


@final
@dataclass(frozen=True, eq=False)
class Ranking:
    """The ranking of architectures by metrics against one column of truth.

    Args:
        column: Meaning of the accuracies.
        truth: In percent, shape ``(n,)``.
        ceiling: The noise ceiling of the truth, where it is known.
        metrics: The metrics, in the order in which they are shown.
    """

    column: Column
    truth: np.ndarray
    ceiling: NoiseCeiling | None
    metrics: tuple[RankedMetric, ...]

    @classmethod
    def of(
        cls,
        column: Column,
        truth: np.ndarray,
        ceiling: NoiseCeiling | None,
        metrics: Sequence[ScoredMetric],
        resamples: np.ndarray,
        settings: RankingSettings,
        sampled: float = 0.0,
    ) -> Ranking:
        """Compute all statistics.

        Args:
            column: As for the class.
            truth: As for the class.
            ceiling: As for the class.
            metrics: The scores.
            resamples: From :func:`genas.metrics.resample`.
            settings: Settings of the statistics.
            sampled: Share of their space that the architectures are, in [0, 1].

        Returns:
            The ranking.
        """
        ranked = [
            RankedMetric(
                metric,
                tuple(ranking_statistics(scores, truth, resamples, settings, sampled) for scores in metric.scores),
            )
            for metric in metrics
        ]
        return cls(column, truth, ceiling, tuple(ranked))

    def plain(self, runs: Sequence[str]) -> dict[str, Any]:
        """Plain values for a JSON file.

        Args:
            runs: Names of the supernets.

        Returns:
            The noise ceiling and all statistics.
        """
        return {
            "truth": str(self.column),
            "best": float(self.truth.max()),
            "median": float(np.median(self.truth)),
            "noise_ceiling": None if self.ceiling is None else _plain_numbers(self.ceiling),
            "metrics": [metric.plain(runs) for metric in self.metrics],
        }

    def rows(self, settings: RankingSettings) -> list[list[str]]:
        """A text table; the intervals of the second regret and of Spearman's correlation are for JSON files.

        Args:
            settings: Settings of the statistics.

        Returns:
            The header and one row per metric.
        """
        share = f"{100 * settings.top:g}%"
        header = [
            "metric",
            "tau-b",
            "legacy",
            "Spearman",
            f"tau top {share}",
            "regret",
            f"regret of {settings.trained}",
        ]
        rows = [
            [
                each.metric.label + (" *" if each.metric.is_baseline else ""),
                each.text("tau", interval=True),
                each.text("legacy_tau"),
                each.text("spearman"),
                each.text("top_tau", interval=True),
                each.text("regret", 2, interval=True),
                each.text("top_regret", 2),
                each.text("precision", interval=True),
                str(sum(each.metric.failures)),
            ]
            for each in self.metrics
        ]
        return [[*header, f"precision {share}", "failed"], *rows]

    def ceiling_text(self) -> str:
        """The noise of the truth: the ceiling and, if known, how well one training ranks as a metric of another."""
        if self.ceiling is None:
            return (
                f"noise ceiling: not known; it takes {FEWEST_REPEATED} architectures whose accuracies differ, trained "
                "with two known seeds, and all seeds behind the means of those that are ranked, or else the means and "
                "one training"
            )
        known = self.ceiling
        interval = "" if math.isnan(known.low) else f" [{known.low:.3f}, {known.high:.3f}]"
        if known.is_bound:
            return (
                f"noise ceiling: tau {known.tau:.3f}{interval} or more for a perfect metric (two seeds agree at "
                f"{known.seed_tau:.3f} or more, as a mean of at least two trainings and one of them differ over "
                f"{known.architectures} architectures)"
            )
        made_of = "one training each" if known.trainings == 1 else f"a mean of {known.trainings:.3g}"
        return (
            f"noise ceiling: tau {known.tau:.3f}{interval} for a perfect metric (two seeds agree at "
            f"{known.seed_tau:.3f}, over {known.architectures} architectures; the truth is {made_of})\none training as "
            f"a metric of another, over these: tau among the best {_number(known.seed_top_tau, 3)}, precision "
            f"{_number(known.seed_precision, 3)}"
        )

    def ties_text(self) -> str:
        """How far ties of the truth keep tau-b from 1, where that is more than rounding; empty elsewhere."""
        counts = np.unique(self.truth, return_counts=True)[1]
        pairs = len(self.truth) * (len(self.truth) - 1)
        untied = 1 - float((counts * (counts - 1)).sum()) / pairs
        if untied > 1 - _FEW_TIES:
            return ""
        return (
            f"{100 * (1 - untied):.0f}% of the pairs of accuracies tie: tau-b is {math.sqrt(untied):.3f} at most for a "
            "metric without ties"
        )


def scores_csv(
    space: SearchSpace,
    architectures: Sequence[Architecture],
    rankings: Sequence[Ranking],
    runs: Sequence[str],
) -> str:
    """All scores beside the truth.

    Args:
        space: Space of the architectures.
        architectures: Those that were ranked, in order.
        rankings: One per column of truth; all of the same metrics.
        runs: Names of the supernets.

    Returns:
        A CSV text: architecture, its index where there is one, truths, a column for each metric and supernet. Failed
        scores are empty.
    """
    columns: dict[str, Sequence[object]] = {"architecture": [space.format(each) for each in architectures]}
    indices = [space.index(each) for each in architectures]
    if None not in indices:
        columns["index"] = indices
    columns |= {str(ranking.column): ranking.truth.tolist() for ranking in rankings}
    for ranked in rankings[0].metrics:
        metric = ranked.metric
        for run, scores in zip(runs if len(metric.scores) > 1 else [""], metric.scores, strict=True):
            name = metric.label + (" (baseline)" if metric.is_baseline else "") + (f" of {run}" if run else "")
            columns[name] = ["" if math.isnan(score) else repr(score) for score in scores.tolist()]
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return file.getvalue()


def _std(values: np.ndarray) -> float:
    return float(values.std(ddof=1))


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _plain_numbers(numbers: Estimate | NoiseCeiling) -> dict[str, float | None]:
    return {name: json_number(value) for name, value in asdict(numbers).items()}
