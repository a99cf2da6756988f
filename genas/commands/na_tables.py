"""``genas na-tables``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from genas.commands import na_experiments as experiments
from genas.commands.na_experiments import Landscape, Rows
from genas.commands.na_published import DATASETS, PUBLISHED, SEARCH_COLUMN, Cell
from genas.commands.reporting import mean_and_spread, say
from genas.commands.reporting import table as text_table
from genas.files import json_number, write_json
from genas.spaces.neighborhoods import AGGREGATES, neighborhood_size
from genas.tables import Column, Table, load_table

TITLES = {
    "A": "Tables 1a and A: the best {best} by the search-time error, halved by its variance around them. Means.",
    "B": "Tables 1b and B: Kendall's tau-b with the test error, {architectures} random architectures, {repeats} times.",
    "C": "Table C: the best {best} under each criterion. Means.",
    "D": "Tables 2 and D: {steps} steps of NA-RS, random search with as many evaluations, {searches} times. Errors.",
    "E": "Table E: the number of neighbours in NA-RS, {searches} times. Errors.",
}


def na_tables(
    table: str,
    search: str | None = None,
    truth: tuple[str, ...] = (),
    distance: int = 1,
    penalty: float = 1.0,
    best: int = 100,
    architectures: int = 100,
    repeats: int = 10,
    steps: int = 100,
    neighbors: tuple[int, ...] = (10, 25),
    searches: int = 100,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Repeat the tables of Neighborhood-Aware NAS on a table of ground truth, which must have all architectures.

    Needs no network and no supernet, and takes seconds on one core. All numbers but tau are in percent, errors
    lower-is-better. Where the data sets are the paper's, its numbers are shown beside ours, with a line on the
    differences.

    Args:
        table: A file of genas import-table or genas build-table, or shipped for the table of genas.
        search: The column that a search sees, such as cifar10-valid/valid/12; by default the paper's reading (the
            validation accuracy of CIFAR-10 after epoch 90 of 200) if the table has it, else that after 12 epochs, else
            the only validation column.
        truth: The columns that it is judged by, such as cifar10,cifar100; by default of each data set the test
            accuracy, mean over the seeds, at the end of the longest training.
        distance: Radius of a neighbourhood.
        penalty: The lambda of f + lambda sigma.
        best: Number of best architectures in tables A (flat and sharp minima) and C (the best by each criterion).
        architectures: Sample size in table B (rankings).
        repeats: Number of samples in table B.
        steps: Steps of a neighbourhood search in tables D (searches) and E (sizes of the neighbourhood).
        neighbors: Sizes of the sampled neighbourhood in table E, the architecture itself included; D uses the first.
        searches: Number of searches in tables D and E.
        seed: Root seed.
        out: JSON file of all numbers; by default none is written.
    """
    if min(repeats, steps, searches, *neighbors) < 1 or not neighbors:
        raise ValueError(
            "repeats, steps, searches and every number of neighbors must be at least 1, "
            f"but got {repeats}, {steps}, {searches} and {list(neighbors)}."
        )
    if not 0 <= penalty < math.inf:
        raise ValueError(f"penalty must be a non-negative number, but got {penalty}.")
    ground = load_table(table)
    if out is not None:  # before minutes of work
        if out.is_dir():
            raise ValueError(f"out must be a file, but {out} is a folder; give {out / 'na.json'}.")
        out.parent.mkdir(parents=True, exist_ok=True)
    seen = _search_column(ground) if search is None else ground.find(search)
    truths = _named(ground.find_truths(truth) or ground.default_truths())
    if judges := [judge for judge in truths.values() if _share_trainings(seen, judge)]:
        others = [str(each) for each in ground.columns if each.kind == "valid" and each != seen]
        judge = "" if judges[0] == seen else f", which has accuracies of {judges[0]}"
        raise ValueError(
            f"A search must not see what it is judged by, but sees {seen}{judge}; choose another truth"
            f"{', or a search among ' + ', '.join(others) if others else ''}."
        )
    settings = {
        "table": table,
        "search": search,
        "truth": truth,
        "distance": distance,
        "penalty": penalty,
        "best": best,
        "architectures": architectures,
        "repeats": repeats,
        "steps": steps,
        "neighbors": neighbors,
        "searches": searches,
        "seed": seed,
    }
    landscape = Landscape.of(ground, seen, truths, distance, penalty)
    members = neighborhood_size(landscape.search.shape, distance)
    if max(neighbors) > members:
        raise ValueError(
            f"neighbors must be at most {members}, all that lie within distance {distance}, but got {max(neighbors)}."
        )
    results = {
        "A": experiments.flat_and_sharp(landscape, best),
        "B": experiments.rankings(landscape, seed, architectures, repeats),
        "C": experiments.best_by_criterion(landscape, best),
        **_searches(landscape, seed, steps, neighbors, searches),
    }
    published = PUBLISHED if not set(truths).isdisjoint(DATASETS) and ground.space.name == "nasbench201" else {}
    columns = {"search": str(seen), **{name: str(column) for name, column in truths.items()}}
    say(f"{ground.name}: a search sees {seen}; it is judged by {', '.join(map(str, truths.values()))}.")
    for letter, rows in results.items():
        say(f"\n{TITLES[letter].format(**settings)}\n")
        say(_printed(rows, published.get(letter, {})))
    differs = _difference(seen, truths, settings) if published else None
    if differs is not None:
        say(f"\n{differs}")
    if out is not None:
        numbers = {letter: _plain(rows) for letter, rows in results.items()}
        facts = {"table": ground.name, "fingerprint": ground.fingerprint, "columns": columns, "settings": settings}
        write_json(out, {**facts, "results": numbers, "published": published, "differs": differs})
        say(f"\nresult: {out}")


def _search_column(table: Table) -> Column:
    """The validation column that is nearest to the paper's."""
    valid = [column for column in table.columns if column.kind == "valid" and column.seed is None]
    for wanted in (Column.parse(SEARCH_COLUMN), Column("cifar10-valid", "valid", 12)):
        if wanted in valid:
            return wanted
    if len(valid) != 1:
        known = ", ".join(map(str, table.columns))
        raise ValueError(f"Choose what a search sees with --search: {table.name} has {known}.")
    return valid[0]


def _share_trainings(first: Column, second: Column) -> bool:
    """Whether accuracies of the same trainings are in both columns: a mean over seeds has those of every seed."""
    same = replace(first, seed=None) == replace(second, seed=None)
    return same and (first.seed == second.seed or None in (first.seed, second.seed))


def _named(columns: Sequence[Column]) -> dict[str, Column]:
    """Columns by their data sets where these tell them apart, else by their whole text."""
    datasets = [column.dataset for column in columns]
    short = len(set(datasets)) == len(columns)
    return {column.dataset if short else str(column): column for column in columns}


def _searches(
    landscape: Landscape, seed: int, steps: int, neighbors: tuple[int, ...], searches: int
) -> dict[str, Rows]:
    by_aggregate = {
        f"{how} of {neighbors[0]}": experiments.neighborhood_searches(
            landscape, seed, steps, neighbors[0], how, searches
        )
        for how in AGGREGATES
    }
    plain = experiments.random_searches(landscape, seed, steps * neighbors[0], searches)
    by_number: Rows = {}
    for how in AGGREGATES[:2]:
        for samples in neighbors:
            name = f"{how} of {samples}"
            by_number[name] = by_aggregate.get(name) or experiments.neighborhood_searches(
                landscape, seed, steps, samples, how, searches
            )
    return {"D": {"random search": plain, **by_aggregate}, "E": by_number}


def _printed(rows: Rows, published: Mapping[str, Mapping[str, Cell]]) -> str:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = []
    for name, row in rows.items():
        lines.append([name, *(_cell(*mean_and_spread(row[column])) for column in columns)])
        if name in published:
            paper = published[name]
            lines.append(["paper", *(_cell(*paper[column]) if column in paper else "" for column in columns)])
    return text_table(["", *columns], lines)


def _cell(mean: float | None, spread: float | None) -> str:
    if mean is None or math.isnan(mean):
        return "-"
    return f"{mean:.2f}" if spread is None else f"{mean:.2f}±{spread:.2f}"


def _plain(rows: Rows) -> dict[str, Any]:
    return {
        name: {
            column: {
                "mean": json_number(mean),
                "std": json_number(spread),
                "values": list(map(json_number, sample.tolist())),
            }
            for column, sample in row.items()
            for mean, spread in [mean_and_spread(sample)]
        }
        for name, row in rows.items()
    }


def _difference(seen: Column, truths: Mapping[str, Column], settings: Mapping[str, Any]) -> str:
    """A sentence on the differences between our setting and the published one."""
    same = {
        "distance": 1,
        "penalty": 1.0,
        "best": 100,
        "architectures": 100,
        "repeats": 10,
        "steps": 100,
        "neighbors": (10, 25),
    }
    other = [f"{name} {settings[name]} instead of {value}" for name, value in same.items() if settings[name] != value]
    reading = (
        [] if str(seen) == SEARCH_COLUMN else [f"the search-time error is that of {seen} instead of {SEARCH_COLUMN}"]
    )
    judges = [
        f"{column} is the judge instead of {wanted}"
        for name, column in truths.items()
        for wanted in [Column(column.dataset, "test", 200)]
        if name in DATASETS and column != wanted
    ]
    unknown = [
        "the paper does not say how many searches it made, nor how it averaged over seeds, and its variance in table C "
        "may be a standard deviation (its appendix A.1 uses one word for both)"
    ]
    return f"What differs from the paper: {'; '.join([*reading, *judges, *other, *unknown])}."
