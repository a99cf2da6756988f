"""Pictures of rankings: the scores of every metric against the truth."""

from __future__ import annotations

import math
import os

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genas.report.figure_files import save_figure, shortened
from genas.report.ranking import RankedMetric, Ranking

_POINT, _BEST, _INK, _FAINT = "#2563c9", "#c2452d", "#1f2937", "#6b7280"
_PANEL = (2.6, 2.5)
_GAPS = (0.45, 0.75)
_MARGINS = (0.6, 0.15, 0.4, 0.65)
"""In inches: width and height of a panel with its share of the gaps; gaps; left, right, lower, upper margin."""

_COLUMNS = 4


def draw_ranking(ranking: Ranking, path: str | os.PathLike[str], *, marked: int = 10) -> None:
    """Draw one panel per metric: its scores on the x-axis, the true accuracy on the y-axis, a point per architecture.

    Over several supernets it shows the scores of the first; the titles have mean and standard deviation of all. What
    lies far below the others, as the accuracy of disconnected cells does, is drawn hollow at the edge, so that it does
    not squeeze the rest.

    Args:
        ranking: The ranking.
        path: The file; ``.svg``, ``.png`` (200 dots per inch) or ``.pdf`` choose the format.
        marked: Number of best-scored architectures to mark.

    Raises:
        ValueError: If the suffix is not one of these.
    """
    save_figure(lambda: ranking_figure(ranking, marked=marked), path)


def ranking_figure(ranking: Ranking, *, marked: int = 10) -> Figure:
    """Return the picture of :func:`draw_ranking` as a figure of its own, for reports that arrange several.

    Args:
        ranking: The ranking.
        marked: Number of best-scored architectures to mark.

    Returns:
        A figure that pyplot does not manage.
    """
    columns = min(len(ranking.metrics), _COLUMNS)
    rows = math.ceil(len(ranking.metrics) / columns)
    left, right, bottom, top = _MARGINS
    width, height = columns * _PANEL[0] + left + right, rows * _PANEL[1] + bottom + top
    figure = Figure(figsize=(width, height), facecolor="white")
    # In inches rather than by a layout engine: that draws everything twice, and all panels have the same labels.
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        wspace=_GAPS[0] * columns / (columns * _PANEL[0] - (columns - 1) * _GAPS[0]),
        hspace=_GAPS[1] * rows / (rows * _PANEL[1] - (rows - 1) * _GAPS[1]),
    )
    figure.text(0.5, 1 - 0.08 / height, _title(ranking, marked), size=9, color=_INK, ha="center", va="top")
    figure.text(
        0.06 / width, 0.5, f"accuracy in %: {ranking.column}", size=8, color=_INK, rotation=90, ha="left", va="center"
    )
    for place, metric in enumerate(ranking.metrics):
        _draw_panel(figure.add_subplot(rows, columns, place + 1), metric, ranking.truth, marked)
    return figure


def _title(ranking: Ranking, marked: int) -> str:
    known = ranking.ceiling
    ceiling = "" if known is None else f"; noise ceiling τ {'≥' if known.is_bound else '='} {known.tau:.3f}"
    several = max(len(each.metric.scores) for each in ranking.metrics)
    points = f"; points: the first of {several} supernets, τ: mean ± standard deviation of all" if several > 1 else ""
    best = f"; red: the {marked} best-scored" if 0 < marked < len(ranking.truth) else ""
    drawn = [ranking.truth, *(each.metric.scores[0] for each in ranking.metrics)]
    far = "; hollow: lower still" if any((values < _least(values)).any() for values in drawn) else ""
    return f"{len(ranking.truth)} architectures{ceiling}{points}{best}{far}"


def _least(values: np.ndarray) -> float:
    """The least value to be drawn in its place: Tukey's outer fence, below which values are far out."""
    known = values[~np.isnan(values)]
    if not len(known):
        return -math.inf
    lower, upper = np.quantile(known, [0.25, 0.75])
    return float(lower - 3 * (upper - lower)) if upper > lower else -math.inf


def _draw_panel(axes: Axes, metric: RankedMetric, truth: np.ndarray, marked: int) -> None:
    scores = metric.metric.scores[0]
    known = np.flatnonzero(~np.isnan(scores))
    size = float(np.clip(1500 / max(len(known), 1), 1.0, 14.0))
    best = known[np.argsort(-scores[known], kind="stable")[:marked]]
    across, up = (np.maximum(values, _least(values)) for values in (scores, truth))
    is_far = (across > scores) | (up > truth)
    for rows, area, color, alpha in ((known, size, _POINT, 0.35), (best, max(size, 9.0), _BEST, 1.0)):
        near, far = rows[~is_far[rows]], rows[is_far[rows]]
        # Thousands of points would make a huge vector picture.
        axes.scatter(across[near], up[near], s=area, color=color, alpha=alpha, linewidths=0, rasterized=True)
        axes.scatter(across[far], up[far], s=area, facecolors="none", edgecolors=color, linewidths=0.4, rasterized=True)
    axes.set_title(
        f"{shortened(metric.metric.label)}\nτ = {metric.text('tau', interval=True)}",
        size=8,
        color=_FAINT if metric.metric.is_baseline else _INK,
        parse_math=False,
    )
    axes.set_xlabel(metric.metric.unit, size=6, labelpad=1)
    axes.tick_params(labelsize=6, length=2)
    axes.xaxis.get_offset_text().set_fontsize(6)
    axes.locator_params(nbins=5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
