"""Literals against types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from genas.metrics.literals import described, fitted


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3, int, 3),
        (3, float, 3.0),
        (2e-3, float, 2e-3),
        (True, bool, True),
        ("x", str, "x"),
        ("a/b", Path, Path("a/b")),
        (None, int | None, None),
        (4, int | None, 4),
        ("mean", Literal["mean", "median"], "mean"),
        ([1, 2.5], tuple[float, ...], (1.0, 2.5)),
        ((1, "x"), tuple[int, str], (1, "x")),
        ((1, 2), list[int], [1, 2]),
        ([1], Sequence[int], (1,)),
        ([], tuple[float, ...], ()),
    ],
)
def test_values_that_fit(value, hint, expected) -> None:
    found = fitted(value, hint)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (1.0, int),
        (True, int),
        (1, bool),
        (True, float),
        ("1", float),
        (1, str),
        (None, int),
        ("modal", Literal["mean", "median"]),
        ([1, "x"], tuple[int, ...]),
        ([1, 2, 3], tuple[int, str]),
        (1, tuple[int, ...]),
        ("ab", tuple[str, ...]),
        ("x", int | None),
        ({"a": 1}, object),
    ],
)
def test_values_that_do_not(value, hint) -> None:
    with pytest.raises(TypeError, match="is no"):
        fitted(value, hint)


def test_types_in_words() -> None:
    assert described(int | None) == "int or None"
    assert described(Literal["a", "b"]) == "one of a, b"
    assert described(tuple[float, ...]) == described(list[float]) == "a list of float"
    assert described(tuple[int, str]) == "tuple[int, str]"
