"""Ground truth of what a search has found: accuracies and ranks in columns of a table."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict, final

import numpy as np

from genas.spaces import Architecture, SearchSpace
from genas.tables import Column, Table, dataset_of, is_part, load_table


class Place(TypedDict):
    """What a table says of an architecture."""

    accuracy: float | None
    """In percent; ``None`` where the table does not know the architecture."""
    rank: int | None
    """1 for the best of the table; equally accurate ones share the better rank."""
    of: int
    """Number of accuracies in the column: of architectures, or of classes of isomorphic ones if the table has one row
    for each class."""


@final
@dataclass(frozen=True)
class Truth:
    """A column of ground truth.

    Args:
        known: The table.
        column: One of its columns.
    """

    known: Table
    column: Column

    @classmethod
    def load(cls, path: str | None, columns: Sequence[str], space: SearchSpace, data: str) -> tuple[Truth, ...]:
        """Read a table and find columns in it.

        Args:
            path: The table; ``None``: there is none.
            columns: Texts of the columns; without any, the test accuracy (where the table has none, the validation
                accuracy) of networks that were trained on the data set, or on a part of it, if the table knows one part
                only.
            space: The space that is searched.
            data: The data set, as in ``--data``.

        Returns:
            A truth for each column, nothing without a table.

        Raises:
            ValueError: If the table is of another space, a column is given twice, or a column was named without a
                table.
            KeyError: If the table has no such column.
        """
        if path is None:
            if columns:
                named = " and ".join(columns)
                raise ValueError(f"truth names a column of a table, but there is none; give --table, too, for {named}.")
            return ()
        known = load_table(path)
        if known.space.name != space.name:
            raise ValueError(
                f"The table must be of the space that is searched, {space.name}, but {known.name} is of "
                f"{known.space.name}."
            )
        return tuple(cls(known, column) for column in known.find_truths(columns) or [_of_data(data, known)])

    def place(self, architecture: Architecture) -> Place:
        """Accuracy and rank of an architecture.

        Args:
            architecture: A valid architecture.

        Returns:
            Plain values.
        """
        (accuracy,) = self.known.values(self.column, [architecture], missing="nan")
        found = len(self._accuracies)
        if np.isnan(accuracy):
            return {"accuracy": None, "rank": None, "of": found}
        better = np.count_nonzero(self._accuracies > accuracy)
        return {"accuracy": float(accuracy), "rank": int(better) + 1, "of": found}

    def text(self, architecture: Architecture) -> str:
        """Accuracy and rank for people, like ``cifar10/test/200: 94.37 %, rank 1 of 15,625``."""
        place = self.place(architecture)
        if place["accuracy"] is None:
            return f"{self.column}: the table does not have this architecture"
        counted = " classes" if self.known.isomorphic else ""
        return f"{self.column}: {place['accuracy']:.2f} %, rank {place['rank']:,} of {place['of']:,}{counted}"

    @functools.cached_property
    def _accuracies(self) -> np.ndarray:
        return self.known.values(self.column, self.known.covered(self.column))


def _of_data(data: str, known: Table) -> Column:
    """The test accuracy, or without one the validation accuracy, of networks that were trained on a data set."""
    whole = dataset_of(data)
    parts = [name for name in dict.fromkeys(column.dataset for column in known.columns) if is_part(name, whole)]
    name = parts[0] if len(parts) == 1 else whole
    kinds = {column.kind for column in known.columns if column.dataset == name}
    try:
        return known.find(name if "test" in kinds or "valid" not in kinds else f"{name}/valid")
    except KeyError as error:
        raise KeyError(f"{error.args[0]} Say which column is the truth with --truth.") from None
