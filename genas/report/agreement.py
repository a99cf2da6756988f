"""Agreement of metrics with each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from genas.files import json_number
from genas.metrics import kendall_tau
from genas.report.ranking import ScoredMetric

_MOST = 8


@final
@dataclass(frozen=True, eq=False)
class Agreement:
    """Kendall's tau-b between the scores of metrics, over the architectures that both could score.

    Args:
        labels: Names of the metrics.
        taus: Tau-b in every supernet, shape ``(supernets, metrics, metrics)``; NaN where one of two metrics ranks
            nothing, 1 on the diagonal whatever it ranks.
        counts: Number of supernets in which each metric was scored; 1 where it is the same in all.
    """

    labels: tuple[str, ...]
    taus: np.ndarray
    counts: tuple[int, ...]

    @classmethod
    def of(cls, metrics: Sequence[ScoredMetric]) -> Agreement:
        """Compare all pairs.

        Args:
            metrics: Metrics of the same supernets, or of none.

        Returns:
            The agreement.
        """
        supernets = max((len(metric.scores) for metric in metrics), default=0)
        taus = np.ones((supernets, len(metrics), len(metrics)))
        for run, (a, b) in itertools.product(range(supernets), itertools.combinations(range(len(metrics)), 2)):
            taus[run, a, b] = taus[run, b, a] = _tau(
                *(each.scores[run % len(each.scores)] for each in (metrics[a], metrics[b]))
            )
        return cls(tuple(metric.label for metric in metrics), taus, tuple(len(metric.scores) for metric in metrics))

    def _text(self, row: int, column: int) -> str:
        taus = self.taus[:, row, column]
        if np.isnan(taus).any():
            return "-"
        # Two metrics without a supernet were compared once, however many supernets others have.
        varies = row != column and max(self.counts[row], self.counts[column]) > 1
        spread = f" ± {taus.std(ddof=1):.3f}" if varies else ""
        return f"{taus.mean():.3f}{spread}"

    def plain(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        values = [[list(map(json_number, row)) for row in each] for each in self.taus.tolist()]
        return {"metrics": list(self.labels), "supernets": values}

    def rows(self) -> list[list[str]] | None:
        """A text table: header and rows; ``None`` where there is nothing to compare, or too much to print."""
        if not 2 <= len(self.labels) <= _MOST:
            return None
        numbers = [f"({place + 1})" for place in range(len(self.labels))]
        rows = [
            [f"{label} {number}", *(self._text(row, column) for column in range(len(numbers)))]
            for row, (label, number) in enumerate(zip(self.labels, numbers, strict=True))
        ]
        return [["tau-b between", *numbers], *rows]


def _tau(first: np.ndarray, second: np.ndarray) -> float:
    both = np.isfinite(first) & np.isfinite(second)
    return kendall_tau(first[both], second[both]) if both.sum() > 1 else math.nan
