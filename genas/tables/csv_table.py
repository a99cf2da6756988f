"""Accuracies from any CSV file with a column of architectures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from genas.errors import TableError
from genas.spaces import Architecture, SearchSpace
from genas.tables.column import FORM, Column
from genas.tables.csv_rows import Row, read_accuracies, read_header, read_rows
from genas.tables.fingerprint import fingerprint
from genas.tables.table import Table

ARCHITECTURE_NAMES = ("architecture", "arch", "arch_str", "genotype", "genes")
"""Names by which the column of architectures is found automatically."""


def import_csv(
    path: Path,
    space: SearchSpace,
    columns: Mapping[str, Column],
    *,
    architecture: str | None = None,
    partial: bool = False,
    isomorphic: bool = False,
) -> Table:
    """Read the accuracies of a CSV file.

    Args:
        path: CSV, or ``*.csv.gz``, with a first line of names.
        space: The space, which reads the architectures: all its notations may be used.
        columns: The meaning of the columns of accuracies, by their names in the file.
        architecture: Name of the column of architectures; by default the one of :data:`ARCHITECTURE_NAMES`.
        partial: Whether a field may be empty, which means: no accuracy.
        isomorphic: Whether a row stands for all architectures of the same ``space.unique_key``.

    Returns:
        The table, its rows in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        TableError: If the file lacks a column, has an architecture twice or one that is not valid, or holds anything
            but an accuracy.
    """
    header = read_header(path)
    key = _key(path, header, architecture)
    lacking = [name for name in columns if name not in header]
    if lacking:
        raise TableError(f"{path} lacks the columns {', '.join(lacking)}; it has {', '.join(header)}.")
    rows: dict[Architecture, Row] = {}
    for row in read_rows(path):
        try:
            parsed = space.parse(row.fields[key])
        except ValueError as error:
            raise TableError(f"{row.place}: {error}") from error
        if parsed in rows:
            raise TableError(f"{row.place}: {row.fields[key]} is already in {rows[parsed].place}.")
        rows[parsed] = row
    accuracies = {column: read_accuracies(name, rows, partial=partial) for name, column in columns.items()}
    try:
        return Table.from_accuracies(
            space, path.name, f"CSV file {path.name}", fingerprint([path]), accuracies, isomorphic=isomorphic
        )
    except ValueError as error:
        raise TableError(f"{path} cannot be imported: {error}") from error


def parse_mapping(texts: list[str]) -> dict[str, Column]:
    """The meaning of columns from texts like ``acc=cifar10/test/200``.

    Args:
        texts: ``NAME=COLUMN`` each.

    Returns:
        Columns by their names in the file.

    Raises:
        ValueError: If there is none, if one has another form, or if a name or a meaning is repeated.
    """
    mapping: dict[str, Column] = {}
    for text in texts:
        name, equals, meaning = text.partition("=")
        if not equals or not name:
            raise ValueError(f"A column of a CSV file must be given as NAME={FORM}, but got {text!r}.")
        column = Column.parse(meaning)
        if name in mapping or column in mapping.values():
            raise ValueError(f"Every name and every meaning must be given once, but {text!r} repeats one.")
        mapping[name] = column
    if not mapping:
        raise ValueError(f"A CSV file needs --columns NAME={FORM}, to say what its accuracies mean.")
    return mapping


def _key(path: Path, header: list[str], name: str | None) -> str:
    """The name of the column of architectures."""
    found = [each for each in ([name] if name else ARCHITECTURE_NAMES) if each in header]
    if len(found) != 1:
        if len(header) == 1:
            raise TableError(
                f"{path} must have fields separated by commas, but its first line has only one, {header[0]!r}."
            )
        raise TableError(
            f"{path} must have one column {name or ' or '.join(ARCHITECTURE_NAMES)}, but it has {', '.join(header)}. "
            "Name that of the architectures with --architecture."
        )
    return found[0]
