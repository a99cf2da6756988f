"""A column of a table as a metric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genas.metrics import (
    Angle,
    Combined,
    Context,
    Neighborhood,
    TableAccuracy,
    Term,
    parse_metric,
    table_accuracy,
    table_fingerprints,
)
from genas.spaces import DARTS, NASBench201
from genas.spaces.listing import all_architectures
from genas.spaces.neighborhoods import mean_everywhere
from genas.tables import Column, Table

SPACE = NASBench201()
TEST, VALID = Column("toys", "test", 20), Column("toys", "valid", 5)


@pytest.fixture(scope="module")
def table() -> Table:
    cells = all_architectures(SPACE)
    rng = np.random.default_rng(0)
    values = {TEST: rng.uniform(10, 90, len(cells)), VALID: rng.uniform(10, 90, len(cells))}
    return Table(SPACE, "toys", "made up", "", cells, values)


def test_values_are_those_of_the_table_and_no_supernet_is_needed(table) -> None:
    context = Context.untrained(SPACE)
    metric = TableAccuracy(table, VALID)
    cells = [(0, 1, 2, 3, 4, 0), (4,) * 6]
    np.testing.assert_array_equal(metric.score(context, cells), table.values(VALID, cells))
    assert (metric.unit, metric.higher_is_better, metric.measurements) == ("%", True, ())


def test_a_file_and_a_column_in_an_expression(table, tmp_path: Path) -> None:
    table.save(tmp_path / "toys.npz")
    context = Context.untrained(SPACE)
    metric = parse_metric(f"2*table(column=toys, path='{tmp_path / 'toys.npz'}')")
    np.testing.assert_allclose(metric.score(context, [(3,) * 6]), 2 * table.values(TEST, [(3,) * 6]))
    assert table_accuracy("toys/valid", str(tmp_path / "toys.npz")).column == VALID


def test_the_neighbourhood_of_a_column(table) -> None:
    cells = all_architectures(SPACE)
    found = Neighborhood(TableAccuracy(table, VALID)).score(Context.untrained(SPACE), cells)
    expected = mean_everywhere(table.values(VALID, cells).reshape((5,) * 6))
    np.testing.assert_allclose(found, expected.ravel(), rtol=1e-11)


def test_only_a_column_without_gaps_is_read_for_the_whole_space(table, monkeypatch: pytest.MonkeyPatch) -> None:
    """The neighbourhood of one centre needs the accuracies of its 25 members and no others."""
    asked: list[int] = []
    original = TableAccuracy.values
    monkeypatch.setattr(TableAccuracy, "values", lambda *given: (asked.append(len(given[2])), original(*given))[1])
    centre = (0, 1, 2, 3, 4, 0)
    members = [centre, *SPACE.neighbors(centre)]
    accuracies = table.values(VALID, members)
    few_rows = Table(SPACE, "few", "made up", "", members, {VALID: accuracies})
    gaps = np.where([each in members for each in table.architectures], table.values(VALID), np.nan)
    few_values = Table(SPACE, "gaps", "made up", "", table.architectures, {VALID: gaps, TEST: table.values(TEST)})
    for known in (few_rows, few_values, table):
        metric = Neighborhood(Combined((Term(TableAccuracy(known, VALID), 2.0),)))
        assert metric.score(Context.untrained(SPACE), [centre])[0] == pytest.approx(2 * accuracies.mean())
    assert asked == [25, 25, 15_625]


def test_fingerprints_are_those_of_all_tables_in_metrics_and_their_parts(table) -> None:
    other = Table(SPACE, "other", "made up", "", [(0,) * 6], {TEST: [50.0]})
    deep = Combined((Term(Angle()), Term(Neighborhood(TableAccuracy(table, VALID)), 2.0)))
    assert table_fingerprints([deep]) == [table.fingerprint]
    found = table_fingerprints([TableAccuracy(other, TEST), deep, Angle(), TableAccuracy(table, TEST)])
    assert found == sorted([table.fingerprint, other.fingerprint])
    assert table_fingerprints([Angle()]) == []


def test_wrong_columns_and_spaces_are_errors(table) -> None:
    with pytest.raises(KeyError, match="The table toys has no column toys/test/200"):
        TableAccuracy(table, Column("toys", "test", 200))
    darts = Context.untrained(DARTS())
    with pytest.raises(ValueError, match="must have architectures of darts, but toys has those of nasbench201"):
        TableAccuracy(table, TEST).score(darts, [darts.space.sample(np.random.default_rng(0))])
    rng = np.random.default_rng(0)
    cells = [DARTS().sample(rng) for _ in range(2)]
    large = TableAccuracy(Table(DARTS(), "large", "", "", cells, {TEST: [50.0, 60.0]}), TEST)
    with pytest.raises(ValueError, match="must have architectures of nasbench201, but large has those of darts"):
        Neighborhood(large).score(Context.untrained(SPACE), [(0,) * 6])


class Plain(NASBench201):
    """A space of somebody else, that says nothing about when two are equal."""

    name = "plain"
    __eq__ = object.__eq__
    __hash__ = object.__hash__


def test_two_spaces_of_one_name_are_one_space() -> None:
    cells = [(0,) * 6, (1,) * 6]
    own = Table(Plain(), "own", "", "", cells, {TEST: [50.0, 60.0]})
    assert TableAccuracy(own, TEST).score(Context.untrained(Plain()), cells).tolist() == [50.0, 60.0]
