"""Conversion of the single trainings of NATS-Bench's cells to the columns of a table."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from genas.errors import TableError
from genas.spaces import Architecture, NASBench201
from genas.tables.column import Column, Kind, mean_over_seeds
from genas.tables.nasbench201_rows import cell
from genas.tables.table import Table

READINGS: Mapping[str, Mapping[str, Kind]] = {
    "cifar10-valid": {"x-valid": "valid", "ori-test": "test"},
    "cifar10": {"ori-test": "test"},
    "cifar100": {"x-valid": "valid", "x-test": "test", "ori-test": "valtest"},
    "ImageNet16-120": {"x-valid": "valid", "x-test": "test", "ori-test": "valtest"},
}
"""For each training set of the benchmark, the names and the meaning of its readings.

``ori-test`` are the official test images. For CIFAR-100 and ImageNet16-120 the benchmark halves them, one half for
validation.
"""


@final
@dataclass(frozen=True)
class Trial:
    """One training of a cell.

    Args:
        dataset: A key of :data:`READINGS`.
        seed: Seed.
        epochs: Length of the schedule.
        accuracies: In percent, by ``READING@EPOCH``, epochs counted from 0.
    """

    dataset: str
    seed: int
    epochs: int
    accuracies: Mapping[str, Any]


@final
@dataclass(frozen=True)
class Record:
    """All trainings of one cell.

    Args:
        place: Its source, for messages.
        index: Number in the benchmark's order.
        string: The architecture string.
        trials: Its trainings.
    """

    place: str
    index: int
    string: str
    trials: tuple[Trial, ...]


def table_of_trials(
    records: Iterable[Record],
    columns: Sequence[Column] | None,
    source: Path,
    name: str,
    checksum: str,
    *,
    partial: bool = False,
) -> Table:
    """The table of the readings of all cells.

    Args:
        records: The cells.
        columns: Readings to take; by default those at the end of each training: every seed, and the mean over a cell's
            seeds, of which there are one to three.
        source: Path of the source, for messages.
        name: Description of the source, for the table.
        checksum: Checksum of the source.
        partial: Whether a cell may lack a reading that is not of a single seed.

    Returns:
        The table, its rows in the order of the records. Columns of a single seed cover the cells trained with it.

    Raises:
        TableError: If a cell is repeated or has another cell's index, if a value is not an accuracy, or if a cell lacks
            a required reading.
    """
    epochs_read = {None} if columns is None else {column.at for column in columns}
    accuracies: defaultdict[Column, dict[Architecture, float]] = defaultdict(dict)
    seen: dict[Architecture, str] = {}
    for record in records:
        architecture = cell(record.place, str(record.index), record.string)
        if architecture in seen:
            raise TableError(f"{record.place}: {record.string} is already in {seen[architecture]}.")
        seen[architecture] = record.place
        for column, value in _readings(record, epochs_read):
            accuracies[column][architecture] = value
    if not seen:
        raise TableError(f"{source} has no cell.")
    chosen = sorted(accuracies) if columns is None else columns
    _check_known(source, accuracies, chosen)
    if not partial:
        _check_covered(accuracies, chosen, seen)
    return Table.from_accuracies(
        NASBench201(), "NATS-Bench", name, checksum, {column: accuracies[column] for column in chosen}
    )


def _readings(record: Record, epochs_read: Iterable[int | None]) -> Iterator[tuple[Column, float]]:
    """The readings of a cell for each seed, then their means."""
    by_mean: defaultdict[Column, list[float]] = defaultdict(list)
    seen: set[Column] = set()
    for trial in record.trials:
        if trial.dataset not in READINGS:
            raise TableError(
                f"{record.place}: the data set {trial.dataset!r} is unknown; known: {', '.join(READINGS)}."
            )
        for reading, kind in READINGS[trial.dataset].items():
            for at in epochs_read:
                key = f"{reading}@{(at or trial.epochs) - 1}"
                if key not in trial.accuracies or (at or 0) >= trial.epochs:
                    continue
                column = _column_of(record, trial, kind, at)
                if column in seen:
                    raise TableError(
                        f"{record.place}: a data set must have one training per seed, but {column} has two."
                    )
                seen.add(column)
                value = _accuracy(record, column, trial.accuracies[key])
                by_mean[_column(column.dataset, kind, trial.epochs, None, at)].append(value)
                yield column, value
    for column, values in by_mean.items():
        yield column, mean_over_seeds(values)


_column = functools.cache(Column)
"""Cached, as checking the same few columns anew for every cell would take most of the time."""


def _column_of(record: Record, trial: Trial, kind: Kind, at: int | None) -> Column:
    try:
        return _column(trial.dataset.lower(), kind, trial.epochs, trial.seed, at)
    except ValueError as error:
        raise TableError(f"{record.place}: a training is not one of NATS-Bench ({error}).") from error


def _accuracy(record: Record, column: Column, value: Any) -> float:
    try:
        accuracy = float(value)
    except (TypeError, ValueError, OverflowError):
        accuracy = math.nan
    if not 0 <= accuracy <= 100:
        raise TableError(f"{record.place}: {column} must be an accuracy in percent, 0 .. 100, but is {value!r}.")
    return accuracy


def _check_known(source: Path, read: Iterable[Column], chosen: Sequence[Column]) -> None:
    """Refuse columns without any value."""
    known = sorted(read)
    lacking = [str(column) for column in chosen if column not in known]
    if lacking or not chosen:
        raise TableError(
            f"{source} has no reading {', '.join(lacking) or 'at all'}; read: {', '.join(map(str, known)) or 'none'}."
        )


def _check_covered(
    accuracies: Mapping[Column, Mapping[Architecture, float]],
    chosen: Sequence[Column],
    cells: Mapping[Architecture, str],
) -> None:
    """Refuse cells that lack a mean; single seeds may be missing, and some are."""
    for column in chosen:
        lacking = [place for each, place in cells.items() if each not in accuracies[column]]
        if column.seed is None and lacking:
            raise TableError(
                f"{lacking[0]} has no reading {column}: {len(lacking)} of {len(cells)} cells lack it; get the complete "
                "source, or import what there is with --partial."
            )
