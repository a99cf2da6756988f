from __future__ import annotations

import bz2
import hashlib
import importlib.util
import pickle
import sys
from pathlib import Path

import pytest

from genas.cli import main
from genas.commands.import_table import import_table
from genas.spaces import DARTS, NASBench201
from genas.tables import Column, TableError, load_table

SPACE = NASBench201()
CSV = "arch,top1,noise\n6111,94.37,94.5\n1462,93.5,93\n0,85.86,86.18\n"
MEANING = ["top1=flowers/test/200", "noise=flowers/test/200/seed=4"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "flowers.csv").write_text(CSV)
    return tmp_path / "flowers.csv"


@pytest.fixture
def nats(tmp_path: Path) -> Path:
    """Two cells of NATS-Bench, one reading each."""
    folder = tmp_path / "simple"
    folder.mkdir()
    strings = [SPACE.format(SPACE.from_index(index)) for index in range(4)]
    contents = {"meta": {"meta_archs": strings}}
    for index in (1, 3):
        result = {"epochs": 200, "eval_acc1es": {"ori-test@89": 60.0 + index, "ori-test@199": 90.0 + index}}
        state = {"arch_str": strings[index], "all_results": {("cifar10", 777): result}}
        contents[f"{index:06d}"] = {"200": state}
    for name, content in contents.items():
        (folder / f"{name}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(content)))
    return folder


def test_a_csv_file_on_the_command_line(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = source.parent / "tables" / "flowers.npz"
    assert main(["import-table", str(source), str(out), "--columns", ",".join(MEANING)]) == 0
    table = load_table(out)
    assert table.columns == (Column("flowers", "test", 200), Column("flowers", "test", 200, 4))
    assert table.accuracy(SPACE.from_index(6111), "flowers", "test") == 94.37
    assert table.checksum == hashlib.sha256(CSV.encode()).hexdigest()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "name      flowers.csv",
        "source    CSV file flowers.csv",
        f"checksum  {table.checksum}",
        "rows      3 architectures of nasbench201",
    ]
    assert [line.split() for line in lines[5:8]] == [
        ["column", "values", "best", "index", "architecture"],
        ["flowers/test/200", "3", "94.370", "6111", SPACE.format(SPACE.from_index(6111))],
        ["flowers/test/200/seed=4", "3", "94.500", "6111", SPACE.format(SPACE.from_index(6111))],
    ]
    assert lines[-1].startswith(f"{out}: ")


def test_the_tool_is_the_verb(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(__file__).resolve().parents[2] / "tools" / "import_table.py"
    out = source.with_suffix(".npz")
    monkeypatch.setattr(sys, "argv", ["import_table.py", str(source), str(out), "--columns", MEANING[0]])
    spec = importlib.util.spec_from_file_location("__main__", path)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(SystemExit) as ended:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert ended.value.code == 0
    assert len(load_table(out)) == 3


def test_another_space(tmp_path: Path) -> None:
    cell = DARTS("darts").parse("DARTS_V2")
    (tmp_path / "a.csv").write_text("cell,acc\nDARTS_V2,97.24\n")
    out = tmp_path / "a.npz"
    import_table(tmp_path / "a.csv", out, columns=["acc=cifar10/test/600"], space="darts", architecture="cell")
    assert load_table(out).accuracy(cell, "cifar10", "test") == 97.24
    with pytest.raises(KeyError, match=r"no search space named 'dart'. Did you mean 'darts'"):
        import_table(tmp_path / "a.csv", tmp_path / "b.npz", columns=["acc=cifar10/test/600"], space="dart")


def test_isomorphic(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('genes,acc\n"0,0,0,0,0,0",10\n')
    import_table(tmp_path / "a.csv", tmp_path / "a.npz", columns=["acc=cifar10/test/2"], isomorphic=True)
    assert load_table(tmp_path / "a.npz").accuracy((0, 0, 0, 0, 1, 0), "cifar10", "test") == 10


def test_a_folder_of_nats_bench(nats: Path) -> None:
    out = nats.parent / "nats.npz"
    import_table(nats, out, partial=True, progress=False)
    assert list(map(str, load_table(out).columns)) == ["cifar10/test/200", "cifar10/test/200/seed=777"]
    import_table(nats, out, columns=["cifar10/test/200/at=90"], partial=True, progress=False, overwrite=True)
    table = load_table(out)
    assert list(map(str, table.columns)) == ["cifar10/test/200/at=90"]
    assert table.values(table.columns[0]).tolist() == [61, 63]
    with pytest.raises(TableError, match=r"must have all 15625 cells"):
        import_table(nats, nats.parent / "all.npz", progress=False)
    with pytest.raises(ValueError, match=r"are for any CSV file, but this is nats-bench"):
        import_table(nats, nats.parent / "all.npz", isomorphic=True)
    with pytest.raises(ValueError, match=r"reading it can run code. .*--kind nats-bench-package"):
        import_table(nats / "000001.pickle.pbz2", nats.parent / "all.npz")
    assert [path.name for path in nats.parent.glob("*.npz")] == ["nats.npz"]


def test_an_old_table_is_not_replaced_unasked(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = source.with_suffix(".npz")
    out.write_bytes(b"precious")
    words = ["import-table", str(source), str(out), "--columns", MEANING[0]]
    assert main(words) == 1
    assert "flowers.npz exists already; choose another name, or replace it with --overwrite" in capsys.readouterr().err
    assert out.read_bytes() == b"precious"
    source.write_text(CSV.replace("93.5", "nan"))
    assert main([*words, "--overwrite"]) == 1
    assert "flowers.csv, line 3: top1 must be an accuracy in percent, 0 .. 100, but is 'nan'" in capsys.readouterr().err
    assert out.read_bytes() == b"precious"
    source.write_text(CSV)
    assert main([*words, "--overwrite"]) == 0
    assert len(load_table(out)) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--columns", "top1=ImageNet/test/9"], "lower-case letters, digits, '-', '_' and '.', but got 'ImageNet'"),
        (["--columns", "accuracy=flowers/test/9"], "lacks the columns accuracy; it has arch, top1, noise"),
        ([], "a CSV file needs --columns NAME=DATASET/KIND/EPOCHS"),
        (
            ["--columns", "cifar10/test/200", "--kind", "nasbench201-csv"],
            "has arch, top1, noise; import it as any CSV file, --kind csv.",
        ),
        (
            ["--columns", "cifar10/test/20", "--kind", "nasbench201-csv"],
            "has no column cifar10/test/20; known: cifar10/",
        ),
        (["--kind", "nats-bench"], ", but a file"),
        (["--kind", "nats-bench", "--space", "darts"], "are for any csv file, but this is nats-bench"),
    ],
)
def test_nothing_is_half_imported(
    source: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import-table", str(source), str(source.parent / "new" / "t.npz"), *words]) == 1
    printed = capsys.readouterr()
    assert message.lower() in printed.err.lower()
    assert printed.out == ""
    assert list(source.parent.iterdir()) == [source]


def test_wrong_names(source: Path) -> None:
    with pytest.raises(ValueError, match=r"must be named \*.npz, but got .*t.csv"):
        import_table(source, source.with_name("t.csv"), columns=MEANING)
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*nothing"):
        import_table(source.with_name("nothing"), source.with_name("t.npz"))


def test_the_shared_file_is_recognised(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_table(shared_data / "nasbench201.csv.gz", tmp_path / "nb.npz")
    printed = [line.split()[:4] for line in capsys.readouterr().out.splitlines()]
    for row in (
        ["cifar10/test/200", "15,625", "94.373", "6111"],
        ["cifar100/test/200", "15,625", "73.513", "9930"],
        ["imagenet16-120/test/200", "15,625", "47.311", "857"],
    ):
        assert row in printed
