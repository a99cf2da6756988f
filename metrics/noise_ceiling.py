"""The noise ceiling: the highest rank correlation to expect when the truth itself is noisy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from genas.metrics.bootstrap import RankingSettings, interval, resample, tau_of_resamples
from genas.metrics.ranking import kendall_tau, precision_at, top_count, top_tau
from genas.seeding import generator
from genas.spaces import Architecture
from genas.tables import Column, Table

FEWEST_REPEATED = 10
"""Number of architectures that must have been trained with at least two seeds for an estimate of the noise."""

_FEWEST_IN_MEAN = 2
"""Number of trainings in a mean that is not one of them."""

_ROUNDING = 0.01
"""Largest difference, in percentage points, between a mean and that of its seeds where both have two decimals.

One training more or less moves the mean of some architecture by much more, unless there is next to no noise."""


@final
@dataclass(frozen=True)
class NoiseCeiling:
    """The tau that no metric can be expected to exceed, and the numbers behind it.

    Args:
        tau: Kendall's tau-b of the noiseless truth with the noisy one in the table.
        low: Lower end of its bootstrap interval over the architectures that were trained repeatedly; NaN without one.
        high: Upper end.
        seed_tau: Kendall's tau-b of two single trainings, the mean over all pairs of seeds.
        architectures: Number of architectures trained with more than one seed, of which the noise is known.
        trainings: Number of trainings over which the truth is averaged: the harmonic mean over the ranked
            architectures.
        seed_top_tau: Tau among the best, by the settings' ``top``, of one training as a metric of another: the mean
            over all pairs of seeds in both orders.
        seed_precision: Their precision at the settings' ``top``, likewise. These two say what the noise of the truth
            leaves among the best, where a ceiling of tau over all says nothing. NaN where the trainings are not known
            one by one.
        is_bound: Whether the ceiling and the agreement of seeds may be higher, as the truth may be a mean of more
            trainings than assumed.
    """

    tau: float
    low: float
    high: float
    seed_tau: float
    architectures: int
    trainings: float
    seed_top_tau: float = math.nan
    seed_precision: float = math.nan
    is_bound: bool = False


def ceiling_tau(seed_tau: float, trainings: float = 1.0) -> float:
    r"""Kendall's tau of the noiseless truth with the mean of several noisy readings of it.

    With truth and noise normal after some increasing change of scale, a correlation :math:`r` goes with
    :math:`\tau = \frac2\pi \arcsin r`. Two readings correlate with the reliability :math:`\rho = \sin(\frac\pi2
    \tau_\text{seed})`, two means of :math:`k` readings with :math:`\rho_k = k \rho / (1 + (k - 1) \rho)` (Spearman,
    Brown), and a mean of :math:`k` with the truth itself with :math:`\sqrt{\rho_k}`:

    .. math:: \tau_\text{ceiling} = \tfrac2\pi \arcsin \sqrt{\rho_k}

    On the real, far from normal accuracies of NAS-Bench-201 with noise of known size, constant or larger for worse
    architectures, it was too high by less than 0.01 (k = 1) and 0.02 (k = 3) where seeds agree at 0.65 or more, and by
    up to 0.03 and 0.06 at 0.4.

    Args:
        seed_tau: Kendall's tau-b of two single trainings; below zero it counts as zero, NaN remains NaN.
        trainings: Number of trainings over which the truth is averaged.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: If ``trainings`` is less than 1.

    Reference:
        Greiner 1909 for the relation of tau and r; Spearman and Brown, British Journal of Psychology 1910.

    Example:
        >>> round(ceiling_tau(0.62), 3), round(ceiling_tau(0.62, trainings=3), 3), ceiling_tau(1.0)
        (0.727, 0.836, 1.0)
    """
    if not trainings >= 1:
        raise ValueError(f"trainings must be at least 1, but got {trainings}.")
    if math.isnan(seed_tau):
        return math.nan
    single = math.sin(math.pi / 2 * max(seed_tau, 0.0))
    mean = trainings * single / (1 + (trainings - 1) * single)
    return 2 / math.pi * math.asin(math.sqrt(min(mean, 1.0)))


def tau_of_seeds(mean_tau: float, trainings: int) -> float:
    r"""Kendall's tau of two single trainings, from that of a mean with one of the trainings it is made of.

    As in :func:`ceiling_tau`, with readings that correlate with the reliability :math:`\rho`. A mean of :math:`k` of
    them correlates with each by

    .. math:: r = \sqrt{\frac{1 + (k - 1) \rho}{k}}, \qquad \rho = \frac{k r^2 - 1}{k - 1}

    Args:
        mean_tau: Kendall's tau-b of the mean and the single training.
        trainings: Number of trainings in the mean, at least 2.

    Returns:
        A number in [0, 1]; zero where they agree less than noise would, NaN for NaN.

    Example:
        >>> round(tau_of_seeds(0.945, trainings=2), 2)
        0.89
    """
    r = math.sin(math.pi / 2 * max(mean_tau, 0.0))
    return 2 / math.pi * math.asin(max((trainings * r * r - 1) / (trainings - 1), 0.0))


def _mean_of_known(rows: np.ndarray, weights: Sequence[int]) -> np.ndarray:
    """The weighted mean of each column over the rows that have a value there."""
    known = ~np.isnan(rows)
    shares = np.array(weights)[:, None] * known
    total = shares.sum(axis=0)
    means = np.full(rows.shape[1], np.nan)
    np.divide((shares * np.where(known, rows, 0.0)).sum(axis=0), total, out=means, where=total > 0)
    return means


def noise_ceiling(
    table: Table,
    column: Column,
    architectures: Sequence[Architecture],
    settings: RankingSettings = RankingSettings(),  # noqa: B008 (frozen)
    seed: int = 0,
) -> NoiseCeiling | None:
    """The noise ceiling of a column, from the single trainings behind it.

    The agreement of two seeds is that of all architectures of the table that were trained with both, whichever are to
    be ranked: it is a property of the trainings, and few of a sample may have been trained twice. Pairs of seeds are
    weighted by their numbers of architectures; a pair with nothing but ties is left out.

    A mean counts as that of as many trainings as the table has seeds. Where it is of others, too (a table of the mean
    and two of three seeds), their number is not known, and the ceiling would be too low.

    Where the table has the mean and one training only, as most files of NAS-Bench-201 do, the agreement of seeds
    follows from that of the two columns (:func:`tau_of_seeds`). Where they differ, the mean is of two trainings at
    least; two are assumed, so that the ceiling is a lower bound.

    Args:
        table: The truth.
        column: One of its columns.
        architectures: The architectures to be ranked; the ceiling depends on how often they were trained.
        settings: The bootstrap of its interval, and the share ``top`` of the statistics among the best.
        seed: Seed of the bootstrap.

    Returns:
        The ceiling, or ``None`` if fewer than :data:`FEWEST_REPEATED` architectures of the table have two seeds, or a
        mean that differs from their only one, if those to be ranked have no single training, if the mean of one of them
        is not that of its several seeds in the table, to 0.01 percentage points, or if all pairs of seeds have nothing
        but ties.
    """
    seeds = [each for each in table.seeds(column) if each.seed != "any"]
    if len(seeds) < 2:
        return _bound(table, column, architectures, settings, seed)
    readings = np.stack([table.values(seed, missing="nan") for seed in seeds])
    known = ~np.isnan(readings)
    repeated = np.flatnonzero(known.sum(axis=0) > 1)
    if len(repeated) < FEWEST_REPEATED:
        return None
    drawn = repeated[resample(len(repeated), settings.resamples, generator(seed, "noise ceiling bootstrap"))]
    pairs, weights = [], []  # of each pair of seeds: the statistics, then the values of tau in the resamples
    for first, second in itertools.combinations(range(len(seeds)), 2):
        both = known[first] & known[second]
        if both.sum() > 1:
            pair, place = (readings[first, both], readings[second, both]), np.cumsum(both) - 1
            resampled = tau_of_resamples(*pair, [place[rows[both[rows]]] for rows in drawn])
            pairs.append(np.array([*_statistics(*pair, settings), *resampled]))
            weights.append(int(both.sum()))
    ranked = np.stack([table.values(seed, architectures, missing="nan") for seed in seeds])
    trainings = np.ones(1)
    if column.seed is None:
        means = _mean_of_known(ranked, [1] * len(ranked))
        if (np.abs(means - table.values(column, architectures, missing="nan")) > _ROUNDING).any():
            return None
        trainings = np.count_nonzero(~np.isnan(ranked), axis=0)
    trainings = trainings[trainings > 0]
    if not pairs or not len(trainings):
        return None
    seed_tau, seed_top_tau, seed_precision, *resampled_taus = _mean_of_known(np.stack(pairs), weights).tolist()
    if math.isnan(seed_tau):
        return None
    mean_trainings = float(1 / np.mean(1 / trainings))
    again = [ceiling_tau(tau, mean_trainings) for tau in resampled_taus]
    found = interval(ceiling_tau(seed_tau, mean_trainings), again, settings)
    return NoiseCeiling(
        found.value,
        found.low,
        found.high,
        seed_tau,
        len(repeated),
        mean_trainings,
        seed_top_tau=seed_top_tau,
        seed_precision=seed_precision,
    )


def _bound(
    table: Table, column: Column, architectures: Sequence[Architecture], settings: RankingSettings, seed: int
) -> NoiseCeiling | None:
    """The ceiling from a mean and one of the trainings that it is made of."""
    mean, singles = replace(column, seed=None), table.seeds(column)
    if mean not in table.columns or len(singles) != 1:
        return None
    pair = np.stack([table.values(each, missing="nan") for each in (mean, *singles)])
    pair = pair[:, np.abs(pair[0] - pair[1]) > _ROUNDING]  # which is false where one of them is missing
    if pair.shape[1] < FEWEST_REPEATED:
        return None
    mean_tau = kendall_tau(pair[0], pair[1])
    if math.isnan(mean_tau):
        return None
    trainings = 1.0
    if column.seed is None:
        ranked = [table.values(each, architectures, missing="nan") for each in (mean, *singles)]
        differs = np.abs(ranked[0] - ranked[1]) > _ROUNDING
        trainings = float(1 / np.where(differs, 1 / _FEWEST_IN_MEAN, 1).mean())
    rows = resample(pair.shape[1], settings.resamples, generator(seed, "noise ceiling bootstrap"))
    taus = [mean_tau, *tau_of_resamples(pair[0], pair[1], rows)]
    seed_tau, *again = (tau_of_seeds(tau, _FEWEST_IN_MEAN) for tau in taus)
    found = interval(ceiling_tau(seed_tau, trainings), [ceiling_tau(tau, trainings) for tau in again], settings)
    return NoiseCeiling(found.value, found.low, found.high, seed_tau, pair.shape[1], trainings, is_bound=True)


def _statistics(first: np.ndarray, second: np.ndarray, settings: RankingSettings) -> list[float]:
    """Tau of two trainings, and the mean of both orders of tau among the best and of precision; all or none."""
    tau = kendall_tau(first, second)
    if math.isnan(tau):
        return [math.nan] * 3
    count = top_count(len(first), settings.top)
    orders = [
        (top_tau(metric, truth, settings.top), precision_at(metric, truth, count))
        for metric, truth in ((first, second), (second, first))
    ]
    return [tau, *np.mean(orders, axis=0).tolist()]
