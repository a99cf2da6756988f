"""A column of a table as a metric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genas.metrics import Context, Neighborhood, TableAccuracy, parse_metric, table_accuracy
from genas.spaces import DARTS, NASBench201
from genas.spaces.neighborhoods import all_architectures, mean_everywhere
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
    np.testing.assert_array_equal(found, expected.ravel())


def test_wrong_columns_and_spaces_are_errors(table) -> None:
    with pytest.raises(KeyError, match="The table toys has no column toys/test/200"):
        TableAccuracy(table, Column("toys", "test", 200))
    darts = Context.untrained(DARTS())
    with pytest.raises(ValueError, match="must have architectures of darts, but toys has those of nasbench201"):
        TableAccuracy(table, TEST).score(darts, [darts.space.sample(np.random.default_rng(0))])
