"""``genas evolve``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genas.commands.evaluation import ContextRecipe, Scores, score_store, worker_pool
from genas.commands.evolve_plan import EvolvePlan, SearcherName
from genas.commands.reporting import say
from genas.commands.reporting import table as text_table
from genas.commands.results import draw_best, result_entry, short_name
from genas.commands.standalone_network import StandaloneNetwork
from genas.commands.truth import Truth
from genas.devices import device_facts, keep_freed_memory, resolve_device, resolve_precision, resolve_workers
from genas.files import write_json
from genas.metrics import Context, CostOf, Join, Noise, ScoringSettings
from genas.runs import Run
from genas.search import Batch, EvolutionConfig, SearchResult, search
from genas.supernet.supernet_run import load_supernet


def evolve(
    run: Path,
    out: Path | None = None,
    metric: str = "angle+flatness",
    join: Join = "sum",
    noise: Noise = Noise(),  # noqa: B008 (frozen)
    alpha: float = 1.0,
    epsilon: float = 0.0,
    repeat_dilated_weight: bool = False,
    scoring: ScoringSettings = ScoringSettings(),  # noqa: B008 (frozen)
    searcher: SearcherName = "evolution",
    evolution: EvolutionConfig = EvolutionConfig(),  # noqa: B008 (frozen)
    max_macs: int | None = None,
    max_params: int | None = None,
    cost_of: CostOf = "standalone",
    standalone: StandaloneNetwork = StandaloneNetwork(),  # noqa: B008 (frozen)
    skip_twins: bool = False,
    table: str | None = None,
    truth: tuple[str, ...] = (),
    seed: int = 0,
    search_seed: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    top: int = 10,
    progress: bool = True,
) -> None:
    """Search the subnets of a trained supernet.

    The same command continues a search that was interrupted: every measurement is kept in the supernet's folder. Writes
    result.json and pictures of the winner.

    Args:
        run: Folder of the supernet, written by genas train-supernet.
        out: Folder of the search; by default one in RUN/searches that is named after metric, join, searcher, limits and
            seeds.
        metric: Metrics joined by +, each with an optional weight, such as angle+16*flatness, and with settings where
            they differ from the options below, such as flatness(alpha=0.5) or neighborhood(angle, distance=2). Known:
            accuracy, top5, loss, angle, flatness; neighborhood(METRIC); naswot, synflow, log_synflow, grad_norm,
            jacob_cov, of untrained networks; macs, params, count, live_edges, random, of none;
            table(column='...', path='...'), the truth itself; and those of other packages.
        join: How several metrics are joined: sum (GeNAS: angles over pi, flatness over its first noise level, others as
            they are), standardized by the scores of random architectures, or by rank or log_rank (AZ-NAS: puts first
            what no metric ranks low), which need all architectures at once: the searcher exhaustive.
        noise: Weight noise of flatness.
        alpha: Weight of the loss at the first noise level in flatness.
        epsilon: Added to the denominator of flatness; the authors' code adds 1e-5.
        repeat_dilated_weight: Repeat the slip of the authors' angle on DARTS: dilated convolutions count their BN
            weight twice.
        scoring: Settings of the evaluation of subnets.
        searcher: evolution, random for as many random architectures, or exhaustive for all of a small space.
        evolution: Settings of the evolution; its population and generations are those of random, too.
        max_macs: Most multiply-accumulates per image, of the network that cost_of names.
        max_params: Most trainable weights of this network.
        cost_of: Whose cost is limited and reported: standalone (the network that is trained from scratch) or subnet.
        standalone: Size of the network that is trained from scratch; by default the published one.
        skip_twins: Score no two architectures that are the same path of the supernet, such as cells of NAS-Bench-201
            that differ in dead edges. The published codes score both.
        table: Ground truth in which the best architectures are looked up: a file, or shipped for the table of genas.
        truth: Columns of the table, separated by commas, such as cifar10,cifar100/test/200; by default the test
            accuracy on the supernet's data set, or its validation accuracy where there is none.
        seed: Root seed: of the draws of images, of the weight noise and of the searcher.
        search_seed: Seed of the searcher, if another one. Searches that differ in nothing else share all measurements.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32 or bf16.
        workers: Processes that evaluate subnets, one thread each; by default all cores on a CPU, 1 on a GPU. The result
            does not depend on it.
        top: How many of the best architectures to report.
        progress: Whether to show a progress bar.
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, but got {top}.")
    where = resolve_device(device)
    processes = resolve_workers(workers, where)
    facts = device_facts(where, resolve_precision(precision, where))
    plan = EvolvePlan(
        run=run.resolve(),
        metric=metric,
        join=join,
        noise=noise,
        alpha=alpha,
        epsilon=epsilon,
        repeat_dilated_weight=repeat_dilated_weight,
        scoring=scoring,
        searcher=searcher,
        evolution=evolution,
        max_macs=max_macs,
        max_params=max_params,
        cost_of=cost_of,
        standalone=standalone,
        skip_twins=skip_twins,
        seed=seed,
        search_seed=seed if search_seed is None else search_seed,
        device=where.type,
        precision=facts["precision"],
    )
    folder = out or run / "searches" / plan.folder_name
    keep_freed_memory()
    torch.set_num_threads(1)  # as in the workers: their results and this process' are the same
    trained = load_supernet(plan.run, device=str(where), precision=plan.precision)
    truths = Truth.load(table, truth, trained.network.space, trained.config.data)
    plan.try_out(Context(trained, scoring, seed=seed))  # what is refused must not bind a folder
    with (
        Run.create(folder, plan.settings(folder), facts) as opened,
        score_store(plan.run, opened.scores) as store,
        worker_pool(processes, [plan.scored_by]) as executor,
    ):
        context = Context(trained, scoring, seed=seed, store=store)
        recipe = ContextRecipe(plan.run, scoring, seed, str(where), plan.precision)
        exhaustive = searcher == "exhaustive"  # a single batch
        opened.keep_log(lambda _: False)  # a continued search replays its log too
        found = search(
            plan.make_searcher(context),
            Scores(context, plan.scored_by, executor, recipe, progress=progress and exhaustive),
            progress=progress and not exhaustive,
            keep=top,
            on_batch=lambda batch: opened.log(_summary(batch)),
        )
        result = _result(plan, context, found, truths)
        write_json(opened.result, result)
        draw_best(opened, context.space, found.best, f"{metric}, seed {seed}")
        _report(result, truths)
        say(f"\nresult:  {opened.result}\npicture: {opened.figures / 'best.svg'}")


def _summary(batch: Batch) -> dict[str, Any]:
    finite = batch.scores[np.isfinite(batch.scores)]
    return {
        "generation": batch.number + 1,
        "evaluations": len(batch.architectures),
        "failures": len(batch.scores) - len(finite),
        "best": float(finite.max()) if len(finite) else None,
        "mean": float(finite.mean()) if len(finite) else None,
    }


def _result(plan: EvolvePlan, context: Context, found: SearchResult, truths: Sequence[Truth]) -> dict[str, Any]:
    architectures, cost = [architecture for architecture, _ in found.top], plan.cost(context)
    values = {name: part.values(context, architectures).tolist() for name, part in plan.parts.items()}
    entries = [
        result_entry(
            context.space,
            rank + 1,
            architecture,
            score=score,
            metrics={name: column[rank] for name, column in values.items()},
            cost=cost(architecture),
            truths=truths,
        )
        for rank, (architecture, score) in enumerate(found.top)
    ]
    return {
        "metric": plan.metric,
        "join": plan.join,
        "searcher": plan.searcher,
        "seed": plan.seed,
        "search_seed": plan.search_seed,
        "cost_of": plan.cost_of,
        "standalone": dataclasses.asdict(plan.standalone),
        "space": context.space.name,
        "evaluations": found.evaluations,
        "failures": found.failures,
        "finished_because": found.finished_because,
        "best": entries[0],
        "top": entries,
    }


def _report(result: dict[str, Any], truths: Sequence[Truth]) -> None:
    names = list(result["best"]["metrics"])
    shown = "index" if "index" in result["best"] else "genes"
    rows = [
        [
            str(entry["rank"]),
            f"{entry['score']:.5g}",
            *[f"{entry['metrics'][name]:.5g}" for name in names],
            f"{entry['params'] / 1e6:.3f} M",
            f"{entry['macs'] / 1e6:.1f} M",
            short_name(entry),
            *["-" if place["accuracy"] is None else f"{place['accuracy']:.2f}" for place in entry["truth"].values()],
        ]
        for entry in result["top"]
    ]
    say(
        f"{result['evaluations']:,} architectures of {result['space']} scored by {result['metric']}: "
        f"{result['finished_because']}.\n"
    )
    say(text_table(["rank", "score", *names, "params", "macs", shown, *(str(each.column) for each in truths)], rows))
    say(f"\nbest: {result['best']['architecture']}")
    for known in truths:
        say(known.text(tuple(result["best"]["genes"])))
