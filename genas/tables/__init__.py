"""Ground truth: accuracies of architectures that were trained from scratch.

The importers are modules of their own, loaded only when needed: ``nasbench201_csv``, ``nats_bench``,
``nats_bench_package`` and ``csv_table``.
"""

from __future__ import annotations

from genas.errors import TableError
from genas.tables.column import Column, Kind, Seed, dataset_of, is_part, mean_over_seeds
from genas.tables.load import SHIPPED, load_table, shipped_table
from genas.tables.table import Table

__all__ = [
    "SHIPPED",
    "Column",
    "Kind",
    "Seed",
    "Table",
    "TableError",
    "dataset_of",
    "is_part",
    "load_table",
    "mean_over_seeds",
    "shipped_table",
]
