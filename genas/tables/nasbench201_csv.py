"""Ground truth of NAS-Bench-201 from one CSV file of its 15,625 cells.

The file has the columns ``index``, ``arch_str`` and those of :data:`COLUMNS`. Costs in it are not read: they are known
in closed form. Two columns are not read because they do not cover all cells or come from an older release:
``in16_test_200_s888`` and ``c10_test_200_fewshotnas``.

Reference:
    Dong & Yang, NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search, ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genas.errors import TableError
from genas.spaces import Architecture, NASBench201
from genas.tables.column import Column
from genas.tables.csv_rows import Row, read_accuracies, read_header, read_rows
from genas.tables.fingerprint import fingerprint
from genas.tables.nasbench201_rows import cell, check_complete
from genas.tables.table import Table

COLUMNS = {
    "c10_test_200": Column("cifar10", "test", 200),
    "c100_test_200": Column("cifar100", "test", 200),
    "in16_test_200": Column("imagenet16-120", "test", 200),
    "c10_test_200_1seed": Column("cifar10", "test", 200, seed="any"),
    "c100_test_200_1seed": Column("cifar100", "test", 200, seed="any"),
    "in16_test_200_1seed": Column("imagenet16-120", "test", 200, seed="any"),
    "c10half_test_200_s888": Column("cifar10-valid", "test", 200, seed=888),
    "c10_test_12": Column("cifar10", "test", 12),
    "c10_valid_12": Column("cifar10-valid", "valid", 12),
    "c100_test_12": Column("cifar100", "test", 12),
    "c100_valid_12": Column("cifar100", "valid", 12),
    "in16_test_12": Column("imagenet16-120", "test", 12),
    "in16_valid_12": Column("imagenet16-120", "valid", 12),
}
"""The meaning of the columns.

CIFAR-10 has no validation images beside its 50,000 training images: ``c10_valid_12`` is of trainings on the 25,000
half, ``c10_test_12`` of one on all. The validation and test images of CIFAR-100 and ImageNet16-120 are the benchmark's
two halves of the official test images.

The ``1seed`` columns name no seed, hence ``seed=any``. That of ImageNet16-120 mixes seeds: where the accuracy of seed
888 is known, the column has it for half of the cells with two seeds and a third of the cells with three, as a random
draw would. The seeds of the other two columns cannot be determined.
"""

_KEYS = ("index", "arch_str")


def is_nasbench201_csv(path: Path) -> bool:
    """Whether the first line of a CSV file has this format.

    Args:
        path: An existing file.

    Returns:
        Whether it has the keys and at least one of :data:`COLUMNS`.
    """
    header = read_header(path)
    return set(_KEYS) <= set(header) and not COLUMNS.keys().isdisjoint(header)


def import_nasbench201_csv(path: Path, columns: Sequence[Column] | None = None, *, partial: bool = False) -> Table:
    """Read the file.

    Args:
        path: CSV, or ``*.csv.gz``.
        columns: Accuracies to read; by default all of :data:`COLUMNS`, so that a misspelt column is not silently lost.
        partial: Whether cells or accuracies may be missing.

    Returns:
        The table, its rows in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        TableError: If the file lacks a column or a cell, has a cell twice, gives a cell another cell's index, or holds
            anything but an accuracy.
    """
    names = _names(path, columns)
    space = NASBench201()
    rows: dict[Architecture, Row] = {}
    for row in read_rows(path):
        architecture = cell(row.place, row.fields["index"], row.fields["arch_str"])
        if architecture in rows:
            raise TableError(f"{row.place}: {row.fields['arch_str']} is already in {rows[architecture].place}.")
        rows[architecture] = row
    if not partial:
        check_complete(path, map(space.index, rows))
    accuracies = {COLUMNS[name]: read_accuracies(name, rows, partial=partial) for name in names}
    return Table.from_accuracies(space, "NAS-Bench-201", f"CSV file {path.name}", fingerprint([path]), accuracies)


def _names(path: Path, columns: Sequence[Column] | None) -> list[str]:
    """The CSV columns to read, checked against the first line."""
    header = read_header(path)
    known = {column: name for name, column in COLUMNS.items()}
    unknown = [str(column) for column in columns or () if column not in known]
    if unknown:
        raise TableError(
            f"A NAS-Bench-201 CSV file has no column {', '.join(unknown)}; known: {', '.join(map(str, sorted(known)))}."
        )
    if not is_nasbench201_csv(path):
        raise TableError(
            f"A NAS-Bench-201 CSV file has the columns {', '.join(_KEYS)} and some of {', '.join(COLUMNS)}, but {path} "
            f"has {', '.join(header)}; import it as any CSV file, --kind csv."
        )
    names = list(COLUMNS) if columns is None else [known[column] for column in columns]
    lacking = [name for name in (*_KEYS, *names) if name not in header]
    if lacking:
        there = [str(column) for name, column in COLUMNS.items() if name in header]
        raise TableError(
            f"{path} lacks the columns {', '.join(lacking)}; it has {', '.join(header)}. To read only what is there, "
            f"choose with --columns '[{','.join(there)}]'."
        )
    return names
