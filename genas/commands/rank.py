"""``genas rank``."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from genas.commands.evaluation import worker_pool
from genas.commands.paths import absolute_data, folder_names
from genas.commands.ranking_plan import NO_RUN, RankingPlan, labelled_metrics, listed_runs
from genas.commands.ranking_sample import sampled_share
from genas.commands.ranking_scores import Scorer
from genas.commands.reporting import say
from genas.commands.reporting import table as text_table
from genas.data import DataOptions
from genas.devices import device_facts, keep_freed_memory, resolve_device, resolve_precision, resolve_workers
from genas.files import write_json, write_text
from genas.metrics import Join, RankingSettings, ScoringSettings, noise_ceiling, resample
from genas.report import Agreement, Ranking, ScoredMetric, draw_ranking, scores_csv
from genas.runs import Run
from genas.seeding import generator
from genas.tables import load_table


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
    best), with bootstrap intervals (of regret: of its mean over samples of this size) where the architectures are a
    sample of their space; over several supernets mean and standard deviation. Also baselines that read the architecture
    only, and the highest tau that the noise of the truth allows. Writes result.json, scores.csv and figures. The same
    command continues a ranking that was interrupted: every measurement is kept in the supernets' folders.

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
    supernets, known = listed_runs(runs), load_table(table)
    where = resolve_device(device)
    processes = resolve_workers(workers, where)
    facts = device_facts(where, resolve_precision(precision, where))
    plan = RankingPlan(
        runs=supernets,
        metrics=labelled_metrics(metrics, join, has_supernet=bool(supernets)),
        table=known,
        truth=known.find_truths(truth) or known.default_truths(or_valid=True),
        samples=samples,
        unique=known.isomorphic if unique is None else unique,
        join=join,
        baselines=baselines,
        scoring=scoring,
        statistics=statistics,
        data=None if data is None else absolute_data(data, data_options.data_root),
        data_options=data_options,
        seed=seed,
        sample_seed=sample_seed,
        device=str(where),
        precision=facts["precision"],
    )
    keep_freed_memory()
    torch.set_num_threads(1)  # as in the workers, so that this process has the same results
    for note in plan.notes:
        print(f"note: {note}", file=sys.stderr)
    plan.check()
    folder = plan.folder(out)
    with (
        Run.create(folder, {"command": "rank", **plan.settings(folder)}, facts) as opened,
        worker_pool(processes, plan.metrics.values()) as executor,
    ):
        scorer = Scorer(known.space, plan.architectures, executor, progress)
        scored = scorer.scores(plan.recipes, plan.metrics, opened.scores, baselines=baselines)
        sampled = sampled_share(known.space, plan.architectures)
        rankings = _rankings(plan, scored, sampled)
        _conclude(opened, plan, rankings, sampled)
        if figures:
            _draw(opened, rankings, statistics.trained)
        say(f"\nresults: {opened.path}")


def _rankings(plan: RankingPlan, scored: Sequence[ScoredMetric], sampled: float) -> list[Ranking]:
    """One ranking for each column of truth, of architectures that are a share of their space."""
    resamples = 0 if sampled == 1 else plan.statistics.resamples  # nothing is to be inferred from a whole
    chosen = resample(len(plan.architectures), resamples, generator(plan.sample_seed, "ranking bootstrap"))
    return [
        Ranking.of(
            column,
            plan.table.values(column, plan.architectures),
            noise_ceiling(plan.table, column, plan.architectures, plan.statistics, plan.sample_seed),
            scored,
            chosen,
            plan.statistics,
            sampled,
        )
        for column in plan.truth
    ]


def _conclude(opened: Run, plan: RankingPlan, rankings: Sequence[Ranking], sampled: float) -> None:
    """Write and print the results."""
    table, architectures, runs = plan.table, plan.architectures, folder_names(plan.runs) or [NO_RUN]
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
        header, *rows = ranking.rows(plan.statistics)
        about = [f"{ranking.column}: {ranking.ceiling_text()}", ranking.ties_text()]
        say("\n" + "\n".join(filter(None, about)) + f"\n\n{text_table(header, rows)}")
    say(f"\n{_legend(rankings, len(runs), plan.statistics, sampled)}")
    if compared := agreement.rows():
        say(f"\n{text_table(compared[0], compared[1:])}")


def _draw(opened: Run, rankings: Sequence[Ranking], marked: int) -> None:
    opened.figures.mkdir(exist_ok=True)
    for ranking in rankings:
        for suffix in ("svg", "png"):
            name = str(ranking.column).replace("/", "-")
            draw_ranking(ranking, opened.figures / f"{name}.{suffix}", marked=marked)


def _legend(rankings: Sequence[Ranking], supernets: int, statistics: RankingSettings, sampled: float) -> str:
    """Explanation of the signs that occur in the tables."""
    metrics = rankings[0].metrics
    counts = {len(each.statistics) for each in metrics}
    ceilings = [each.ceiling.low for each in rankings if each.ceiling is not None]
    level = f"{100 * statistics.level:g}%"
    percent = math.floor(100 * sampled)
    share = f", {percent}% of the space" if percent else ""
    sentences = {
        f"±: standard deviation over {supernets} supernets.": supernets in counts and supernets > 1,
        f"[ ]: {level} bootstrap intervals over architectures{share}; of regret, of its mean over samples of this "
        "size, by random halves.": 1 in counts and statistics.resamples > 0 and sampled < 1,
        "The whole space is ranked, no sample of it: no intervals of the metrics.": 1 in counts and sampled == 1,
        f"[ ] of the noise ceiling: {level} over the architectures trained repeatedly.": np.isfinite(ceilings).any(),
        "*: a baseline, more is better.": any(each.metric.is_baseline for each in metrics),
        "Regret in percentage points; failed: not finite, ranked last.": True,
    }
    return " ".join(sentence for sentence, holds in sentences.items() if holds)
