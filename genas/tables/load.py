"""Reading of table files: the user's, and the one shipped with genas."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from genas import spaces
from genas.errors import TableError
from genas.files import expanded
from genas.tables.column import Column
from genas.tables.table import Table
from genas.tables.table_file import read_table_file

SHIPPED = "shipped"
"""Used instead of a path: the table shipped with genas."""


def load_table(path: Path | str) -> Table:
    """Read a table.

    Args:
        path: A file that :meth:`Table.save` wrote, or ``shipped`` for the table shipped with genas.

    Returns:
        The table.

    Raises:
        FileNotFoundError: If there is no such file.
        TableError: If it is not a table, damaged, or of a version that this genas cannot read.
    """
    if str(path) == SHIPPED:
        return shipped_table()
    header, architectures, values = read_table_file(expanded(path))
    try:
        space = spaces.space(header["space"])
    except KeyError as error:
        raise TableError(f"{path} cannot be used. {error.args[0]}") from error
    try:
        return Table(
            space,
            header["name"],
            header["source"],
            header["checksum"],
            list(map(tuple, architectures.tolist())),
            dict(zip(map(Column.parse, header["columns"]), values, strict=True)),
            isomorphic=header["isomorphic"],
        )
    except (KeyError, ValueError, TypeError) as error:
        raise TableError(f"{path} is damaged ({error}); make it again.") from error


def shipped_table() -> Table:
    """The table shipped with genas: stand-alone trainings on the data set ``cluttered-digits``.

    Returns:
        A table of NAS-Bench-201's cells; one row stands for all isomorphic ones.

    Raises:
        FileNotFoundError: If this installation has none.
    """
    with resources.as_file(resources.files("genas.tables") / "cluttered-digits.npz") as path:
        if not path.is_file():
            raise FileNotFoundError(
                "This installation of genas lacks its own table; install it again, or make one with genas import-table."
            )
        return load_table(path)
