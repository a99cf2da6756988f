"""Joined metrics: sums, standardised sums, rank sums, and what becomes of failures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genas.metrics import Accuracy, Angle, Combined, Flatness, Loss, Outputs, Term

KEYS = [(k,) * 6 for k in range(5)]


def table(*values: float) -> dict[tuple[int, ...], float]:
    return dict(zip(KEYS, values, strict=False))


def ranking(scores: np.ndarray) -> list[int]:
    return np.argsort(-scores, kind="stable").tolist()


# ----------------------------------------------------------------------------------------------------------------- sum


def test_a_sum_is_gamma_times_scale_times_score(table_metric, context) -> None:
    gain = table_metric(table(1, 2, 3), name="gain", scale=0.5)
    harm = table_metric(table(10, 0, 5), name="harm", scale=2.0, higher_is_better=False)
    combined = Combined((Term(gain, 3.0), Term(harm, 0.1)))
    assert combined.score(context, KEYS[:3]).tolist() == pytest.approx([1.5 - 2.0, 3.0, 4.5 - 1.0])
    assert combined.comparable(harm, context, KEYS[:3]).tolist() == [-20.0, 0.0, -10.0]


def test_a_term_of_weight_zero_is_not_measured_and_cannot_fail(table_metric, context) -> None:
    gain, failing = table_metric(table(1, 2), name="gain"), table_metric(table(math.nan, math.nan), name="failing")
    assert Combined((Term(gain), Term(failing, 0.0))).score(context, KEYS[:2]).tolist() == [1, 2]
    combined = Combined((Term(Accuracy()), Term(Flatness(), 0.0)))
    assert combined.measurements == Accuracy().measurements
    assert combined.parts == (Accuracy(),)
    assert set(combined.needs(context, KEYS[:1]).values()) == {Accuracy().measurements}
    with pytest.raises(ValueError, match="all weights are 0"):
        Combined((Term(Accuracy(), 0.0),))


def test_genas_joins_angle_over_pi_with_gamma_times_beta_times_flatness(context, draw) -> None:
    architectures = draw(context.space, 4)
    angle, flatness, accuracy = Angle(), Flatness(), Accuracy()
    found = Combined((Term(angle), Term(flatness, 16), Term(accuracy, 2))).score(context, architectures)
    expected = (
        angle.values(context, architectures) / math.pi
        + 16 * flatness.values(context, architectures) / 2e-3
        + 2 * accuracy.values(context, architectures)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("join", ["sum", "rank", "log_rank"])
def test_gamma_zero_ranks_as_the_base_and_a_huge_gamma_as_the_other(join, table_metric, context) -> None:
    base = table_metric(table(3, 1, 5, 2, 4), name="base")
    other = table_metric(table(0.1, 0.5, 0.2, 0.4, 0.3), name="other")
    by_gamma = {
        gamma: ranking(Combined((Term(base), Term(other, gamma)), join).score(context, KEYS)) for gamma in (0, 9, 1e9)
    }
    assert by_gamma[0] == ranking(base.score(context, KEYS)) == [2, 4, 0, 3, 1]
    assert by_gamma[1e9] == ranking(other.score(context, KEYS)) == [1, 3, 4, 2, 0]
    assert by_gamma[9] != by_gamma[0]


@pytest.mark.parametrize(("gamma", "percent"), [(0.5, 20), (1.5, 43), (6, 75), (16, 89)])
def test_the_share_of_a_term_is_gamma_b_over_a_plus_gamma_b(gamma, percent, table_metric, context) -> None:
    """GeNAS' Tables 8 to 10: with A twice B their shares (20, 43, 76, 89 %) are met to a percent."""
    first, second = table_metric(table(2.0), name="a"), table_metric(table(1.0), name="b")
    combined = Combined((Term(first), Term(second, gamma)))
    total = combined.score(context, KEYS[:1])[0]
    share = gamma * combined.comparable(second, context, KEYS[:1])[0] / total
    assert share == pytest.approx(gamma / (2 + gamma), rel=1e-12)
    assert round(100 * share) == percent


def test_a_failure_of_any_term_is_a_failure(table_metric, context) -> None:
    first = table_metric(table(1, math.nan, 3), name="a")
    second = table_metric(table(1, 2, math.nan), name="b")
    for join in ("sum", "rank", "log_rank"):
        scores = Combined((Term(first), Term(second)), join).score(context, KEYS[:3])
        assert np.isnan(scores).tolist() == [False, True, True]


# -------------------------------------------------------------------------------------------------------- standardised


@pytest.fixture
def everything(context):
    """A value for every architecture, of mean about 1000 and standard deviation about 12."""
    rng = np.random.default_rng(0)
    return {genes: 1000 + 12 * float(rng.normal()) for genes in context.space.architectures()}


def test_standardised_scores_have_mean_zero_and_deviation_one_on_their_reference(
    everything, table_metric, context
) -> None:
    metric = table_metric(everything, scale=123.0, higher_is_better=False)
    combined = Combined((Term(metric, 3.0),), "standardized", reference=40)
    reference = combined.reference_architectures(context)
    assert len(reference) == 40
    comparable = combined.comparable(metric, context, reference)
    assert comparable.mean() == pytest.approx(0, abs=1e-9)
    assert comparable.std() == pytest.approx(1, rel=1e-12)
    np.testing.assert_allclose(combined.score(context, reference), 3 * comparable)
    raw = -np.array([everything[genes] for genes in reference])
    assert np.corrcoef(raw, comparable)[0, 1] == pytest.approx(1), "the orientation is kept"


def test_a_standardised_score_belongs_to_the_architecture_alone(make_context, draw) -> None:
    combined = Combined((Term(Angle()), Term(Loss(), 0.5)), "standardized", reference=4)
    architectures = draw(make_context().space, 3, seed=9)
    together = combined.score(make_context(), architectures)
    context = make_context()
    assert [combined.score(context, [genes])[0] for genes in reversed(architectures)] == together[::-1].tolist()


def test_the_reference_depends_on_the_seed_alone_and_is_measured_once(make_context, evaluations) -> None:
    combined = Combined((Term(Loss()),), "standardized", reference=3)
    context, other = make_context(), make_context(seed=1)
    assert combined.reference_architectures(context) == combined.reference_architectures(make_context())
    assert combined.reference_architectures(context) != combined.reference_architectures(other)
    for _ in range(2):
        combined.score(context, [combined.reference_architectures(context)[0]])
    assert len(evaluations) <= 3


def test_combinations_with_different_references_keep_their_own(everything, table_metric, context) -> None:
    metric = table_metric(everything)
    few, many = (Combined((Term(metric),), "standardized", reference=reference) for reference in (10, 40))
    for combined in (few, many, few):
        scores = combined.score(context, combined.reference_architectures(context))
        assert scores.mean() == pytest.approx(0, abs=1e-9)
        assert scores.std() == pytest.approx(1, rel=1e-12)


def test_failures_in_the_reference_are_left_out_and_failures_stay_failures(everything, table_metric, context) -> None:
    probe = Combined((Term(table_metric(everything)),), "standardized", reference=10)
    reference = probe.reference_architectures(context)
    values = {**everything, reference[3]: math.nan}
    metric = table_metric(values)
    scores = Combined((Term(metric),), "standardized", reference=10).score(context, reference)
    assert np.isnan(scores).tolist() == [genes == reference[3] for genes in reference]
    known = scores[~np.isnan(scores)]
    assert known.mean() == pytest.approx(0, abs=1e-9)
    assert known.std() == pytest.approx(1)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1 / 3, 0.7, math.nan, math.inf])
def test_what_does_not_differ_cannot_be_standardised(constant, table_metric, context) -> None:
    """0.1 fifty times has the standard deviation 3e-17 in floating point."""
    metric = table_metric(dict.fromkeys(context.space.architectures(), constant), name="flat")
    known = constant if math.isfinite(constant) else math.nan
    with pytest.raises(
        ValueError,
        match=rf"flat must be finite and differ between .*random ones score from {known} to {known}.*join='sum'",
    ):
        Combined((Term(metric),), "standardized").score(context, KEYS)


# ---------------------------------------------------------------------------------------------------------------- rank


def test_ranks_run_from_zero_to_one_and_ties_share_their_mean(table_metric, context) -> None:
    combined = Combined((Term(table_metric(table(7.0, -1.0, 7.0, 3.0, 100.0))),), "rank")
    assert combined.score(context, KEYS).tolist() == [0.625, 0.0, 0.625, 0.25, 1.0]
    lower = Combined((Term(table_metric(table(7.0, -1.0, 7.0, 3.0, 100.0), higher_is_better=False)),), "rank")
    assert lower.score(context, KEYS).tolist() == [0.375, 1.0, 0.375, 0.75, 0.0]


def test_logarithms_of_ranks_by_hand(table_metric, context) -> None:
    first = table_metric(table(7.0, -1.0, 7.0, math.nan, 100.0), name="a", scale=1e6)
    second = table_metric(table(1.0, 2.0, 3.0, 4.0, 5.0), name="b", higher_is_better=False)
    scores = Combined((Term(first), Term(second, 2.0)), "log_rank").score(context, KEYS)
    ranks = np.array([[2.5, 1.0, 2.5, math.nan, 4.0], [5.0, 4.0, 3.0, 2.0, 1.0]])
    np.testing.assert_allclose(scores, np.log(ranks[0] / 4) + 2 * np.log(ranks[1] / 5), rtol=1e-15)


def test_logarithms_prefer_what_no_metric_ranks_low(table_metric, context) -> None:
    """Ranks 2 and 3 against 1 and 5: the second has the larger sum, the first the larger product."""
    first, second = table_metric(table(2, 1, 3, 4, 5), name="a"), table_metric(table(3, 5, 1, 2, 4), name="b")
    terms = (Term(first), Term(second))
    by_sum, by_log = (Combined(terms, join).score(context, KEYS) for join in ("rank", "log_rank"))
    assert by_sum[0] < by_sum[1]
    assert by_log[0] > by_log[1]


def test_ranks_are_weighted_and_know_no_scale(table_metric, context) -> None:
    first = table_metric(table(1, 2, 3), name="a", scale=1e6)
    second = table_metric(table(-5e9, 0, -7e9), name="b")
    scores = Combined((Term(first), Term(second, 3.0)), "rank").score(context, KEYS[:3])
    assert scores.tolist() == [0.0 + 1.5, 0.5 + 3.0, 1.0 + 0.0]


def test_failures_take_no_rank(table_metric, context) -> None:
    scores = Combined((Term(table_metric(table(math.nan, 5, 4, math.nan, 6))),), "rank").score(context, KEYS)
    np.testing.assert_array_equal(scores, [math.nan, 0.5, 0.0, math.nan, 1.0])
    endless = Combined((Term(table_metric(table(math.inf, 5, 4, -math.inf, 6))),), "rank").score(context, KEYS)
    np.testing.assert_array_equal(endless, scores)
    hopeless = Combined((Term(table_metric({})),), "rank").score(context, KEYS)
    assert np.isnan(hopeless).all()


def test_one_architecture_and_none(table_metric, context) -> None:
    metric = table_metric(table(3.0))
    assert Combined((Term(metric),), "rank").score(context, KEYS[:1]).tolist() == [0.0]
    for join in ("sum", "rank", "log_rank"):
        assert Combined((Term(metric), Term(metric)), join).score(context, []).shape == (0,)


# -------------------------------------------------------------------------------------------------------------- facts


@pytest.mark.parametrize("join", ["rank", "log_rank"])
def test_ranks_are_not_standardised(join) -> None:
    """Their scale would be that of the reference, whatever pool is scored."""
    ranks = Combined((Term(Angle()), Term(Loss())), join)
    with pytest.raises(ValueError, match="standardized must belong to the architectures alone, but a rank depends"):
        Combined((Term(ranks), Term(Accuracy())), "standardized")


def test_measurements_are_those_of_the_terms_each_once() -> None:
    combined = Combined((Term(Accuracy()), Term(Flatness()), Term(Loss()), Term(Angle())))
    assert combined.measurements == (Outputs(), *Flatness().measurements)


def test_wrong_combinations_are_refused(table_metric) -> None:
    with pytest.raises(ValueError, match="A combination needs at least one metric, but got none"):
        Combined(())
    with pytest.raises(ValueError, match="reference must be at least 2, but got 1"):
        Combined((Term(Angle()),), reference=1)
    for gamma in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"The weight of angle must be a non-negative number, but got {gamma}"):
            Term(Angle(), gamma)
