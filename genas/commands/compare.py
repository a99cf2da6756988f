"""``genas compare``: differences between searches, paired by their seeds."""

from __future__ import annotations

import json as json_format
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from genas.commands.paths import listed_folders
from genas.commands.reporting import mean_and_spread, say
from genas.commands.reporting import table as text_table
from genas.commands.search_folders import COMMAND, seed_folder
from genas.commands.truth import Truth
from genas.errors import RunError
from genas.runs import Run, leaves
from genas.spaces import space as space_by_name
from genas.tables import load_table


def compare(
    runs: str, table: str | None = None, truth: tuple[str, ...] = (), level: float = 0.95, json: bool = False
) -> None:
    """Compare what searches of several seeds have found, seed by seed.

    Searches of one seed share the split of the data and, where network and batch sizes agree, initial weights and
    batches, so that their difference is less noisy than their values. Disconnected results, which can only guess, are
    counted: one of them moves a mean by tens of percent.

    Args:
        runs: Folders of finished searches of several seeds (genas search --seeds), separated by commas. The first one
            is what the others are compared with.
        table: Ground truth with other columns than the one that the searches used: a file, or shipped.
        truth: Its columns, separated by commas, such as cifar10,cifar100/test/200; by default the one that the searches
            used, or if there is none the test accuracies of all data sets.
        level: Coverage of the intervals (Student's t, for differences that are nearly normal).
        json: Print JSON instead of text.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, but got {level}.")
    folders = listed_folders(runs)
    if len({folder.resolve() for folder in folders}) < max(len(folders), 2):
        raise ValueError(f"At least two folders must be given to compare, each once, but got {runs!r}.")
    searches = [SeedResults.read(folder) for folder in folders]
    _check_alike(searches)
    accuracies = _looked_up(searches, table, truth) if table or truth else _as_found(searches)
    _note_unknown(accuracies)
    names = _names(searches)
    compared = {
        column: [
            Comparison.of(name, each.disconnected, {} if each is searches[0] else values[0], found, level)
            for name, each, found in zip(names, searches, values, strict=True)
        ]
        for column, values in accuracies.items()
    }
    if json:
        plain = {column: [asdict(each) for each in comparisons] for column, comparisons in compared.items()}
        say(json_format.dumps(plain, indent=2))
        return
    seeds = list(dict.fromkeys(seed for each in searches for seed in each.best))
    for column, (base, *others) in compared.items():
        shown = [f"seed {seed}" for seed in seeds]
        header = [column, "mean", *shown, "disconnected", f"difference [{100 * level:g}%]", "better/equal/worse"]
        rows = [[*base.row(seeds)[:-2], "", ""], *(each.row(seeds) for each in others)]
        say(text_table(header, rows) + "\n")


@final
@dataclass(frozen=True)
class SeedResults:
    """Results of one method's searches with several seeds.

    Args:
        folder: Their folder.
        title: Name of the method.
        config: The settings that the searches share.
        fingerprints: Fingerprint of the images of each seed.
        best: Best architecture of each seed, as in ``result.json``.
        disconnected: Number of results without a path from input to output.
        truth: Column of ground truth in which they were looked up.
        table: Fingerprint of its table.
    """

    folder: Path
    title: str
    config: Mapping[str, Any]
    fingerprints: Mapping[int, str]
    best: Mapping[int, Mapping[str, Any]]
    disconnected: int
    truth: str | None
    table: str | None

    @classmethod
    def read(cls, folder: Path) -> SeedResults:
        """Read a folder.

        Args:
            folder: Written by ``genas search --seeds``.

        Returns:
            Its results.

        Raises:
            RunError: If it is not a run folder, or its result is damaged.
            ValueError: If its run is of another kind or unfinished.
        """
        run = Run.open(folder)
        try:
            summary = json_format.loads(run.result.read_text(encoding="utf-8")) if run.result.exists() else {}
        except ValueError as error:
            raise RunError(
                f"{run.result} is damaged ({error}); make it again with the same genas search command."
            ) from error
        if run.config.get("command") != COMMAND or "runs" not in summary:
            raise ValueError(
                f"{folder} must be the folder of a finished genas search of several seeds, but is not; search with "
                "--seeds first."
            )
        best = {each["seed"]: each["best"] for each in summary["runs"]}
        images = {seed: Run.open(seed_folder(folder, seed)).config["data_fingerprint"] for seed in best}
        table = (summary.get("table") or {}).get("fingerprint")
        return cls(folder, summary["title"], run.config, images, best, summary["disconnected"], summary["truth"], table)


@final
@dataclass(frozen=True)
class Comparison:
    """Accuracies of a search, and their differences from those of another search with the same seeds.

    Args:
        search: Name of the search.
        accuracies: For each seed, in percent; ``None`` where the table lacks the result.
        disconnected: Number of results without a path from input to output.
        mean: Mean of the known accuracies; ``None`` without any.
        std: Their sample standard deviation; ``None`` with fewer than two.
        difference: Mean difference over the seeds that both searches have, known in both; ``None`` without any.
        low: Lower end of its interval; ``None`` with fewer than two pairs.
        high: Upper end.
        better: Number of these seeds with a positive difference.
        equal: Number without a difference.
        worse: Number with a negative difference.
    """

    search: str
    accuracies: dict[int, float | None]
    disconnected: int
    mean: float | None
    std: float | None
    difference: float | None
    low: float | None
    high: float | None
    better: int
    equal: int
    worse: int

    @classmethod
    def of(
        cls,
        search: str,
        disconnected: int,
        base: Mapping[int, float | None],
        accuracies: Mapping[int, float | None],
        level: float,
    ) -> Comparison:
        """Compare a search with another one.

        Args:
            search: Name of the search.
            disconnected: Number of its results without a path from input to output.
            base: The accuracies to compare with, by seed.
            accuracies: Those of the search.
            level: Coverage of the interval.

        Returns:
            The comparison.
        """
        mean, std = mean_and_spread([value for value in accuracies.values() if value is not None])
        pairs = [(value, base.get(seed)) for seed, value in accuracies.items()]
        differences = np.array([a - b for a, b in pairs if a is not None and b is not None])
        low, high = _student_interval(differences, level)
        return cls(
            search,
            dict(accuracies),
            disconnected,
            mean,
            std,
            mean_and_spread(differences)[0],
            low,
            high,
            int((differences > 0).sum()),
            int((differences == 0).sum()),
            int((differences < 0).sum()),
        )

    def row(self, seeds: Sequence[int]) -> list[str]:
        """Cells of a text row, with the accuracies of these seeds."""
        spread = "" if self.std is None else f" ± {self.std:.2f}"
        interval = "" if self.low is None else f" [{self.low:+.2f}, {self.high:+.2f}]"
        return [
            self.search,
            "-" if self.mean is None else f"{self.mean:.2f}{spread}",
            *("-" if (value := self.accuracies.get(seed)) is None else f"{value:.2f}" for seed in seeds),
            str(self.disconnected),
            "-" if self.difference is None else f"{self.difference:+.2f}{interval}",
            f"{self.better}/{self.equal}/{self.worse}",
        ]


Accuracies = dict[str, list[dict[int, float | None]]]
"""For each column, the accuracies of every search by seed."""


def _looked_up(searches: Sequence[SeedResults], table: str | None, truth: Sequence[str]) -> Accuracies:
    space, found = space_by_name(searches[0].config["space"]), {}
    if not truth and {each.truth for each in searches} == {None}:
        truth = [str(column) for column in load_table(str(table)).default_truths()]
    for known in Truth.load(table, list(truth or _as_found(searches)), space, ""):
        found[str(known.column)] = [
            {seed: known.place(tuple(best["genes"]))["accuracy"] for seed, best in each.best.items()}
            for each in searches
        ]
    return found


def _as_found(searches: Sequence[SeedResults]) -> Accuracies:
    column = searches[0].truth
    if column is None or len({(each.table, each.truth) for each in searches}) > 1:
        raise ValueError(
            "The searches must have been looked up in the same column of the same table, but were not; give --table, "
            "and --truth with the columns, now."
        )
    return {
        column: [{seed: best["truth"][column]["accuracy"] for seed, best in each.best.items()} for each in searches]
    }


def _note_unknown(accuracies: Accuracies) -> None:
    """Print how many results a table lacks."""
    for column, found in accuracies.items():
        values = [value for each in found for value in each.values()]
        if unknown := values.count(None):
            print(f"note: {unknown} of {len(values)} results are not in the table's {column}.", file=sys.stderr)


def _names(searches: Sequence[SeedResults]) -> list[str]:
    """The titles, with the folders, by name or by path, where titles alone do not tell the searches apart."""
    names = [each.title for each in searches]
    for place in (lambda folder: folder.name, str):
        longer = [f"{each.title} ({place(each.folder)})" for each in searches]
        names = [long if names.count(name) > 1 else name for name, long in zip(names, longer, strict=True)]
    return names


def _check_alike(searches: Sequence[SeedResults]) -> None:
    """Refuse searches of different spaces; say what else is different besides the method."""
    base, names = searches[0], _names(searches)
    for name, other in zip(names[1:], searches[1:], strict=True):
        if other.config["space"] != base.config["space"]:
            raise ValueError(
                f"The searches must be in one space, but {names[0]} was in {base.config['space']} and {name} in "
                f"{other.config['space']}."
            )
        common = base.best.keys() & other.best.keys()
        different = _different_settings(base, other)
        if any(base.fingerprints[seed] != other.fingerprints[seed] for seed in common):
            different.insert(0, "images")
        if different:
            print(f"note: {name} and {names[0]} differ in {', '.join(different)}.", file=sys.stderr)
        if other.best.keys() != base.best.keys():
            print(f"note: {name} and {names[0]} have different seeds; common ones are paired.", file=sys.stderr)


def _different_settings(base: SeedResults, other: SeedResults) -> list[str]:
    """Differing settings: network, length and precision; of the same method all, of the same plug-in its own, too."""
    found, known = dict(leaves(other.config)), dict(leaves(base.config))
    compared = ["network.", "method.settings.epochs", "method.settings.batch_size", "precision"]
    if other.config["name"] == base.config["name"]:
        compared += ["method."]
    names = [name for name in dict.fromkeys([*known, *found]) if name.startswith(tuple(compared))]
    if other.config["flatness"] != base.config["flatness"]:
        names = [name for name in names if not name.startswith("method.flatness")]
    return [name for name in names if found.get(name) != known.get(name)]


def _student_interval(differences: np.ndarray, level: float) -> tuple[float | None, float | None]:
    if len(differences) < 2:
        return None, None
    from scipy.stats import t  # a second to import

    half = t.ppf((1 + level) / 2, len(differences) - 1) * differences.std(ddof=1) / math.sqrt(len(differences))
    return float(differences.mean() - half), float(differences.mean() + half)
