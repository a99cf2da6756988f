"""Metrics with settings, and metrics of metrics, from a line of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest

from genas.metrics import (
    METRICS,
    Angle,
    Combined,
    Context,
    Flatness,
    Join,
    Loss,
    Macs,
    Metric,
    Neighborhood,
    Noise,
    Term,
    parse_metric,
    parse_terms,
)
from genas.spaces import Architecture


@dataclass(frozen=True)
class Size:
    """A group of settings."""

    height: int = 3
    depth: int = 1


@dataclass(frozen=True)
class Box(Metric):
    """A metric of another package: groups of groups, a required setting, a setting with two meanings."""

    name: ClassVar[str] = "box"

    label: str
    size: Size = Size(height=7)
    other: Size = Size()
    depth: float = 0.5

    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        return np.zeros(len(architectures))


class Handmade(Metric):
    """A metric that is no dataclass."""

    name: ClassVar[str] = "handmade"

    def __init__(self, kind: Literal["soft", "hard"] = "soft") -> None:
        self.kind = kind

    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        return np.zeros(len(architectures))


@dataclass(frozen=True)
class Place:
    """A group with a required member."""

    row: int
    column: int = 0


@dataclass(frozen=True)
class Placed(Metric):
    """A metric that needs a group."""

    name: ClassVar[str] = "placed"

    place: Place

    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        return np.zeros(len(architectures))


def boxed(size: Size = Size(height=9), label: str = "made") -> Box:
    """A function that makes a metric from a group."""
    return Box(label, size)


@pytest.fixture
def _others(monkeypatch: pytest.MonkeyPatch) -> None:
    known = METRICS._items  # type: ignore[attr-defined]
    monkeypatch.setattr(
        METRICS, "_items", {**known, "box": Box, "handmade": Handmade, "placed": Placed, "boxed": boxed}
    )


# ------------------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flatness(alpha=0.5)", Flatness(alpha=0.5)),
        ("flatness( stds = [2e-3, 1e-2] )", Flatness(Noise((2e-3, 1e-2)))),
        ("flatness(stds=(1e-3,), kind='shared', repeats=2)", Flatness(Noise((1e-3,), "shared", repeats=2))),
        ("flatness(kind=shared,alpha=2)", Flatness(Noise(kind="shared"), alpha=2.0)),
        ("macs(of=subnet)", Macs("subnet")),
        ("angle(repeat_dilated_weight=True)", Angle(True)),
        ("angle(repeat_dilated_weight=true)", Angle(True)),
        ("angle()", Angle()),
    ],
)
def test_settings_stand_in_parentheses(text, expected) -> None:
    assert parse_metric(text) == expected


def test_settings_and_weights_mix() -> None:
    assert parse_metric("angle+16*flatness(stds=[2e-3,1e-2])+ 0.5*flatness(alpha=1e-1)") == Combined(
        (Term(Angle()), Term(Flatness(Noise((2e-3, 1e-2))), 16.0), Term(Flatness(alpha=0.1), 0.5))
    )


def test_differently_set_copies_of_one_metric_have_names_of_their_own() -> None:
    terms = parse_terms("flatness + 2*flatness( alpha = .5 )+flatness(alpha=0.25)")
    assert list(terms) == ["flatness", "flatness(alpha=0.5)", "flatness(alpha=0.25)"]
    assert [(term.metric.alpha, term.gamma) for term in terms.values()] == [(1.0, 1.0), (0.5, 2.0), (0.25, 1.0)]


@pytest.mark.parametrize("text", ["angle+angle()", "flatness(alpha=1.0)+flatness", "loss+neighborhood(loss)+loss"])
def test_the_same_metric_in_two_spellings_is_refused(text) -> None:
    with pytest.raises(ValueError, match="Every metric may occur once in a combination"):
        parse_metric(text)


def test_settings_in_the_text_change_the_given_metric() -> None:
    own = {"flatness": Flatness(Noise((1e-3, 3e-3), repeats=2), alpha=0.2)}
    assert parse_metric("flatness()", settings=own) is own["flatness"]
    assert parse_metric("flatness(alpha=0.7)", settings=own) == Flatness(Noise((1e-3, 3e-3), repeats=2), alpha=0.7)
    assert parse_metric("flatness(kind=shared)", settings=own) == Flatness(
        Noise((1e-3, 3e-3), "shared", repeats=2), alpha=0.2
    )
    nested = parse_metric("neighborhood(angle+flatness)", settings=own)
    assert isinstance(nested, Neighborhood)
    assert nested.base == Combined((Term(Angle()), Term(own["flatness"])))


@pytest.mark.usefixtures("_others")
def test_groups_required_settings_and_names_that_two_places_share() -> None:
    assert parse_metric("box(label=red)") == Box("red")
    assert parse_metric("box(label=red, depth=1)") == Box("red", depth=1.0)  # its own before those of groups
    with pytest.raises(ValueError, match=r"box needs label, as in 'box\(label=\.\.\.\)', but got 'box'"):
        parse_metric("box")
    with pytest.raises(ValueError, match="height is a setting of size and of other of box; it cannot be set here"):
        parse_metric("box(label=red, height=2)")


@pytest.mark.usefixtures("_others")
def test_a_group_without_a_default_is_made_of_the_given_members() -> None:
    assert parse_metric("placed(row=2)") == Placed(Place(2))
    with pytest.raises(ValueError, match=r"placed needs place, as in 'placed\(row=\.\.\.\)'"):
        parse_metric("placed")
    with pytest.raises(ValueError, match="Place needs row, too"):
        parse_metric("placed(column=1)")


@pytest.mark.usefixtures("_others")
def test_metrics_that_are_no_dataclasses_take_settings() -> None:
    assert parse_metric("boxed(depth=2)") == Box("made", Size(height=9, depth=2))
    assert parse_metric("handmade(kind=hard)").kind == "hard"
    with pytest.raises(TypeError, match="kind of handmade must be one of soft, hard, but got tender"):
        parse_metric("handmade(kind=tender)")


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("flatness(alpa=1)", ValueError, "flatness has no setting 'alpa'. Did you mean 'alpha'. Settings: stds, kind"),
        ("loss(x=1)", ValueError, "loss has no setting 'x'. Settings: none"),
        (
            "flatness(noise=1)",
            ValueError,
            "noise of flatness is a group of settings; set one of stds, kind, scope, rep",
        ),
        ("flatness(alpha=x)", TypeError, "alpha of flatness must be float, but got x"),
        (f"flatness(alpha={'9' * 400})", TypeError, "alpha of flatness must be float, but got 9999"),
        ("flatness(repeats=1.5)", TypeError, "repeats of flatness must be int, but got 1.5"),
        ("flatness(stds=0.1)", TypeError, "stds of flatness must be a list of float, but got 0.1"),
        ("flatness(kind=shred)", TypeError, "kind of flatness must be one of independent, shared, .*but got shred"),
        ("flatness(alpha=-1)", ValueError, "alpha and epsilon must be finite and not negative, but got -1.0"),
        ("flatness(stds=[2,1])", ValueError, "stds must be positive and strictly increasing"),
        (
            "flatness(0.5)",
            ValueError,
            r"Settings must be named, as in 'flatness\(alpha=0.5\)', but got 'flatness\(0.5\)",
        ),
        ("flatness(alpha=1, alpha=2)", ValueError, "alpha of flatness must be given once, but got 'flatness"),
        ("flatness(alpha=1", ValueError, r"A metric must look like 'angle\+16\*flatness', but got 'flatness\(alpha=1'"),
        ("table(column=a/test/1/seed=1)", ValueError, r"Texts stand in quotes: table\(column='cifar10/test/200'\)"),
        ("flatness(**x)", ValueError, "A metric must look like"),
        ("angle[0]", ValueError, "A metric must look like"),
        ("a.b(c=1)", ValueError, "A metric must look like"),
        ("angle-loss", ValueError, "A metric must look like"),
        ("2*(angle+loss)", ValueError, "A metric must look like"),
        ("flatnes(alpha=1)", KeyError, "Did you mean 'flatness'"),
        ("neighborhood", ValueError, r"neighborhood needs base, as in 'neighborhood\(angle\)', but got 'neighborhood'"),
        ("neighborhood()", ValueError, "neighborhood needs base"),
        ("neighborhood(angel)", KeyError, "Did you mean 'angle'"),
        ("neighborhood(angle, median)", ValueError, "Settings must be named"),
        ("neighborhood(angle, base=loss)", ValueError, "base of neighborhood must be given once"),
        ("neighborhood(x*angle)", ValueError, "A weight must be a number, as in '16.flatness', but got 'x'"),
        ("table", ValueError, r"table needs column, as in 'table\(column=\.\.\.\)'"),
        ("\0", ValueError, "A metric must look like"),
    ],
)
def test_wrong_settings_say_what_to_do(text, kind, message) -> None:
    with pytest.raises(kind, match=message):
        parse_metric(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "flatness(alpha=__import__('os'))",
        "flatness(stds=[x for x in (1,)])",
        "(lambda: 0)()",
        "flatness(alpha=1 if 1 else 2)",
        "flatness(alpha=2**3)",
    ],
)
def test_nothing_is_run(text) -> None:
    with pytest.raises((ValueError, TypeError)):
        parse_metric(text)


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(ValueError, match="A metric must look like"):
        parse_metric("(" * 5000 + "angle" + ")" * 5000)


def test_a_backslash_is_a_character_of_a_path() -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(r"no table at C:\Users\new.npz;")):
        parse_metric(r"table(column='cifar10', path='C:\Users\new.npz')")
    with pytest.raises(TypeError, match=re.escape(r"alpha of flatness must be float, but got 'C:\new'")):
        parse_metric(r"flatness(alpha='C:\new')")


# --------------------------------------------------------------------------------------------------- metrics of metrics


def test_a_metric_of_a_metric_holds_an_expression() -> None:
    assert parse_metric("neighborhood(angle)") == Neighborhood(Angle())
    assert parse_metric("neighborhood(base=loss, aggregate='median')") == Neighborhood(Loss(), "median")
    assert parse_metric("2*neighborhood(angle+16*flatness(alpha=0.5), distance=2, samples=10)+loss") == Combined(
        (
            Term(Neighborhood(Combined((Term(Angle()), Term(Flatness(alpha=0.5), 16.0))), distance=2, samples=10), 2.0),
            Term(Loss()),
        )
    )
    assert parse_metric("neighborhood(neighborhood(angle))") == Neighborhood(Neighborhood(Angle()))
    assert parse_metric("neighborhood(3*angle)") == Neighborhood(Combined((Term(Angle(), 3.0),)))
    assert list(parse_terms("angle+neighborhood( angle,distance = 2)")) == ["angle", "neighborhood(angle, distance=2)"]


def test_the_join_holds_inside_too() -> None:
    metric = parse_metric("neighborhood(angle+loss)+macs", join="standardized")
    assert isinstance(metric, Combined)
    inner = metric.terms[0].metric
    assert isinstance(inner, Neighborhood)
    assert inner.base == Combined((Term(Angle()), Term(Loss())), "standardized")
    pool = parse_metric("neighborhood(angle)+macs", join="rank")
    assert isinstance(pool, Combined)
    assert pool.terms[0].metric == Neighborhood(Angle())


@pytest.mark.parametrize("join", ["rank", "log_rank"])
def test_inside_a_pool_join_terms_are_added(join: Join) -> None:
    pool = parse_metric("neighborhood(angle+loss)+macs", join=join)
    assert isinstance(pool, Combined)
    assert pool.join == join
    assert pool.terms[0].metric == Neighborhood(Combined((Term(Angle()), Term(Loss())), "sum"))


@pytest.mark.parametrize("text", ["-loss", "angle+-loss"])
def test_a_minus_is_shown_but_not_written(text: str) -> None:
    with pytest.raises(ValueError, match=r"A metric takes no minus: .* Write 'loss' instead of '-loss'"):
        parse_metric(text)


def test_a_text_that_python_would_read_otherwise_is_to_be_quoted() -> None:
    with pytest.raises(TypeError, match=r"column of table must be str, .* Write it in quotes: column='a-b/test/9'"):
        parse_metric("table(column=a-b/test/9)")
