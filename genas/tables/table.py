"""A table of ground truth: accuracies of trained architectures."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, final

import numpy as np
import numpy.typing as npt

from genas.spaces import Architecture, SearchSpace
from genas.tables.column import Column, Kind, Seed
from genas.tables.column_search import find_column, unknown_column
from genas.tables.table_file import write_table_file


@final
class Table:
    """Accuracies in percent, by architecture and :class:`Column`. It is immutable.

    Costs are not part of it: :func:`genas.spaces.cost` knows them in closed form.

    Args:
        space: The space of the architectures.
        name: Name in reports.
        source: Origin of the accuracies, in words.
        checksum: SHA-256 of the files that they were imported from.
        architectures: One for each row, all distinct.
        values: For each column the accuracies in percent, shape ``(len(architectures),)``; NaN where there is none.
            :meth:`from_accuracies` takes no NaN.
        isomorphic: Whether a row stands for all architectures of the same ``space.unique_key``. Only
            :meth:`from_accuracies` checks that no two rows do: computing all keys would slow down the loading of every
            table. If two do, the first is found for architectures that have no row of their own.

    Raises:
        ValueError: If there is no accuracy, if one is not in 0 .. 100, if an architecture is not valid or repeated, or
            if a column has no value at all.

    Example:
        >>> from genas.spaces import NASBench201
        >>> test = Column("digits", "test", 10)
        >>> truth = {(3,) * 6: 97.5, (0,) * 6: 10.0}
        >>> table = Table.from_accuracies(NASBench201(), "two cells", "an afternoon of training", "", {test: truth})
        >>> table.values(test, [(0,) * 6, (3,) * 6])
        array([10. , 97.5])
        >>> table.accuracy((3,) * 6, "digits", "test")
        97.5
        >>> str(table.find("digits"))
        'digits/test/10'
    """

    def __init__(
        self,
        space: SearchSpace,
        name: str,
        source: str,
        checksum: str,
        architectures: Sequence[Architecture],
        values: Mapping[Column, npt.ArrayLike],
        *,
        isomorphic: bool = False,
    ) -> None:
        self.space, self.name, self.source, self.checksum, self.isomorphic = space, name, source, checksum, isomorphic
        self.architectures = tuple(map(space.check, architectures))
        self.columns = tuple(sorted(values))
        if not self.architectures or not self.columns:
            raise ValueError(f"A table must have an accuracy, but {name} has none.")
        self._rows = self._numbered()
        self._values = {column: self._checked(column, values[column]) for column in self.columns}

    @classmethod
    def from_accuracies(
        cls,
        space: SearchSpace,
        name: str,
        source: str,
        checksum: str,
        accuracies: Mapping[Column, Mapping[Architecture, float]],
        *,
        isomorphic: bool = False,
    ) -> Table:
        """A table from accuracies that are given one by one; a column need not have every architecture.

        Args:
            space: As for the class, like the other arguments.
            name: As for the class.
            source: As for the class.
            checksum: As for the class.
            accuracies: For each column the accuracies in percent.
            isomorphic: Whether a row stands for all isomorphic architectures.

        Returns:
            The table, its rows in the order in which the architectures appear.

        Raises:
            ValueError: As for the class, if an accuracy is NaN, or if two rows of an isomorphic table are isomorphic.
        """
        rows = {
            arch: row for row, arch in enumerate(dict.fromkeys(arch for each in accuracies.values() for arch in each))
        }
        values = {column: np.full(len(rows), np.nan) for column in accuracies}
        for column, known in accuracies.items():
            for architecture, value in known.items():
                if math.isnan(value):
                    raise ValueError(
                        f"{column} of {space.format(architecture)} is NaN; leave it out or train it again."
                    )
                values[column][rows[architecture]] = value
        table = cls(space, name, source, checksum, list(rows), values, isomorphic=isomorphic)
        if isomorphic:
            table._refuse_isomorphic_rows()
        return table

    def __len__(self) -> int:
        return len(self.architectures)

    def __repr__(self) -> str:
        return f"<Table {self.name}: {len(self)} architectures of {self.space.name}, {len(self.columns)} columns>"

    def values(
        self,
        column: Column,
        architectures: Sequence[Architecture] | None = None,
        *,
        missing: Literal["raise", "nan"] = "raise",
    ) -> np.ndarray:
        """The accuracies of one column.

        Args:
            column: The column.
            architectures: Architectures to look up; by default all rows.
            missing: ``raise`` an error where there is no value, or return ``nan`` there.

        Returns:
            Float64 array of shape ``(len(architectures),)``, in percent.

        Raises:
            KeyError: If the table has no such column, or the column has no value for an architecture.
        """
        self._check_column(column)
        asked = self.architectures if architectures is None else architectures
        found = self._values[column]
        if architectures is not None:
            rows = np.fromiter(map(self._row, architectures), dtype=np.intp, count=len(architectures))
            found = np.where(rows < 0, np.nan, found[rows])
        lacking = np.flatnonzero(np.isnan(found))
        if lacking.size and missing == "raise":
            raise KeyError(
                f"The column {column} of the table {self.name} has no value for {lacking.size} of {len(asked)} "
                f"architectures, among them {self.space.format(asked[lacking[0]])}; covered(column) lists those that "
                "it has."
            )
        return found.copy()

    def covered(self, column: Column) -> tuple[Architecture, ...]:
        """The rows for which a column has a value.

        Args:
            column: One of the columns.

        Returns:
            Architectures in the order of the rows.

        Raises:
            KeyError: If the table has no such column.
        """
        self._check_column(column)
        return tuple(self.architectures[row] for row in np.flatnonzero(~np.isnan(self._values[column])))

    def accuracy(
        self,
        architecture: Architecture,
        dataset: str,
        kind: Kind,
        *,
        epochs: int | None = None,
        seed: Seed = None,
        at: int | None = None,
    ) -> float:
        """One accuracy in percent.

        Args:
            architecture: A valid architecture.
            dataset: As in :class:`Column`, like the other arguments.
            kind: The images it was measured on.
            epochs: Length of the schedule; by default the longest in the table.
            seed: One seed; by default the mean over the seeds.
            at: Epochs trained; by default all.

        Returns:
            The accuracy.

        Raises:
            KeyError: If the table has no such column, or no value there.
        """
        if epochs is None:
            wanted = (dataset, kind, seed, at)
            lengths = [each.epochs for each in self.columns if (each.dataset, each.kind, each.seed, each.at) == wanted]
            if not lengths:
                text = f"{dataset}/{kind}" + (f"/seed={seed}" if seed is not None else "") + (f"/at={at}" if at else "")
                raise unknown_column(text, self.columns, self.name)
            epochs = max(lengths)
        return float(self.values(Column(dataset, kind, epochs, seed, at), [architecture])[0])

    def find(self, text: str) -> Column:
        """The column that a text means.

        Args:
            text: A column's own text like ``cifar10/test/200/seed=888``, or a part of it like ``cifar10`` or
                ``cifar10-valid/valid``. What it leaves out defaults to the test images, the longest schedule, its end,
                and the mean over the seeds (or the only seed).

        Returns:
            One of the columns.

        Raises:
            KeyError: If no column matches, or several match equally well; lists the columns.
            ValueError: If the text does not have the form of a column.
        """
        return find_column(text, self.columns, self.name)

    def find_truths(self, texts: Sequence[str]) -> tuple[Column, ...]:
        """The columns that texts mean, by which architectures shall be judged.

        Args:
            texts: As in :meth:`find`.

        Returns:
            A column for each text.

        Raises:
            KeyError: If no column matches a text, or several match equally well.
            ValueError: If a text does not have the form of a column, or two mean the same one.
        """
        found = [self.find(text) for text in texts]
        for place, column in enumerate(found):
            if column in found[:place]:
                raise ValueError(f"Each truth must be given once, but {texts[place]!r} is {column} again.")
        return tuple(found)

    def default_truths(self, *, or_valid: bool = False) -> tuple[Column, ...]:
        """The columns by which architectures are judged by default.

        Args:
            or_valid: Whether validation accuracies may be used where the table has no test accuracy at all.

        Returns:
            For each data set the column of the test accuracy, mean over the seeds, at the end of the longest training.

        Raises:
            ValueError: If the table has none.
        """
        kind: Kind = "valid" if or_valid and all(column.kind != "test" for column in self.columns) else "test"
        longest: dict[str, Column] = {}
        for column in self.columns:  # shorter trainings first
            if column.kind == kind and column.seed is None and column.at is None:
                longest[column.dataset] = column
        if not longest:
            raise ValueError(
                f"The table {self.name} has no {kind} accuracy that is a mean over seeds; choose a truth among "
                f"{', '.join(map(str, self.columns))}."
            )
        return tuple(longest.values())

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the table's architectures, columns and accuracies, but not of its name."""
        digest = hashlib.sha256(repr((self.space.name, self.isomorphic, self.architectures)).encode())
        for column in self.columns:
            digest.update(str(column).encode())
            digest.update(self._values[column].tobytes())
        return digest.hexdigest()

    def seeds(self, column: Column) -> tuple[Column, ...]:
        """The columns of single trainings that belong to a column.

        Args:
            column: Column of a mean over seeds, or of one seed.

        Returns:
            Columns that differ from it only in the seed, which is never ``None``; possibly empty.
        """
        mean = replace(column, seed=None)
        return tuple(each for each in self.columns if each.seed is not None and replace(each, seed=None) == mean)

    def best(self, column: Column) -> tuple[Architecture, float]:
        """The most accurate architecture of a column; the first one among ties.

        Args:
            column: One of the columns.

        Returns:
            The architecture and its accuracy in percent.
        """
        covered = self.covered(column)
        values = self.values(column, covered)
        row = int(values.argmax())
        return covered[row], float(values[row])

    def save(self, path: Path | str) -> None:
        """Write the table into one file, which :func:`genas.tables.load_table` reads.

        Args:
            path: ``*.npz``, in a folder that exists. A file of that name is replaced, as a whole.

        Raises:
            ValueError: If the name does not end in ``.npz``.
        """
        header = {
            "space": self.space.name,
            "name": self.name,
            "source": self.source,
            "checksum": self.checksum,
            "isomorphic": self.isomorphic,
            "columns": list(map(str, self.columns)),
        }
        values = np.stack([self._values[column] for column in self.columns])
        write_table_file(Path(path), header, np.array(self.architectures), values)

    @functools.cached_property
    def _rows_by_key(self) -> dict[Hashable, int]:
        """The row of each isomorphism class; computed when the first architecture without a row is looked up."""
        keys = map(self.space.unique_key, self.architectures)
        rows: dict[Hashable, int] = {}
        for row, key in enumerate(keys):
            rows.setdefault(key, row)
        return rows

    def _check_column(self, column: Column) -> None:
        if column not in self._values:
            raise unknown_column(str(column), self.columns, self.name)

    def _row(self, architecture: Architecture) -> int:
        """The row of an architecture, -1 if there is none."""
        row = self._rows.get(architecture)
        if row is None and self.isomorphic:
            row = self._rows[architecture] = self._rows_by_key.get(self.space.unique_key(architecture), -1)
        return -1 if row is None else row

    def _refuse_isomorphic_rows(self) -> None:
        for row, architecture in enumerate(self.architectures):
            first = self._rows_by_key[self.space.unique_key(architecture)]
            if first != row:
                raise ValueError(
                    "A table with one row for all isomorphic architectures must have different ones, but "
                    f"{self.space.format(self.architectures[first])} and {self.space.format(architecture)} of "
                    f"{self.name} are isomorphic; leave one out."
                )

    def _numbered(self) -> dict[Architecture, int]:
        """The row of each architecture; refuses duplicates."""
        rows: dict[Architecture, int] = {}
        for row, architecture in enumerate(self.architectures):
            rows.setdefault(architecture, row)
            if rows[architecture] != row:
                raise ValueError(
                    f"A table must have every architecture once, but {self.name} has {self.space.format(architecture)} "
                    f"in rows {rows[architecture]} and {row}."
                )
        return rows

    def _checked(self, column: Column, given: npt.ArrayLike) -> np.ndarray:
        """A column's values as float64, one per row, all in 0 .. 100 or NaN."""
        values = np.array(given, dtype=np.float64)
        if values.shape != (len(self),):
            raise ValueError(
                f"A column must have one value for each of the {len(self)} rows, but {column} has shape {values.shape}."
            )
        wrong = np.flatnonzero((values < 0) | (values > 100))
        if wrong.size:
            raise ValueError(
                f"An accuracy must lie in 0 .. 100 percent, but {column} of "
                f"{self.space.format(self.architectures[wrong[0]])} is {values[wrong[0]]}."
            )
        values[np.isnan(values)] = np.nan  # of one bit pattern, on which the fingerprint depends
        if np.isnan(values).all():
            raise ValueError(f"A column must have a value, but {column} has none.")
        return values
