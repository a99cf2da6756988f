"""``genas evolve``."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch

from genas.commands.evaluation import (
    ContextRecipe,
    Scores,
    check_inputs,
    refuse_needless_join,
    refuse_unread,
    score_file,
    worker_pool,
)
from genas.commands.reporting import say
from genas.commands.reporting import table as text_table
from genas.commands.results import draw_best, result_entry, short_name
from genas.commands.standalone_network import StandaloneNetwork
from genas.commands.truth import Truth
from genas.devices import device_facts, keep_freed_memory, resolve_device, resolve_precision
from genas.errors import UnreadSettingError
from genas.files import write_json
from genas.metrics import (
    POOL_JOINS,
    Angle,
    Context,
    CostOf,
    Flatness,
    Join,
    Macs,
    Metric,
    Noise,
    Params,
    ScoringSettings,
    TableAccuracy,
    architecture_cost,
    parse_metric,
    parse_terms,
    table_fingerprints,
)
from genas.runs import Run, leaves
from genas.scores import ScoreStore
from genas.search import (
    Batch,
    Constraint,
    Evolution,
    EvolutionConfig,
    RandomSearch,
    Searcher,
    SearchResult,
    search,
)
from genas.seeding import generator
from genas.spaces import Architecture, Cost, SearchSpace
from genas.spaces.neighborhoods import is_listable
from genas.supernet.project import load_supernet

SearcherName = Literal["evolution", "random", "exhaustive"]

_LONGEST_EXPRESSION = 120
"""Letters of a metric in the name of a folder; file systems allow 255 for the whole name."""


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
        max_macs: Most multiply-accumulates per image.
        max_params: Most trainable weights.
        cost_of: Whose cost is limited and reported: standalone (the network that is trained from scratch) or subnet.
        standalone: Size of the network that is trained from scratch; by default the published one.
        skip_twins: Score no two architectures that are the same path of the supernet, such as cells of NAS-Bench-201
            that differ in dead edges. The published codes score both.
        table: Ground truth in which the best architectures are looked up: a file, or shipped for the table of genas.
        truth: Columns of the table, separated by commas, such as cifar10,cifar100/test/200; by default the test
            accuracy on the supernet's data set.
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
    if searcher == "exhaustive" and search_seed is not None:
        raise UnreadSettingError("an exhaustive search needs no seed of its own", "search_seed")
    drawn_by = seed if search_seed is None else search_seed
    unusual = {"max_macs": max_macs, "max_params": max_params, "search_seed": None if drawn_by == seed else drawn_by}
    folder = out or run / "searches" / _folder_name(metric, join, searcher, unusual, seed)
    where = resolve_device(device)
    compute = resolve_precision(precision, where)
    run, precision = run.resolve(), device_facts(where, compute)["precision"]
    moves_along = folder.resolve().is_relative_to(run)
    if cost_of == "subnet" and standalone != StandaloneNetwork():
        raise UnreadSettingError(
            "standalone is the size of another network than the subnet, whose cost counts", "standalone"
        )
    own = {
        "angle": Angle(repeat_dilated_weight),
        "flatness": Flatness(noise, alpha, epsilon),
        "macs": Macs(cost_of, standalone.channels, standalone.cells),
        "params": Params(cost_of, standalone.channels, standalone.cells),
    }
    scored_by = parse_metric(metric, settings=own, join=join)
    settings = {
        "run": os.path.relpath(run, folder.resolve()) if moves_along else run,
        "metric": metric,
        "join": join,
        "noise": noise,
        "alpha": alpha,
        "epsilon": epsilon,
        "repeat_dilated_weight": repeat_dilated_weight,
        "scoring": scoring,
        "searcher": searcher,
        "evolution": evolution,
        "max_macs": max_macs,
        "max_params": max_params,
        "cost_of": cost_of,
        "standalone": standalone,
        "skip_twins": skip_twins,
        "seed": seed,
        "search_seed": drawn_by,
        "device": where.type,
        "precision": precision,
        "tables in metrics": table_fingerprints([scored_by]),
    }
    _refuse_unused(scored_by, own)
    refuse_unread(scoring, [scored_by])
    refuse_needless_join(join, [scored_by])
    _refuse_partial_tables(scored_by)
    _check_searcher(searcher, evolution, join)
    keep_freed_memory()
    torch.set_num_threads(1)  # as in the workers: their results and this process' are the same
    trained = load_supernet(run, device=str(where), precision=precision)
    truths = Truth.load(table, truth, trained.network.space, trained.config.data)
    untried = Context(trained, scoring, seed=seed)
    cost = functools.partial(
        architecture_cost, untried, of=cost_of, channels=standalone.channels, cells=standalone.cells
    )
    limited = max_macs is not None or max_params is not None
    constraint = Constraint(cost, max_macs, max_params) if limited else None
    # What is refused must not bind a folder: wrong inputs and sizes, and limits that nothing satisfies.
    example = untried.space.sample(generator(seed, "input check"))
    check_inputs(untried, [scored_by], [example])
    cost(example)
    if constraint is not None:
        _searcher(searcher, untried.space, evolution, constraint, drawn_by, skip_twins=skip_twins).ask()
    with (
        Run.create(folder, {"command": "evolve", **settings}, device_facts(where, compute)) as opened,
        ScoreStore(score_file(run, opened.scores)) as store,
        worker_pool(workers, where, [scored_by]) as executor,
    ):
        context = Context(trained, scoring, seed=seed, store=store)
        recipe = ContextRecipe(run, scoring, seed, str(where), precision)
        exhaustive = searcher == "exhaustive"
        scores = Scores(context, scored_by, executor, recipe, progress=progress and exhaustive)
        opened.keep_log(lambda _: False)  # a continued search replays its log too
        found = search(
            _searcher(searcher, context.space, evolution, constraint, drawn_by, skip_twins=skip_twins),
            scores,
            progress=progress and not exhaustive,  # of a single batch
            keep=top,
            on_batch=lambda batch: opened.log(_summary(batch)),
        )
        parts = {name: term.metric for name, term in parse_terms(metric, settings=own, join=join).items()}
        asked = {"metric": metric, "join": join, "searcher": searcher, "seed": seed, "search_seed": drawn_by}
        size = {"cost_of": cost_of, "standalone": dataclasses.asdict(standalone)}
        result = {**asked, **size, **_result(context, parts, found, cost, truths)}
        write_json(opened.result, result)
        draw_best(opened, context.space, found.best, f"{metric}, seed {seed}")
        _report(context, result, truths)
        say(f"\nresult:  {opened.result}\npicture: {opened.figures / 'best.svg'}")


def _folder_name(metric: str, join: Join, searcher: SearcherName, numbers: Mapping[str, int | None], seed: int) -> str:
    """Return the folder of a search, like ``neighborhood_angle_distance=2-max_macs=50000000-0``."""
    expression = re.sub(r"[^\w.+=-]+", "_", metric.replace(" ", "").replace("*", "x")).strip("_")  # no shell reads it
    if len(expression) > _LONGEST_EXPRESSION:
        digest = hashlib.sha256(metric.encode()).hexdigest()[:8]
        expression = f"{expression[:_LONGEST_EXPRESSION]}-{digest}"
    unusual = [*([] if join == "sum" else [join]), *([] if searcher == "evolution" else [searcher])]
    given = [f"{name}={value}" for name, value in numbers.items() if value is not None]
    return "-".join([expression, *unusual, *given, str(seed)])


def _within(metric: Metric) -> Iterator[Metric]:
    yield metric
    for part in metric.parts:
        yield from _within(part)


def _refuse_unused(metric: Metric, own: dict[str, Metric]) -> None:
    """An option of a metric that is not used, or that sets its own value in the text, would do nothing."""
    for name, options in {"angle": ["repeat_dilated_weight"], "flatness": ["noise", "alpha", "epsilon"]}.items():
        used = [_settings(each) for each in _within(metric) if each.name == name]
        default = _settings(type(own[name])())
        for option, value in _settings(own[name]).items():
            if value == default[option]:
                continue
            if not used:
                raise UnreadSettingError(f"{option} is read by {name}, which is not part of the metric", *options)
            if all(each.get(option, default[option]) != value for each in used):
                raise UnreadSettingError(f"each {name} in the metric has its own {option}", option)


def _check_searcher(searcher: SearcherName, evolution: EvolutionConfig, join: Join) -> None:
    """Refuse settings of another searcher."""
    if join in POOL_JOINS and searcher != "exhaustive":
        raise ValueError(
            f"A rank belongs to architectures that are scored together: join={join} needs the searcher exhaustive."
        )
    if searcher == "exhaustive" and evolution != EvolutionConfig():
        raise UnreadSettingError("evolution has settings of a search that is not exhaustive", "evolution")
    default = EvolutionConfig(evolution.population, evolution.generations)
    others = [f"evolution.{name}" for name, value in vars(evolution).items() if value != getattr(default, name)]
    if searcher == "random" and others:
        raise UnreadSettingError(
            "a random search has population and generations, but no other settings of the evolution", *others
        )


def _refuse_partial_tables(metric: Metric) -> None:
    """A search may come to any architecture: a table that lacks some would end it in the middle."""
    for each in _within(metric):
        if isinstance(each, TableAccuracy) and not each.is_total:
            raise ValueError(
                f"A search by a table needs the accuracy of every architecture, but {each.column} of "
                f"{each.table.name} has {len(each.table.covered(each.column)):,}; choose another metric or table."
            )


def _settings(metric: Metric) -> dict[str, Any]:
    """The arguments of a metric by their full names, like ``noise.kind``."""
    return dict(leaves(dataclasses.asdict(cast(Any, metric))))


def _searcher(
    kind: SearcherName,
    space: SearchSpace,
    evolution: EvolutionConfig,
    constraint: Constraint | None,
    seed: int,
    *,
    skip_twins: bool,
) -> Searcher:
    key = space.supernet_key if skip_twins else None
    if kind == "evolution":
        return Evolution(space, seed=seed, config=evolution, constraint=constraint, dedup_key=key)
    if kind == "random":
        budget, batch = evolution.population * evolution.generations, evolution.population
        return RandomSearch(space, seed=seed, evaluations=budget, batch=batch, constraint=constraint, dedup_key=key)
    if not is_listable(space):
        raise ValueError(f"An exhaustive search needs a space that can be listed, but {space.name} cannot; evolve it.")
    return RandomSearch(
        space, seed=seed, evaluations=space.size, batch=space.size, constraint=constraint, dedup_key=key
    )


def _summary(batch: Batch) -> dict[str, Any]:
    finite = batch.scores[np.isfinite(batch.scores)]
    return {
        "generation": batch.number + 1,
        "evaluations": len(batch.architectures),
        "failures": len(batch.scores) - len(finite),
        "best": float(finite.max()) if len(finite) else None,
        "mean": float(finite.mean()) if len(finite) else None,
    }


def _result(
    context: Context,
    parts: dict[str, Metric],
    found: SearchResult,
    cost: Callable[[Architecture], Cost],
    truths: Sequence[Truth],
) -> dict[str, Any]:
    architectures = [architecture for architecture, _ in found.top]
    values = {name: part.values(context, architectures).tolist() for name, part in parts.items()}
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
        "space": context.space.name,
        "evaluations": found.evaluations,
        "failures": found.failures,
        "finished_because": found.finished_because,
        "best": entries[0],
        "top": entries,
    }


def _report(context: Context, result: dict[str, Any], truths: Sequence[Truth]) -> None:
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
        f"{result['evaluations']:,} architectures of {context.space.name} scored by {result['metric']}: "
        f"{result['finished_because']}.\n"
    )
    say(text_table(["rank", "score", *names, "params", "macs", shown, *(str(each.column) for each in truths)], rows))
    say(f"\nbest: {result['best']['architecture']}")
    for known in truths:
        say(known.text(tuple(result["best"]["genes"])))
