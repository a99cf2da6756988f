"""What a ranking of architectures by metrics is made of; what would do nothing, or fail later, is refused."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from genas.commands.evaluation import ContextRecipe
from genas.commands.metric_checks import check_inputs, refuse_needless_join, refuse_unread
from genas.commands.paths import absolute_options, listed_folders
from genas.commands.ranking_sample import sample
from genas.data import DataOptions
from genas.errors import UnreadSettingError
from genas.metrics import Combined, Join, Metric, RankingSettings, ScoringSettings, parse_metric, table_fingerprints
from genas.spaces import Architecture
from genas.supernet.supernet_run import open_supernet
from genas.tables import Column, Table, dataset_of, is_part

NO_RUN = "none"
_DEFAULT_METRICS = ("angle", "loss", "accuracy", "flatness", "angle+flatness")


@final
@dataclass(frozen=True, eq=False)
class RankingPlan:
    """Everything that the result of ``genas rank`` depends on, described at :func:`genas.commands.rank.rank`.

    Args:
        runs: Folders of the supernets, absolute; none: metrics that need no supernet.
        metrics: The metrics by their labels, from :func:`labelled_metrics`.
        table: Ground truth.
        truth: Its columns.
        samples: Number of architectures, ``all``, or ``None``: 300, or all where there are fewer.
        unique: Whether to rank one architecture of each isomorphism class.
        join: How several metrics in one are joined.
        baselines: Whether to rank by baselines, too.
        scoring: Settings of the evaluation of subnets.
        statistics: Details of the statistics.
        data: Data set where there is no supernet, with an absolute path if it has one; ``None``: no images.
        data_options: Its options.
        seed: Root seed.
        sample_seed: Seed of the sample and of the bootstrap.
        device: The device.
        precision: The precision, ``fp32`` or ``bf16``.

    Raises:
        UnreadSettingError: If nothing reads a setting.
        ValueError: If there is nothing to rank by, or a supernet is of another space than the table.
    """

    runs: Sequence[Path]
    metrics: Mapping[str, Metric]
    table: Table
    truth: Sequence[Column]
    samples: int | Literal["all"] | None
    unique: bool
    join: Join
    baselines: bool
    scoring: ScoringSettings
    statistics: RankingSettings
    data: str | None
    data_options: DataOptions
    seed: int
    sample_seed: int
    device: str
    precision: str

    def __post_init__(self) -> None:
        if self.runs and (self.data is not None or self.data_options != DataOptions()):
            raise UnreadSettingError(
                "data and its options are for runs none, as a supernet brings its own images", "data", "data_options"
            )
        if not self.runs and self.data is None and self.data_options != DataOptions():
            raise UnreadSettingError("there are options of the data set, but no --data", "data_options")
        for run in self.runs:
            _, config = open_supernet(run)
            if config.space != self.table.space.name:
                raise ValueError(
                    f"The supernet and the table must be of one space, but {run} is of {config.space} and the table "
                    f"of {self.table.space.name}; give another --table."
                )
        refuse_needless_join(self.join, self.metrics.values())
        refuse_unread(self.scoring, self.metrics.values() if self.runs else ())
        if not self.metrics and not self.baselines:
            raise ValueError("There must be a metric or a baseline to rank by, but there is none; give --metrics.")

    @functools.cached_property
    def architectures(self) -> Sequence[Architecture]:
        """The sample, in lexicographic order."""
        return sample(self.table, self.truth, self.samples, self.sample_seed, unique=self.unique)

    @property
    def recipes(self) -> list[ContextRecipe]:
        """How the context of each supernet, or of the one without a supernet, is made."""
        supernets: Sequence[Path | None] = self.runs or [None]
        return [
            ContextRecipe(
                run,
                self.scoring,
                self.seed,
                self.device,
                self.precision,
                self.table.space.name,
                self.data,
                self.data_options,
            )
            for run in supernets
        ]

    def folder(self, out: Path | None) -> Path:
        """The folder of the results, by default one in that of the first supernet."""
        if out is not None:
            return out
        if not self.runs:
            raise ValueError("A ranking without a supernet needs a folder for its results; give it with --out.")
        settings = self.settings(self.runs[0])
        name = re.sub(r"[^\w.+=-]+", "_", f"{self.table.name}-{settings['samples']}")
        return self.runs[0] / "rankings" / f"{name}-{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"

    def settings(self, folder: Path) -> dict[str, Any]:
        """The settings of a run in a folder."""
        return {
            "runs": self._runs_from(folder),
            "metrics": list(self.metrics),
            "tables in metrics": table_fingerprints(self.metrics.values()),
            "table": {"name": self.table.name, "fingerprint": self.table.fingerprint},
            "truth": list(map(str, self.truth)),
            "samples": "all" if self.samples == "all" else len(self.architectures),
            "unique": self.unique,
            "join": self.join,
            "baselines": self.baselines,
            "scoring": self.scoring,
            "statistics": self.statistics,
            "data": self.data,
            "data_options": absolute_options(self.data_options),
            "seed": self.seed,
            "sample_seed": self.sample_seed,
            "device": self.device.partition(":")[0],
            "precision": self.precision,
        }

    def check(self) -> None:
        """Refuse what would fail only later, such as missing inputs of a metric."""
        first, *others = self.recipes
        check_inputs(first.context(), self.metrics.values(), self.architectures)
        for recipe in others:
            recipe.context()

    @property
    def notes(self) -> list[str]:
        """What a user may not expect, in sentences."""
        if self.data is not None:
            others = other_data([("untrained networks", dataset_of(self.data))], self.truth)
        else:
            others = other_data([(run.name, dataset_of(open_supernet(run)[1].data)) for run in self.runs], self.truth)
        found = [f"the truth is of another data set: {others}."] if others else []
        if self.baselines and not self.runs and self.data is None:
            found.append("without the size of the images params and macs are no baselines here; give it with --data.")
        return found

    def _runs_from(self, folder: Path) -> list[str]:
        """Paths of the supernets: relative to the first one if the ranking lies in it and moves with it."""
        if self.runs and folder.resolve().is_relative_to(self.runs[0]):
            start = self.runs[0]
            # Windows has no relative path from one drive to another.
            return [os.path.relpath(each, start) if each.drive == start.drive else str(each) for each in self.runs]
        return list(map(str, self.runs))


def listed_runs(text: str) -> list[Path]:
    """Absolute paths of supernets' folders.

    Args:
        text: The folders, separated by commas, or ``none``.

    Returns:
        The folders; empty for ``none``.

    Raises:
        ValueError: If one is missing or given twice.
    """
    names = [name.strip() for name in text.split(",")]
    if "" in names or (NO_RUN in names and len(names) > 1):
        raise ValueError(f"runs must be folders separated by commas, or {NO_RUN}, but got {text!r}.")
    folders = [] if names == [NO_RUN] else [folder.resolve() for folder in listed_folders(text)]
    if len(set(folders)) < len(folders):
        raise ValueError(f"Each run must be given once, but got {text!r}.")
    return folders


def labelled_metrics(metrics: str | Sequence[str] | None, join: Join, *, has_supernet: bool) -> dict[str, Metric]:
    """Metrics by their labels in results: their text, after a minus where less is better.

    Args:
        metrics: The metrics, as one text separated by commas or one by one; ``None``: the usual ones.
        join: How several metrics in one are joined.
        has_supernet: Whether there is a supernet; without one the usual metrics are none.

    Returns:
        The metrics in their order.

    Raises:
        KeyError: If there is no metric of that name.
        ValueError: If one has another form or is given twice.
    """
    texts = (_DEFAULT_METRICS if has_supernet else ()) if metrics is None else metrics
    texts = split_expressions(texts) if isinstance(texts, str) else texts
    labelled: dict[str, Metric] = {}
    for text in texts:
        metric = _unwrapped(parse_metric(text, join=join))
        label = text.strip() if metric.higher_is_better else f"-{text.strip()}"
        if label in labelled or metric in labelled.values():
            raise ValueError(f"Each metric must be given once, but {text!r} was given twice.")
        labelled[label] = metric
    return labelled


def _unwrapped(metric: Metric) -> Metric:
    """A combination of one metric as that metric, whose scores have a meaning of their own."""
    if isinstance(metric, Combined) and len(metric.terms) == 1 and metric.terms[0].gamma == 1:
        return metric.terms[0].metric
    return metric


def other_data(trained_on: Sequence[tuple[str, str]], truth: Sequence[Column]) -> str:
    """Describe metrics that see other images than those of the truth.

    Args:
        trained_on: Names of the networks, and the data set of each.
        truth: The columns of truth.

    Returns:
        A note that names those trained on other data than the truth; empty if there are none.
    """
    others = []
    for name, dataset in trained_on:
        strange = [str(column) for column in truth if not is_part(column.dataset, dataset)]
        if strange:
            others.append(f"{name} saw {dataset}, not the images of {', '.join(strange)}")
    return "; ".join(others)


def split_expressions(text: str) -> list[str]:
    """Split a list of metrics at its commas, but not at those inside parentheses, brackets and quotes.

    Args:
        text: Like ``angle,flatness(stds=[1e-3,2e-3])``.

    Returns:
        The expressions.

    Example:
        >>> split_expressions("angle, flatness(stds=[1e-3,2e-3]), table(path='a (1, 2.npz')")
        ['angle', 'flatness(stds=[1e-3,2e-3])', "table(path='a (1, 2.npz')"]
    """
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote or letter in "'\"":
            quote = letter if not quote else "" if letter == quote else quote
        else:
            depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
