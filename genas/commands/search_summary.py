"""Summary of several searches with different seeds: every value, mean and standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genas.commands.reporting import mean_and_spread, say, table
from genas.commands.results import short_name
from genas.commands.truth import Truth


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
    values = [None if column is None else result["best"]["truth"][column]["accuracy"] for result in results]
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
