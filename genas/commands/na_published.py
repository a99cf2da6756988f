"""Published results of the NA paper on NAS-Bench-201.

Wang et al., Neighborhood-Aware Neural Architecture Search, BMVC 2021: Tables 1, 2 and A to E. Errors are in percent,
spreads are standard deviations over an unknown number of searches (10 samples in Table B).
"""

from __future__ import annotations

from collections.abc import Mapping

DATASETS = ("cifar10", "cifar100", "imagenet16-120")
"""The data sets of the columns."""

SEARCH_COLUMN = "cifar10-valid/valid/200/at=90"
"""The validation error that the search sees: after epoch 90 of 200."""

Cell = tuple[float, float | None]
"""A mean and its spread, if it was published."""


def _row(*numbers: float) -> dict[str, Cell]:
    return {name: (number, None) for name, number in zip(DATASETS, numbers, strict=True)}


def _spread(*cells: Cell) -> dict[str, Cell]:
    return dict(zip(DATASETS, cells, strict=True))


PUBLISHED: Mapping[str, Mapping[str, Mapping[str, Cell]]] = {
    "A": {
        "flat": {"search": (14.55, None), **_row(6.23, 28.90, 55.17)},
        "sharp": {"search": (14.57, None), **_row(6.66, 30.00, 56.41)},
    },
    "B": {
        "baseline": _spread((0.66, 0.03), (0.66, 0.02), (0.64, 0.03)),
        "mean": _spread((0.76, 0.03), (0.77, 0.03), (0.74, 0.03)),
        "median": _spread((0.72, 0.03), (0.72, 0.03), (0.69, 0.03)),
        "worst": _spread((0.53, 0.05), (0.54, 0.05), (0.56, 0.05)),
        "penalized": _spread((0.72, 0.02), (0.73, 0.03), (0.71, 0.02)),
    },
    "C": {
        "baseline": {"variance": (5.58, None), **_row(6.45, 29.45, 55.79)},
        "mean": {"variance": (2.71, None), **_row(6.09, 28.32, 54.75)},
        "median": {"variance": (4.05, None), **_row(6.21, 28.74, 55.08)},
        "worst": {"variance": (1.83, None), **_row(6.66, 29.82, 56.31)},
        "penalized": {"variance": (2.47, None), **_row(6.35, 29.06, 55.52)},
    },
    "D": {
        "random search": _spread((6.39, 0.32), (29.81, 0.44), (56.30, 1.08)),
        "mean of 10": _spread((6.39, 0.71), (28.68, 1.75), (55.02, 1.71)),
        "median of 10": _spread((6.20, 0.35), (28.33, 1.22), (54.72, 0.96)),
        "worst of 10": _spread((6.73, 0.71), (29.70, 1.61), (56.96, 2.09)),
        "penalized of 10": _spread((6.65, 0.97), (29.06, 1.97), (55.48, 2.41)),
    },
    "E": {
        "mean of 10": _spread((6.39, 0.71), (28.68, 1.75), (55.02, 1.71)),
        "mean of 25": _spread((6.24, 0.39), (28.24, 1.25), (54.74, 1.73)),
        "median of 10": _spread((6.20, 0.35), (28.33, 1.22), (54.72, 0.96)),
        "median of 25": _spread((6.18, 0.38), (28.20, 1.27), (54.40, 0.98)),
    },
}
"""For each table, row and column the mean and its spread. Table 1a is a part of A, 1b of B, and 2 of D (its NA-RS is
the row of the median)."""
