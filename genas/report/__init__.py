"""Results for readers: pictures and text."""

from __future__ import annotations

from genas.report.agreement import Agreement
from genas.report.cell_picture import architecture_figure, draw_architecture
from genas.report.ranking import RankedMetric, Ranking, ScoredMetric, scores_csv
from genas.report.ranking_figure import draw_ranking, ranking_figure

__all__ = [
    "Agreement",
    "RankedMetric",
    "Ranking",
    "ScoredMetric",
    "architecture_figure",
    "draw_architecture",
    "draw_ranking",
    "ranking_figure",
    "scores_csv",
]
