"""``genas search``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch

from genas.commands.flatness_options import A2MChanges, FlatnessName, with_plug_in
from genas.commands.method_options import MethodChanges
from genas.commands.method_record import described, recorded
from genas.commands.paths import absolute_data, absolute_options
from genas.commands.reporting import say
from genas.commands.results import draw_best, result_entry
from genas.commands.search_folders import COMMAND, seed_folder, seeds_with_results
from genas.commands.search_summary import report_runs, summarize
from genas.commands.settings_options import SettingsChanges
from genas.commands.truth import Truth
from genas.data import DataOptions, ImageData
from genas.devices import device_facts, keep_freed_memory, resolve_device, resolve_precision, resolve_threads
from genas.errors import RunError, TrainingDiverged
from genas.files import write_json
from genas.runs import Run
from genas.search.differentiable import NA, DifferentiableSearch, Method, Numbers
from genas.search.differentiable import method as preset
from genas.spaces import SearchSpace, cost
from genas.spaces import space as space_by_name
from genas.supernet import CellNetwork, fit
from genas.supernet.fitting import check_checkpoint_seconds
from genas.supernet.supernet_run import NetworkOptions


def search_differentiable(
    run: Path,
    method: str = "darts",
    flatness: FlatnessName = "none",
    numbers: Numbers = "recommended",
    space: str = "nasbench201",
    data: str = "cluttered-digits",
    data_options: DataOptions = DataOptions(),  # noqa: B008 (frozen)
    network: NetworkOptions = NetworkOptions(),  # noqa: B008 (frozen)
    settings: SettingsChanges = SettingsChanges(),  # noqa: B008 (frozen)
    parts: MethodChanges = MethodChanges(),  # noqa: B008 (frozen)
    a2m: A2MChanges = A2MChanges(),  # noqa: B008 (frozen)
    na: NA = NA(),  # noqa: B008 (frozen)
    seed: int | None = None,
    seeds: tuple[int, ...] | None = None,
    table: str | None = None,
    truth: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    checkpoint_seconds: float = 60.0,
    progress: bool = True,
) -> None:
    """Search an architecture by descending in a relaxation of the space, the weights of a supernet alongside.

    The same command continues a search that was interrupted. Writes result.json and pictures of the architecture; the
    log has a line per epoch, with the architecture, the signs of a collapse and the losses.

    Args:
        run: Folder of the search; made if it does not exist.
        method: darts, darts-2nd, beta-darts, lambda-darts, darts-pt, darts-minus, sdarts-rs, sdarts-adv, pc-darts,
            darts-es, or one of another package.
        flatness: What looks for flat minima of the architecture: none, a2m or na.
        numbers: Whose numbers the method has: recommended, those of its published code (code), or those with which
            A2M's authors ran it (a2m-code).
        space: Search space: nasbench201, darts, darts7, s1, s2, s3, s4, or one of another package.
        data: Data set, as in genas train-supernet. Weights are trained on its training images, the architecture on the
            validation images.
        data_options: Options of the data set.
        network: Size of the supernet; BN inside the cells has no weight and bias unless affine is set.
        settings: Changes of the method's numbers; null leaves the method's own.
        parts: Changes of what the method is made of.
        a2m: Options of A2M.
        na: Options of NA.
        seed: Root seed of everything random; by default 0.
        seeds: Several searches, one for each of these seeds, separated by commas, in folders RUN/seed-N, and a summary
            of them.
        table: Ground truth in which results are looked up: a file, or shipped for the table of genas.
        truth: Column of the table, such as cifar10/test/200; by default the test accuracy on the data set, or its
            validation accuracy where there is none.
        device: auto (CUDA if there is one, else cpu), cpu, cuda, cuda:N or mps.
        precision: auto (bf16 where the method can bear it and it is faster: CUDA from compute capability 8.0 on, CPUs
            with AMX), fp32 or bf16.
        threads: CPU threads; by default all available cores. Only with the same number does a continued search end in
            the same bits as an unbroken one.
        checkpoint_seconds: Least time between two checkpoints.
        progress: Whether to show a progress bar.
    """
    check_checkpoint_seconds(checkpoint_seconds)
    if seeds is not None and (not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0):
        raise ValueError(f"seeds must be different numbers from 0 on, at least one, but got {seeds}.")
    if seed is not None and seeds is not None:
        raise ValueError("There must be one seed or several seeds, but both are given; choose one.")
    search_space = space_by_name(space)
    named = parts.applied(preset(method, search_space, numbers), search_space, settings)
    named = with_plug_in(named, search_space, flatness, numbers, a2m, na)
    where = resolve_device(device)
    # Refuses a combination that is impossible before any file is written.
    exact = named.needs_float32(search_space)
    compute = resolve_precision("fp32" if precision == "auto" and exact else precision, where)
    facts = {**device_facts(where, compute), "threads": resolve_threads(threads)}
    plan = SearchPlan(
        method,
        flatness,
        numbers,
        space,
        absolute_data(data, data_options.data_root),
        absolute_options(data_options),
        replace(network, affine=bool(network.affine)),
        named,
        where.type,
        facts["precision"],
    )
    known = next(iter(Truth.load(table, [] if truth is None else [truth], search_space, data)), None)
    keep_freed_memory()
    torch.set_num_threads(facts["threads"])
    say(f"{plan.title} on {space}: {described(named)}")
    if not named.settings.learn_alphas and named.projection is None and named.selection is None:
        print(
            "note: the architecture does not learn and is read off by its random initial weights; "
            "select=projection chooses it by the trained supernet.",
            file=sys.stderr,
        )
    work = _Work(plan, data, data_options, facts, known, where, compute, checkpoint_seconds, progress)
    if seeds is None:
        work.search(run, seed or 0)
        return
    work.begin(seeds[0])  # what the network refuses is refused before any folder is made
    with Run.create(run, {"command": COMMAND, **plan.settings()}, facts) as opened:
        results = work.search_all(run, seeds)
        _note_others(run, seeds)
        summary = summarize(plan.title, seeds, results, known)
        write_json(opened.result, summary)
        report_runs(summary)
        say(f"\nresult: {opened.result}")


@final
@dataclass(frozen=True)
class SearchPlan:
    """All that determines a search but its seed: the ``config.yaml`` of its run."""

    name: str
    flatness: FlatnessName
    numbers: Numbers
    space: str
    data: str
    data_options: DataOptions
    network: NetworkOptions
    method: Method
    device: str
    precision: str

    @property
    def title(self) -> str:
        """The method for people: ``beta-darts + a2m``."""
        return self.name if self.flatness == "none" else f"{self.name} + {self.flatness}"

    @property
    def search_space(self) -> SearchSpace:
        """The space."""
        return space_by_name(self.space)

    def settings(self) -> dict[str, Any]:
        """The settings by name, for a run's ``config.yaml``."""
        return {**vars(self), "method": recorded(self.method)}

    def initial_network(self, images: ImageData, seed: int) -> CellNetwork:
        """The supernet before the search, on the CPU."""
        skeleton = self.network.skeleton(self.search_space, images)
        return CellNetwork.initialised(self.search_space, skeleton, seed, self.method.network_options)


_OF_THE_EPOCH = ("train_loss", "search_loss", "search_loss_ahead", "skips", "nones", "disconnected")
"""Fields of the log that a result takes over."""


@final
@dataclass(frozen=True)
class _Work:
    """Carries out the searches of one command."""

    plan: SearchPlan
    data: str
    data_options: DataOptions
    facts: dict[str, Any]
    truth: Truth | None
    device: torch.device
    precision: torch.dtype
    checkpoint_seconds: float
    progress: bool

    def begin(self, seed: int) -> tuple[DifferentiableSearch, ImageData]:
        """One search before its first step, and its images on the CPU."""
        images = self.data_options.load(self.data, seed=seed)
        network = self.plan.initial_network(images, seed).to(self.device)
        search = self.plan.method.search(network, images.to(self.device), seed=seed, precision=self.precision)
        return search, images

    def search(self, folder: Path, seed: int) -> dict[str, Any]:
        """One search, to the end; returns what its ``result.json`` says."""
        search, images = self.begin(seed)
        settings = {"command": COMMAND, **self.plan.settings(), "seed": seed, "data_fingerprint": images.fingerprint}
        facts = {**self.facts, "seed": seed, "data_split": images.split_source}
        with Run.create(folder, settings, facts) as run:
            fit(search, run, checkpoint_seconds=self.checkpoint_seconds, progress=self.progress)
            result = self._result(search, run, images, seed)
            write_json(run.result, result)
            draw_best(run, search.network.space, tuple(result["best"]["genes"]), f"{self.plan.title}, seed {seed}")
            self._report(result, run)
        return result

    def search_all(self, folder: Path, seeds: Sequence[int]) -> list[dict[str, Any]]:
        """A search for each seed; one that diverges ends the command, but only after the others."""
        results: dict[int, dict[str, Any]] = {}
        diverged: dict[int, str] = {}  # an error would keep its network and images in memory
        for seed in seeds:
            try:
                results[seed] = self.search(seed_folder(folder, seed), seed)
            except TrainingDiverged as error:
                diverged[seed] = str(error)
                print(f"seed {seed}: {error}", file=sys.stderr)
        if diverged:
            others = f" Or leave them out: --seeds {','.join(map(str, results))}." if results else ""
            raise TrainingDiverged(
                f"All searches must stay finite, but those with seed {', '.join(map(str, diverged))} in {folder} "
                f"diverged: {next(iter(diverged.values()))}{others}"
            )
        return list(results.values())

    def _result(self, search: DifferentiableSearch, run: Run, images: ImageData, seed: int) -> dict[str, Any]:
        log = run.read_log()
        _check_complete(run, log)
        search.recall(log)
        space, architecture, outcome = search.network.space, search.architecture, search.outcome
        assert outcome is not None
        record = log[outcome.epoch]
        skeleton = space.standalone_skeleton(images.num_classes, images.image_size, images.image_channels)
        best = result_entry(
            space,
            1,
            architecture,
            score=None,
            metrics={},
            cost=cost(space, skeleton, architecture),
            truths=[] if self.truth is None else [self.truth],
        )
        return {
            "method": self.plan.name,
            "flatness": self.plan.flatness,
            "seed": seed,
            "space": space.name,
            "epochs": len(log),
            "epoch": outcome.epoch + 1,
            "finished_because": outcome.because,
            **{name: record[name] for name in _OF_THE_EPOCH if name in record},
            "best": best,
            "top": [best],
        }

    def _report(self, result: dict[str, Any], run: Run) -> None:
        best, skips = result["best"], sum(result["skips"].values())
        say(f"{self.plan.title}, seed {result['seed']}: {result['finished_because']}.\nbest: {best['architecture']}")
        if result["disconnected"]:
            say("No path connects input and output of a cell: the network can only guess.")
        say(f"{best['params'] / 1e6:.3f} M params, {best['macs'] / 1e6:.1f} M macs, {skips} skip connections")
        if self.truth is not None:
            say(self.truth.text(tuple(best["genes"])))
        say(f"\nresult:  {run.result}\npicture: {run.figures / 'best.svg'}\n")


def _note_others(folder: Path, seeds: Sequence[int]) -> None:
    """Tell of finished searches in the folder that the summary of these seeds leaves out."""
    if others := sorted(seeds_with_results(folder).difference(seeds)):
        print(
            f"note: the summary is of --seeds {','.join(map(str, seeds))}; {folder} also has the results of "
            f"{','.join(map(str, others))}.",
            file=sys.stderr,
        )


def _check_complete(run: Run, log: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a log that somebody edited, or of which the machine lost a part."""
    epochs = [record.get("epoch") for record in log]
    if epochs != list(range(1, len(log) + 1)):
        raise RunError(
            f"{run.log_path} must have every epoch once, in order, but has {epochs}; search in a new folder."
        )
