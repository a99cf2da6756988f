"""Bootstrap intervals: pair counts against the slow sum, resampled taus against scipy's, coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from genas.metrics.bootstrap import (
    STATISTICS,
    Estimate,
    RankingSettings,
    concordance,
    halves,
    interval,
    ranking_statistics,
    resample,
    tau_of_resamples,
)
from genas.metrics.ranking import kendall_tau, precision_at, regret, spearman, top_tau


def sample(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(90, 2, size=n)
    return (truth + rng.normal(0, 2, size=n)).round(1), truth.round(1)


@pytest.mark.parametrize(("n", "values"), [(2, 2), (3, 2), (7, 3), (8, 100), (33, 5), (64, 1000), (65, 1)])
def test_concordance_is_the_slow_sum(n: int, values: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(20):
        scores, truth = (rng.integers(values, size=n).astype(float) for _ in range(2))
        expected = (np.sign(scores[:, None] - scores) * np.sign(truth[:, None] - truth)).sum(axis=1)
        np.testing.assert_array_equal(concordance(scores, truth), expected)


@pytest.mark.parametrize("n", [2, 3, 4, 9, 33])
def test_concordance_is_the_slow_sum_of_levels_too(n: int) -> None:
    """Whole numbers from -1 on are taken for levels, of accuracies as of scores."""
    np.testing.assert_array_equal(concordance([0, 1, 1, 0], [1, -1, 0, 1]), [-2, -2, -2, -2])
    rng = np.random.default_rng(n)
    for most in range(n):
        for _ in range(20):
            scores, truth = (rng.integers(-1, most + 1, size=n) for _ in range(2))
            truth[0] = -1
            expected = (np.sign(scores[:, None] - scores) * np.sign(truth[:, None] - truth)).sum(axis=1)
            np.testing.assert_array_equal(concordance(scores, truth), expected)


def test_taus_of_resamples_are_those_of_scipy_to_first_order() -> None:
    scores, truth = sample(400)
    rows = resample(400, 100, np.random.default_rng(0))
    exact = np.array([stats.kendalltau(scores[each], truth[each]).statistic for each in rows])
    taus = tau_of_resamples(scores, truth, rows)
    assert np.corrcoef(taus, exact)[0, 1] > 0.98
    assert taus.std() == pytest.approx(exact.std(), rel=0.05)
    np.testing.assert_allclose(taus, exact, atol=0.02)


def test_the_unchanged_sample_has_its_own_tau() -> None:
    scores, truth = sample(50)
    scores[7] = np.nan
    taus = tau_of_resamples(scores, truth, np.arange(50)[None])
    np.testing.assert_allclose(taus, [kendall_tau(scores, truth)])


def test_taus_of_a_perfect_metric_and_of_its_negative() -> None:
    _, truth = sample(30)
    rows = resample(30, 20, np.random.default_rng(0))
    np.testing.assert_allclose(tau_of_resamples(truth, truth, rows), 1)
    np.testing.assert_allclose(tau_of_resamples(-truth, truth, rows), -1)
    assert np.isnan(tau_of_resamples(np.zeros(30), truth, rows)).all()


def test_statistics_are_those_of_their_functions() -> None:
    scores, truth = sample(200)
    settings = RankingSettings(top=0.2, trained=5, resamples=50)
    found = ranking_statistics(scores, truth, resample(200, 50, np.random.default_rng(0)), settings)
    assert tuple(found) == STATISTICS
    assert {name: each.value for name, each in found.items()} == {
        "tau": kendall_tau(scores, truth),
        "legacy_tau": kendall_tau(scores, truth, "legacy"),
        "spearman": spearman(scores, truth),
        "top_tau": top_tau(scores, truth, 0.2),
        "regret": regret(scores, truth),
        "top_regret": regret(scores, truth, 5),
        "precision": precision_at(scores, truth, 40),
    }
    assert math.isnan(found["legacy_tau"].low)
    for name in ("tau", "spearman", "top_tau", "precision"):
        assert found[name].low < found[name].value < found[name].high
    for name in ("regret", "top_regret"):
        assert 0 <= found[name].low <= found[name].value < found[name].high


def test_the_interval_is_that_of_the_resamples() -> None:
    scores, truth = sample(100)
    rows = resample(100, 80, np.random.default_rng(0))
    found = ranking_statistics(scores, truth, rows, RankingSettings(level=0.8))["spearman"]
    again = [stats.spearmanr(scores[each], truth[each]).statistic for each in rows]
    np.testing.assert_allclose([found.low, found.high], np.quantile(again, [0.1, 0.9]))


def test_intervals_of_regret_are_those_of_random_halves_of_which_half_as_many_are_trained() -> None:
    scores, truth = sample(101)
    rows = resample(101, 80, np.random.default_rng(0))
    settings = RankingSettings(level=0.8, trained=7)
    found, narrowed = (ranking_statistics(scores, truth, rows, settings, sampled) for sampled in (0.0, 0.75))
    halved = [list(dict.fromkeys(each.tolist()))[:50] for each in rows]
    for name, trained in (("regret", 1), ("top_regret", 4)):
        again = [regret(scores[half], truth[half], trained) for half in halved]
        expected = np.quantile(again, [0.1, 0.9])
        np.testing.assert_allclose([found[name].low, found[name].high], expected)
        value, narrow = found[name].value, narrowed[name]
        np.testing.assert_allclose([narrow.low, narrow.high], value + 0.5 * (expected - value))


def test_halves_hold_nothing_twice_and_every_architecture_equally_often() -> None:
    halved = np.array(halves(resample(100, 4000, np.random.default_rng(0))))
    assert all(len(set(half)) == 50 for half in halved.tolist())
    np.testing.assert_allclose(np.bincount(halved.reshape(-1)) / 4000, 0.5, atol=0.04)


@pytest.mark.parametrize("trained", [1, 4])
def test_intervals_of_regret_cover_its_mean_about_as_often_as_they_say(trained: int) -> None:
    """Those of resamples cover it in 81 % of these cases."""
    rng, n, covered = np.random.default_rng(0), 60, 0

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        truth = rng.normal(size=(count, n))
        return truth + rng.normal(size=(count, n)), truth

    scores, truth = drawn(20_000)
    best = np.argpartition(-scores, trained - 1, axis=1)[:, :trained]
    mean = (truth.max(axis=1) - np.take_along_axis(truth, best, axis=1).max(axis=1)).mean()
    for score, true in zip(*drawn(400), strict=True):
        again = [regret(score[half], true[half], (trained + 1) // 2) for half in halves(resample(n, 60, rng))]
        found = interval(regret(score, true, trained), again, RankingSettings(level=0.9))
        covered += found.low <= mean <= found.high
    assert 0.85 < covered / 400 < 0.96


def test_a_whole_population_has_no_interval_and_more_is_no_share() -> None:
    assert math.isnan(interval(0.5, [0.4, 0.6], RankingSettings(), 1).low)
    with pytest.raises(ValueError, match=r"sampled must lie in \[0, 1\], but got 1.5"):
        interval(0.5, [0.4, 0.6], RankingSettings(), 1.5)


def test_a_half_that_would_be_trained_whole_says_nothing() -> None:
    scores, truth = sample(8)
    rows = resample(8, 30, np.random.default_rng(0))
    found = {trained: ranking_statistics(scores, truth, rows, RankingSettings(trained=trained)) for trained in (6, 7)}
    assert not math.isnan(found[6]["top_regret"].low)
    assert not math.isnan(found[7]["top_regret"].value)
    assert math.isnan(found[7]["top_regret"].low)


def test_resamples_without_a_value_are_left_out_of_the_interval() -> None:
    again = np.random.default_rng(0).normal(size=50)
    with_gaps = np.insert(again, [0, 7, 50], np.nan)
    assert interval(0.5, with_gaps, RankingSettings()) == interval(0.5, again, RankingSettings())


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Tau of correlated normal variables is 2 / pi arcsin(r)."""
    r, n, rng = 0.7, 60, np.random.default_rng(0)
    tau, covered = 2 / math.pi * math.asin(r), 0
    for _ in range(300):
        truth = rng.normal(size=n)
        scores = r * truth + math.sqrt(1 - r**2) * rng.normal(size=n)
        low, high = np.quantile(tau_of_resamples(scores, truth, resample(n, 200, rng)), [0.05, 0.95])
        covered += low <= tau <= high
    assert 0.85 < covered / 300 < 0.95


def test_intervals_of_most_of_a_population_cover_its_statistic_as_often() -> None:
    """Of 80 that are all there is, 60 are known; without the correction the intervals would cover it always."""
    rng, counts, population = np.random.default_rng(0), {0.0: 0, 0.75: 0}, sample(80)
    tau = kendall_tau(*population)
    for _ in range(200):
        scores, truth = (each[rows] for rows in [rng.permutation(80)[:60]] for each in population)
        again = tau_of_resamples(scores, truth, resample(60, 200, rng))
        for sampled in counts:
            found = interval(kendall_tau(scores, truth), again, RankingSettings(level=0.9), sampled)
            counts[sampled] += found.low <= tau <= found.high
    assert counts[0.0] > 198
    assert 0.85 < counts[0.75] / 200 < 0.95


def test_the_correction_halves_an_interval_where_three_quarters_are_known() -> None:
    found = interval(0.5, np.linspace(0, 1, 101), RankingSettings(level=0.8), 0.75)
    assert found == Estimate(0.5, pytest.approx(0.3), pytest.approx(0.7))


def test_the_same_seed_gives_the_same_resamples() -> None:
    first, second, other = (resample(9, 5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    assert first.shape == (5, 9)
    assert 0 <= first.min() <= first.max() <= 8


def test_without_resamples_there_are_no_intervals() -> None:
    scores, truth = sample(20)
    rows = resample(20, 0, np.random.default_rng(0))
    found = ranking_statistics(scores, truth, rows, RankingSettings(resamples=0))
    assert all(math.isnan(each.low) and math.isnan(each.high) for each in found.values())
    assert found["tau"].value == kendall_tau(scores, truth)


def test_a_metric_that_ranks_nothing_has_no_interval_either() -> None:
    _, truth = sample(20)
    found = ranking_statistics(np.full(20, np.nan), truth, resample(20, 10, np.random.default_rng(0)))
    assert math.isnan(found["tau"].value)
    assert math.isnan(found["tau"].low)
    assert found["regret"].value == pytest.approx(truth.max() - truth.mean())


def test_where_all_are_trained_nothing_is_regretted_nor_told() -> None:
    for number, known in ((10, False), (11, True)):
        scores, truth = sample(number)
        found = ranking_statistics(scores, truth, resample(number, 3, np.random.default_rng(0)))["top_regret"].value
        assert math.isnan(found) is not known


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top": 0.0}, "top must be above 0 and at most 1, but got 0.0"),
        ({"trained": 0}, "trained must be at least 1 and resamples 0, but got 0 and 200"),
        ({"resamples": -1}, "but got 10 and -1"),
        ({"level": 1.0}, "level must lie between 0 and 1, but got 1.0"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RankingSettings(**changes)  # type: ignore[arg-type]


def test_a_sample_without_a_value_has_no_interval() -> None:
    assert math.isnan(interval(math.nan, [0.1, 0.3], RankingSettings()).low)
