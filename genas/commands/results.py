"""Results of every search: an entry of ``result.json`` for each architecture, and pictures of the winner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from genas.commands.truth import Truth
from genas.report import draw_architecture
from genas.runs import Run
from genas.spaces import Architecture, Cost, SearchSpace


def result_entry(
    space: SearchSpace,
    rank: int,
    architecture: Architecture,
    *,
    score: float | None,
    metrics: Mapping[str, float],
    cost: Cost,
    truths: Iterable[Truth],
) -> dict[str, Any]:
    """The entry of one architecture in ``result.json``.

    Args:
        space: The search space.
        rank: Rank, from 1.
        architecture: A valid architecture.
        score: Score that it was ranked by; ``None`` where the search has no scores.
        metrics: Other numbers by name.
        cost: Parameters and macs.
        truths: Columns of ground truth, for its accuracy and rank in each.

    Returns:
        Plain values.
    """
    index = space.index(architecture)
    return {
        "rank": rank,
        "architecture": space.format(architecture),
        "genes": list(architecture),
        **({} if index is None else {"index": index}),
        "score": score,
        "metrics": dict(metrics),
        "params": cost.params,
        "macs": cost.macs,
        "truth": {str(truth.column): truth.place(architecture) for truth in truths},
    }


def short_name(entry: Mapping[str, Any]) -> str:
    """The index of an entry where its space has one, else its genes."""
    return str(entry["index"]) if "index" in entry else ",".join(map(str, entry["genes"]))


def draw_best(run: Run, space: SearchSpace, architecture: Architecture, title: str) -> None:
    """Draw the winner into the run's figures, as ``best.svg`` and ``best.png``."""
    run.figures.mkdir(exist_ok=True)
    for suffix in ("svg", "png"):
        draw_architecture(space, architecture, run.figures / f"best.{suffix}", title=title)
