"""Limits on costs."""

from __future__ import annotations

import pytest

from genas.search import Constraint
from genas.spaces import Cost


def genes_as_cost(architecture: tuple[int, ...]) -> Cost:
    return Cost(params=architecture[0], macs=architecture[1])


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ({"max_macs": 5}, {(9, 5), (3, 5), (9, 1)}),
        ({"max_params": 3}, {(3, 5), (3, 6)}),
        ({"max_macs": 5, "max_params": 3}, {(3, 5)}),
    ],
)
def test_limits_are_inclusive_and_joined(limits: dict[str, int], allowed: set[tuple[int, int]]) -> None:
    constraint = Constraint(genes_as_cost, **limits)
    assert {pair for pair in [(9, 5), (3, 5), (9, 1), (3, 6), (4, 6)] if constraint.allows(pair)} == allowed


def test_text_names_the_limits() -> None:
    assert str(Constraint(genes_as_cost, max_macs=330_000_000)) == "macs <= 330,000,000"
    assert str(Constraint(genes_as_cost, 10, 2000)) == "macs <= 10 and params <= 2,000"


def test_a_constraint_needs_a_positive_limit() -> None:
    with pytest.raises(ValueError, match="needs max_macs, max_params or both, but got neither"):
        Constraint(genes_as_cost)
    for name in ("max_macs", "max_params"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, but got 0"):
            Constraint(genes_as_cost, **{name: 0})
