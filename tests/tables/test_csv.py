"""Both importers of CSV files."""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genas.spaces import DARTS, NASBench201
from genas.tables import Column, Table, TableError, csv_rows
from genas.tables.csv_table import import_csv, parse_mapping
from genas.tables.fingerprint import fingerprint
from genas.tables.nasbench201_csv import COLUMNS, import_nasbench201_csv, is_nasbench201_csv

from .conftest import MAXIMA, Golden, golden_readings

SPACE = NASBench201()
TEST = Column("cifar10", "test", 200)
ACC = {"acc": TEST}


def string(index: int) -> str:
    return SPACE.format(SPACE.from_index(index))


def benchmark_rows(count: int) -> list[list[str]]:
    """A made-up file like that of NAS-Bench-201: the accuracies of cell ``i`` are ``i % 90 + column / 100``."""
    rows = [["index", "arch_str", *COLUMNS, "c10_params_M", "in16_test_200_s888", "c10_test_200_fewshotnas"]]
    for index in range(count):
        readings = [f"{index % 90 + column / 100:.2f}" for column in range(len(COLUMNS))]
        rows.append([str(index), string(index), *readings, "nan", "", "-5"])
    return rows


Writer = Callable[[list[list[str]]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    def write_rows(rows: list[list[str]]) -> Path:
        with (tmp_path / "accuracies.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        return tmp_path / "accuracies.csv"

    return write_rows


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Table:
    return import_nasbench201_csv(shared_data / "nasbench201.csv.gz")


def test_maxima(real: Table) -> None:
    for text, (index, value) in MAXIMA.items():
        best, found = real.best(real.find(text))
        assert (SPACE.index(best), found) == (index, value)
    assert len(real) == 15_625
    assert real.architectures[:3] == tuple(map(SPACE.from_index, range(3)))


def test_golden_records_tell_what_the_columns_mean(real: Table, golden: Golden) -> None:
    for index, trainings in golden.items():
        for column in real.columns:
            readings, found = golden_readings(trainings, column), real.values(column, [SPACE.from_index(index)])[0]
            if column.seed == "any":
                assert min(abs(found - reading) for reading in readings) < 6e-6
            else:
                assert found == pytest.approx(np.mean(readings), abs=6e-6)


def test_the_1seed_columns_are_not_of_one_seed(real: Table, golden: Golden) -> None:
    """If a release makes them so, ``seed=any`` should become that seed."""
    column = Column("imagenet16-120", "test", 200, "any")
    seeds = set()
    for index, trainings in golden.items():
        value = real.values(column, [SPACE.from_index(index)])[0]
        by_seed = {
            seed: golden_readings(trainings, Column("imagenet16-120", "test", 200, seed)) for seed in (777, 888, 999)
        }
        seeds |= {seed for seed, (reading,) in by_seed.items() if abs(reading - value) < 6e-6}
    assert seeds == {777, 999}


def test_the_shared_file_is_small_when_saved(real: Table, tmp_path: Path) -> None:
    real.save(tmp_path / "table.npz")
    assert (tmp_path / "table.npz").stat().st_size < 2_000_000


def test_all_cells_of_a_made_up_file(write: Writer) -> None:
    path = write(benchmark_rows(15_625))
    assert is_nasbench201_csv(path)
    table = import_nasbench201_csv(path)
    assert set(table.columns) == {*COLUMNS.values()}
    assert table.checksum == hashlib.sha256(path.read_bytes()).hexdigest()
    for number, column in enumerate(COLUMNS.values()):
        expected = [round(index % 90 + number / 100, 2) for index in range(15_625)]
        assert table.values(column, [SPACE.from_index(index) for index in range(15_625)]).tolist() == expected
    zipped = path.with_suffix(".csv.gz")
    zipped.write_bytes(gzip.compress(path.read_bytes(), compresslevel=1))
    one = import_nasbench201_csv(zipped, [TEST])
    assert one.columns == (TEST,)
    assert np.array_equal(one.values(TEST), table.values(TEST))


def test_some_of_the_benchmarks_columns(write: Writer) -> None:
    rows = [row[:3] for row in benchmark_rows(SPACE.size)]
    table = import_nasbench201_csv(write(rows), [TEST])
    assert table.columns == (TEST,)
    asked = r"lacks the columns c100_test_200, .* choose with --columns '\[cifar10/test/200\]'"
    with pytest.raises(TableError, match=asked):
        import_nasbench201_csv(write(rows))


def test_missing_cells_and_accuracies(write: Writer) -> None:
    rows = benchmark_rows(12)
    del rows[5]
    path = write(rows)
    with pytest.raises(
        TableError, match=r"must have all 15625 cells, but lacks 15614, .* index 4, 12, 13; .* --partial"
    ):
        import_nasbench201_csv(path)
    assert len(import_nasbench201_csv(path, partial=True)) == 11
    rows[2][2] = ""
    with pytest.raises(
        TableError,
        match=r"csv, line 3: c10_test_200 must be an accuracy .* but is ''. Leave out what is missing with --partial",
    ):
        import_nasbench201_csv(write([*rows, *benchmark_rows(15_625)[13:], benchmark_rows(5)[5]]))
    table = import_nasbench201_csv(write(rows), partial=True)
    assert (len(table.covered(TEST)), len(table.covered(Column("cifar10", "test", 12)))) == (10, 11)


@pytest.mark.parametrize(
    ("row", "field", "value", "message"),
    [
        (4, 2, "5_5", r"csv, line 5: c10_test_200 must be an accuracy in percent, 0 .. 100, but is '5_5'"),
        (4, 2, "nan", r"csv, line 5: c10_test_200 must be an accuracy in percent, 0 .. 100, but is 'nan'"),
        (4, 2, "inf", "line 5: c10_test_200 .*'inf'"),
        (4, 2, "100.01", "line 5: c10_test_200 .*'100.01'"),
        (4, 2, "-1", "line 5: c10_test_200 .*'-1'"),
        (4, 2, "high", "line 5: c10_test_200 .*'high'"),
        (4, 0, "2", r"line 5: index 2 is \|.* in the benchmark's order, but here it is \|"),
        (4, 0, "15625", "line 5: .*must lie in 0 .. 15624"),
        (4, 1, "|none~0|", "line 5: .*must have 3 nodes"),
        (0, 2, "c10_test", "lacks the columns c10_test_200; it has index"),
        (0, 3, "c10_test_200", r"lacks the columns c100_test_200"),
        (0, 15, "c10_test_200", r"several columns named c10_test_200; rename"),
    ],
)
def test_wrong_fields(write: Writer, row: int, field: int, value: str, message: str) -> None:
    rows = benchmark_rows(9)
    rows[row][field] = value
    with pytest.raises(TableError, match=message):
        import_nasbench201_csv(write(rows), partial=True)


def test_duplicate_cell_and_unknown_column(write: Writer) -> None:
    rows = benchmark_rows(9)
    with pytest.raises(TableError, match=r"csv, line 11: \|\S+ is already in .*csv, line 4"):
        import_nasbench201_csv(write([*rows, rows[3]]), partial=True)
    with pytest.raises(TableError, match=r"has no column cifar10/valid/12; known: cifar10/test/12, "):
        import_nasbench201_csv(write(rows), [Column("cifar10", "valid", 12)], partial=True)


def test_any_csv_reads_the_benchmark_as_its_own_importer_does(real: Table, shared_data: Path, tmp_path: Path) -> None:
    """The maxima and, with the records in the columns' means, the golden records through the general importer."""
    with gzip.open(shared_data / "nasbench201.csv.gz", "rt", newline="") as file:
        rows = list(csv.reader(file))
    header, content = rows[0], rows[1:]
    chosen = {name: column for name, column in COLUMNS.items() if column in real.columns and column.seed is None}
    kept = [header.index(name) for name in ("arch_str", *chosen)]
    with (tmp_path / "any.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [header[k] for k in kept] if row is header else [row[k] for k in kept] for row in rows
        )
    table = import_csv(tmp_path / "any.csv", SPACE, chosen)
    assert len(table) == len(content) == 15_625
    for column in table.columns:
        assert np.array_equal(table.values(column, real.architectures), real.values(column))
    for text, (index, value) in MAXIMA.items():
        best, found = table.best(table.find(text))
        assert (SPACE.index(best), found) == (index, value)


def test_golden_records_as_any_csv(write: Writer, golden: Golden) -> None:
    column = Column("cifar10", "test", 200)
    means = {index: float(np.mean(golden_readings(trainings, column))) for index, trainings in golden.items()}
    table = import_csv(write([["arch", "acc"], *([string(i), repr(value)] for i, value in means.items())]), SPACE, ACC)
    for index, value in means.items():
        assert table.accuracy(SPACE.from_index(index), "cifar10", "test") == value


@pytest.mark.parametrize("notation", ["index", "genes", "string"])
def test_any_csv(write: Writer, notation: str) -> None:
    cells = [SPACE.from_index(index) for index in (7, 1462, 3)]
    texts = {
        "index": ["7", "1462", "3"],
        "genes": [",".join(map(str, cell)) for cell in cells],
        "string": [SPACE.format(cell) for cell in cells],
    }
    rows = [
        ["name", "arch", "acc", "early"],
        *([f"cell {i}", text, f"{10 + i}.5", f"{i}"] for i, text in enumerate(texts[notation])),
    ]
    early = Column("flowers", "valid", 100, seed=3, at=1)
    path = write(rows)
    table = import_csv(path, SPACE, {"acc": TEST, "early": early})
    assert table.values(TEST, cells).tolist() == [10.5, 11.5, 12.5]
    assert table.values(early, cells).tolist() == [0, 1, 2]
    assert (table.columns, table.isomorphic, table.name) == ((TEST, early), False, "accuracies.csv")
    assert not is_nasbench201_csv(path)


def test_any_csv_of_another_space(write: Writer) -> None:
    darts = DARTS("darts")
    rng = np.random.default_rng(0)
    cells = [darts.sample(rng) for _ in range(4)]
    path = write([["acc", "found"], *([str(90 + i), darts.format(cell)] for i, cell in enumerate(cells))])
    assert import_csv(path, darts, ACC, architecture="found").values(TEST, cells).tolist() == [90, 91, 92, 93]
    with pytest.raises(TableError, match=r"must have one column architecture or arch or .*--architecture"):
        import_csv(path, darts, ACC)
    with pytest.raises(TableError, match=r"line 2: A NAS-Bench-201 architecture must be"):
        import_csv(path, SPACE, ACC, architecture="found")


def test_any_csv_with_one_row_for_all_isomorphic_cells(write: Writer) -> None:
    path = write([["genes", "acc"], ["0,0,0,0,0,0", "77"]])
    twin = (0, 0, 0, 0, 1, 0)  # a skip from a node that is zero
    assert SPACE.unique_key(twin) == SPACE.unique_key((0,) * 6)
    assert import_csv(path, SPACE, ACC, isomorphic=True).values(TEST, [twin]).tolist() == [77]
    with pytest.raises(TableError, match=r"cannot be imported: .* must have different ones, but .* are isomorphic"):
        import_csv(write([["genes", "acc"], ["0,0,0,0,0,0", "77"], ["0,0,0,0,1,0", "78"]]), SPACE, ACC, isomorphic=True)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([["arch", "acc"], ["3", "50"], ["3", "51"]], r"line 3: 3 is already in .*csv, line 2"),
        ([["arch", "acc"], ["3", "50"], [string(3), "51"]], r"line 3: \|.* is already in .*csv, line 2"),
        ([["arch", "acc"], ["none", "50"]], "line 2: A NAS-Bench-201 architecture must be"),
        ([["arch", "acc"], ["3", "nan"]], "line 2: acc must be an accuracy .*'nan'"),
        ([["arch", "acc"], ["3", ""]], "line 2: acc must be an accuracy .*''"),
        ([["arch", "acc"], ["3"]], "line 2: it must have 2 fields like the first line, but has 1"),
        ([["arch", "acc"], ["3", "0.93"], ["4", "0.91"]], "acc must be in percent, but all of it lies in 0 .. 1"),
        ([["arch", "acc"]], "has no rows after its first line"),
        ([["arch", "top1"], ["3", "50"]], "lacks the columns acc; it has arch, top1"),
        ([["arch", "genes", "acc"], ["3", "3", "50"]], "must have one column"),
        ([["arch;acc"], ["3;50"]], "must have fields separated by commas, but its first line has only one, 'arch;acc'"),
        ([[]], "its first line is empty"),
    ],
)
def test_wrong_csv(write: Writer, lines: list[list[str]], message: str) -> None:
    with pytest.raises(TableError, match=message):
        import_csv(write(lines), SPACE, ACC)


def test_empty_fields_are_no_accuracies_where_that_is_allowed(write: Writer) -> None:
    path = write([["arch", "acc", "other"], ["3", "50", " "], ["4", "", "60"]])
    table = import_csv(path, SPACE, {"acc": TEST, "other": Column("a", "test", 1)}, partial=True)
    assert table.covered(TEST) == (SPACE.from_index(3),)
    assert table.values(Column("a", "test", 1), missing="nan").tolist() == pytest.approx([np.nan, 60], nan_ok=True)
    with pytest.raises(TableError, match="acc must have an accuracy, but all its fields are empty"):
        import_csv(write([["arch", "acc"], ["3", ""]]), SPACE, ACC, partial=True)


def test_files_of_spreadsheets(tmp_path: Path) -> None:
    """With a byte order mark and a blank line at the end."""
    path = tmp_path / "accuracies.csv"
    path.write_text(f"arch,acc\n{string(7)},80\n\n", encoding="utf-8-sig")
    assert import_csv(path, SPACE, ACC).accuracy(SPACE.from_index(7), "cifar10", "test") == 80


def test_a_place_is_a_line_of_the_file(tmp_path: Path) -> None:
    """Not a record, which quotes may spread over several lines."""
    path = tmp_path / "accuracies.csv"
    path.write_text(f'arch,acc,note\n{string(7)},80,"one\ntwo"\n{string(8)},x,\n')
    with pytest.raises(TableError, match=r"accuracies.csv, line 4: acc must be an accuracy"):
        import_csv(path, SPACE, ACC)


def test_files_that_are_no_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    whole = gzip.compress(b"arch,acc\n" + b"".join(b"%d,50.5\n" % index for index in range(5_000)))
    for content in (whole[:-30], whole[:400], b"arch,acc\n3,50\n"):
        path.write_bytes(content)
        with pytest.raises(TableError, match=r"a.csv.gz cannot be read .*truncated or not a CSV file"):
            import_csv(path, SPACE, ACC)
    (tmp_path / "b.csv").write_bytes(b"arch,acc\n3,\xff\xfe\n")
    with pytest.raises(TableError, match=r"b.csv cannot be read"):
        import_csv(tmp_path / "b.csv", SPACE, ACC)
    with pytest.raises(FileNotFoundError, match=r"no file .*c.csv"):
        csv_rows.read_header(tmp_path / "c.csv")
    with pytest.raises(FileNotFoundError, match=r"no file .*, but a folder"):
        csv_rows.read_header(tmp_path)


def test_mapping() -> None:
    mapping = parse_mapping(["acc=cifar10/test/200", "a b=cifar10/test/200/seed=1"])
    assert mapping == {"acc": TEST, "a b": Column("cifar10", "test", 200, 1)}
    for texts, message in {
        (): r"needs --columns NAME=DATASET/KIND",
        ("cifar10/test/200",): r"must be given as NAME=DATASET.*got 'cifar10/test/200'",
        ("=cifar10/test/200",): "must be given as NAME=",
        ("acc=cifar10",): "must look like DATASET/KIND/EPOCHS",
        ("a=cifar10/test/200", "b=cifar10/test/200"): "given once, but 'b=cifar10/test/200' repeats",
        ("a=cifar10/test/200", "a=cifar10/test/12"): "given once",
    }.items():
        with pytest.raises(ValueError, match=message):
            parse_mapping(list(texts))


def test_a_fingerprint_of_several_files_does_not_depend_on_their_order(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    assert fingerprint([tmp_path / "a", tmp_path / "b"]) == fingerprint([tmp_path / "b", tmp_path / "a"])


def test_one_low_accuracy_is_no_fraction(write: Writer) -> None:
    assert import_csv(write([["arch", "acc"], ["3", "0.5"]]), SPACE, ACC).values(TEST).tolist() == [0.5]
