"""Statistics of a ranking by scores against true accuracies: rank correlations, regret, precision.

Only the order of the scores matters: every number here is the same for any increasing function of them. A NaN, a score
that could not be measured, ranks below all others and ties with the other NaNs; only RLNAS' tau leaves it out.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

Ties = Literal["b", "legacy"]


def kendall_tau(scores: ArrayLike, truth: ArrayLike, ties: Ties = "b") -> float:
    r"""Kendall's rank correlation.

    .. math:: \tau_b = \frac{C - D}{\sqrt{(P - T_\text{scores})(P - T_\text{truth})}}

    with :math:`C` concordant and :math:`D` discordant among all :math:`P = n (n - 1) / 2` pairs, :math:`T` of which are
    tied.

    Args:
        scores: Higher is better, shape ``(n,)``.
        truth: True accuracies, finite, shape ``(n,)``.
        ties: ``b``: as above; ``legacy``: as in RLNAS' code, NaN scores are left out and ties on both sides are broken
            by the order of the arrays, the earlier ranking higher: it rewards a metric for failures, and for ties that
            are in the right order by chance.

    Returns:
        A number in [-1, 1]; NaN if all scores or all accuracies are equal, with ``ties="b"``, or if fewer than two
        scores are left.

    Raises:
        ValueError: If the shapes differ, an accuracy is not finite, there are fewer than two, or ``ties`` is unknown.

    Reference:
        Kendall, Biometrika 1945; Zhang et al., RLNAS, CVPR 2021.

    Example:
        >>> round(kendall_tau([1, 2, 2, 3], [90.0, 91.0, 92.0, 93.0]), 4)
        0.9129
    """
    score_levels, truth_levels = levels(scores, truth)
    if ties == "b":
        return _tau_b(score_levels, truth_levels)
    if ties == "legacy":
        measured = ~np.isnan(np.asarray(scores))
        if measured.sum() < 2:
            return math.nan
        by_score, by_truth = (np.argsort(-each[measured], kind="stable") for each in (score_levels, truth_levels))
        return _tau_b(np.argsort(by_score), np.argsort(by_truth))
    raise ValueError(f"ties must be 'b' or 'legacy', but got {ties!r}.")


def spearman(scores: ArrayLike, truth: ArrayLike) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, ties sharing their mean rank.

    Args:
        scores: Higher is better, shape ``(n,)``.
        truth: True accuracies, finite, shape ``(n,)``.

    Returns:
        A number in [-1, 1]; NaN if all scores or all accuracies are equal.

    Raises:
        ValueError: As :func:`kendall_tau`.
    """
    first, second = (_mean_ranks(each) for each in levels(scores, truth))
    first, second = first - first.mean(), second - second.mean()
    # Sums of products: BLAS, sharing so little work among threads, can take a thousand times as long.
    spread = math.sqrt(float((first * first).sum()) * float((second * second).sum()))
    return float((first * second).sum()) / spread if spread else math.nan


def top_tau(scores: ArrayLike, truth: ArrayLike, fraction: float = 0.1) -> float:
    """Kendall's tau-b among the truly best architectures, which a search has to tell apart.

    Args:
        scores: Higher is better, shape ``(n,)``.
        truth: True accuracies, finite, shape ``(n,)``.
        fraction: Share of the architectures that count as best, rounded up; ties with the last one are included.

    Returns:
        A number in [-1, 1]; NaN if there are fewer than two, or all of them tie.

    Raises:
        ValueError: As :func:`kendall_tau`, or if ``fraction`` is not in (0, 1].
    """
    score_levels, truth_levels = levels(scores, truth)
    best = truth_levels >= _kth_largest(truth_levels, top_count(len(truth_levels), fraction))
    return _tau_b(score_levels[best], truth_levels[best]) if best.sum() > 1 else math.nan


def regret(scores: ArrayLike, truth: ArrayLike, k: int = 1) -> float:
    r"""Accuracy lost by training the ``k`` best-scored architectures and keeping the best of them.

    Where scores tie at the border, it is the exact expectation over a random choice among them: with :math:`g_1 \ge
    \dots \ge g_m` the accuracies of the tied architectures, of which :math:`s` are chosen, the best of the chosen is
    :math:`g_j` with probability :math:`\binom{m - j}{s - 1} / \binom{m}{s}`.

    Args:
        scores: Higher is better, shape ``(n,)``.
        truth: True accuracies in percent, finite, shape ``(n,)``.
        k: Number of trained architectures; at most ``n``.

    Returns:
        The greatest accuracy of all minus the greatest among them, in percentage points.

    Raises:
        ValueError: As :func:`kendall_tau`, or if ``k`` is not in 1 .. n.

    Example:
        >>> regret([1, 2, 2], [90.0, 91.0, 93.0])
        1.0
    """
    score_array, truth = _checked(scores, truth)
    score_levels = _levels(score_array)
    chosen, tied, places = _best(score_levels, k)
    first = truth[chosen].max() if chosen.any() else -math.inf
    candidates = -np.sort(-truth[tied])
    probabilities = _best_of_random(len(candidates), places)
    # The probabilities add up to 1 except for rounding, so that a regret of zero could come out negative.
    return max(float(truth.max() - probabilities @ np.maximum(candidates, first)), 0.0)


def precision_at(scores: ArrayLike, truth: ArrayLike, k: int) -> float:
    """Share of the ``k`` best-scored architectures that are among the ``k`` truly best.

    Where scores tie at the border, it is the exact expectation over a random choice among them. All architectures as
    accurate as the truly ``k``-th count as truly best.

    Args:
        scores: Higher is better, shape ``(n,)``.
        truth: True accuracies, finite, shape ``(n,)``.
        k: Number of best architectures; at most ``n``.

    Returns:
        A number in [0, 1]; ``k / n`` is expected of random scores where no accuracies tie.

    Raises:
        ValueError: As :func:`regret`.

    Example:
        >>> precision_at([4, 3, 2, 1], [90.0, 93.0, 92.0, 91.0], k=2)
        0.5
    """
    score_levels, truth_levels = levels(scores, truth)
    chosen, tied, places = _best(score_levels, k)
    hits = truth_levels >= _kth_largest(truth_levels, k)
    return float(hits[chosen].sum() + places * hits[tied].mean()) / k


def top_count(n: int, fraction: float) -> int:
    """Number of architectures in a fraction of ``n``: rounded up, at least one.

    Args:
        n: Number of architectures.
        fraction: In (0, 1].

    Returns:
        The number.

    Raises:
        ValueError: If ``fraction`` is not in (0, 1].

    Example:
        >>> top_count(15_625, 0.1), top_count(300, 0.1)
        (1563, 30)
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be above 0 and at most 1, but got {fraction}.")
    return max(math.ceil(n * fraction - 1e-9), 1)  # 300 * 0.1 is a little more than 30


def levels(scores: ArrayLike, truth: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Scores and accuracies as integers in the same order, equal for ties; NaN scores are the lowest.

    Args:
        scores: Shape ``(n,)``.
        truth: Finite, shape ``(n,)``.

    Returns:
        Two int64 arrays of shape ``(n,)`` with numbers from 0 to ``n``.

    Raises:
        ValueError: If the shapes differ, an accuracy is not finite, or there are fewer than two.
    """
    score_array, truth_array = _checked(scores, truth)
    return _levels(score_array), _levels(truth_array)


def _checked(scores: ArrayLike, truth: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    score_array, truth_array = np.asarray(scores), np.asarray(truth)
    if score_array.ndim != 1 or score_array.shape != truth_array.shape or len(score_array) < 2:
        raise ValueError(
            "scores and truth must be two arrays of the same length, two or more, but have shapes "
            f"{score_array.shape} and {truth_array.shape}."
        )
    if not np.isfinite(truth_array).all():
        raise ValueError(
            f"True accuracies must be finite, but {np.count_nonzero(~np.isfinite(truth_array))} of {len(truth_array)} "
            "are not; leave these architectures out."
        )
    return score_array, truth_array


def _tau_b(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import kendalltau  # a second to import, for every worker process too

    return float(kendalltau(first, second).statistic)


def _levels(numbers: np.ndarray) -> np.ndarray:
    if numbers.dtype == np.int64 and numbers.min() >= 0 and numbers.max() <= len(numbers):
        return numbers  # small whole numbers are levels, such as those of resamples: no need to sort them
    which = np.unique(numbers, return_inverse=True)[1].reshape(-1)
    return np.where(np.isnan(numbers), 0, which + 1)


def _mean_ranks(numbers: np.ndarray) -> np.ndarray:
    """Ranks of levels, up to a constant."""
    counts = np.bincount(numbers)
    return np.asarray((np.cumsum(counts) - counts / 2)[numbers])


def _kth_largest(numbers: np.ndarray, k: int) -> int:
    if not 1 <= k <= len(numbers):
        raise ValueError(f"k must lie in 1 .. {len(numbers)}, the number of architectures, but got {k}.")
    return int(np.partition(numbers, len(numbers) - k)[len(numbers) - k])


def _best(score_levels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Masks of the certain members of the ``k`` best and of those tied for the other places; number of these places."""
    border = _kth_largest(score_levels, k)
    chosen = score_levels > border
    return chosen, score_levels == border, k - int(chosen.sum())


def _best_of_random(m: int, s: int) -> np.ndarray:
    """The probability that each of ``m``, best first, is the best of ``s`` chosen at random."""
    # From (m - j choose s - 1) / (m choose s) follows the ratio of successive ones; the first is s / m.
    j = np.arange(1, m - s + 1)
    probabilities = np.zeros(m)
    probabilities[: m - s + 1] = np.cumprod([s / m, *((m - s + 1 - j) / (m - j))])
    return probabilities
