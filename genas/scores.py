"""The score store: every measurement of a run in one SQLite file, so that a restarted search need not repeat any."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, final

import numpy as np

from genas.errors import RunError
from genas.spaces.base import Architecture

_VERSION = 1


@final
class ScoreStore:
    """Measurements of architectures, kept under a key that names the measurement and its inputs.

    A measurement is an array of raw numbers (say, the loss at every noise level), so that weights and other cheap
    choices can be varied later without running a network. Any number of processes may use one file at once; each waits
    up to a minute for another that is writing. Every ``put`` is one transaction: after a kill the file holds all
    finished ones. Two processes may measure the same, as nothing is reserved; the later measurement is kept. A closed
    store is a single file (SQLite's rollback journal, no write-ahead log).

    Args:
        path: The file, made when missing; ``":memory:"`` for a temporary store.

    Raises:
        RunError: If the file is damaged, not a score store, or of another version.

    Example:
        >>> with ScoreStore(":memory:") as store:
        ...     store.put("losses", {(0, 1): np.array([0.5, np.nan])})
        ...     store.get("losses", [(0, 1), (1, 1)])
        {(0, 1): array([0.5, nan])}
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        name = self._path if self._path == ":memory:" else os.path.abspath(self._path)
        with self._named_errors():
            # Another search over the same supernet may be writing: wait for it.
            self._connection = sqlite3.connect(name, timeout=60, isolation_level=None, uri=True)
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def get(self, key: str, architectures: Iterable[Architecture]) -> dict[Architecture, np.ndarray]:
        """The stored measurements of these architectures; those without one are left out.

        Args:
            key: Name of the measurement.
            architectures: In any order.

        Returns:
            Float64 arrays of shape ``(numbers,)``, in the order of ``architectures``.
        """
        found = {}
        query = "SELECT numbers FROM measurements WHERE key = ? AND architecture = ?"
        with self._named_errors():
            for architecture in architectures:
                row = self._connection.execute(query, (key, _text(architecture))).fetchone()
                if row is not None:
                    found[architecture] = np.frombuffer(row[0], dtype="<f8").astype(np.float64)
        return found

    def put(self, key: str, rows: Mapping[Architecture, np.ndarray]) -> None:
        """Store measurements, all or none; an older one of the same key and architecture is replaced.

        Args:
            key: Name of the measurement.
            rows: For each architecture an array of shape ``(numbers,)``. NaN is kept.

        Raises:
            ValueError: If an array does not have one dimension.
        """
        values = []
        for architecture, row in rows.items():
            if np.ndim(row) != 1:
                raise ValueError(
                    f"A measurement must have one dimension, but that of {architecture} has shape {np.shape(row)}."
                )
            values.append((key, _text(architecture), np.asarray(row, dtype="<f8").tobytes()))
        with self._named_errors(), self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO measurements VALUES (?, ?, ?)", values)

    def take_over(self, path: Path) -> None:
        """Copy all measurements of another store that this one lacks.

        Args:
            path: File of the other store, which is only read, so that no right to write it is needed.

        Raises:
            RunError: If it cannot be read, is damaged, or of another version.
        """
        uri = path.absolute().as_uri()
        if not uri.startswith("file:///"):  # a share of Windows, whose server SQLite takes in the path only
            uri = uri.replace("file://", "file:////", 1)
        with self._named_errors(str(path)):
            self._connection.execute("ATTACH ? AS other", (f"{uri}?mode=ro",))
            try:
                (version,) = self._connection.execute("PRAGMA other.user_version").fetchone()
                (tables,) = self._connection.execute("SELECT count(*) FROM other.sqlite_master").fetchone()
                if (version, tables) == (0, 0):  # not laid out yet
                    return
                self._check_version(version, str(path))
                with self._transaction():
                    self._connection.execute("INSERT OR IGNORE INTO main.measurements SELECT * FROM other.measurements")
            finally:
                self._connection.execute("DETACH other")

    def keys(self) -> list[str]:
        """Return the keys under which something is stored, sorted."""
        with self._named_errors():
            return [key for (key,) in self._connection.execute("SELECT DISTINCT key FROM measurements ORDER BY key")]

    def architectures(self, key: str) -> list[Architecture]:
        """Return the architectures stored under this key, sorted by their genes."""
        query = "SELECT architecture FROM measurements WHERE key = ?"
        with self._named_errors():
            texts = [text for (text,) in self._connection.execute(query, (key,))]
            return sorted(tuple(map(int, text.split(","))) for text in texts)

    def count(self, key: str) -> int:
        """Return the number of architectures stored under this key."""
        with self._named_errors():
            row = self._connection.execute("SELECT count(*) FROM measurements WHERE key = ?", (key,)).fetchone()
        return int(row[0])

    def close(self) -> None:
        """Close the file. The store cannot be used afterwards."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        """Check the file, or lay out a new one."""
        with self._named_errors():
            with self._transaction():  # both at once: another process may be laying it out
                (version,) = self._connection.execute("PRAGMA user_version").fetchone()
                (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                if (version, tables) == (0, 0):
                    self._connection.execute(
                        "CREATE TABLE measurements (key TEXT NOT NULL, architecture TEXT NOT NULL,"
                        " numbers BLOB NOT NULL, PRIMARY KEY (key, architecture)) WITHOUT ROWID"
                    )
                    self._connection.execute(f"PRAGMA user_version = {_VERSION}")
                    version = _VERSION
            self._check_version(version, self._path)
            (state,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise sqlite3.DatabaseError(state)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite itself rolls back after some errors
                self._connection.execute("ROLLBACK")
            raise

    @staticmethod
    def _check_version(version: int, path: str) -> None:
        if version != _VERSION:
            raise RunError(
                f"{path} must be a score store of version {_VERSION}, but its version is {version}; "
                "choose another file, or the genas version that wrote it."
            )

    @contextlib.contextmanager
    def _named_errors(self, path: str | None = None) -> Iterator[None]:
        """Turn SQLite's errors into ones that name the file, by default the own one, and the cure."""
        path = self._path if path is None else path
        try:
            yield
        except sqlite3.ProgrammingError:  # a wrong call, such as from another thread, says nothing about the file
            raise
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code is None:  # of Python's own: text that cannot be read
                raise _damaged(path, error) from error
            is_busy = code & 0xFF == sqlite3.SQLITE_BUSY  # the low byte, without the details
            cure = "Wait for the other process to end" if is_busy else "Check its folder, rights and disk"
            raise RunError(f"The score store {path} cannot be used: {error}. {cure}.") from error
        except (sqlite3.DatabaseError, ValueError) as error:  # the latter from what cannot be read back
            raise _damaged(path, error) from error


def _damaged(path: str, error: Exception) -> RunError:
    return RunError(f"The score store {path} is damaged: {error}. Delete it; its scores will be measured again.")


def _text(architecture: Architecture) -> str:
    return ",".join(map(str, architecture))
