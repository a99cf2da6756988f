"""Metrics by name: the grammar of combinations, its messages, and metrics of other packages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

from genas.metrics import (
    METRICS,
    Accuracy,
    Angle,
    Combined,
    Context,
    Flatness,
    Loss,
    Macs,
    Metric,
    Noise,
    Params,
    Top5,
    parse_metric,
)
from genas.spaces import Architecture

Offer = Callable[..., None]


class Depth(Metric):
    """A metric of another package: how many genes are not ``none``."""

    name: ClassVar[str] = "depth"

    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        return np.array([float(np.count_nonzero(genes)) for genes in architectures])


@dataclass
class Thawed(Depth):
    """A metric that can change, and so has no hash."""

    weight: float = 1.0


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Pretends that installed packages offer metrics: ``offer(name="module:attribute", ...)``."""
    monkeypatch.setattr(METRICS, "_items", dict(METRICS._items))  # type: ignore[attr-defined]
    monkeypatch.setattr(METRICS, "_checked", set())
    module = ModuleType("acme_metrics")
    vars(module).update(Depth=Depth, number=7, NotAMetric=dict, Thawed=Thawed, other=ModuleType, function=Depth.values)
    monkeypatch.setitem(sys.modules, "acme_metrics", module)

    def install(*offers: tuple[str, str]) -> None:
        points = EntryPoints(EntryPoint(name, value, "genas.metrics") for name, value in offers)
        monkeypatch.setattr("genas.registry.entry_points", lambda **wanted: points.select(**wanted))

    return install


def terms(text: str) -> list[tuple[str, float]]:
    metric = parse_metric(text)
    assert isinstance(metric, Combined)
    return [(term.metric.name, term.gamma) for term in metric.terms]


# ------------------------------------------------------------------------------------------------------------- grammar


@pytest.mark.parametrize("kind", [Accuracy, Top5, Loss, Angle, Flatness, Macs, Params])
def test_every_metric_goes_by_its_name(kind) -> None:
    assert METRICS[kind.name] is kind
    assert parse_metric(kind.name) == kind()
    assert kind.name in METRICS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("angle+flatness", [("angle", 1), ("flatness", 1)]),
        ("accuracy+flatness", [("accuracy", 1), ("flatness", 1)]),
        ("angle+16*flatness", [("angle", 1), ("flatness", 16)]),
        (" 0.5 * angle +2e-1* accuracy+ loss ", [("angle", 0.5), ("accuracy", 0.2), ("loss", 1)]),
        ("0*angle+flatness", [("angle", 0), ("flatness", 1)]),
        ("2*angle", [("angle", 2)]),
        (
            "angle+accuracy+flatness+loss+macs",
            [(name, 1) for name in ("angle", "accuracy", "flatness", "loss", "macs")],
        ),
    ],
)
def test_terms_are_joined_by_plus_with_weights_before_a_star(text, expected) -> None:
    assert terms(text) == expected


def test_one_name_is_the_metric_itself_but_for_a_weight_or_another_join() -> None:
    assert parse_metric("angle") == parse_metric(" 1*angle ") == Angle()
    assert isinstance(parse_metric("angle", join="rank"), Combined)
    assert isinstance(parse_metric("3*angle"), Combined)


@pytest.mark.parametrize("join", ["sum", "standardized", "rank", "log_rank"])
def test_the_join_is_passed_on(join) -> None:
    metric = parse_metric("angle+flatness", join=join)
    assert isinstance(metric, Combined)
    assert metric.join == join


def test_given_metrics_stand_in_for_those_with_default_settings() -> None:
    own = {"flatness": Flatness(Noise((1e-3, 3e-3)), alpha=0.2)}
    metric = parse_metric("angle+2*flatness", settings=own)
    assert isinstance(metric, Combined)
    assert metric.terms[1].metric is own["flatness"]
    assert metric.terms[0].metric == Angle()
    assert parse_metric("flatness", settings=own) is own["flatness"]


@pytest.mark.parametrize("text", ["", " ", "+angle", "angle+", "angle++loss", "*angle", "angle*", "3*", "*"])
def test_empty_parts_are_refused(text) -> None:
    with pytest.raises(ValueError, match=r"A metric must look like 'angle\+16\*flatness', but got '"):
        parse_metric(text)


@pytest.mark.parametrize(
    ("text", "weight"), [("x*angle", "x"), ("loss+angle*flatness", "angle"), ("2*3*angle", r"2\*3")]
)
def test_weights_that_are_no_numbers_are_refused(text, weight) -> None:
    with pytest.raises(ValueError, match=rf"A weight must be a number, as in '16\*flatness', but got '{weight}' in '"):
        parse_metric(text)


@pytest.mark.parametrize("weight", ["-1", "nan", "inf"])
def test_weights_that_are_negative_or_not_finite_are_refused(weight) -> None:
    with pytest.raises(ValueError, match="The weight of flatness must be a non-negative number, but got"):
        parse_metric(f"angle+{weight}*flatness")


def test_a_metric_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Every metric may occur once.*'angle\+loss\+2\*angle'; add up the weights"):
        parse_metric("angle+loss+2*angle")


def test_an_unknown_metric_suggests_the_nearest_and_lists_all(offer) -> None:
    offer()
    with pytest.raises(KeyError) as caught:
        parse_metric("angle+flatnes")
    message = str(caught.value)
    assert "There is no metric named 'flatnes'. Did you mean 'flatness'?" in message
    assert f"Known: {', '.join(sorted(METRICS))}." in message


# --------------------------------------------------------------------------------------------- other packages' metrics


def test_an_entry_point_is_a_metric_like_any_other(offer, context) -> None:
    offer(("depth", "acme_metrics:Depth"))
    assert "depth" in METRICS
    assert list(METRICS)[-1] == "depth"
    metric = parse_metric("angle+0.5*depth")
    architectures = [(1, 0, 0, 1, 0, 0), (3, 2, 1, 4, 3, 2)]
    expected = Angle().values(context, architectures) / np.pi + 0.5 * np.array([2, 6])
    np.testing.assert_allclose(metric.score(context, architectures), expected)


def test_an_unknown_metric_lists_those_of_other_packages_without_loading_them(offer) -> None:
    offer(("broken", "no_such_module:Metric"))
    with pytest.raises(KeyError, match=r"Known: accuracy, angle, broken, "):
        parse_metric("brokenn")
    with pytest.raises(ValueError, match="cannot be loaded from no_such_module:Metric, as a package offers it"):
        parse_metric("broken")


def test_a_built_in_name_cannot_be_taken(offer) -> None:
    offer(("angle", "acme_metrics:Depth"))
    with pytest.raises(ValueError, match="'angle' is one of genas, and another package has it as acme_metrics:Depth"):
        parse_metric("angle")
    assert parse_metric("loss") == Loss()
    with pytest.raises(ValueError, match="The metric name 'angle' is already taken"):
        METRICS.add("angle", Depth)


def test_what_is_no_metric_is_refused(offer) -> None:
    offer(("thing", "acme_metrics:NotAMetric"))
    with pytest.raises(TypeError, match=r"The metric 'thing' must be a subclass of genas.metrics.Metric, but is dict"):
        parse_metric("angle+thing")
    offer(("thawed", "acme_metrics:Thawed"))
    with pytest.raises(TypeError, match=r"'thawed' must have a hash: declare it by @dataclass\(frozen=True\)"):
        parse_metric("thawed")
    offer(("scores", "acme_metrics:function"))
    with pytest.raises(
        TypeError, match=r"'scores' must be a subclass of .*, but is a function of self and context and"
    ):
        parse_metric("scores")


def test_two_packages_with_one_name_are_refused(offer) -> None:
    offer(("depth", "acme_metrics:Depth"), ("depth", "acme_metrics:other"))
    with pytest.raises(ValueError, match="several packages offer 'depth': acme_metrics:Depth, acme_metrics:other"):
        parse_metric("depth")


def test_the_registry_is_left_as_it_was() -> None:
    """The tests above must not leak: entries are cached when they are loaded."""
    known: dict[str, Any] = dict(METRICS._items)  # type: ignore[attr-defined]
    assert {"accuracy", "angle", "flatness", "loss", "macs", "params", "top5"} <= known.keys()
    assert known.keys().isdisjoint({"depth", "thing", "broken"})
