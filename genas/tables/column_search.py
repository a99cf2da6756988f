"""Search for the column that a text means, and the error if there is none."""

from __future__ import annotations

from collections.abc import Sequence

from genas.choices import did_you_mean
from genas.tables.column import Column, read_parts


def find_column(text: str, columns: Sequence[Column], table: str) -> Column:
    """The column that a text means.

    Args:
        text: A column's own text or a part of it. What it leaves out defaults to the test images, the longest schedule,
            its end, and the mean over the seeds (or the only seed).
        columns: The columns to choose from.
        table: Name of their table, for messages.

    Returns:
        One of the columns.

    Raises:
        KeyError: If no column matches, or several match equally well; lists the columns.
        ValueError: If the text does not have the form of a column.
    """
    wanted = {"kind": "test", "at": None, **read_parts(text)}
    found = [each for each in columns if all(getattr(each, name) == wanted[name] for name in wanted)]
    longest = [each for each in found if each.epochs == max(column.epochs for column in found)]
    meant = [each for each in longest if "seed" in wanted or each.seed is None] or longest
    if not meant:
        raise unknown_column(text, columns, table)
    if len(meant) > 1:
        raise KeyError(
            f"{text!r} means several columns of the table {table}, none of them a mean over the seeds: "
            f"{', '.join(map(str, meant))}. Name the seed."
        )
    return meant[0]


def unknown_column(text: str, columns: Sequence[Column], table: str) -> KeyError:
    """The error for a column that does not exist.

    Args:
        text: Text of the requested column, or what was given instead of a column.
        columns: The columns of the table.
        table: Name of their table.

    Returns:
        An error that names the nearest column and lists all.
    """
    names = list(map(str, columns))
    if text in names:
        return KeyError(f"A column must be a Column, but got the text {text!r}; find({text!r}) of the table gives one.")
    return KeyError(f"The table {table} has no column {text}.{did_you_mean(text, names)} It has {', '.join(names)}.")
