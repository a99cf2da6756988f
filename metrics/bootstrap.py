"""Intervals of ranking statistics over the random sample of architectures: by the bootstrap, of regrets by halves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from genas.metrics.ranking import kendall_tau, levels, precision_at, regret, spearman, top_count, top_tau

STATISTICS = ("tau", "legacy_tau", "spearman", "top_tau", "regret", "top_regret", "precision")
"""The names of :func:`ranking_statistics`, in the order in which they are shown."""


@final
@dataclass(frozen=True)
class Estimate:
    """A statistic and its interval.

    Args:
        value: Value in the sample itself.
        low: Lower end of the percentile interval; NaN where there is none.
        high: Upper end.
    """

    value: float
    low: float = math.nan
    high: float = math.nan


@final
@dataclass(frozen=True)
class RankingSettings:
    """Settings of the statistics of a ranking and of their intervals.

    Args:
        top: Share of the architectures that counts as the best, in the tau among the truly best and in the precision.
        trained: Number of best-scored architectures that would be trained, in the second regret.
        resamples: Number of bootstrap resamples; 0 for no intervals.
        level: Coverage of the intervals. That of tau reaches it from about 20 architectures on; with 5 or 8, one of 95
            % covers about 85 %. Those of tau and precision among the best need ten architectures in the share ``top``;
            with two or four they are too narrow.

    Raises:
        ValueError: If a number is out of its range.
    """

    top: float = 0.1
    trained: int = 10
    resamples: int = 200
    level: float = 0.95

    def __post_init__(self) -> None:
        if not 0 < self.top <= 1:
            raise ValueError(f"top must be above 0 and at most 1, but got {self.top}.")
        if self.trained < 1 or self.resamples < 0:
            raise ValueError(
                f"trained must be at least 1 and resamples 0, but got {self.trained} and {self.resamples}."
            )
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie between 0 and 1, but got {self.level}.")
        if not self.resamples and self.level != type(self).level:
            raise ValueError(f"level={self.level} belongs to intervals, but resamples is 0; leave one of them out.")


def resample(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap resamples, shared by every statistic of every metric, so that they can be compared.

    Args:
        n: Size of the sample.
        count: Number of resamples.
        rng: Source of randomness.

    Returns:
        Positions, int32, shape ``(count, n)``.
    """
    return rng.integers(n, size=(count, n), dtype=np.int32)


def ranking_statistics(
    scores: ArrayLike,
    truth: ArrayLike,
    resamples: np.ndarray,
    settings: RankingSettings = RankingSettings(),
    sampled: float = 0.0,
) -> dict[str, Estimate]:
    """All statistics of one metric against one column of truth.

    Args:
        scores: Higher is better, NaN where it failed, shape ``(n,)``.
        truth: True accuracies in percent, finite, shape ``(n,)``.
        resamples: From :func:`resample`, shape ``(count, n)``; none for no intervals.
        settings: Settings of the statistics.
        sampled: Share of the population that the sample is, in [0, 1]: see :func:`interval`.

    Returns:
        ``tau``, ``legacy_tau`` (without an interval: the order of a resample means nothing), ``spearman``, ``top_tau``,
        ``regret`` of the best and ``top_regret`` of the ``trained`` best in percentage points (no value where all would
        be trained), ``precision`` at the share ``top``. Those of resamples refer to the resample: its own ``top``.

        The intervals of regrets are of the mean regret of samples of this size, which grows with the sample; that of
        the whole population is often larger. They are made of :func:`halves`, of which half as many are trained (at
        least one); without an interval where a half would be trained whole. Simulated on a table of 6,466 cells,
        samples of 20 to 4,000 of them and metrics from good to poor, those of 95 % cover that mean in 84 to 97 % of the
        cases, most of them in 92 to 97 % (with resamples: 84 to 92 %); a mean of a few hundredths of a point less
        often, by missing it by as little.

    Raises:
        ValueError: As :func:`genas.metrics.ranking.kendall_tau`, or if ``sampled`` is out of its range.
    """
    score_levels, truth_levels = levels(scores, truth)
    truth = np.asarray(truth, dtype=np.float64)
    n = len(truth)
    by_order: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "spearman": spearman,
        "top_tau": partial(top_tau, fraction=settings.top),
        "precision": partial(precision_at, k=top_count(n, settings.top)),
    }
    found = {
        "tau": interval(
            kendall_tau(score_levels, truth_levels),
            tau_of_resamples(score_levels, truth_levels, resamples),
            settings,
            sampled,
        ),
        "legacy_tau": Estimate(kendall_tau(scores, truth, "legacy")),
    }
    halved = halves(resamples)
    for name, trained in (("regret", 1), ("top_regret", settings.trained)):
        again = [_regret_unless_all(score_levels[half], truth[half], (trained + 1) // 2) for half in halved]
        found[name] = interval(_regret_unless_all(score_levels, truth, trained), again, settings, sampled)
    for name, statistic in by_order.items():
        again = [statistic(score_levels[rows], truth_levels[rows]) for rows in resamples]
        found[name] = interval(statistic(score_levels, truth_levels), again, settings, sampled)
    return {name: found[name] for name in STATISTICS}


def halves(resamples: np.ndarray) -> list[np.ndarray]:
    """A random half of the sample for each resample, without repetition, for the intervals of extremes.

    What is lost by the best-scored depends on single architectures, which a resample holds several times or not at all:
    the bootstrap does not hold for extremes. A half is as free of repetition as the sample, and for means its variance
    is that of a resample.

    Args:
        resamples: From :func:`resample`, shape ``(count, n)``.

    Returns:
        For each, its first ``n // 2`` different positions; fewer in the rare case that a resample of a small sample has
        no more.

    Reference:
        McCarthy, Pseudo-replication: half samples, 1969. That extremes take subsamples instead of resamples: Politis &
        Romano, Large Sample Confidence Regions Based on Subsamples under Minimal Assumptions, 1994, whose theorem is of
        smaller ones.
    """
    firsts = (np.unique(rows, return_index=True)[1] for rows in resamples)
    return [rows[np.sort(first)[: len(rows) // 2]] for rows, first in zip(resamples, firsts, strict=True)]


def _regret_unless_all(scores: np.ndarray, truth: np.ndarray, trained: int) -> float:
    """NaN where all would be trained: nothing is lost then, whatever the scores."""
    return regret(scores, truth, trained) if trained < len(truth) else math.nan


def tau_of_resamples(scores: ArrayLike, truth: ArrayLike, resamples: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    r"""Kendall's tau-b of bootstrap resamples, to first order.

    With :math:`c_i = \sum_j \operatorname{sign}(s_i - s_j) \operatorname{sign}(a_i - a_j)`, and :math:`u_i`,
    :math:`v_i` the numbers of architectures with another score, and another accuracy, than :math:`i`,
    :math:`\tau_b = \sum c_i / \sqrt{\sum u_i \sum v_i}`. A resample that holds :math:`i` :math:`w_i` times has

    .. math:: \sum_{ij} w_i w_j k_{ij} = \sum_i (2 w_i - 1) c_i + \sum_{ij} (w_i - 1)(w_j - 1) k_{ij}

    instead of :math:`\sum c_i`, and likewise for the others. The last sum is left out: its share of the standard
    deviation falls as :math:`1 / n`, that of the first as :math:`1 / \sqrt{n}`. So the pairs are counted once for all
    resamples, which takes milliseconds where counting them in each takes a second. With fewer than 20 architectures
    that share is not small, and intervals are too narrow (see :class:`RankingSettings`).

    Args:
        scores: Higher is better, shape ``(n,)``.
        truth: True accuracies, finite, shape ``(n,)``.
        resamples: Positions of the entries of each resample, such as an array of shape ``(count, n)``.

    Returns:
        Array of shape ``(count,)``; NaN where everything ties.

    Raises:
        ValueError: As :func:`genas.metrics.ranking.kendall_tau`.

    Reference:
        Hoeffding, A class of statistics with asymptotically normal distribution, 1948.
    """
    score_levels, truth_levels = levels(scores, truth)
    sums = np.stack(
        [concordance(score_levels, truth_levels), _others(score_levels), _others(truth_levels)], axis=1
    ).astype(np.float64)
    again = np.array([2 * sums[rows].sum(axis=0) for rows in resamples]).reshape(-1, 3) - sums.sum(axis=0)
    spread = np.sqrt(np.clip(again[:, 1], 0, None) * np.clip(again[:, 2], 0, None))
    taus = np.full(len(again), np.nan)
    np.divide(again[:, 0], spread, out=taus, where=spread > 0)
    return np.asarray(np.clip(taus, -1, 1))


def concordance(scores: ArrayLike, truth: ArrayLike) -> np.ndarray:
    r"""Concordance of each architecture with all others.

    .. math:: c_i = \sum_j \operatorname{sign}(s_i - s_j) \operatorname{sign}(a_i - a_j)

    Computed in :math:`O(n \log^2 n)` steps on permutations. With ties it is the mean over two ways of breaking all of
    them, first to last and last to first: a pair that ties on one side counts once as concordant and once as
    discordant; one that ties on both counts as concordant both times and is subtracted.

    Args:
        scores: Shape ``(n,)``.
        truth: Finite, shape ``(n,)``.

    Returns:
        Int64 array of shape ``(n,)``.

    Example:
        >>> concordance([1, 2, 3], [10.0, 30.0, 20.0])
        array([2, 0, 0])
    """
    score_levels, truth_levels = levels(scores, truth)
    n = len(score_levels)
    total = np.zeros(n, dtype=np.int64)
    for order in (np.arange(n), np.arange(n)[::-1]):
        first, second = (order[np.argsort(each[order], kind="stable")] for each in (score_levels, truth_levels))
        place = np.empty(n, dtype=np.int64)
        place[second] = np.arange(n)
        total[first] += _concordance_of_permutation(place[first])
    _, which, counts = np.unique(
        score_levels * (truth_levels.max() + 1) + truth_levels, return_inverse=True, return_counts=True
    )
    return total // 2 - (counts[which.reshape(-1)] - 1)


def _concordance_of_permutation(permutation: np.ndarray) -> np.ndarray:
    """As :func:`concordance`, for a permutation against 0, 1, 2, ..."""
    n = len(permutation)
    before = np.arange(n)
    concordant_before = _smaller_before(permutation)
    # Of the i before, b are smaller; p are smaller in all, so p - b of them come later, where n - 1 - i are.
    concordant = concordant_before + (n - 1 - before) - (permutation - concordant_before)
    return np.asarray(2 * concordant - (n - 1))


def _smaller_before(permutation: np.ndarray) -> np.ndarray:
    """For each entry of a permutation of 0 .. n - 1, the number of smaller entries before it."""
    n = len(permutation)
    counts = np.zeros(n, dtype=np.int64)
    for bit in range(n.bit_length()):
        # Entries that agree in all higher bits are adjacent, in their old order; those without this bit are smaller.
        arranged = permutation[np.argsort(permutation >> (bit + 1), kind="stable")]
        has_bit = (arranged >> bit) & 1 == 1
        without = np.concatenate([[0], np.cumsum(~has_bit)])
        start = (arranged >> (bit + 1)) << (bit + 1)  # a group begins at its least entry, as all entries are there
        counts[arranged[has_bit]] += (without[:-1] - without[start])[has_bit]
    return np.asarray(counts[permutation])


def _others(numbers: np.ndarray) -> np.ndarray:
    """Number of entries that differ from each entry."""
    return np.asarray(len(numbers) - np.bincount(numbers)[numbers])


def interval(value: float, again: ArrayLike, settings: RankingSettings, sampled: float = 0.0) -> Estimate:
    r"""A statistic with the percentile interval of its resampled values, NaN left out.

    Of a population of :math:`N` of which :math:`n` are in the sample, drawn without replacement, chance concerns the
    others only: the standard deviation of a mean, and so to first order that of every statistic here but the regrets
    (for which simulations stand), is that of draws from an endless population times :math:`\sqrt{1 - n / N}`, and the
    interval is narrowed by as much.

    Args:
        value: The statistic of the sample itself.
        again: The statistic of each resample, shape ``(count,)``.
        settings: Coverage of the interval.
        sampled: Share of the population that the sample is, :math:`n / N`, in [0, 1].

    Returns:
        The estimate; without an interval where there is no value, and of a whole population, of which nothing is to be
        inferred.

    Raises:
        ValueError: If ``sampled`` is not in [0, 1].

    Reference:
        Cochran, Sampling Techniques, 1977, section 2.6, for the correction.
    """
    if not 0 <= sampled <= 1:
        raise ValueError(f"sampled must lie in [0, 1], but got {sampled}.")
    known = np.asarray(again, dtype=np.float64)
    known = known[~np.isnan(known)]
    if math.isnan(value) or not len(known) or sampled == 1:
        return Estimate(value)
    outside = (1 - settings.level) / 2
    ends = value + math.sqrt(1 - sampled) * (np.quantile(known, [outside, 1 - outside]) - value)
    return Estimate(value, float(ends[0]), float(ends[1]))
