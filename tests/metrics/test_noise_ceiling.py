"""The noise ceiling on synthetic truths whose noise is known."""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path

import numpy as np
import pytest

from genas.metrics import FEWEST_REPEATED, RankingSettings, ceiling_tau, kendall_tau, noise_ceiling, tau_of_seeds
from genas.metrics.ranking import precision_at, top_tau
from genas.spaces import Architecture, NASBench201
from genas.tables import Column, Table
from genas.tables.nasbench201_csv import import_nasbench201_csv

SPACE = NASBench201()
MEAN = Column("digits", "test", 5)


def column(seed: int) -> Column:
    return Column("digits", "test", 5, seed)


def architectures(n: int) -> list[Architecture]:
    return [SPACE.from_index(index) for index in range(n)]


def table(readings: np.ndarray, seeds: tuple[int | str, ...] | None = None) -> Table:
    """Rows are seeds, NaN where an architecture was not trained; the mean is over what there is."""
    values = {MEAN: np.nanmean(readings, axis=0)}
    for seed, row in zip(seeds or range(len(readings)), readings, strict=True):
        values[Column("digits", "test", 5, seed)] = row  # type: ignore[arg-type]
    return Table(SPACE, "synthetic", "drawn", "", architectures(readings.shape[1]), values)


@pytest.mark.parametrize("trainings", [1, 3])
@pytest.mark.parametrize("noise", [0.3, 0.8])
def test_a_perfect_metric_reaches_the_ceiling_and_no_more(trainings: int, noise: float) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(50, 1, size=4000)
    readings = truth + noise * rng.normal(size=(max(trainings, 2), 4000))
    if trainings == 1:
        readings[1, 500:] = np.nan
    known = table(readings)
    ranked = architectures(4000)[500:]
    found = noise_ceiling(known, MEAN, ranked)
    assert found is not None
    assert found.trainings == pytest.approx(trainings)
    assert found.architectures == (500 if trainings == 1 else 4000)
    reached = kendall_tau(truth[500:], known.values(MEAN, ranked))
    assert found.tau == pytest.approx(reached, abs=0.035 if trainings == 1 else 0.01)
    assert found.low < found.tau < found.high < found.low + (0.1 if trainings == 1 else 0.03)


def test_normal_truth_and_noise_have_a_closed_form() -> None:
    """Readings of unit truth with noise s correlate with 1 / (1 + s^2), a mean of k with the truth with its root."""
    for s, k in ((0.5, 1), (1.0, 1), (1.0, 4)):
        seed_tau = 2 / math.pi * math.asin(1 / (1 + s**2))
        expected = 2 / math.pi * math.asin(math.sqrt(1 / (1 + s**2 / k)))
        assert ceiling_tau(seed_tau, k) == pytest.approx(expected)


def test_a_mean_and_one_of_its_trainings_tell_the_noise() -> None:
    """The mean of k readings correlates with each of them by sqrt((1 + s^2 / k) / (1 + s^2))."""
    for s, k in ((0.5, 2), (1.0, 2), (1.0, 3)):
        mean_tau = 2 / math.pi * math.asin(math.sqrt((1 + s**2 / k) / (1 + s**2)))
        assert tau_of_seeds(mean_tau, k) == pytest.approx(2 / math.pi * math.asin(1 / (1 + s**2)))
    assert tau_of_seeds(1.0, 2) == 1
    assert tau_of_seeds(0.4, 2) == 0, "less than the training's own share in the mean gives"
    assert tau_of_seeds(-0.9, 2) == 0
    assert math.isnan(tau_of_seeds(math.nan, 2))


@pytest.mark.parametrize("seed", [7, "any"])
@pytest.mark.parametrize("trainings", [2, 3])
def test_the_ceiling_from_a_mean_and_one_of_its_trainings_is_a_bound(trainings: int, seed: int | str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(50, 1, size=4000)
    readings = truth + 0.5 * rng.normal(size=(trainings, 4000))
    readings[:, 3000:] = readings[0, 3000:]  # trained once
    known = table(readings)
    values = {MEAN: known.values(MEAN), Column("digits", "test", 5, seed): readings[0]}  # type: ignore[arg-type]
    few = Table(SPACE, "two columns", "drawn", "", architectures(4000), values)
    ranked = architectures(4000)
    found, full = noise_ceiling(few, MEAN, ranked[:3000]), noise_ceiling(known, MEAN, ranked[:3000])
    assert found is not None
    assert full is not None
    assert (found.is_bound, full.is_bound) == (True, False)
    assert (found.architectures, found.trainings) == (pytest.approx(3000, rel=0.03), pytest.approx(2, rel=0.03))
    reached = kendall_tau(truth[:3000], known.values(MEAN, ranked[:3000]))
    assert found.low < found.tau < found.high < found.low + 0.03
    if trainings == 2:
        assert found.tau == pytest.approx(reached, abs=0.01)
    else:
        assert reached - 0.1 < found.tau < reached - 0.05
    once = noise_ceiling(few, MEAN, ranked[3000:])
    assert once is not None
    assert once.trainings == 1
    assert once.tau == pytest.approx(ceiling_tau(found.seed_tau))
    assert math.isnan(once.seed_precision)


def test_the_ceiling_of_nasbench201(shared_data: Path) -> None:
    """The CSV has the means of two or three trainings, and one of them."""
    known = import_nasbench201_csv(shared_data / "nasbench201.csv.gz")
    expected = {"cifar10": 0.944, "cifar100": 0.936, "imagenet16-120": 0.948}
    for dataset, tau in expected.items():
        found = noise_ceiling(known, Column(dataset, "test", 200), known.architectures, RankingSettings(resamples=0))
        assert found is not None
        assert found.tau == pytest.approx(tau, abs=0.002)
        assert found.is_bound


def test_limits_of_the_ceiling() -> None:
    assert ceiling_tau(1.0) == 1
    assert ceiling_tau(0.0) == ceiling_tau(-0.3, 5) == 0
    assert 0.5 < ceiling_tau(0.5) < ceiling_tau(0.5, 2) < ceiling_tau(0.5, 100) < 1
    with pytest.raises(ValueError, match="trainings must be at least 1, but got 0"):
        ceiling_tau(0.5, 0)


def test_the_real_far_from_normal_truth(shared_data: Path) -> None:
    """CIFAR-10 accuracies with noise of known size: within the error that the docstring names."""
    with gzip.open(shared_data / "nasbench201.csv.gz", "rt") as file:
        truth = np.array([float(row["c10_test_200"]) for row in csv.DictReader(file)])
    rng = np.random.default_rng(0)
    readings = truth + rng.normal(size=(3, len(truth)))
    seed_tau = kendall_tau(readings[0], readings[1])
    assert seed_tau == pytest.approx(0.70, abs=0.01)
    assert ceiling_tau(seed_tau) == pytest.approx(kendall_tau(truth, readings[0]), abs=0.01)
    assert ceiling_tau(seed_tau, 3) == pytest.approx(kendall_tau(truth, readings.mean(axis=0)), abs=0.02)


def test_a_single_seed_is_a_mean_of_one() -> None:
    rng = np.random.default_rng(0)
    known = table(rng.normal(50, 1, size=300) + rng.normal(size=(3, 300)))
    of_mean, of_one = noise_ceiling(known, MEAN, architectures(9)), noise_ceiling(known, column(1), architectures(9))
    assert of_mean is not None
    assert of_one is not None
    assert (of_mean.trainings, of_one.trainings) == (3, 1)
    assert of_mean.seed_tau == of_one.seed_tau
    assert of_one.tau < of_mean.tau


def test_one_training_as_a_metric_of_another() -> None:
    """What noise alone costs among the best, where a ceiling of tau says nothing."""
    rng = np.random.default_rng(4)
    readings = rng.normal(50, 1, size=40) + rng.normal(size=(2, 40))
    found = noise_ceiling(table(readings), MEAN, architectures(40), RankingSettings(top=0.2))
    assert found is not None
    orders = ((readings[0], readings[1]), (readings[1], readings[0]))
    expected = [
        [top_tau(*order, 0.2) for order in orders],
        [precision_at(*order, 8) for order in orders],
    ]
    assert (found.seed_top_tau, found.seed_precision) == pytest.approx(np.mean(expected, axis=1))
    assert expected[0][0] != expected[0][1], "or one order could be taken twice"


def test_architectures_trained_less_often_count_by_their_noise() -> None:
    rng = np.random.default_rng(0)
    readings = rng.normal(50, 1, size=100) + rng.normal(size=(3, 100))
    readings[1:, 50:] = np.nan
    found = noise_ceiling(table(readings), MEAN, architectures(100))
    assert found is not None
    assert found.trainings == pytest.approx(1 / ((1 / 3 + 1) / 2))


def test_no_ceiling_where_the_mean_is_of_more_seeds_than_the_table_has() -> None:
    """As of a table imported with the mean and two of three seeds: two trainings would make the ceiling too low."""
    rng = np.random.default_rng(0)
    readings = rng.normal(50, 1, size=100) + rng.normal(size=(3, 100))
    readings[2, :60] = np.nan
    values = {MEAN: np.nanmean(readings, axis=0), column(0): readings[0], column(1): readings[1]}
    known = Table(SPACE, "synthetic", "drawn", "", architectures(100), values)
    assert noise_ceiling(known, MEAN, architectures(100)) is None
    assert noise_ceiling(known, MEAN, architectures(61)) is None, "one of them is enough"
    of_two = noise_ceiling(known, MEAN, architectures(60))
    assert of_two is not None
    assert of_two.trainings == 2
    assert noise_ceiling(known, column(0), architectures(100)) is not None, "one training whatever else there is"


def test_rounded_means_are_those_of_their_seeds() -> None:
    """Published accuracies have five decimals, or two; some architectures may have a mean and no seed."""
    rng = np.random.default_rng(0)
    readings = rng.normal(50, 1, size=100) + rng.normal(size=(2, 100))
    means = readings.mean(axis=0)
    readings[:, 90:] = np.nan
    values = {MEAN: means.round(2), column(0): readings[0].round(2), column(1): readings[1].round(2)}
    found = noise_ceiling(Table(SPACE, "rounded", "drawn", "", architectures(100), values), MEAN, architectures(100))
    assert found is not None
    assert found.trainings == 2


def test_pairs_of_seeds_count_by_their_architectures() -> None:
    rng = np.random.default_rng(0)
    readings = rng.normal(50, 1, size=23) + rng.normal(size=(4, 23))
    trained = [range(20), range(2, 22), range(4), (0, 22)]
    for row, kept in zip(readings, trained, strict=True):
        row[[each for each in range(23) if each not in kept]] = np.nan
    found = noise_ceiling(table(readings), MEAN, architectures(23))
    pairs = {(0, 1): slice(2, 20), (0, 2): slice(0, 4), (1, 2): slice(2, 4)}  # the others share one, or none
    taus = [kendall_tau(readings[a, both], readings[b, both]) for (a, b), both in pairs.items()]
    assert len(set(taus)) == 3
    assert found is not None
    assert found.seed_tau == pytest.approx(np.average(taus, weights=[18, 4, 2]), rel=1e-12)


def test_a_pair_of_seeds_that_says_nothing_changes_nothing() -> None:
    """A third seed of two architectures, which tie."""
    readings = np.full((3, 60), np.nan)
    rng = np.random.default_rng(0)
    readings[:2] = rng.normal(50, 1, size=60) + 0.5 * rng.normal(size=(2, 60))
    without = noise_ceiling(table(readings[:2]), column(0), architectures(60))
    readings[2, :2] = 50
    assert without is not None
    assert noise_ceiling(table(readings), column(0), architectures(60)) == without


def test_resamples_without_a_pair_of_seeds_are_judged_by_the_others() -> None:
    """Seeds 0 and 1 agree, seed 2 contradicts both on its two architectures, which many resamples have not."""
    readings = np.full((3, 60), np.nan)
    readings[:2] = np.arange(60)
    readings[2, :2] = [1, 0]
    found = noise_ceiling(table(readings), column(0), architectures(60))
    lower = (60 - 2 - 2) / (60 + 2 + 2)
    assert found is not None
    assert found.seed_tau == pytest.approx(lower)
    assert (found.tau, found.low, found.high) == pytest.approx((ceiling_tau(lower), ceiling_tau(lower), 1))


def test_resamples_that_say_nothing_are_left_out_of_the_interval() -> None:
    """Two architectures tell seeds 0 and 1 apart, nine have nothing but ties: a third of the resamples has no tau."""
    readings = np.full((4, 11), np.nan)
    readings[:2, :2] = [40, 60]
    readings[2:, 2:] = 50
    found = noise_ceiling(table(readings), column(0), architectures(2))
    assert found is not None
    assert (found.tau, found.low, found.high, found.seed_tau, found.architectures) == (1, 1, 1, 1, 11)
    assert found.seed_precision == 1


def test_no_number_where_the_noise_is_not_known() -> None:
    rng = np.random.default_rng(0)
    readings = 50 + rng.normal(size=(2, 20))
    assert noise_ceiling(table(readings[:1]), MEAN, architectures(20)) is None
    assert noise_ceiling(table(readings, (0, "any")), MEAN, architectures(20)) is None
    assert noise_ceiling(table(readings), MEAN, [architectures(21)[20]]) is None, "never trained"
    readings[0, :9], readings[1, 18:] = np.nan, np.nan
    assert noise_ceiling(table(readings), MEAN, architectures(20)) is None, "nine of both seeds"
    readings[1, 18] = readings[0, 18]
    found = noise_ceiling(table(readings), MEAN, architectures(20))
    assert found is not None
    assert found.architectures == FEWEST_REPEATED == 10
    readings[0, :9], readings[1, 18:] = readings[1, :9], readings[0, 18:]
    assert noise_ceiling(table(readings), MEAN, architectures(20)) is not None
    readings[:] = 50
    assert noise_ceiling(table(readings), MEAN, architectures(20)) is None, "a tau of nothing but ties"


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Of 60 architectures with two seeds, as in a small table: the true ceiling of normal noise is known."""
    expected, inside = 2 / math.pi * math.asin(math.sqrt(1 / (1 + 0.5**2))), 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        known = table(rng.normal(50, 1, size=60) + 0.5 * rng.normal(size=(2, 60)))
        found = noise_ceiling(known, column(0), architectures(60), seed=seed)
        assert found is not None
        inside += found.low <= expected <= found.high
    assert 88 <= inside <= 100


def test_without_resamples_there_is_no_interval() -> None:
    readings = np.random.default_rng(0).normal(50, 1, size=(2, 20))
    found = noise_ceiling(table(readings), MEAN, architectures(20), RankingSettings(resamples=0))
    assert found is not None
    assert math.isnan(found.low)
