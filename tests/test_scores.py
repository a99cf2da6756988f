"""The score store: what goes in comes out, and a kill costs at most the transaction under way."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from genas.errors import RunError
from genas.scores import ScoreStore

ROWS = {(0, 1, 2): np.array([0.1, np.nan, -np.inf]), (3, 10, 4): np.array([]), (31, 0, 4): np.array([1e300])}

WRITER = """
import sys
import numpy as np
from genas.scores import ScoreStore
store = ScoreStore(sys.argv[1])
for chunk in range(10**6):
    store.put("k", {(chunk, i): np.full(50, chunk + i / 100) for i in range(100)})
    print(chunk, flush=True)
"""


def test_round_trip_is_exact(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "s.sqlite") as store:
        store.put("losses", ROWS)
    with ScoreStore(tmp_path / "s.sqlite") as store:
        found = store.get("losses", [(3, 10, 4), (9, 9, 9), (0, 1, 2), (31, 0, 4), (3, 1, 0)])
    assert list(found) == [(3, 10, 4), (0, 1, 2), (31, 0, 4)]
    for architecture, row in found.items():
        assert row.dtype == np.float64
        assert row.flags.writeable
        np.testing.assert_array_equal(row, ROWS[architecture])


def test_keys_are_apart() -> None:
    with ScoreStore(":memory:") as store:
        store.put("b", {(1,): np.array([1.0])})
        store.put("a", {(1,): np.array([2.0]), (2,): np.array([3.0])})
        assert store.keys() == ["a", "b"]
        assert (store.count("a"), store.count("b"), store.count("c")) == (2, 1, 0)
        assert store.get("b", [(1,), (2,)]) == {(1,): np.array([1.0])}
        assert store.get("c", [(1,)]) == {}


def test_architectures_of_a_key_are_listed_by_their_genes() -> None:
    with ScoreStore(":memory:") as store:
        store.put("a", ROWS)
        store.put("b", {(7, 7, 7): np.zeros(1)})
        assert store.architectures("a") == sorted(ROWS) == [(0, 1, 2), (3, 10, 4), (31, 0, 4)]
        store.put("a", {(3, 9, 4): np.zeros(1)})
        assert store.architectures("a")[1:3] == [(3, 9, 4), (3, 10, 4)], "by number, not by text"
        assert store.architectures("c") == []


def test_integers_and_lower_precision_become_float64() -> None:
    with ScoreStore(":memory:") as store:
        store.put("a", {(1,): np.array([1, 2]), (2,): np.array([0.5], dtype=np.float32)})
        found = store.get("a", [(1,), (2,)])
    assert found[1,].tolist() == [1.0, 2.0]
    assert found[2,].tolist() == [0.5]


def test_a_later_measurement_replaces_the_earlier() -> None:
    with ScoreStore(":memory:") as store:
        for value in (1.0, 2.0):
            store.put("a", {(1,): np.array([value])})
        assert store.count("a") == 1
        assert store.get("a", [(1,)])[1,].tolist() == [2.0]


def test_put_is_all_or_nothing(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "s.sqlite") as store:
        with pytest.raises(ValueError, match=r"must have one dimension, but that of \(2,\) has shape \(1, 1\)"):
            store.put("a", {(1,): np.zeros(1), (2,): np.zeros((1, 1))})
        assert store.count("a") == 0


def test_a_closed_store_is_one_file(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "s.sqlite") as store:
        store.put("a", ROWS)
    assert [path.name for path in tmp_path.iterdir()] == ["s.sqlite"]


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_kill_leaves_all_finished_transactions(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            last = int(line)
            if last == 20:
                break
        writer.send_signal(signal.SIGKILL)
        last = max([last, *map(int, writer.stdout.read().split())])
    with ScoreStore(path) as store:
        count = store.count("k")
        assert count % 100 == 0
        assert count // 100 in (last + 1, last + 2)  # the last one may be stored and not yet printed
        found = store.get("k", [(chunk, i) for chunk in range(last + 1) for i in range(100)])
        assert all(row.tolist() == [chunk + i / 100] * 50 for (chunk, i), row in found.items())
        assert len(found) == 100 * (last + 1)
        store.put("k", {(0, 0): np.zeros(1)})
    assert [path.name for path in tmp_path.iterdir()] == ["s.sqlite"]


def test_garbage_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"this is no data base " * 100)
    with pytest.raises(RunError, match=r"s\.sqlite is damaged: .* Delete it; its scores will be measured again"):
        ScoreStore(path)


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_damage_inside_is_a_clear_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "s.sqlite"
    with ScoreStore(path) as store:
        store.put("a", {(i,): np.arange(50.0) for i in range(500)})
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[4096:-4096] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"s\.sqlite is damaged"):
        ScoreStore(path)


def test_a_row_that_cannot_be_read_back_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with ScoreStore(path) as store:
        store.put("a", {(1, 2): np.zeros(2)})
        store.put("b", {(1, 2): np.zeros(2)})
    connection = sqlite3.connect(path)
    connection.execute("UPDATE measurements SET numbers = x'00ff' WHERE key = 'a'")
    connection.execute("UPDATE measurements SET architecture = '1,x' WHERE key = 'b'")
    connection.commit()
    connection.close()
    with ScoreStore(path) as store:
        with pytest.raises(RunError, match=r"s\.sqlite is damaged: buffer size must be a multiple"):
            store.get("a", [(1, 2)])
        with pytest.raises(RunError, match=r"s\.sqlite is damaged: invalid literal for int"):
            store.architectures("b")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE measurements SET key = CAST(x'ff' AS TEXT) WHERE key = 'b'")
    connection.commit()
    connection.close()
    with ScoreStore(path) as store, pytest.raises(RunError, match=r"s\.sqlite is damaged: Could not decode"):
        store.keys()


def test_another_store_is_taken_over_and_left_as_it_is(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "a ?#.sqlite") as store:  # letters with a meaning in an address
        store.put("losses", {(1, 2): np.array([1.0]), (1, 3): np.array([np.nan])})
    before = (tmp_path / "a ?#.sqlite").read_bytes()
    with ScoreStore(tmp_path / "b.sqlite") as own:
        own.put("losses", {(1, 2): np.array([2.0])})
        for _ in range(2):
            own.take_over(tmp_path / "a ?#.sqlite")
        found = own.get("losses", [(1, 2), (1, 3)])
        assert (found[1, 2][0], np.isnan(found[1, 3][0])) == (2.0, True), "what it has stays"
        assert (tmp_path / "a ?#.sqlite").read_bytes() == before
        with pytest.raises(RunError, match=r"c\.sqlite cannot be used: unable to open"):
            own.take_over(tmp_path / "c.sqlite")
        (tmp_path / "empty.sqlite").touch()
        own.take_over(tmp_path / "empty.sqlite")
        (tmp_path / "text.sqlite").write_text("no data base at all" * 100, encoding="utf-8")
        with pytest.raises(RunError, match=r"text\.sqlite is damaged: file is not a database"):
            own.take_over(tmp_path / "text.sqlite")
        with contextlib.closing(sqlite3.connect(tmp_path / "a ?#.sqlite")) as newer:
            newer.execute("PRAGMA user_version = 9")
        with pytest.raises(RunError, match=r"must be a score store of version 1, but its version is 9"):
            own.take_over(tmp_path / "a ?#.sqlite")
    assert not (tmp_path / "c.sqlite").exists()


def test_other_versions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    ScoreStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(RunError, match="score store of version 1, but its version is 2; choose another file"):
        ScoreStore(path)


def test_foreign_data_base_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(RunError, match="score store of version 1, but its version is 0"):
        ScoreStore(path)
    assert path.read_bytes() == before


def test_missing_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot be used: unable to open.*Check its folder"):
        ScoreStore(tmp_path / "missing" / "s.sqlite")


def test_a_store_that_another_process_keeps_busy_is_no_matter_of_rights(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "s.sqlite") as store, ScoreStore(tmp_path / "s.sqlite") as other, other._transaction():
        store._connection.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(RunError, match=r"cannot be used: database is locked. Wait for the other process to end"):
            store.put("key", {(1,): np.array([1.0])})


def test_another_thread_is_told_so_and_not_that_the_file_is_damaged(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "scores.sqlite") as store, ThreadPoolExecutor(1) as executor:
        error = executor.submit(store.keys).exception()
    assert isinstance(error, sqlite3.ProgrammingError)
    assert "thread" in str(error)


def test_many_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    def opened(number: int) -> int:
        with ScoreStore(tmp_path / "scores.sqlite") as store:
            store.put("key", {(number,): np.array([1.0])})
            return store.count("key")

    with ThreadPoolExecutor(8) as executor:
        assert max(executor.map(opened, range(40))) == 40


def test_two_may_write_by_turns_and_the_later_measurement_is_kept(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "scores.sqlite") as one, ScoreStore(tmp_path / "scores.sqlite") as two:
        one.put("key", {(1,): np.array([1.0]), (2,): np.array([2.0])})
        two.put("key", {(1,): np.array([3.0])})
        assert one.get("key", [(1,), (2,)]) == {(1,): np.array([3.0]), (2,): np.array([2.0])}


def test_an_interrupted_transaction_leaves_nothing() -> None:
    def interrupted(store: ScoreStore) -> None:
        with store._transaction():
            store._connection.execute("INSERT INTO measurements VALUES ('a', '1', x'00')")
            raise KeyboardInterrupt

    with ScoreStore(":memory:") as store:
        with pytest.raises(KeyboardInterrupt):
            interrupted(store)
        assert store.count("a") == 0
