from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

import genas.registry
from genas.registry import Registry


@pytest.fixture
def shapes() -> Registry[int]:
    registry: Registry[int] = Registry("shape", "example.shapes")
    registry.add("square", 4)
    registry.add("triangle", 3)
    return registry


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """Entry points as if other packages were installed."""
    installed: list[EntryPoint] = []
    monkeypatch.setattr(genas.registry, "entry_points", lambda **wanted: EntryPoints(installed).select(**wanted))
    return installed


def test_is_a_mapping_in_the_order_of_addition(shapes: Registry[int]) -> None:
    assert dict(shapes) == {"square": 4, "triangle": 3}
    assert list(shapes) == ["square", "triangle"]
    assert len(shapes) == 2
    assert "square" in shapes
    assert "circle" not in shapes


def test_a_name_cannot_be_taken_twice(shapes: Registry[int]) -> None:
    with pytest.raises(ValueError, match=r"The shape name 'square' is already taken by 4; choose another"):
        shapes.add("square", 5)
    assert shapes["square"] == 4


def test_unknown_name_suggests_and_lists(shapes: Registry[int]) -> None:
    with pytest.raises(KeyError, match=r"no shape named 'sqare'. Did you mean 'square'\? Known: square, triangle"):
        shapes["sqare"]
    with pytest.raises(KeyError, match=r"no shape named 'zzz'. Known:"):
        shapes["zzz"]
    assert shapes.get("zzz") is None


def test_entry_points_are_loaded_only_when_asked_for(shapes: Registry[Any], offers: list[EntryPoint]) -> None:
    offers.append(EntryPoint("tau", "math:tau", "example.shapes"))
    offers.append(EntryPoint("broken", "no_such_module:thing", "example.shapes"))
    offers.append(EntryPoint("elsewhere", "math:pi", "example.others"))
    assert list(shapes) == ["square", "triangle", "broken", "tau"]
    assert len(shapes) == 4
    assert "tau" in shapes
    assert shapes["tau"] == pytest.approx(6.283185)
    assert len(shapes) == 4
    with pytest.raises(ValueError, match="'broken' cannot be loaded from no_such_module:thing, as a package offers it"):
        shapes["broken"]
    with pytest.raises(KeyError, match="Known: broken, square, tau, triangle"):
        shapes["elsewhere"]


def test_a_built_in_name_cannot_be_offered_again(shapes: Registry[Any], offers: list[EntryPoint]) -> None:
    offers.append(EntryPoint("square", "no_such_module:thing", "example.shapes"))
    with pytest.raises(ValueError, match=r"'square' is one of genas, and another package has it as no_such_module:th"):
        shapes["square"]
    assert shapes["triangle"] == 3
    assert list(shapes) == ["square", "triangle"]


def test_two_packages_cannot_offer_one_name(shapes: Registry[Any], offers: list[EntryPoint]) -> None:
    offers.append(EntryPoint("circle", "math:pi", "example.shapes"))
    offers.append(EntryPoint("circle", "math:tau", "example.shapes"))
    with pytest.raises(ValueError, match=r"several packages offer 'circle': math:pi, math:tau. Uninstall all but one"):
        shapes["circle"]
