"""Reuse of networks that another table already has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genas.commands.table_training import KINDS, TrainingPlan
from genas.data import ImageData
from genas.spaces import Architecture
from genas.tables import Table, load_table

Rows = dict[Architecture, np.ndarray]


def check_known(path: str, plan: TrainingPlan, images: ImageData) -> Table:
    """A table whose networks were trained as in the plan.

    Args:
        path: File of the table, or ``shipped``.
        plan: The training plan.
        images: The data set.

    Returns:
        The table.

    Raises:
        FileNotFoundError: If there is no such file.
        TableError: If it is not a table.
        ValueError: If its networks were trained with other settings or on other images.
    """
    table = load_table(path)
    for what, theirs, ours in (
        ("space", table.space.name, plan.space),
        ("training", table.source, plan.source(images)),
        ("fingerprint of the images", table.checksum, images.fingerprint),
    ):
        if theirs != ours:
            raise ValueError(
                f"A known table must have the {what} of this one, {ours!r}, but {path} has {theirs!r}; "
                "leave it out, or give its settings."
            )
    return table


def known_rows(
    table: Table, plan: TrainingPlan, images: ImageData, architectures: Sequence[Architecture]
) -> dict[int, Rows]:
    """The trainings that the table has of some architectures.

    Args:
        table: A table from :func:`check_known`.
        plan: The training plan of its networks.
        images: The data set.
        architectures: The architectures to look up.

    Returns:
        For each seed the rows that training would give, up to the last bit: see
        :func:`genas.commands.table_training.train_rows`. Their percentages are the table's, to the last bit. An
        architecture that a seed lacks is left out.
    """
    kinds = [kind for kind in KINDS if kind in images.splits]
    found = {}
    for seed in sorted(int(column.seed) for column in table.seeds(plan.column("valid")) if column.seed is not None):
        rows = np.full((len(architectures), len(KINDS)), np.nan)
        for kind in kinds:
            percent = table.values(plan.column(kind, seed), architectures, missing="nan")
            # A percentage is 100 times a fraction, rounded. The quotient is at least as near as that fraction, so that
            # 100 times the quotient is rounded to the same percentage.
            rows[:, KINDS.index(kind)] = percent / 100
        complete = np.isnan(rows).sum(axis=1) == len(KINDS) - len(kinds)
        found[seed] = {arch: row for arch, row, known in zip(architectures, rows, complete, strict=True) if known}
    return found
