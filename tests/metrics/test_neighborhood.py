"""The metric of a neighbourhood: over table-like metrics, over a supernet, and what it asks to be measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from genas.metrics import (
    Accuracy,
    Angle,
    Combined,
    Context,
    Flatness,
    Loss,
    Metric,
    Neighborhood,
    Outputs,
    Term,
    parse_metric,
)
from genas.spaces import DARTS, NASBench201, space
from genas.spaces.listing import all_architectures
from genas.spaces.neighborhoods import AGGREGATES, aggregated, mean_everywhere

SPACE = NASBench201()


@dataclass(frozen=True)
class Rugged(Metric):
    """A random number for every architecture, and a count of how many were asked for."""

    name: ClassVar[str] = "rugged"
    cost_hint: ClassVar = "free"

    seed: int = 0
    asked: ClassVar[list[int]] = []

    def values(self, context, architectures):  # type: ignore[no-untyped-def]
        self.asked.append(len(architectures))
        table = np.random.default_rng(self.seed).normal(size=(5,) * 6)
        return table[tuple(np.array(architectures, dtype=int).reshape(-1, 6).T)]


class Slow(Rugged):
    """The same, but it runs a network, as far as one knows."""

    cost_hint: ClassVar = "forward"


@pytest.fixture
def untrained() -> Context:
    return Context.untrained(SPACE)


def by_hand(metric: Neighborhood, context: Context, centre: tuple[int, ...]) -> float:
    """The slow twin."""
    members = [centre, *context.space.neighbors(centre, metric.distance)]
    scores = np.array([float(metric.base.score(context, [each])[0]) for each in members])
    return float(aggregated(scores, metric.aggregate, penalty=metric.penalty))


# -------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("how", AGGREGATES)
@pytest.mark.parametrize("base", [Rugged(), Slow()])
def test_the_whole_neighbourhood_by_hand(how, base, untrained, draw) -> None:
    metric = Neighborhood(base, how, penalty=0.5 if how == "penalized" else 1.0)
    centres = draw(SPACE, 3)
    found = metric.score(untrained, centres)
    np.testing.assert_allclose(found, [by_hand(metric, untrained, centre) for centre in centres], rtol=1e-11)


@dataclass(frozen=True)
class Counted(Metric):
    """Accuracies of 2,000 images, in percent: their means often tie."""

    name: ClassVar[str] = "counted"
    cost_hint: ClassVar = "forward"

    def values(self, context, architectures):  # type: ignore[no-untyped-def]
        table = np.random.default_rng(0).integers(1600, 1700, size=(5,) * 6) / 20
        return table[tuple(np.array(architectures, dtype=int).T)]


@pytest.mark.parametrize("how", AGGREGATES)
def test_at_once_and_one_by_one_are_equal(how, untrained) -> None:
    """To the last bit, so that true ties stay ties, and a score does not depend on what else is scored."""
    metric, everything = Neighborhood(Counted(), how), all_architectures(SPACE)
    at_once, one_by_one = metric.score(untrained, everything)[:1000], metric.score(untrained, everything[:1000])
    np.testing.assert_array_equal(at_once, one_by_one)
    if how == "mean":
        sums = (one_by_one * 25 * 20).round()
        assert len(set(sums)) == len(set(one_by_one)) < 1000


def test_cheap_bases_are_worked_out_once_for_all(untrained, draw) -> None:
    Rugged.asked.clear()
    metric = Neighborhood(Rugged(), distance=2)
    for centre in draw(SPACE, 4):
        metric.score(untrained, [centre])
    assert Rugged.asked == [15_625]
    expected = mean_everywhere(Rugged().score(untrained, all_architectures(SPACE)).reshape((5,) * 6), 2)
    np.testing.assert_allclose(metric.score(untrained, all_architectures(SPACE)), expected.ravel(), rtol=1e-11)


def test_costly_bases_are_asked_for_each_member_once(untrained) -> None:
    Slow.asked.clear()
    first, second = (0,) * 6, (0, 0, 0, 0, 0, 1)
    Neighborhood(Slow()).score(untrained, [first, second, first])
    assert Slow.asked == [45]  # twice 25, of which both and three others are shared


def test_costly_bases_are_worked_out_at_once_where_all_are_scored(untrained, draw) -> None:
    everything = all_architectures(SPACE)
    shuffled = [everything[place] for place in np.random.default_rng(0).permutation(len(everything))]
    metric = Neighborhood(Slow(), "median")
    Slow.asked.clear()
    found = dict(zip(shuffled, metric.score(untrained, shuffled), strict=True))
    assert Slow.asked == [15_625]
    for centre in draw(SPACE, 3):
        assert found[centre] == pytest.approx(by_hand(metric, untrained, centre), rel=1e-12)


def test_what_all_neighbourhoods_need_is_needed_once(context) -> None:
    everything = all_architectures(SPACE)
    assert Neighborhood(Loss()).needs(context, everything) == Loss().needs(context, everything)


def test_a_combination_of_cheap_metrics_is_cheap(untrained) -> None:
    Rugged.asked.clear()
    Neighborhood(parse_metric("live_edges")).score(untrained, [(0,) * 6])
    Neighborhood(Combined((Term(Rugged(0)), Term(Rugged(1), 2.0)))).score(untrained, [(3,) * 6])
    assert Rugged.asked == [15_625] * 2
    Rugged.asked.clear()
    Neighborhood(Combined((Term(Rugged(0)), Term(Slow(1), 2.0)))).score(untrained, [(3,) * 6])
    assert Rugged.asked == [25] * 2


def test_parts_beside_a_measurement_of_its_own_are_not_cheap(table_metric, context) -> None:
    class WithParts(table_metric):  # type: ignore[misc, valid-type]
        parts = (Rugged(),)

    base = WithParts(dict.fromkeys(all_architectures(SPACE), 1.0))
    assert Neighborhood(base).score(context, [(0,) * 6]).tolist() == [1.0]
    assert len(base.measurement.runs) == 25


def test_lower_is_better_bases_are_turned_first(context, draw) -> None:
    """The worst neighbour is the one with the largest loss."""
    centre = draw(context.space, 1)[0]
    losses = Loss().values(context, [centre, *context.space.neighbors(centre)])
    found = {how: float(Neighborhood(Loss(), how).score(context, [centre])[0]) for how in ("mean", "worst")}
    assert found == {"mean": pytest.approx(-losses.mean()), "worst": -losses.max()}
    assert Neighborhood(Loss(), "penalized", penalty=0.0).score(context, [centre]) == pytest.approx(
        -losses[0], rel=1e-11
    )


def test_the_angle_of_a_supernet_in_closed_form(context) -> None:
    cells = all_architectures(context.space)
    angles = Angle().score(context, cells).reshape((5,) * 6)
    found = Neighborhood(Angle()).score(context, cells)
    np.testing.assert_allclose(found, mean_everywhere(angles).ravel(), rtol=1e-11)
    assert Neighborhood(Angle()).scale == Angle().scale == 1 / np.pi


@pytest.mark.parametrize("name", ["darts", "s3"])
def test_spaces_that_lack_combinations(name, draw) -> None:
    where = space(name)
    context = Context.untrained(where)
    centre = draw(where, 1)[0]
    metric = Neighborhood(parse_metric("live_edges+count(operation=sep_conv_3x3)"))
    assert metric.score(context, [centre])[0] == pytest.approx(by_hand(metric, context, centre))
    assert len(metric.members(context, centre)) == (265 if name == "darts" else 65)


def test_no_architectures_have_no_scores(untrained) -> None:
    for metric in (Neighborhood(Rugged()), Neighborhood(Slow()), Neighborhood(Slow(), samples=3)):
        assert metric.score(untrained, []).shape == (0,)


# ------------------------------------------------------------------------------------------------------------- samples


def test_samples_depend_on_the_architecture_and_the_seeds_alone(untrained, draw) -> None:
    metric = Neighborhood(Rugged(), samples=5, distance=2)
    first, second = draw(SPACE, 2)
    members = metric.members(untrained, first)
    assert members == metric.members(Context.untrained(SPACE), first)
    assert members[0] == first
    assert len(set(members)) == 5
    assert members != Neighborhood(Rugged(), samples=5, distance=2, seed=1).members(untrained, first)
    assert members != metric.members(Context.untrained(SPACE, seed=1), first)
    both = metric.score(untrained, [first, second])
    np.testing.assert_array_equal(both[::-1], metric.score(untrained, [second, first]))
    assert both[0] == pytest.approx(Rugged().score(untrained, members).mean())


def test_two_architectures_have_independent_samples(untrained, draw) -> None:
    """The same draw for all would change the same edges of each: errors of estimates that do not average out."""
    metric = Neighborhood(Rugged(), samples=4)
    changed_edges = {
        tuple(edge for each in others for edge in range(6) if each[edge] != centre[edge])
        for centre, *others in (metric.members(untrained, architecture) for architecture in draw(SPACE, 20))
    }
    assert len(changed_edges) > 15  # of 6**3


def test_one_sample_is_the_architecture_itself(untrained, draw) -> None:
    centres = draw(SPACE, 5)
    for how in AGGREGATES:
        found = Neighborhood(Rugged(), how, samples=1).score(untrained, centres)
        rounding = 1e-11 if how in ("mean", "penalized") else 0
        np.testing.assert_allclose(found, Rugged().score(untrained, centres), rtol=rounding)


def test_all_samples_are_the_whole(untrained, draw) -> None:
    centres = draw(SPACE, 5)
    whole, sampled = (Neighborhood(Rugged(), samples=samples) for samples in (None, 25))
    np.testing.assert_allclose(sampled.score(untrained, centres), whole.score(untrained, centres), rtol=1e-13)


# --------------------------------------------------------------------------------------------------------- measurements


def test_needs_are_the_members_of_all_neighbourhoods(context, draw) -> None:
    centres = draw(context.space, 3)
    metric = Neighborhood(parse_metric("accuracy+flatness"), samples=4)
    needs = metric.needs(context, centres)
    assert set(needs) == {each for centre in centres for each in metric.members(context, centre)}
    assert set(needs.values()) == {(Outputs(), *Flatness().measurements)}
    assert metric.measurements == (Outputs(), *Flatness().measurements)
    assert Neighborhood(Angle()).needs(context, centres) == {}


def test_each_measurement_is_made_once_and_read_again(make_context, evaluations) -> None:
    context = make_context()
    centre = (3, 1, 2, 4, 3, 2)
    metric = Neighborhood(Accuracy(), samples=6)
    first = metric.score(context, [centre])
    functions = {context.space.supernet_representative(each) for each in metric.members(context, centre)}
    assert sorted(evaluations) == sorted(functions)
    Neighborhood(Loss(), "median", samples=6).score(context, [centre])
    np.testing.assert_array_equal(metric.score(context, [centre]), first)
    assert len(evaluations) == len(functions)


def test_a_failed_member_makes_the_score_nan(table_metric, context) -> None:
    centre = (0,) * 6
    table = dict.fromkeys([centre, *context.space.neighbors(centre)], 1.0)
    table[(0, 0, 0, 0, 0, 4)] = np.nan
    assert np.isnan(Neighborhood(table_metric(table)).score(context, [centre])).all()


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": 0}, "distance and samples must be at least 1, but got 0 and None"),
        ({"samples": 0}, "distance and samples must be at least 1, but got 1 and 0"),
        ({"aggregate": "max"}, "aggregate must be one of mean, median, worst, penalized, but got 'max'"),
        ({"penalty": 2.0}, "penalty is a setting of aggregate=penalized, but aggregate is mean"),
        ({"aggregate": "penalized", "penalty": -1.0}, "penalty must be a non-negative number, but got -1.0"),
        ({"aggregate": "penalized", "penalty": np.nan}, "penalty must be a non-negative number, but got nan"),
        ({"seed": 1}, "seed chooses the samples of a neighbourhood, but samples is None"),
    ],
)
def test_options_that_are_wrong_or_do_nothing(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        Neighborhood(Angle(), **options)


@pytest.mark.parametrize("join", ["rank", "log_rank"])
def test_ranks_are_refused_inside(join) -> None:
    ranks = Combined((Term(Angle()), Term(Loss())), join)
    for base in (ranks, Combined((Term(ranks), Term(Angle())))):
        with pytest.raises(ValueError, match="but a rank depends on the pool"):
            Neighborhood(base)


def test_neighbourhoods_of_neighbourhoods(untrained, draw) -> None:
    inner = Neighborhood(Rugged())
    outer = Neighborhood(inner)
    centre = draw(SPACE, 1)[0]
    assert outer.score(untrained, [centre])[0] == pytest.approx(by_hand(outer, untrained, centre))
    assert outer.parts == (inner,)
    assert DARTS().size > 2**17  # the listing above must not be tried there
