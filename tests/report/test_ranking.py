"""Results of rankings as JSON, table and CSV."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from genas.metrics import NoiseCeiling, RankingSettings, kendall_tau, resample
from genas.report import Agreement, Ranking, ScoredMetric, draw_ranking, ranking_figure, scores_csv
from genas.spaces import NASBench201, space
from genas.tables import Column

COLUMN = Column("digits", "test", 5)
TRUTH = np.array([90.0, 91.0, 92.0, 93.0, 94.0, 95.0, 96.0, 97.0])
SETTINGS = RankingSettings(top=0.5, trained=2, resamples=20)
UP, DOWN = np.arange(8.0), -np.arange(8.0)
NOISY = np.array([1.0, 0.0, 2.0, 3.0, 5.0, 4.0, 6.0, np.nan])


def ranking(*metrics: ScoredMetric, ceiling: NoiseCeiling | None = None) -> Ranking:
    rows = resample(8, SETTINGS.resamples, np.random.default_rng(0))
    return Ranking.of(COLUMN, TRUTH, ceiling, metrics, rows, SETTINGS)


def test_one_supernet_has_intervals_and_no_spread() -> None:
    plain = ranking(ScoredMetric("angle", False, (NOISY,))).plain(["runs/a"])
    json.dumps(plain, allow_nan=False)
    (metric,) = plain["metrics"]
    assert (metric["metric"], metric["baseline"], metric["failures"]) == ("angle", False, [1])
    (supernet,) = metric["supernets"]
    assert supernet["run"] == "runs/a"
    assert supernet["tau"]["value"] == pytest.approx(kendall_tau(NOISY, TRUTH))
    assert supernet["tau"]["low"] < supernet["tau"]["value"] < supernet["tau"]["high"]
    assert supernet["legacy_tau"]["low"] is None
    assert "mean" not in metric
    assert (plain["truth"], plain["best"], plain["median"]) == ("digits/test/5", 97.0, 93.5)
    assert plain["noise_ceiling"] is None


def test_the_median_accuracy_is_not_the_mean() -> None:
    truth = np.array([10.0, *TRUTH[1:]])
    rows = resample(8, 0, np.random.default_rng(0))
    found = Ranking.of(COLUMN, truth, None, [ScoredMetric("angle", False, (UP,))], rows, SETTINGS)
    assert found.plain(["a"])["median"] == 93.5


def test_several_supernets_have_mean_standard_deviation_and_each_value() -> None:
    found = ranking(ScoredMetric("angle", False, (UP, NOISY, DOWN)), ScoredMetric("random", True, (UP,)))
    angle, chance = found.plain(["a", "b", "c"])["metrics"]
    taus = [1.0, kendall_tau(NOISY, TRUTH), -1.0]
    assert [each["tau"]["value"] for each in angle["supernets"]] == pytest.approx(taus)
    assert [each["run"] for each in angle["supernets"]] == ["a", "b", "c"]
    assert angle["mean"]["tau"] == pytest.approx(np.mean(taus))
    assert angle["std"]["tau"] == pytest.approx(np.std(taus, ddof=1))
    assert [each["run"] for each in chance["supernets"]] == [""], "the same for all is not that of the first"
    rows = found.rows(SETTINGS)
    assert rows[1][:2] == ["angle", f"{np.mean(taus):.3f} ± {np.std(taus, ddof=1):.3f}"]
    assert rows[2][:2] == ["random *", "1.000 [1.000, 1.000]"]
    assert [row[-1] for row in rows] == ["failed", "1", "0"]


def test_what_has_no_value_is_null_and_a_dash() -> None:
    found = ranking(ScoredMetric("nothing", False, (np.full(8, np.nan),)))
    (supernet,) = found.plain(["a"])["metrics"][0]["supernets"]
    assert supernet["tau"] == {"value": None, "low": None, "high": None}
    assert found.rows(SETTINGS)[1][1:4] == ["-", "-", "-"]


def test_the_header_names_the_settings() -> None:
    header = ranking(ScoredMetric("angle", False, (UP,))).rows(SETTINGS)[0]
    assert header[4:8] == ["tau top 50%", "regret", "regret of 2", "precision 50%"]


def test_each_statistic_stands_in_its_column() -> None:
    scores = np.array([np.nan, 3.0, 4.0, 5.0, 3.0, 4.0, 5.0, 1.0])
    found = ranking(ScoredMetric("angle", False, (scores,)))
    known = found.metrics[0].statistics[0]
    assert len({each.value for each in known.values()}) == len(known), "or two columns could be exchanged unseen"

    def spread(name: str, digits: int = 3) -> str:
        return "{0.value:.{1}f} [{0.low:.{1}f}, {0.high:.{1}f}]".format(known[name], digits)

    assert found.rows(SETTINGS)[1] == [
        "angle",
        spread("tau"),
        f"{known['legacy_tau'].value:.3f}",
        f"{known['spearman'].value:.3f}",
        spread("top_tau"),
        spread("regret", 2),
        f"{known['top_regret'].value:.2f}",
        spread("precision"),
        "1",
    ]


def test_the_noise_ceiling_is_told_or_said_to_be_unknown() -> None:
    metric = ScoredMetric("angle", False, (UP,))
    assert ranking(metric).ceiling_text() == (
        "noise ceiling: not known; it takes 10 architectures whose accuracies differ, trained with two known seeds, "
        "and all seeds behind the means of those that are ranked, or else the means and one training"
    )
    known = ranking(metric, ceiling=NoiseCeiling(0.75, 0.7, 0.8, 0.62, 1000, 1.2, 0.3))
    assert known.ceiling_text().startswith(
        "noise ceiling: tau 0.750 [0.700, 0.800] for a perfect metric (two seeds agree at 0.620"
    )
    assert known.ceiling_text().endswith(
        "\none training as a metric of another, over these: tau among the best 0.300, precision -"
    )
    assert known.plain(["a"])["noise_ceiling"] == {
        "tau": 0.75,
        "low": 0.7,
        "high": 0.8,
        "seed_tau": 0.62,
        "architectures": 1000,
        "trainings": 1.2,
        "seed_top_tau": 0.3,
        "seed_precision": None,
        "is_bound": False,
    }
    bound = ranking(metric, ceiling=NoiseCeiling(0.945, 0.94, 0.95, 0.89, 15_173, 1.97, is_bound=True))
    assert bound.ceiling_text().startswith(
        "noise ceiling: tau 0.945 [0.940, 0.950] or more for a perfect metric (two seeds agree at 0.890 or more"
    )
    assert "τ ≥ 0.945" in ranking_figure(bound).texts[0].get_text()


def test_many_ties_of_the_truth_are_told() -> None:
    """Of 28 pairs 15 tie; a metric without ties that has all others right has the tau-b that is named."""
    truth = np.array([*[90.0] * 6, 95.0, 96.0])
    rows = resample(8, 0, np.random.default_rng(0))
    found = Ranking.of(COLUMN, truth, None, [ScoredMetric("a", False, (UP,))], rows, SETTINGS)
    assert found.ties_text() == ("54% of the pairs of accuracies tie: tau-b is 0.681 at most for a metric without ties")
    assert kendall_tau(UP, truth) == pytest.approx(0.681, abs=5e-4)
    assert ranking(ScoredMetric("a", False, (UP,))).ties_text() == ""


def test_what_no_supernet_has_is_a_dash() -> None:
    found = ranking(ScoredMetric("nothing", False, (np.full(8, np.nan), np.zeros(8))))
    assert found.rows(SETTINGS)[1][1:5] == ["-"] * 4


def test_all_scores_are_in_the_csv() -> None:
    nasbench = NASBench201()
    architectures = [nasbench.from_index(index) for index in range(8)]
    found = ranking(ScoredMetric("a+b", False, (NOISY, UP)), ScoredMetric("macs", True, (DOWN,)))
    rows = list(csv.DictReader(scores_csv(nasbench, architectures, [found], ["x", "y"]).splitlines()))
    assert list(rows[0]) == ["architecture", "index", "digits/test/5", "a+b of x", "a+b of y", "macs (baseline)"]
    assert [int(row["index"]) for row in rows] == list(range(8))
    assert [nasbench.parse(row["architecture"]) for row in rows] == architectures
    assert [float(row["digits/test/5"]) for row in rows] == TRUTH.tolist()
    assert [float(row["a+b of x"] or "nan") for row in rows[:7]] == NOISY[:7].tolist()
    assert rows[7]["a+b of x"] == ""


def test_other_spaces_have_no_index() -> None:
    darts = space("darts")
    architectures = [darts.sample(np.random.default_rng(seed)) for seed in range(8)]
    (header, *_) = scores_csv(darts, architectures, [ranking(ScoredMetric("a", False, (UP,)))], ["x"]).splitlines()
    assert header == "architecture,digits/test/5,a"


def test_agreement_is_tau_between_metrics_where_both_have_scores() -> None:
    metrics = [ScoredMetric(*each) for each in (("a", False, (UP, UP)), ("b", False, (NOISY, DOWN)))]
    agreement = Agreement.of(metrics)
    assert agreement.taus.shape == (2, 2, 2)
    expected = kendall_tau(UP[:7], NOISY[:7])
    assert agreement.taus[:, 0, 1] == pytest.approx([expected, -1])
    np.testing.assert_array_equal(agreement.taus, agreement.taus.transpose(0, 2, 1))
    between = f"{(expected - 1) / 2:.3f} ± {(expected + 1) / 2**0.5:.3f}"
    assert agreement.rows() == [
        ["tau-b between", "(1)", "(2)"],
        ["a (1)", "1.000", between],
        ["b (2)", between, "1.000"],
    ]
    assert Agreement.of([ScoredMetric(each.label, False, each.scores[:1]) for each in metrics]).rows()[1] == [  # type: ignore[index]
        "a (1)",
        "1.000",
        f"{expected:.3f}",
    ]
    np.testing.assert_allclose(agreement.plain()["supernets"][1], [[1.0, -1.0], [-1.0, 1.0]])


def test_what_is_the_same_for_all_supernets_agrees_with_each() -> None:
    naswot, angle = ScoredMetric("naswot", False, (UP,)), ScoredMetric("angle", False, (UP, DOWN, NOISY))
    expected = [1.0, -1.0, kendall_tau(UP[:7], NOISY[:7])]
    for metrics in ((naswot, angle), (angle, naswot)):
        agreement = Agreement.of(metrics)
        assert agreement.taus.shape == (3, 2, 2)
        assert agreement.taus[:, 0, 1] == pytest.approx(expected)
        assert agreement.taus[:, 1, 0] == pytest.approx(expected)


def test_only_what_was_compared_in_several_supernets_has_a_spread() -> None:
    """Two metrics without a supernet are compared once; two with supernets may agree alike in all of them."""
    naswot, synflow = (ScoredMetric(name, False, (scores,)) for name, scores in (("naswot", UP), ("synflow", NOISY)))
    angle, loss = (ScoredMetric(name, False, (UP, UP)) for name in ("angle", "loss"))
    once = f"{kendall_tau(UP[:7], NOISY[:7]):.3f}"
    rows = Agreement.of([naswot, synflow, angle, loss]).rows()
    assert rows is not None
    assert rows[1:4] == [
        ["naswot (1)", "1.000", once, "1.000 ± 0.000", "1.000 ± 0.000"],
        ["synflow (2)", once, "1.000", f"{once} ± 0.000", f"{once} ± 0.000"],
        ["angle (3)", "1.000 ± 0.000", f"{once} ± 0.000", "1.000", "1.000 ± 0.000"],
    ]


def test_agreement_of_what_ranks_nothing_one_or_many() -> None:
    constant, failed = (ScoredMetric(name, False, (scores,)) for name, scores in (("c", UP * 0), ("f", UP * np.nan)))
    up = ScoredMetric("u", False, (UP,))
    agreement = Agreement.of([up, constant, failed])
    assert agreement.plain()["supernets"] == [[[1.0, None, None], [None, 1.0, None], [None, None, 1.0]]]
    assert agreement.rows()[1] == ["u (1)", "1.000", "-", "-"]  # type: ignore[index]
    assert Agreement.of([up]).rows() is None
    assert Agreement.of([up] * 9).rows() is None
    assert Agreement.of([]).plain() == {"metrics": [], "supernets": []}


@pytest.fixture
def found() -> Ranking:
    metrics = [
        ScoredMetric(f"flatness(stds=[{k}e-3, {2 * k}e-3], kind=$in_d$, alpha=1)", k % 2 > 0, (NOISY,))
        for k in range(5)
    ]
    metrics.append(ScoredMetric("nothing", False, (np.full(8, np.nan),)))
    return ranking(*metrics, ceiling=NoiseCeiling(0.75, 0.7, 0.8, 0.62, 1000, 1.0))


def test_the_figure_has_a_panel_per_metric_with_every_architecture(found: Ranking) -> None:
    figure = ranking_figure(found, marked=2)
    assert len(figure.axes) == 6
    points, far, best, far_best = figure.axes[0].collections
    assert not len(far.get_offsets())
    assert not len(far_best.get_offsets())
    np.testing.assert_array_equal(points.get_offsets(), np.stack([NOISY[:7], TRUTH[:7]], axis=1))
    assert {tuple(row) for row in best.get_offsets()} == {(6.0, 96.0), (5.0, 94.0)}
    assert f"τ = {found.metrics[0].text('tau', interval=True)}" in figure.axes[0].get_title()
    assert figure.axes[0].get_title().splitlines()[0] == "flatness(stds=[0e-3, 0e-3], kind=$in_d$, al…"
    assert "8 architectures; noise ceiling τ = 0.750" in figure.texts[0].get_text()
    assert math.isnan(found.metrics[5].values("tau")[0])


def test_the_best_are_marked_where_the_first_have_no_score() -> None:
    scores = np.array([np.nan, np.nan, *NOISY[2:7], 0.5])
    _, _, best, _ = ranking_figure(ranking(ScoredMetric("late", False, (scores,))), marked=2).axes[0].collections
    assert {tuple(row) for row in best.get_offsets()} == {(6.0, TRUTH[6]), (5.0, TRUTH[4])}


def test_what_lies_far_below_is_drawn_hollow_at_the_edge() -> None:
    """The scores have the quartiles 1.75 and 5.25, so that what is below 1.75 - 3 * 3.5 is far out."""
    at, below = (ScoredMetric("a", False, (np.array([least, *UP[1:]]),)) for least in (-8.75, -8.76))
    figures = [ranking_figure(ranking(metric), marked=1) for metric in (at, below)]
    (all_near, none, *_), (points, far, best, far_best) = (figure.axes[0].collections for figure in figures)
    assert (len(all_near.get_offsets()), len(none.get_offsets())) == (8, 0)
    np.testing.assert_array_equal(points.get_offsets(), np.stack([UP, TRUTH], axis=1)[1:])
    np.testing.assert_array_equal(far.get_offsets(), [[-8.75, TRUTH[0]]])
    assert far.get_facecolor().size == 0
    assert (len(best.get_offsets()), len(far_best.get_offsets())) == (1, 0)
    titles = [figure.texts[0].get_text() for figure in figures]
    assert titles == [f"8 architectures; red: the 1 best-scored{more}" for more in ("", "; hollow: lower still")]


def test_a_panel_says_the_unit_of_the_scores() -> None:
    figure = ranking_figure(ranking(ScoredMetric("angle", False, (UP,), "rad"), ScoredMetric("random", True, (UP,))))
    assert [axes.get_xlabel() for axes in figure.axes] == ["rad", ""]


def test_the_title_says_whose_points_are_drawn() -> None:
    angle, chance = ScoredMetric("angle", False, (UP, DOWN, NOISY)), ScoredMetric("random", True, (UP,))
    titles = [ranking_figure(ranking(*metrics)).texts[0].get_text() for metrics in ((chance, angle), (chance,))]
    assert titles[0] == "8 architectures; points: the first of 3 supernets, τ: mean ± standard deviation of all"
    assert titles[1] == "8 architectures"
    assert ranking_figure(ranking(chance), marked=3).texts[0].get_text() == "8 architectures; red: the 3 best-scored"


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_equal_figures_are_equal_files(found: Ranking, tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        draw_ranking(found, tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_other_formats_are_refused(found: Ranking, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in one of .svg, .png, .pdf, but got 'a.jpg'"):
        draw_ranking(found, tmp_path / "a.jpg")
