"""What tells a message to the user from a bug."""

from __future__ import annotations

import copy
from fractions import Fraction
from importlib.metadata import EntryPoint, EntryPoints

import pytest

import genas.errors
import genas.registry
from genas.errors import RunError, UnreadSettingError, is_refusal
from genas.registry import Registry


@pytest.mark.parametrize(
    ("module", "code", "refusal"),
    [
        ("genas.metrics.angle", "raise ValueError('sigma must be positive.')", True),
        ("genas.metrics", "try:\n  {}[0]\nexcept KeyError as error:\n  raise KeyError(1) from error", True),
        ("genas.metrics.angle", "int('x')", False),
        ("genas.metrics.angle", "{}['a']", False),
        ("genas.metrics.angle", "raise ZeroDivisionError", False),
        ("genas_plugin", "raise ValueError('sigma must be positive.')", False),
        ("torch.nn", "raise ValueError('sigma must be positive.')", False),
    ],
)
def test_a_refusal_is_an_error_that_genas_raises_itself(module: str, code: str, refusal: bool) -> None:
    with pytest.raises(Exception) as caught:
        exec(code, {"__name__": module})  # noqa: S102 (no source file: nothing may depend on one)
    assert is_refusal(caught.value) is refusal


def test_a_plug_in_that_was_loaded_speaks_to_the_user_too(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: Registry[object] = Registry("shape", "example.shapes")
    offer = EntryPoint("square", "fractions:Fraction", "example.shapes")
    monkeypatch.setattr(genas.registry, "entry_points", lambda **wanted: EntryPoints([offer]).select(**wanted))
    monkeypatch.setattr(genas.registry, "REFUSING_PACKAGES", packages := {"genas"})
    monkeypatch.setattr(genas.errors, "REFUSING_PACKAGES", packages)
    with pytest.raises(ValueError, match="Invalid literal for Fraction") as caught:
        Fraction("half")
    assert not is_refusal(caught.value)
    assert shapes["square"] is Fraction
    assert is_refusal(caught.value)


def test_errors_without_a_traceback_are_refusals_by_their_type() -> None:
    assert is_refusal(RunError("in use"))
    assert is_refusal(FileNotFoundError("cells.csv"))
    assert not is_refusal(ValueError("never raised"))


def test_unread_settings_are_copied_whole() -> None:
    error = UnreadSettingError("no metric reads it", "noise.stds", "alpha")
    again = copy.copy(error)
    assert str(again) == str(error) == "no metric reads it; leave out noise.stds, alpha."
    assert again.settings == ("noise.stds", "alpha")
