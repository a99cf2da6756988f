"""The rows of a CSV file of accuracies, with messages that name the line."""

from __future__ import annotations

import csv
import gzip
import itertools
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, final

from genas.errors import TableError
from genas.spaces import Architecture


@final
class Row(NamedTuple):
    """One line of a CSV file.

    Args:
        place: File and line, for messages.
        fields: Texts by the names of the columns.
    """

    place: str
    fields: dict[str, str]


def read_header(path: Path) -> list[str]:
    """The names in the first line of a CSV file.

    Args:
        path: As for :func:`read_rows`.

    Returns:
        The names.

    Raises:
        FileNotFoundError: If there is no such file.
        TableError: If it cannot be read.
    """
    (_, fields), *_ = _lines(path, first_only=True)
    return fields


def read_rows(path: Path) -> list[Row]:
    """All rows of a CSV file below its first line.

    Args:
        path: UTF-8 text, with or without a byte order mark; one named ``*.gz`` is decompressed first. Blank lines are
            ignored.

    Returns:
        At least one row.

    Raises:
        FileNotFoundError: If there is no such file.
        TableError: If it is damaged, or a line has more or fewer fields than the first.
    """
    (_, names), *lines = _lines(path)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise TableError(f"{path} has several columns named {', '.join(repeated)}; rename them.")
    rows = []
    for number, fields in lines:
        if not fields:  # blank line
            continue
        place = f"{path}, line {number}"
        if len(fields) != len(names):
            raise TableError(f"{place}: it must have {len(names)} fields like the first line, but has {len(fields)}.")
        rows.append(Row(place, dict(zip(names, fields, strict=True))))
    if not rows:
        raise TableError(f"{path} has no rows after its first line.")
    return rows


def read_accuracies(
    column: str, rows: Mapping[Architecture, Row], *, partial: bool = False
) -> dict[Architecture, float]:
    """One column of accuracies.

    Args:
        column: Its name.
        rows: The row of each architecture.
        partial: Whether a field may be empty, which means: no accuracy.

    Returns:
        Accuracies in percent.

    Raises:
        TableError: If a field is not a number in 0 .. 100, if all lie in 0 .. 1 (not percent), or if all are empty.
    """
    accuracies = {
        architecture: _accuracy(row, column)
        for architecture, row in rows.items()
        if not partial or row.fields[column].strip()
    }
    if not accuracies:
        raise TableError(f"The column {column} must have an accuracy, but all its fields are empty.")
    if len(accuracies) > 1 and max(accuracies.values()) <= 1:
        raise TableError(f"The column {column} must be in percent, but all of it lies in 0 .. 1; multiply by 100.")
    return accuracies


def _accuracy(row: Row, column: str) -> float:
    text = row.fields[column]
    try:
        value = math.nan if "_" in text else float(text)  # Python reads 5_5 as 55
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        cure = "" if text.strip() else " Leave out what is missing with --partial."
        raise TableError(f"{row.place}: {column} must be an accuracy in percent, 0 .. 100, but is {text!r}.{cure}")
    return value


def _lines(path: Path, *, first_only: bool = False) -> list[tuple[int, list[str]]]:
    """The fields of each record, after the number of the line in which it ends."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}{', but a folder' if path.is_dir() else ''}.")
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig", newline="") as file
        ):
            reader = csv.reader(file, strict=True)
            records = itertools.islice(reader, 1) if first_only else reader
            lines = [(reader.line_num, fields) for fields in records]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path} cannot be read ({error}); it is truncated or not a CSV file.") from error
    if not lines or not lines[0][1]:
        raise TableError(f"{path} is not a CSV file: its first line is empty.")
    return lines
