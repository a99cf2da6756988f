"""``genas rank``."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from genas.commands.evaluation import ContextRecipe, check_inputs, refuse_needless_join, refuse_unread, worker_pool
from genas.commands.paths import absolute_data, absolute_options, listed_folders
from genas.commands.ranking_sample import Scorer, is_whole, sample
from genas.commands.reporting import say
from genas.commands.reporting import table as text_table
from genas.data import DataOptions
from genas.devices import device_facts, keep_freed_memory, resolve_device, resolve_precision
from genas.errors import UnreadSettingError
from genas.files import write_json, write_text
from genas.metrics import (
    Combined,
    Join,
    Metric,
    RankingSettings,
    ScoringSettings,
    noise_ceiling,
    parse_metric,
    resample,
    table_fingerprints,
)
from genas.report import Agreement, RankedMetric, Ranking, draw_ranking, scores_csv
from genas.runs import Run
from genas.seeding import generator
from genas.spaces import Architecture
from genas.supernet.project import open_supernet
from genas.tables import Column, Table, dataset_of, is_part, load_table

NO_RUN = "none"
_DEFAULT_METRICS = ("angle", "loss", "accuracy", "flatness", "angle+flatness")


def rank(
    runs: str,
    metrics: str | Sequence[str] | None = None,
    table: str = "shipped",
    truth: tuple[str, ...] = (),
    samples: int | Literal["all"] | None = None,
    unique: bool | None = None,
    out: Path | None = None,
    join: Join = "sum",
    baselines: bool = True,
    figures: bool = True,
    scoring: ScoringSettings = ScoringSettings(),  # noqa: B008 (frozen)
    statistics: RankingSettings = RankingSettings(),  # noqa: B008 (frozen)
    data: str | None = None,
    data_options: DataOptions = DataOptions(),  # noqa: B008 (frozen)
    seed: int = 0,
    sample_seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    progress: bool = True,
) -> None:
    """Measure how well metrics rank architectures, against the accuracies of a table.

    For every metric: Kendall's tau-b, tau with ties broken as RLNAS does, Spearman's correlation, tau among the truly
    best, regret (accuracy that is lost by taking the best-scored), precision (share of the best-scored that are truly
    best), with bootstrap intervals where the architectures are a sample of their space; over several supernets mean and
    standard deviation. Also baselines that read the architecture only, and the highest tau that the noise of the truth
    allows. Writes result.json, scores.csv and figures. The same command continues a ranking that was interrupted: every
    measurement is kept in the supernets' folders.

    Args:
        runs: Folders of supernets, separated by commas, written by genas train-supernet; or none, for metrics that need
            no supernet.
        metrics: Metrics, separated by commas, such as angle,loss,flatness(alpha=0.5),angle+16*flatness. A metric of
            which less is better, such as loss, is shown with a minus. By default angle, loss, accuracy, flatness and
            angle+flatness, or without a supernet only the baselines.
        table: File of a table, or shipped for the one of genas.
        truth: Columns of the table, separated by commas, such as cifar10,cifar100/test/200; by default the test
            accuracy of every data set after the longest training, mean over the seeds; without any, the validation
            accuracy.
        samples: Number of architectures, drawn at random from those that have all the truths, or all; by default 300,
            or all where there are fewer.
        unique: Whether to rank only one architecture of each isomorphism class; by default where the table has one
            training per class.
        out: Folder of the ranking; by default a folder in RUN/rankings of the first supernet.
        join: How several metrics in one are joined: sum (GeNAS), standardized, rank, or log_rank (AZ-NAS).
        baselines: Whether to rank by costs, counts and chance, too; for these, more is better.
        figures: Whether to draw the scores of every metric against the truth.
        scoring: Settings of the evaluation of subnets.
        statistics: Details of the statistics.
        data: Data set for metrics that need images but no supernet, where runs is none.
        data_options: Options of the data set, where RUNS is none.
        seed: Root seed of the weight noise and of the draws of images, as in genas evolve.
        sample_seed: Seed of the sample of architectures and of the bootstrap.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32 or bf16.
        workers: Processes that evaluate subnets, one thread each; by default all cores on a CPU, 1 on a GPU. The result
            does not depend on it.
        progress: Whether to show progress bars.
    """
    folders = _folders(runs)
    if folders and (data is not None or data_options != DataOptions()):
        raise UnreadSettingError(
            "data and its options are for runs none, as a supernet brings its own images", "data", "data_options"
        )
    if not folders and data is None and data_options != DataOptions():
        raise UnreadSettingError("there are options of the data set, but no --data", "data_options")
    known = load_table(table)
    _check_supernets(folders, known)
    columns = known.find_truths(truth) or known.default_truths(or_valid=True)
    asked = _asked(metrics, join, bool(folders))
    refuse_unread(scoring, asked.values() if folders else ())
    if not asked and not baselines:
        raise ValueError("There must be a metric or a baseline to rank by, but there is none; give --metrics.")
    only_unique = known.isomorphic if unique is None else unique
    data = None if data is None else absolute_data(data, data_options.data_root)
    where = resolve_device(device)
    facts = device_facts(where, resolve_precision(precision, where))
    architectures = sample(known, columns, samples, sample_seed, unique=only_unique)
    settings = {
        "runs": _runs_as_kept(folders, out),
        "metrics": list(asked),
        "tables in metrics": table_fingerprints(asked.values()),
        "table": {"name": known.name, "fingerprint": known.fingerprint},
        "truth": list(map(str, columns)),
        "samples": "all" if samples == "all" else len(architectures),
        "unique": only_unique,
        "join": join,
        "baselines": baselines,
        "scoring": scoring,
        "statistics": statistics,
        "data": data,
        "data_options": absolute_options(data_options),
        "seed": seed,
        "sample_seed": sample_seed,
        "device": where.type,
        "precision": facts["precision"],
    }
    keep_freed_memory()
    torch.set_num_threads(1)  # as in the workers, so that this process has the same results
    supernets: Sequence[Path | None] = folders or [None]
    recipes = [
        ContextRecipe(run, scoring, seed, str(where), facts["precision"], known.space.name, data, data_options)
        for run in supernets
    ]
    _note_other_data(_trained_on(folders, data), columns)
    check_inputs(recipes[0].context(), asked.values(), architectures)
    with (
        Run.create(_place(out, folders, known, settings), {"command": "rank", **settings}, facts) as opened,
        worker_pool(workers, where, asked.values()) as executor,
    ):
        scorer = Scorer(known.space, architectures, executor, progress)
        scored = scorer.scores(recipes, asked, opened.scores, baselines=baselines)
        whole = is_whole(known.space, architectures)  # no sample, so nothing to infer from it
        count = 0 if whole else statistics.resamples
        resamples = resample(len(architectures), count, generator(sample_seed, "ranking bootstrap"))
        rankings = [
            Ranking.of(
                column,
                known.values(column, architectures),
                noise_ceiling(known, column, architectures, statistics, sample_seed),
                scored,
                resamples,
                statistics,
            )
            for column in columns
        ]
        names = [str(each) for each in folders] or [NO_RUN]
        _conclude(opened, known, architectures, rankings, names, statistics, whole=whole)
        if figures:
            _draw(opened, rankings, statistics.trained)
        say(f"\nresults: {opened.path}")


def _folders(runs: str) -> list[Path]:
    names = [name.strip() for name in runs.split(",")]
    if "" in names or (NO_RUN in names and len(names) > 1):
        raise ValueError(f"runs must be folders separated by commas, or {NO_RUN}, but got {runs!r}.")
    folders = [] if names == [NO_RUN] else [folder.resolve() for folder in listed_folders(runs)]
    if len(set(folders)) < len(folders):
        raise ValueError(f"Each run must be given once, but got {runs!r}.")
    return folders


def _check_supernets(folders: Sequence[Path], known: Table) -> None:
    """Refuse supernets of another space than the table's, before anything is measured."""
    for folder in folders:
        _, config = open_supernet(folder)
        if config.space != known.space.name:
            raise ValueError(
                f"The supernet and the table must be of one space, but {folder} is of {config.space} and the table of "
                f"{known.space.name}; give another --table."
            )


def _runs_as_kept(folders: Sequence[Path], out: Path | None) -> list[str]:
    """Paths of the supernets in the settings: relative to the first one if the ranking lies in it and moves with it."""
    if folders and (out is None or out.resolve().is_relative_to(folders[0])):
        start = folders[0]
        # Windows has no relative path from one drive to another.
        return [os.path.relpath(each, start) if each.drive == start.drive else str(each) for each in folders]
    return list(map(str, folders))


def _asked(metrics: str | Sequence[str] | None, join: Join, has_supernet: bool) -> dict[str, Metric]:
    """The metrics by their labels."""
    texts = (_DEFAULT_METRICS if has_supernet else ()) if metrics is None else metrics
    texts = split_expressions(texts) if isinstance(texts, str) else list(texts)
    parsed = [_unwrapped(parse_metric(text, join=join)) for text in texts]
    refuse_needless_join(join, parsed)
    asked: dict[str, Metric] = {}
    for text, metric in zip(texts, parsed, strict=True):
        label = text.strip() if metric.higher_is_better else f"-{text.strip()}"
        if label in asked or metric in asked.values():
            raise ValueError(f"Each metric must be given once, but {text!r} was given twice.")
        asked[label] = metric
    return asked


def _unwrapped(metric: Metric) -> Metric:
    """A combination of one metric as that metric, whose scores have a meaning of their own."""
    if isinstance(metric, Combined) and len(metric.terms) == 1 and metric.terms[0].gamma == 1:
        return metric.terms[0].metric
    return metric


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


def _place(out: Path | None, folders: Sequence[Path], table: Table, settings: Mapping[str, Any]) -> Path:
    if out is not None:
        return out
    if not folders:
        raise ValueError("A ranking without a supernet needs a folder for its results; give it with --out.")
    name = re.sub(r"[^\w.+=-]+", "_", f"{table.name}-{settings['samples']}")
    return folders[0] / "rankings" / f"{name}-{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"


def _trained_on(folders: Sequence[Path], data: str | None) -> list[tuple[str, str]]:
    """Names of the networks, and the data set on which each was trained, or is run untrained."""
    if data is not None:
        return [("untrained networks", dataset_of(data))]
    return [(folder.name, dataset_of(open_supernet(folder)[1].data)) for folder in folders]


def _note_other_data(trained_on: Sequence[tuple[str, str]], columns: Sequence[Column]) -> None:
    """Note in one line that metrics saw other images than those of the truth."""
    others = []
    for name, dataset in trained_on:
        strange = [str(column) for column in columns if not is_part(column.dataset, dataset)]
        if strange:
            others.append(f"{name} saw {dataset}, not the images of {', '.join(strange)}")
    if others:
        print(f"note: the truth is of another data set: {'; '.join(others)}.", file=sys.stderr)


def _conclude(
    opened: Run,
    table: Table,
    architectures: Sequence[Architecture],
    rankings: Sequence[Ranking],
    runs: Sequence[str],
    statistics: RankingSettings,
    *,
    whole: bool,
) -> None:
    """Write and print the results."""
    agreement = Agreement.of([each.metric for each in rankings[0].metrics if not each.metric.is_baseline])
    result = {
        "space": table.space.name,
        "table": {
            "name": table.name,
            "source": table.source,
            "checksum": table.checksum,
            "fingerprint": table.fingerprint,
        },
        "architectures": len(architectures),
        "runs": runs,
        "rankings": [ranking.plain(runs) for ranking in rankings],
        "agreement": agreement.plain(),
    }
    write_json(opened.result, result)
    write_text(opened.path / "scores.csv", scores_csv(table.space, architectures, rankings, runs))
    say(f"{len(architectures)} architectures of {table.space.name} against {table.name}.")
    for ranking in rankings:
        header, *rows = ranking.rows(statistics)
        say(f"\n{ranking.column}: {ranking.ceiling_text()}\n\n{text_table(header, rows)}")
    say(f"\n{_legend(rankings[0].metrics, len(runs), statistics, whole=whole)}")
    if compared := agreement.rows():
        say(f"\n{text_table(compared[0], compared[1:])}")


def _draw(opened: Run, rankings: Sequence[Ranking], marked: int) -> None:
    opened.figures.mkdir(exist_ok=True)
    for ranking in rankings:
        for suffix in ("svg", "png"):
            name = str(ranking.column).replace("/", "-")
            draw_ranking(ranking, opened.figures / f"{name}.{suffix}", marked=marked)


def _legend(metrics: Sequence[RankedMetric], supernets: int, statistics: RankingSettings, *, whole: bool) -> str:
    """Explanation of the signs that occur in the tables."""
    counts = {len(each.statistics) for each in metrics}
    level = f"{100 * statistics.level:g}%"
    sentences = {
        f"±: standard deviation over {supernets} supernets.": supernets in counts and supernets > 1,
        f"[ ]: {level} bootstrap intervals over architectures.": 1 in counts and statistics.resamples > 0 and not whole,
        "The whole space is ranked, no sample of it: no intervals.": 1 in counts and whole,
        "*: a baseline, more is better.": any(each.metric.is_baseline for each in metrics),
        "Regret in percentage points; failed: not finite, ranked last.": True,
    }
    return " ".join(sentence for sentence, holds in sentences.items() if holds)
