"""Summary of several searches with different seeds: every value, mean and standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from genas.commands.reporting import mean_and_spread, say, table
from genas.commands.results import short_name
from genas.spaces import Architecture, SearchSpace
from genas.tables import Column, Table, dataset_of, is_part, load_table


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
    def load(cls, path: str | None, column: str | None, space: SearchSpace, data: str) -> Truth | None:
        """Read a table and find a column in it.

        Args:
            path: The table; ``None``: there is none.
            column: Text of the column; ``None``: the test accuracy of networks that were trained on the data set, or on
                a part of it, if the table knows one part only.
            space: The space that is searched.
            data: The data set, as in ``--data``.

        Returns:
            The truth, or ``None``.

        Raises:
            ValueError: If the table is of another space, or a column was named without a table.
            KeyError: If the table has no such column.
        """
        if path is None:
            if column is not None:
                raise ValueError(
                    f"truth names a column of a table, but there is none; give --table, too, for {column}."
                )
            return None
        known = load_table(path)
        if known.space.name != space.name:
            raise ValueError(
                f"The table must be of the space that is searched, {space.name}, but {known.name} is of "
                f"{known.space.name}."
            )
        try:
            return cls(known, known.find(_named_after(data, known) if column is None else column))
        except KeyError as error:
            if column is not None:
                raise
            raise KeyError(f"{error.args[0]} Say which column is the truth with --truth.") from None

    def metrics(self, architecture: Architecture) -> dict[str, float]:
        """The accuracy in percent by the column's name; nothing where the table does not know the architecture."""
        (value,) = self.known.values(self.column, [architecture], missing="nan")
        return {} if np.isnan(value) else {str(self.column): float(value)}


def _named_after(data: str, known: Table) -> str:
    """A table's name for a data set."""
    whole = dataset_of(data)
    names = {column.dataset for column in known.columns}
    parts = [name for name in names if is_part(name, whole)]
    return parts[0] if len(parts) == 1 else whole


def summarize(
    title: str, seeds: Sequence[int], results: Sequence[dict[str, Any]], truth: Truth | None
) -> dict[str, Any]:
    """The summary of several searches in ``result.json``.

    Args:
        title: The method.
        seeds: One for each search.
        results: Their results.
        truth: Source of their accuracies.

    Returns:
        Plain values. Mean and sample standard deviation are over the searches whose result the truth knows; ``None``
        with too few of them.
    """
    column = None if truth is None else str(truth.column)
    values = [result["best"]["metrics"].get(column) for result in results]
    known = [value for value in values if value is not None]
    mean, std = mean_and_spread(known)
    return {
        "title": title,
        "seeds": list(seeds),
        "disconnected": sum(result["disconnected"] for result in results),
        "truth": column,
        "table": None if truth is None else {"name": truth.known.name, "fingerprint": truth.known.fingerprint},
        "values": values,
        "known": len(known),
        "mean": mean,
        "std": std,
        "runs": [
            {name: value for name, value in result.items() if name not in ("top", "method", "flatness")}
            for result in results
        ],
    }


def report_runs(summary: dict[str, Any]) -> None:
    """Print a line for every search, and the mean."""
    runs = summary["runs"]
    shown = "index" if "index" in runs[0]["best"] else "genes"
    rows = [
        [
            str(run["seed"]),
            str(run["epoch"]),
            str(sum(run["skips"].values())),
            "yes" if run["disconnected"] else "no",
            "-" if value is None else f"{value:.2f}",
            short_name(run["best"]),
        ]
        for run, value in zip(runs, summary["values"], strict=True)
    ]
    say(table(["seed", "epoch", "skips", "disconnected", summary["truth"] or "accuracy", shown], rows))
    say(f"\n{summary['title']}, {len(runs)} searches, {summary['disconnected']} of them disconnected")
    if summary["truth"] is not None and not summary["known"]:
        say(f"{summary['truth']}: the table knows none of the results")
    if summary["mean"] is not None:
        spread = "" if summary["std"] is None else f" ± {summary['std']:.2f}"
        missing = len(runs) - summary["known"]
        which = f" without the {missing} that the table does not know" if missing else ""
        say(f"{summary['truth']}: {summary['mean']:.2f}{spread} %{which}")
