"""Both roads to NATS-Bench: genas' own reader, which runs no code, and the package of the benchmark's authors."""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import os
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genas.spaces import NASBench201
from genas.tables import Column, Table, TableError
from genas.tables.nats_bench import import_nats_bench
from genas.tables.nats_bench_package import import_nats_bench_package
from genas.tables.trials import Record, Trial, table_of_trials
from genas.unpickling import load_plain_pickle

from .conftest import (
    MAXIMA,
    SETS,
    FolderWriter,
    Golden,
    Training,
    at_end,
    cell_content,
    golden_readings,
    write_pickle,
)

SPACE = NASBench201()
Importer = Callable[..., Table]


@pytest.fixture(params=["own reader", "package"])
def importer(request: pytest.FixtureRequest) -> Importer:
    if request.param == "own reader":
        return import_nats_bench
    pytest.importorskip("nats_bench", reason="needs the extra nasbench")
    return import_nats_bench_package


def trainings(index: int, seeds: tuple[int, ...] = (777, 888, 999)) -> list[Training]:
    """Made-up readings, different for all trainings and sets."""
    base = 20 + index % 50
    made = []
    for number, seed in enumerate(seeds):
        low = base + 0.5 * number**2
        made += [
            at_end("cifar10-valid", seed, 200, x_valid=low, ori_test=low + 0.1),
            at_end("cifar10", seed, 200, ori_test=low + 0.2),
            at_end("cifar100", seed, 200, x_valid=low + 0.3, x_test=low + 0.4, ori_test=low + 0.35),
            at_end("ImageNet16-120", seed, 200, x_valid=low + 0.5, x_test=low + 0.6, ori_test=low + 0.55),
        ]
    return [*made, at_end("cifar10", 111, 12, ori_test=base - 5.0)]


def test_golden_records(write_nats: FolderWriter, golden: Golden, importer: Importer) -> None:
    table = importer(write_nats(golden), partial=True)
    assert table.architectures == tuple(map(SPACE.from_index, (0, 11, 284)))
    known = [column for column in table.columns if (column.dataset, column.kind) in SETS]
    assert len(known) == 7 + 7 * 3 + 7 + 7 + 2  # 200 epochs: mean, 3 seeds; 12 epochs: mean, seed 111, twice also 777
    for column in known:
        expected = [float(np.mean(golden_readings(golden[index], column))) for index in (0, 11, 284)]
        assert table.values(column).tolist() == pytest.approx(expected, rel=1e-12)
    assert table.accuracy(SPACE.from_index(0), "cifar10-valid", "valid", epochs=12) == pytest.approx(63.364, rel=1e-9)
    both = table.values(Column("cifar100", "valtest", 200, 777))
    halves = [table.values(Column("cifar100", kind, 200, 777)) for kind in ("valid", "test")]
    assert both == pytest.approx(np.mean(halves, axis=0), abs=0.006)


def test_golden_curves(write_nats: FolderWriter, golden: Golden, importer: Importer) -> None:
    texts = [
        "cifar10-valid/valid/200/at=90",
        "cifar10-valid/valid/200/seed=888/at=1",
        "cifar10/test/200/at=199",
        "cifar10/test/200/at=12",  # the end of the shorter training is another reading
        "imagenet16-120/test/12/at=6",
        "cifar10/test/200",
    ]
    columns = [Column.parse(text) for text in texts]
    table = importer(write_nats(golden), columns, partial=True)
    assert table.columns == tuple(sorted(columns))
    for column in columns:
        expected = [float(np.mean(golden_readings(golden[index], column))) for index in (0, 11, 284)]
        assert table.values(column).tolist() == pytest.approx(expected, rel=1e-12)
    lacking = Column("cifar100", "test", 200, at=90)
    with pytest.raises(TableError, match=r"no reading cifar100/test/200/at=90; read: .*cifar100/valtest/200/at=90"):
        importer(write_nats(golden), [lacking], partial=True)


def test_the_package_reads_the_same_accuracies_from_our_files(write_nats: FolderWriter) -> None:
    """So the files are in its format, and our words for its readings are its own."""
    nats_bench = pytest.importorskip("nats_bench", reason="needs the extra nasbench")
    cells = {5: trainings(5), 6111: trainings(6111, (777, 999))}
    folder = write_nats(cells)
    api = nats_bench.NATStopology(str(folder), fast_mode=True, verbose=False)
    table = import_nats_bench(folder, partial=True)
    for index, seed in ((5, False), (6111, False), (5, 888), (6111, 999)):
        for dataset in ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120"):
            theirs = api.get_more_info(index, dataset, hp="200", is_random=seed)
            for kind in ("valid", "test", "valtest"):
                column = Column(dataset.lower(), kind, 200, seed or None)  # type: ignore[arg-type]
                assert (column in table.columns) == (f"{kind}-accuracy" in theirs)
                if column in table.columns:
                    ours = table.values(column, [SPACE.from_index(index)])[0]
                    assert ours == pytest.approx(theirs[f"{kind}-accuracy"], rel=1e-12)
    assert api.arch(6111) == SPACE.format(SPACE.from_index(6111))


def test_seeds_may_be_missing(write_nats: FolderWriter, importer: Importer) -> None:
    cells = {3: trainings(3), 4: trainings(4, (777, 999)), 9: trainings(9, (888,))}
    table = importer(write_nats(cells), partial=True)
    mean = Column("cifar10", "test", 200)
    first, second, third = map(SPACE.from_index, (3, 4, 9))
    assert table.values(mean, [first, second, third]) == pytest.approx([23.2 + 2.5 / 3, 24.2 + 0.25, 29.2], rel=1e-12)
    assert [each.seed for each in table.seeds(mean)] == [777, 888, 999]
    assert [table.covered(each) for each in table.seeds(mean)] == [(first, second), (first, third), (first, second)]
    assert table.accuracy(second, "cifar10", "test", seed=999) == 24.7
    assert table.find("cifar10") == mean


def test_both_roads_give_the_same_table(write_nats: FolderWriter) -> None:
    pytest.importorskip("nats_bench", reason="needs the extra nasbench")
    folder = write_nats({index: trainings(index) for index in (2, 7000, 15_624)})
    own, package = import_nats_bench(folder, partial=True), import_nats_bench_package(folder, partial=True)
    assert (own.columns, own.architectures, own.checksum) == (package.columns, package.architectures, package.checksum)
    for column in own.columns:
        assert np.array_equal(own.values(column), package.values(column))


def test_the_one_big_file(tmp_path: Path, all_strings: list[str]) -> None:
    pytest.importorskip("nats_bench", reason="needs the extra nasbench")
    cells = {index: cell_content(index, trainings(index)) for index in (1, 8)}
    content = {"meta_archs": all_strings, "arch2infos": cells, "evaluated_indexes": {1, 8}}
    path = write_pickle(tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2", content)
    table = import_nats_bench_package(path, partial=True)
    assert table.values(Column("cifar10", "test", 12)).tolist() == [16, 23]
    assert table.checksum == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(TableError, match="must have all 15625 cells, but lacks 15623"):
        import_nats_bench_package(path)


def test_maxima(shared_data: Path, write_nats: FolderWriter, importer: Importer) -> None:
    """The 40 best cells of each data set, three seeds around the mean."""
    names = {"cifar10": "c10_test_200", "cifar100": "c100_test_200", "ImageNet16-120": "in16_test_200"}
    with gzip.open(shared_data / "nasbench201.csv.gz", "rt") as file:
        rows = {int(row["index"]): row for row in csv.DictReader(file)}
    best = {index for name in names.values() for index in sorted(rows, key=lambda i: -float(rows[i][name]))[:40]}
    cells = {
        index: [
            at_end(
                dataset, seed, 200, **{"ori_test" if dataset == "cifar10" else "x_test": float(rows[index][name]) + off}
            )
            for dataset, name in names.items()
            for seed, off in ((777, -0.25), (888, 0.0), (999, 0.25))
        ]
        for index in best
    }
    table = importer(write_nats(cells), partial=True)
    for text, (index, value) in MAXIMA.items():
        cell, found = table.best(table.find(text))
        assert (SPACE.index(cell), found) == (index, pytest.approx(value, abs=1e-9))


def test_all_cells_in_memory() -> None:
    """The gathering alone, over the whole benchmark with two or three seeds a cell."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(10, 90, (SPACE.size, 3))
    lengths = rng.integers(2, 4, SPACE.size)
    records = (
        Record(
            "",
            i,
            SPACE.format(SPACE.from_index(i)),
            tuple(Trial("cifar10", 700 + k, 200, {"ori-test@199": truth[i, k]}) for k in range(lengths[i])),
        )
        for i in range(SPACE.size)
    )
    table = table_of_trials(records, None, Path("memory"), "made up", "")
    cells = [SPACE.from_index(i) for i in range(SPACE.size)]
    means = [float(np.mean(row[:length])) for row, length in zip(truth, lengths, strict=True)]
    np.testing.assert_allclose(table.values(Column("cifar10", "test", 200), cells), means, rtol=1e-12)
    assert len(table.covered(Column("cifar10", "test", 200, 702))) == (lengths == 3).sum()


def test_missing_cells(write_nats: FolderWriter, importer: Importer) -> None:
    folder = write_nats({index: trainings(index) for index in (0, 1, 3)})
    with pytest.raises(
        TableError, match=r"must have all 15625 cells, but lacks 15622, the .* index 2, 4, 5; .*--partial"
    ):
        importer(folder)
    (folder / "000003.pickle.pbz2").rename(folder / "3.pickle.pbz2")  # older archives
    assert len(importer(folder, partial=True)) == 3
    write_pickle(folder / "000003.pickle.pbz2", {})
    with pytest.raises(TableError, match=r"has cell 3 twice: 000003.pickle.pbz2 and 3.pickle.pbz2"):
        importer(folder, partial=True)


def test_missing_readings(write_nats: FolderWriter, importer: Importer) -> None:
    """A mean must be there for all cells, or the truth would be ranked over some of them unsaid."""
    folder = write_nats({3: trainings(3), 4: [each for each in trainings(4) if each.dataset != "cifar10"]})
    message = r"000004.pickle.pbz2 has no reading cifar10/test/12: 1 of 2 cells lack it"
    everything = sorted(import_nats_bench(folder, partial=True).columns)
    with pytest.raises(TableError, match=message):
        table_of_trials(_records(folder), everything, folder, "", "")
    table = importer(folder, partial=True)
    assert table.covered(Column("cifar10", "test", 12)) == (SPACE.from_index(3),)


def _records(folder: Path) -> list[Record]:
    found = []
    for path in sorted(folder.glob("0*.pbz2")):
        index = int(path.name[:6])
        trials = [
            Trial(dataset, seed, result["epochs"], result["eval_acc1es"])
            for state in load_plain_pickle(path).values()
            for (dataset, seed), result in state["all_results"].items()
        ]
        found.append(Record(str(path), index, SPACE.format(SPACE.from_index(index)), tuple(trials)))
    return found


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            at_end("cifar10", 777, 200, ori_test=float("nan")),
            r"000007.pickle.pbz2: cifar10/test/200/seed=777 must be .* nan",
        ),
        (at_end("cifar10", 777, 200, ori_test=101), "cifar10/test/200/seed=777 must be an accuracy .* is 101"),
        (at_end("cifar10", 777, 200, ori_test="high"), "seed=777 must be an accuracy .* is 'high'"),
        (at_end("cifar10", 777, 200, ori_test=10**400), r"000007.pickle.pbz2: .* must be an accuracy .* is 1000"),
        (at_end("cifar10", -5, 200, ori_test=50), r"000007.pickle.pbz2: .*seed must lie in .*, but got -5"),
        (at_end("cifar10", 777, 200, ori_test=None), "seed=777 must be an accuracy .* is None"),
        (
            at_end("cifar1000", 777, 200, ori_test=50),
            r"000007.pickle.pbz2: the data set 'cifar1000' is unknown; known: cifar10-",
        ),
    ],
)
def test_wrong_readings(write_nats: FolderWriter, importer: Importer, changed: Training, message: str) -> None:
    folder = write_nats({6: trainings(6), 7: [changed]})
    with pytest.raises(TableError, match=message):
        importer(folder, partial=True)


def test_duplicate_and_misplaced_cells(write_nats: FolderWriter, all_strings: list[str], importer: Importer) -> None:
    swapped = [*all_strings]
    swapped[6], swapped[7] = swapped[7], swapped[6]
    folder = write_nats({6: trainings(6)}, meta={"meta_archs": swapped})
    with pytest.raises(TableError, match=r"000006.pickle.pbz2"):
        importer(folder, partial=True)
    record = Record("here", 6, all_strings[6], (Trial("cifar10", 1, 1, {"ori-test@0": 5}),))
    with pytest.raises(TableError, match=r"here: \|\S+ is already in here"):
        table_of_trials([record, record], None, folder, "", "")
    twice = Record("here", 6, all_strings[6], (*record.trials, Trial("cifar10", 1, 1, {"ori-test@0": 6})))
    with pytest.raises(TableError, match=r"here: a data set must have one training per seed, but \S+seed=1 has two"):
        table_of_trials([twice], None, folder, "", "")
    with pytest.raises(TableError, match=r"here: index 6 is .* in the benchmark's order, but here it is"):
        table_of_trials([Record("here", 6, all_strings[7], ())], None, folder, "", "")


def test_damaged_folders(write_nats: FolderWriter, tmp_path: Path, importer: Importer) -> None:
    folder = write_nats({6: trainings(6), 7: trainings(7)})
    cell = folder / "000007.pickle.pbz2"
    whole = cell.read_bytes()
    for content in (
        whole[:-40],
        whole[:20],
        b"",
        b"no pickle",
        bz2.compress(b"no pickle"),
        bz2.compress(b"\x80\x04]\x94."),
    ):
        cell.write_bytes(content)
        with pytest.raises(TableError, match=r"000007.pickle.pbz2 (cannot be read|must hold a dict)"):
            importer(folder, partial=True)
    endless = cell_content(7, trainings(7))
    endless["200"]["all_results"]["cifar10", 777]["epochs"] = float("inf")
    write_pickle(cell, endless)
    with pytest.raises(TableError, match=r"000007.pickle.pbz2 (is not in the format of NATS-Bench|cannot be read)"):
        importer(folder, partial=True)
    write_pickle(cell, {"200": {"all_results": 3, "arch_str": "x"}})
    with pytest.raises(TableError, match=r"000007.pickle.pbz2 (is not in the format of NATS-Bench|cannot be read)"):
        importer(folder, partial=True)
    cell.unlink()
    (folder / "000006.pickle.pbz2").unlink()
    with pytest.raises(TableError, match=r"has no files of cells, named like 000000.pickle.pbz2"):
        importer(folder, partial=True)
    (folder / "meta.pickle.pbz2").unlink()
    with pytest.raises(TableError, match=r"not a folder of NATS-Bench: it has no meta.pickle.pbz2"):
        importer(folder)
    with pytest.raises(FileNotFoundError, match="no folder"):
        importer(tmp_path / "nowhere")


def test_wrong_meta_and_wrong_cell(write_nats: FolderWriter, all_strings: list[str]) -> None:
    folder = write_nats({6: trainings(6)}, meta={"archs": []})
    with pytest.raises(TableError, match=r"meta.pickle.pbz2 has no list of architectures"):
        import_nats_bench(folder, partial=True)
    folder = write_nats({6: []})
    write_pickle(folder / "000006.pickle.pbz2", cell_content(7, trainings(7)))
    with pytest.raises(TableError, match=r"000006.pickle.pbz2 is of \|\S+, but the list of architectures says \|"):
        import_nats_bench(folder, partial=True)
    write_nats({6: []})
    with pytest.raises(TableError, match="has no reading at all; read: none"):
        import_nats_bench(folder, partial=True)


class _Hostile:
    """Unpickling this with ``pickle.load`` runs a shell command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


def test_our_reader_runs_no_code(write_nats: FolderWriter, tmp_path: Path) -> None:
    folder, mark = write_nats({6: trainings(6)}), tmp_path / "mark"
    path = write_pickle(folder / "000007.pickle.pbz2", {"200": _Hostile(mark)})
    with pytest.raises(TableError, match=r"asks for posix.system, which plain data does not need"):
        import_nats_bench(folder, partial=True)
    assert not mark.exists()
    pickle.loads(bz2.decompress(path.read_bytes()))  # noqa: S301 - shows that the file is truly hostile
    assert mark.exists()


def test_what_plain_pickles_may_hold_besides(tmp_path: Path) -> None:
    content = OrderedDict(second=np.float64(0.5), first=np.float32(1.5), half=np.int64(3))
    path = write_pickle(tmp_path / "a.pbz2", content)
    found = load_plain_pickle(path)
    assert found == content
    assert list(found) == ["second", "first", "half"]
    assert type(found) is OrderedDict
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ValueError, match=r"a.pbz2 cannot be read .*truncated"):
        load_plain_pickle(path)
    for name in ("defaultdict", "OrderedDict.fromkeys", "namedtuple"):
        (tmp_path / "b").write_bytes(b"ccollections\n" + name.encode() + b"\n)R.")
        with pytest.raises(ValueError, match=f"asks for collections.{name}"):
            load_plain_pickle(tmp_path / "b")


def test_without_the_package(write_nats: FolderWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nats_bench", None)
    folder = write_nats({6: trainings(6)})
    with pytest.raises(ImportError, match=r"pip install 'genas\[nasbench\]', or read the folder without it"):
        import_nats_bench_package(folder, partial=True)
    assert len(import_nats_bench(folder, partial=True)) == 1
