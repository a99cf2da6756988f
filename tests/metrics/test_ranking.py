"""Ranking statistics against slow definitions, hand-made examples and identities."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from genas.metrics.ranking import kendall_tau, levels, precision_at, regret, spearman, top_count, top_tau

Statistic = Callable[[np.ndarray, np.ndarray], float]
STATISTICS: dict[str, Statistic] = {
    "tau": kendall_tau,
    "legacy": lambda scores, truth: kendall_tau(scores, truth, "legacy"),
    "spearman": spearman,
    "top_tau": lambda scores, truth: top_tau(scores, truth, 0.5),
    "regret": regret,
    "top_regret": lambda scores, truth: regret(scores, truth, 3),
    "precision": lambda scores, truth: precision_at(scores, truth, 4),
}

# Six architectures, ties on both sides. RLNAS ranks both by value, equal values in the order of enumeration:
# truth 1 2 3 4 5 6, scores 1 4 5 2 3 6. Four pairs stand the wrong way round: (4, 2), (4, 3), (5, 2), (5, 3).
SCORES, TRUTH = [3, 1, 1, 2, 2, 0], [95.0, 95.0, 94.0, 93.0, 91.0, 91.0]


def sample(n: int = 40, seed: int = 0, *, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(90, 2, size=n)
    scores = truth + rng.normal(0, 2, size=n)
    return (scores.round(), truth.round()) if ties else (scores, truth)


def test_legacy_tau_of_an_example_by_hand() -> None:
    assert kendall_tau(SCORES, TRUTH, "legacy") == pytest.approx(1 - 2 * 4 / 15)


def test_tau_b_of_an_example_by_hand() -> None:
    # Of 15 pairs, 2 tie in the scores and 2 others in the truth; 11 are left, 4 of them discordant.
    assert kendall_tau(SCORES, TRUTH) == pytest.approx((7 - 4) / (15 - 2))


def test_tau_b_is_that_of_the_definition() -> None:
    scores, truth = sample()
    pairs = list(itertools.combinations(range(len(truth)), 2))
    a = np.array([np.sign(scores[i] - scores[j]) for i, j in pairs])
    b = np.array([np.sign(truth[i] - truth[j]) for i, j in pairs])
    expected = (a * b).sum() / math.sqrt(np.count_nonzero(a) * np.count_nonzero(b))
    assert kendall_tau(scores, truth) == pytest.approx(expected)


def test_spearman_is_scipys() -> None:
    scores, truth = sample()
    assert spearman(scores, truth) == pytest.approx(stats.spearmanr(scores, truth).statistic)


@pytest.mark.parametrize("name", ["tau", "spearman", "top_tau"])
def test_a_score_agrees_with_itself_and_disagrees_with_its_negative(name: str) -> None:
    _, truth = sample()
    assert STATISTICS[name](truth, truth) == pytest.approx(1)
    assert STATISTICS[name](-truth, truth) == pytest.approx(-1)


def test_the_truth_as_a_score_is_perfect() -> None:
    _, truth = sample()
    assert kendall_tau(truth, truth, "legacy") == 1
    assert regret(truth, truth) == regret(truth, truth, 5) == 0
    assert precision_at(truth, truth, 7) == 1
    assert regret(-truth, truth) == truth.max() - truth.min()


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("transform", [lambda s: 3 * s - 7, np.exp, lambda s: -1 / (s - s.min() + 1), np.arctan])
def test_only_the_order_of_scores_counts(name: str, transform: Callable[[np.ndarray], np.ndarray]) -> None:
    scores, truth = sample()
    scores = scores / 100
    assert STATISTICS[name](transform(scores), truth) == STATISTICS[name](scores, truth)


@pytest.mark.parametrize("name", [name for name in STATISTICS if name != "legacy"])
def test_the_order_of_architectures_does_not_count(name: str) -> None:
    scores, truth = sample()
    order = np.random.default_rng(1).permutation(len(truth))
    assert STATISTICS[name](scores[order], truth[order]) == pytest.approx(STATISTICS[name](scores, truth))


def test_legacy_tau_depends_on_the_order_of_ties_only() -> None:
    scores, truth = sample(ties=False)
    order = np.random.default_rng(1).permutation(len(truth))
    assert kendall_tau(scores[order], truth[order], "legacy") == pytest.approx(kendall_tau(scores, truth))
    best_first = np.argsort(-truth)
    assert kendall_tau(np.zeros(40), truth[best_first], "legacy") == 1
    assert kendall_tau(np.zeros(40), truth[best_first[::-1]], "legacy") == -1


def test_legacy_tau_leaves_failures_out() -> None:
    scores, truth = sample()
    kept = np.arange(40) % 3 > 0
    assert kendall_tau(np.where(kept, scores, np.nan), truth, "legacy") == kendall_tau(
        scores[kept], truth[kept], "legacy"
    )
    assert math.isnan(kendall_tau([np.nan, np.nan, 1.0], truth[:3], "legacy"))


@pytest.mark.parametrize("name", [name for name in STATISTICS if name != "legacy"])
def test_nan_ranks_below_everything(name: str) -> None:
    scores, truth = sample()
    failed, lowest = scores.copy(), scores.copy()
    best = np.argsort(-truth)[:6]
    failed[best], lowest[best] = np.nan, -np.inf
    assert STATISTICS[name](failed, truth) == STATISTICS[name](lowest, truth)
    assert STATISTICS[name](failed, truth) != STATISTICS[name](scores, truth)


def test_what_ranks_nothing_has_no_correlation() -> None:
    _, truth = sample()
    for statistic in (kendall_tau, spearman, top_tau):
        assert math.isnan(statistic(np.full(40, np.nan), truth))
        assert math.isnan(statistic(truth, np.full(40, 90.0)))


def test_tau_among_the_best_sees_only_them() -> None:
    scores, truth = sample(ties=False)
    best = np.argsort(-truth)[:8]
    assert top_tau(scores, truth, 0.2) == pytest.approx(kendall_tau(scores[best], truth[best]))
    assert math.isnan(top_tau(scores, truth, 1 / 40))


def test_those_as_accurate_as_the_last_of_the_best_belong_to_them() -> None:
    truth = np.array([93.0, 92.0, 92.0, 91.0, 90.0])
    scores = np.array([1.0, 2.0, 3.0, 9.0, 9.0])
    assert top_tau(scores, truth, 0.4) == pytest.approx(kendall_tau(scores[:3], truth[:3]))


@pytest.mark.parametrize("k", [1, 3, 5, 9, 12])
def test_ties_are_broken_by_chance_and_the_expectation_is_exact(k: int) -> None:
    rng = np.random.default_rng(2)
    scores, truth = rng.integers(3, size=12).astype(float), rng.normal(90, 1, size=12).round(1)
    losses, hits = [], []
    border = np.sort(truth)[-k]
    for _ in range(20_000):
        chosen = np.lexsort((rng.random(12), scores))[-k:]
        losses.append(truth.max() - truth[chosen].max())
        hits.append(np.mean(truth[chosen] >= border))
    error = 5 / math.sqrt(len(losses))
    assert regret(scores, truth, k) == pytest.approx(np.mean(losses), abs=error * np.std(losses) + 1e-9)
    assert precision_at(scores, truth, k) == pytest.approx(np.mean(hits), abs=error * np.std(hits) + 1e-9)


def test_regret_of_all_tied_is_the_mean_regret() -> None:
    _, truth = sample()
    assert regret(np.zeros(40), truth) == pytest.approx(truth.max() - truth.mean())
    assert regret(np.zeros(40), truth, 40) == 0


def test_rounding_makes_no_regret_negative() -> None:
    truth = np.full(50, 93.1)
    assert all(regret(np.zeros(50), truth, k) == pytest.approx(0, abs=1e-9) for k in range(1, 51))
    assert all(regret(np.zeros(50), truth, k) >= 0 for k in range(1, 51))


def test_precision_of_constant_scores_is_that_of_chance() -> None:
    _, truth = sample(ties=False)
    assert precision_at(np.zeros(40), truth, 10) == pytest.approx(10 / 40)


@pytest.mark.parametrize(("n", "fraction", "count"), [(300, 0.1, 30), (15_625, 0.1, 1563), (5, 0.01, 1), (7, 1.0, 7)])
def test_a_share_is_rounded_up(n: int, fraction: float, count: int) -> None:
    assert top_count(n, fraction) == count


def test_levels_of_whole_numbers_of_any_size() -> None:
    macs = np.array([220_119_690, 7_783_050, 7_783_050])
    assert [each.tolist() for each in levels(macs, [1.0, 2.0, 2.0])] == [[2, 1, 1], [1, 2, 2]]
    assert levels(np.array([-5, 3]), [1.0, 2.0])[0].tolist() == [1, 2]


@pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS)
def test_whole_numbers_rank_as_the_same_numbers_with_decimals(statistic: Statistic) -> None:
    """None of them is taken for a failure."""
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(-1, 8, size=12), rng.normal(90, 2, size=12)
    assert scores.min() == -1
    assert statistic(scores, truth) == statistic(scores.astype(float), truth)
    assert statistic(scores + 1, truth) == statistic(scores.astype(float), truth)


@pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS)
def test_unusable_arrays_are_refused(statistic: Statistic) -> None:
    with pytest.raises(ValueError, match=r"two arrays of the same length, two or more, but have shapes \(4,\) and \(5"):
        statistic(np.zeros(4), np.zeros(5))
    with pytest.raises(ValueError, match=r"shapes \(1,\) and \(1,\)"):
        statistic(np.zeros(1), np.zeros(1))
    with pytest.raises(ValueError, match="must be finite, but 2 of 5 are not; leave these architectures out"):
        statistic(np.zeros(5), np.array([1.0, np.nan, 2.0, np.inf, 3.0]))


def test_wrong_options_are_refused() -> None:
    scores, truth = sample()
    with pytest.raises(ValueError, match="ties must be 'b' or 'legacy', but got 'c'"):
        kendall_tau(scores, truth, "c")  # type: ignore[arg-type]
    for fraction in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="fraction must be above 0 and at most 1"):
            top_tau(scores, truth, fraction)
    for k in (0, 41):
        with pytest.raises(ValueError, match=rf"k must lie in 1 .. 40, the number of architectures, but got {k}"):
            regret(scores, truth, k)
        with pytest.raises(ValueError, match="k must lie in"):
            precision_at(scores, truth, k)
