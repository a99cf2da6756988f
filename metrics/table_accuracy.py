"""Ground truth as a metric: a column of a table."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, final

import numpy as np

from genas.metrics.base import Metric, within
from genas.metrics.context import Context
from genas.spaces import Architecture
from genas.spaces.listing import all_architectures, is_listable
from genas.tables import SHIPPED, Column, Table, load_table


@final
@dataclass(frozen=True)
class TableAccuracy(Metric):
    """The accuracy that a table has for an architecture; it needs no supernet.

    Args:
        table: The table.
        column: One of its columns.

    Raises:
        KeyError: If the table has no such column.
    """

    name: ClassVar[str] = "table"
    unit: ClassVar[str] = "%"
    cost_hint: ClassVar[Literal["free", "weights", "forward"]] = "free"

    table: Table
    column: Column

    def __post_init__(self) -> None:
        self.table.covered(self.column)  # checks that there is one

    @cached_property
    def is_total(self) -> bool:
        """Whether the column has a value for every architecture of a space that can be listed."""
        if not is_listable(self.table.space):
            return False
        everything = all_architectures(self.table.space)
        return not np.isnan(self.table.values(self.column, everything, missing="nan")).any()

    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """Accuracies in percent.

        Args:
            context: Provides the space.
            architectures: Valid architectures.

        Returns:
            Float64 array of shape ``(len(architectures),)``.

        Raises:
            ValueError: If the table is of another space.
            KeyError: If the column has no value for an architecture.
        """
        if context.space.name != self.table.space.name:
            raise ValueError(
                f"The table must have architectures of {context.space.name}, but {self.table.name} has those of "
                f"{self.table.space.name}."
            )
        return self.table.values(self.column, architectures)


def table_fingerprints(metrics: Iterable[Metric]) -> list[str]:
    """The fingerprints of all tables that metrics and their parts read, sorted; an expression names only a file."""
    inner = itertools.chain.from_iterable(map(within, metrics))
    return sorted({metric.table.fingerprint for metric in inner if isinstance(metric, TableAccuracy)})


def table_accuracy(column: str, path: str = SHIPPED) -> TableAccuracy:
    """A metric of a table in a file, as in ``table(column='cifar10/valid/12', path='nasbench201.npz')``.

    Args:
        column: The column, or as much of its text as identifies it, see :meth:`genas.tables.Table.find`.
        path: The file, or ``shipped`` for the table shipped with genas.

    Returns:
        The metric.
    """
    table = load_table(path)
    return TableAccuracy(table, table.find(column))
