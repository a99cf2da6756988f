from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genas.spaces import DARTS, SPACES, NASBench201, SearchSpace
from genas.tables import Column, Table, TableError, load_table, shipped_table

MEAN, SEED = Column("cifar10", "test", 200), Column("cifar10", "test", 200, seed=5, at=3)


def sample(space: SearchSpace, isomorphic: bool = False) -> Table:
    rng = np.random.default_rng(0)
    cells = list(dict.fromkeys(space.sample(rng) for _ in range(20)))
    values = {MEAN: 100 * rng.random(len(cells)), SEED: np.where(np.arange(len(cells)) % 3, 100 / 3, np.nan)}
    return Table(space, "Tafel – 20", "made in a test", "ab" * 32, cells, values, isomorphic=isomorphic)


def same(first: Table, second: Table) -> bool:
    facts = [
        (t.space.name, t.name, t.source, t.checksum, t.isomorphic, t.columns, t.architectures) for t in (first, second)
    ]
    return facts[0] == facts[1] and all(
        np.array_equal(first.values(each, missing="nan"), second.values(each, missing="nan"), equal_nan=True)
        for each in first.columns
    )


@pytest.mark.parametrize("space", [NASBench201(), DARTS("darts"), DARTS("s3")])
@pytest.mark.parametrize("isomorphic", [False, True])
def test_round_trip_is_exact(tmp_path: Path, space: SearchSpace, isomorphic: bool) -> None:
    table = sample(space, isomorphic)
    table.save(tmp_path / "table.npz")
    assert same(load_table(tmp_path / "table.npz"), table)
    assert same(load_table(str(tmp_path / "table.npz")), table)
    assert space.name in SPACES
    load_table(tmp_path / "table.npz").save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "table.npz").read_bytes()


def test_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.npz"
    sample(NASBench201()).save(path)
    before = path.read_bytes()

    def full_disk(file: Path, **arrays: Any) -> None:
        Path(file).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="no space left"):
        sample(DARTS("darts")).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match=r"must be named \*.npz, but got .*table.json"):
        sample(NASBench201()).save(tmp_path / "table.json")


def rewritten(path: Path, header: dict[str, Any] | bytes | None = None, **arrays: Any) -> Path:
    """A good table with some of it replaced."""
    sample(NASBench201()).save(path)
    with np.load(path) as content:
        parts = dict(content)
    if isinstance(header, dict):
        header = json.dumps(json.loads(parts["header"].tobytes()) | header).encode()
    if header is not None:
        parts["header"] = np.frombuffer(header, np.uint8)
    parts |= arrays
    np.savez(path, **{name: array for name, array in parts.items() if array is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"header": {"version": 2}}, "table.npz is a table of version 2, but this genas reads version 1"),
        ({"header": {"format": "weights"}}, "not a genas table: its header says"),
        ({"header": b"[1, 2]"}, r"not a genas table: its header says '\[1, 2\]'"),
        ({"header": b"\xff{"}, "damaged: its header cannot be read"),
        ({"header": {"name": 3, "columns": "x"}}, "header lacks name, columns"),
        ({"header": {"columns": ["cifar10/test/200"]}}, r"damaged: codes of shape \(2, 20\) for 1 columns and arch"),
        ({"header": {"columns": ["cifar10/test/200"] * 2}}, "names a column twice"),
        ({"header": {"columns": [[1]]}}, "damaged: its header has a column that is not a string"),
        ({"header": {"columns": [1]}}, "damaged: its header has a column that is not a string"),
        ({"header": {"columns": ["cifar10", "b/test/9"]}}, "damaged .*must look like DATASET/KIND/EPOCHS"),
        ({"header": {"space": "nasbench301"}}, "cannot be used. There is no search space named 'nasbench301'"),
        ({"header": {"space": "darts"}}, "damaged .*must have 28 genes"),
        ({"codes": None}, "not a genas table: it holds architectures, header, levels"),
        ({"levels": np.full(99, 101.0)}, r"damaged .*0 .. 100 percent"),
        ({"levels": np.ones(99, np.float32)}, r"damaged: uint8 codes of float32 levels of shape \(99,\)"),
        ({"levels": np.ones(9)}, r"damaged: uint8 codes of float64 levels of shape \(9,\)"),
        ({"levels": np.ones((99, 1))}, r"levels of shape \(99, 1\)"),
        ({"codes": np.zeros((2, 20), np.int8)}, "damaged: int8 codes"),
        (
            {"codes": np.ones((2, 20), np.uint8), "levels": np.ones(1)},
            "damaged: uint8 codes of float64 levels of shape",
        ),
        ({"codes": np.zeros((2, 19), np.uint8)}, r"codes of shape \(2, 19\) for 2 columns and .* shape \(20, 6\)"),
        ({"architectures": np.zeros((20, 6), np.int8)}, "damaged .*every architecture once"),
        ({"architectures": np.zeros(20, np.int8)}, r"damaged: .*architectures of shape \(20,\)"),
        ({"architectures": np.full((20, 6), 0.5)}, "damaged .*must be an integer"),
    ],
)
def test_damaged_content(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TableError, match=message):
        load_table(rewritten(tmp_path / "table.npz", **changes))


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "table.npz"
    sample(NASBench201()).save(path)
    whole = path.read_bytes()
    middle = whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 255]) + whole[len(whole) // 2 + 1 :]
    np.save(tmp_path / "one.npy", np.ones(3))
    for content in (whole[:-40], whole[:300], b"", b"index,arch_str\n", (tmp_path / "one.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(
            TableError, match=r"table.npz is no genas table, or a truncated one; genas import-table makes"
        ):
            load_table(path)
    path.write_bytes(middle)
    with pytest.raises(TableError, match=r"table.npz (cannot be read|is damaged)"):
        load_table(path)
    np.savez(path, header=np.array([{}], dtype=object))
    with pytest.raises(TableError, match=r"cannot be read .*allow_pickle=False"):
        load_table(path)
    with pytest.raises(FileNotFoundError, match=r"no table at .*nothing.npz; make one with genas import-table"):
        load_table(tmp_path / "nothing.npz")
    with pytest.raises(
        FileNotFoundError, match=r"A table is a file, but .* is a folder; that of genas build-table has"
    ):
        load_table(tmp_path)


def test_the_shipped_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resources, "files", lambda package: {"genas.tables": tmp_path}[package])
    with pytest.raises(FileNotFoundError, match="lacks its own table; install it again"):
        load_table("shipped")
    table = sample(NASBench201(), isomorphic=True)
    table.save(tmp_path / "cluttered-digits.npz")
    assert same(load_table("shipped"), table)
    assert same(shipped_table(), table)


@pytest.mark.parametrize("count", [255, 256, 300])
def test_tables_of_many_different_accuracies_come_back(tmp_path: Path, count: int) -> None:
    """Codes of one byte do not count further than 256 levels."""
    space = NASBench201()
    cells = [space.from_index(index) for index in range(count)]
    column, values = Column("cifar10", "test", 200), np.linspace(10, 90, count)
    Table(space, "many", "", "", cells, {column: values}).save(tmp_path / "many.npz")
    assert load_table(tmp_path / "many.npz").values(column, cells).tolist() == values.tolist()
