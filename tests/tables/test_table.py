from __future__ import annotations

import pickle
import re
from collections.abc import Sequence

import numpy as np
import pytest

from genas.spaces import DARTS, Architecture, NASBench201
from genas.tables import Column, Table

SPACE = NASBench201()
TEST = Column("cifar10", "test", 200)
SHORT = Column("cifar10", "test", 12)
SEEDS = tuple(Column("cifar10", "test", 200, seed) for seed in (777, 888))
EARLY = Column("cifar10", "test", 200, at=90)
VALID = Column("cifar10-valid", "valid", 12)
HALF = Column("cifar10-valid", "test", 200, seed=888)
CELLS: list[Architecture] = [(3,) * 6, (1,) * 6, (0,) * 6, (3, 0, 1, 0, 1, 0), (2, 0, 0, 4, 0, 0)]


def make(**changes: object) -> Table:
    """Five cells; one seed covers only three of them."""
    rng = np.random.default_rng(0)
    full = [TEST, SHORT, SEEDS[0], EARLY, VALID, HALF]
    values = {column: dict(zip(CELLS, rng.uniform(10, 95, len(CELLS)), strict=True)) for column in full}
    values[SEEDS[1]] = {cell: 50.0 + row for row, cell in enumerate(CELLS[::2])}
    return Table.from_accuracies(SPACE, "five cells", "a test", "0" * 64, values, **changes)  # type: ignore[arg-type]


def test_values_are_looked_up_one_by_one() -> None:
    table = make()
    rng = np.random.default_rng(1)
    asked = [CELLS[row] for row in rng.integers(len(CELLS), size=200)]
    for column in set(table.columns) - {SEEDS[1]}:
        found = table.values(column, asked)
        assert found.dtype == np.float64
        assert found.tolist() == [table.values(column)[table.architectures.index(each)] for each in asked]
        expected = [
            table.accuracy(each, column.dataset, column.kind, epochs=column.epochs, seed=column.seed, at=column.at)
            for each in asked
        ]
        assert found.tolist() == expected
    assert table.values(TEST, []).shape == (0,)
    assert (len(table), table.architectures) == (5, tuple(CELLS))
    assert list(table.columns) == sorted(table.columns)
    assert repr(table) == "<Table five cells: 5 architectures of nasbench201, 7 columns>"


def test_it_can_not_be_changed_through_its_values() -> None:
    table = make()
    before = table.values(TEST).tolist()
    for asked in (None, CELLS):
        table.values(TEST, asked)[:] = 0
    assert table.values(TEST).tolist() == before


def test_a_column_that_covers_some_rows() -> None:
    table = make()
    assert table.covered(SEEDS[1]) == tuple(CELLS[::2])
    assert table.covered(TEST) == tuple(CELLS)
    assert table.values(SEEDS[1], CELLS[::2]).tolist() == [50, 51, 52]
    assert table.values(SEEDS[1], CELLS[1:3], missing="nan").tolist() == pytest.approx([np.nan, 51], nan_ok=True)
    assert np.isnan(table.values(SEEDS[1], missing="nan")).tolist() == [False, True, False, True, False]
    for asked in (None, CELLS):
        with pytest.raises(KeyError, match=r"seed=888 of the table five cells has no value for 2 of 5 arch") as error:
            table.values(SEEDS[1], asked)
        assert SPACE.format(CELLS[1]) in str(error.value)


def test_unknown_architectures_and_columns() -> None:
    table = make()
    stranger = (4,) * 6
    with pytest.raises(
        KeyError,
        match=re.escape(
            f"cifar10/test/200 of the table five cells has no value for 1 of 2 "
            f"architectures, among them {SPACE.format(stranger)}"
        ),
    ):
        table.values(TEST, [CELLS[0], stranger])
    assert np.isnan(table.values(TEST, [stranger], missing="nan")).all()
    absent = Column("cifar10", "valid", 200)
    for call in (table.values, table.covered, table.best):
        with pytest.raises(KeyError, match=r"no column cifar10/valid/200. Did you mean \S+\? It has cifar10/test/12, "):
            call(absent)
        with pytest.raises(KeyError, match=r"but got the text 'cifar10/test/200'; find\('cifar10/test/200'\)"):
            call("cifar10/test/200")
    with pytest.raises(KeyError, match=r"no column cifar100/test. Did"):
        table.accuracy(CELLS[0], "cifar100", "test")
    with pytest.raises(KeyError, match="no column cifar10/test/seed=5/at=90"):
        table.accuracy(CELLS[0], "cifar10", "test", seed=5, at=90)


def test_accuracy_takes_the_longest_schedule_that_has_all_else() -> None:
    table = make()
    cell = CELLS[3]
    assert table.accuracy(cell, "cifar10", "test") == table.values(TEST, [cell])[0]
    assert table.accuracy(cell, "cifar10", "test", epochs=12) == table.values(SHORT, [cell])[0]
    assert table.accuracy(cell, "cifar10", "test", seed=777) == table.values(SEEDS[0], [cell])[0]
    assert table.accuracy(cell, "cifar10", "test", at=90) == table.values(EARLY, [cell])[0]
    with pytest.raises(KeyError, match="cifar10-valid/test"):  # only seed 888, and no mean was asked for in vain
        table.accuracy(cell, "cifar10-valid", "test")


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("cifar10", TEST),
        ("cifar10/test", TEST),
        ("cifar10/200", TEST),
        ("cifar10/12", SHORT),
        ("cifar10/test/12", SHORT),
        ("cifar10/seed=888", SEEDS[1]),
        ("cifar10/at=90", EARLY),
        ("cifar10-valid/valid", VALID),
        ("cifar10-valid", HALF),
        ("cifar10-valid/test/200", HALF),
    ],
)
def test_find(text: str, column: Column) -> None:
    assert make().find(text) == column


def test_find_takes_every_column_by_its_own_text() -> None:
    table = make()
    assert [table.find(str(column)) for column in table.columns] == list(table.columns)


@pytest.mark.parametrize("text", ["cifar10/valid", "cifar100", "cifar", "cifar10-valid/valid/200", "cifar10/at=91"])
def test_find_does_not_guess(text: str) -> None:
    with pytest.raises(KeyError, match=rf"no column {text}\..* It has cifar10/test/12, cifar10/test/200, "):
        make().find(text)


def test_find_asks_for_a_seed() -> None:
    table = Table(SPACE, "t", "", "", CELLS[:1], {seed: [50] for seed in SEEDS})
    with pytest.raises(
        KeyError, match=r"'cifar10' means several columns of the table t, none of them a mean.*seed=777"
    ):
        table.find("cifar10")
    with pytest.raises(ValueError, match="must look like"):
        table.find("cifar10/test/200/888")


def test_seeds() -> None:
    table = make()
    assert table.seeds(TEST) == table.seeds(SEEDS[0]) == SEEDS
    assert table.seeds(SHORT) == table.seeds(EARLY) == ()
    assert table.seeds(HALF) == (HALF,)


def test_best() -> None:
    table = Table(SPACE, "t", "", "", CELLS, {TEST: [1, 7, np.nan, 7, 5]})
    assert table.best(TEST) == (CELLS[1], 7.0)


def test_one_row_serves_all_isomorphic_cells() -> None:
    """A slow look-up over all keys is the oracle."""
    rng = np.random.default_rng(2)
    classes: dict[object, Architecture] = {}
    cells = [SPACE.sample(rng) for _ in range(600)]
    for cell in cells[:300]:
        classes.setdefault(SPACE.unique_key(cell), cell)
    rows = dict(zip(classes.values(), rng.uniform(10, 90, len(classes)), strict=True))
    table = Table.from_accuracies(SPACE, "t", "", "", {TEST: rows}, isomorphic=True)
    found = table.values(TEST, cells, missing="nan")
    keys = [SPACE.unique_key(cell) for cell in cells]
    expected = [rows[classes[key]] if key in classes else np.nan for key in keys]
    assert np.array_equal(found, expected, equal_nan=True)
    assert sum(cell not in rows and key in classes for cell, key in zip(cells, keys, strict=True)) > 20
    assert np.isnan(found).sum() > 20
    assert len(table) == len(classes)
    assert np.array_equal(table.values(TEST, cells, missing="nan"), found, equal_nan=True)  # from memory now
    plain = Table.from_accuracies(SPACE, "t", "", "", {TEST: rows})
    assert np.isnan(plain.values(TEST, cells, missing="nan")).sum() > np.isnan(found).sum()
    with pytest.raises(ValueError, match=r"must have different ones, but \|.* and \|.* of t are isomorphic"):
        Table.from_accuracies(SPACE, "t", "", "", {TEST: dict.fromkeys(cells[:300], 5.0)}, isomorphic=True)


def test_of_isomorphic_rows_the_first_stands_for_those_without_one() -> None:
    cells: dict[object, list[Architecture]] = {}
    for cell in SPACE.architectures():
        cells.setdefault(SPACE.unique_key(cell), []).append(cell)
    first, second, third = next(each for each in cells.values() if len(each) >= 3)[:3]
    table = Table(SPACE, "t", "", "", [second, first], {TEST: [1.0, 2.0]}, isomorphic=True)
    assert table.values(TEST, [first, second, third]).tolist() == [2, 1, 1]


def test_pickled_for_another_process() -> None:
    table = make(isomorphic=False)
    copy = pickle.loads(pickle.dumps(table))  # noqa: S301 - our own
    assert np.array_equal(copy.values(TEST, CELLS), table.values(TEST, CELLS))
    assert (copy.space, copy.checksum, copy.columns) == (table.space, table.checksum, table.columns)


@pytest.mark.parametrize(
    ("architectures", "values", "message"),
    [
        (
            [CELLS[0], CELLS[1], CELLS[0]],
            [1, 2, 3],
            r"every architecture once, but t has \|nor_conv_3x3~0\|.* in rows 0 and 2",
        ),
        ([CELLS[0]], [100.5], r"0 .. 100 percent, but cifar10/test/200 of \|nor_conv_3x3~0\|\S* is 100.5"),
        ([CELLS[0]], [-1], "is -1.0"),
        ([CELLS[0]], [np.inf], "is inf"),
        ([CELLS[0]], [1, 2], r"one value for each of the 1 rows, but cifar10/test/200 has shape \(2,\)"),
        ([CELLS[0]], [np.nan], "must have a value, but cifar10/test/200 has none"),
        ([], [], "must have an accuracy, but t has none"),
        ([(5,) * 6], [1], r"must be one of 0 \(none\)"),
        ([(1,) * 5], [1], "must have 6 genes"),
    ],
)
def test_refused(architectures: Sequence[Architecture], values: Sequence[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Table(SPACE, "t", "", "", architectures, {TEST: values})


def test_validation_accuracies_are_a_truth_only_where_they_may_be() -> None:
    column = Column("photos", "valid", 5)
    table = Table(SPACE, "t", "", "", CELLS[:1], {column: [5.0]})
    assert table.default_truths(or_valid=True) == (column,)
    with pytest.raises(ValueError, match="t has no test accuracy that is a mean over seeds"):
        table.default_truths()


def test_default_truths_are_the_longest_means_of_each_data_set() -> None:
    other = Column("own", "test", 12)
    values = {TEST: [1.0], SHORT: [2.0], SEEDS[0]: [3.0], EARLY: [4.0], VALID: [5.0], other: [6.0]}
    assert Table(SPACE, "t", "", "", CELLS[:1], values).default_truths() == (TEST, other)
    with pytest.raises(ValueError, match=r"t has no test accuracy that is a mean over seeds; .* among cifar10-valid/"):
        Table(SPACE, "t", "", "", CELLS[:1], {VALID: [5.0], HALF: [1.0]}).default_truths()
    both = Table(SPACE, "t", "", "", CELLS[:1], {VALID: [5.0], TEST: [1.0]})
    assert both.default_truths(or_valid=True) == (TEST,), "a validation accuracy only where there is no other"


def test_the_fingerprint_is_that_of_the_contents() -> None:
    first = Table(SPACE, "a", "one", "1", CELLS[:2], {TEST: [1.0, 2.0]})
    assert Table(SPACE, "b", "two", "2", CELLS[:2], {TEST: [1.0, 2.0]}).fingerprint == first.fingerprint
    others = [
        Table(SPACE, "a", "one", "1", CELLS[:2], {TEST: [1.0, 2.5]}),
        Table(SPACE, "a", "one", "1", CELLS[:2], {SHORT: [1.0, 2.0]}),
        Table(SPACE, "a", "one", "1", CELLS[1::-1], {TEST: [1.0, 2.0]}),
        Table(SPACE, "a", "one", "1", CELLS[:1], {TEST: [1.0]}),
        Table(SPACE, "a", "one", "1", CELLS[:2], {TEST: [1.0, 2.0]}, isomorphic=True),
    ]
    assert len({each.fingerprint for each in (first, *others)}) == 6
    gaps = [Table(SPACE, "a", "one", "1", CELLS[:2], {TEST: [1.0, gap]}) for gap in (np.nan, -np.nan)]
    assert gaps[0].fingerprint == gaps[1].fingerprint, "whatever the bits of a NaN are"


def test_a_nan_is_no_accuracy() -> None:
    with pytest.raises(ValueError, match=r"cifar10/test/200 of \|none~0\|\S* is NaN; leave it out or train it again"):
        Table.from_accuracies(SPACE, "t", "", "", {TEST: {CELLS[0]: 5.0, CELLS[2]: float("nan")}})
    with pytest.raises(ValueError, match="must have an accuracy"):
        Table.from_accuracies(SPACE, "t", "", "", {})


def test_other_spaces() -> None:
    darts = DARTS("darts")
    cell = darts.sample(np.random.default_rng(0))
    table = Table(darts, "t", "", "", [cell], {TEST: [97.2]})
    assert table.accuracy(cell, "cifar10", "test") == 97.2
