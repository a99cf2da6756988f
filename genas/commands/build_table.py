"""``genas build-table``."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from tqdm import tqdm

from genas.commands.reporting import say
from genas.data import DataOptions, ImageData
from genas.devices import available_cores, device_facts, keep_freed_memory
from genas.runs import Run
from genas.scores import ScoreStore
from genas.search import measure_in_parallel, process_pool
from genas.seeding import generator
from genas.spaces import Architecture, NASBench201, SearchSpace, space
from genas.supernet import CellNetwork, StandaloneSettings, evaluate, fold_bn, train_standalone
from genas.tables import Column, Kind, Table, load_table

KINDS: tuple[Kind, ...] = ("valid", "test")


@dataclass(frozen=True)
class StandaloneNetwork:
    """Size of the networks that are trained.

    Args:
        channels: Channels of the first cells; ``None``: the published number.
        cells: Cells per stage (NAS-Bench-201) or number of cells (DARTS); ``None``: the published number.
    """

    channels: int | None = None
    cells: int | None = None


def build_table(
    out: Path,
    architectures: int | None = None,
    repeated: int = 0,
    repeats: int = 3,
    space: str = "nasbench201",
    data: str = "cluttered-digits",
    data_options: DataOptions = DataOptions(),  # noqa: B008 (frozen)
    network: StandaloneNetwork = StandaloneNetwork(),
    training: StandaloneSettings = StandaloneSettings(),  # noqa: B008 (frozen)
    seed: int = 0,
    workers: int | None = None,
    compare: str | None = None,
    progress: bool = True,
) -> None:
    """Train stand-alone networks and write their accuracies as a table of ground truth.

    Isomorphic cells are trained once. The same command continues a table that was interrupted, and one with more
    architectures, repeated or repeats goes on from it: every finished network is kept in the folder. Writes table.npz.

    Args:
        out: Folder of the run; made if it does not exist.
        architectures: How many to train, in a random order that the seed determines; by default all of the space, which
            must be small enough to be listed.
        repeated: How many of them, the first ones, to train with several seeds.
        repeats: Number of seeds of the repeated ones.
        space: Search space.
        data: Data set; its training split trains, the others give the table's accuracies.
        data_options: Options of the data set.
        network: Size of the networks.
        training: How they are trained; by default NAS-Bench-201's settings.
        seed: Root seed: of the split of the data, of the order of the architectures, and of the networks: the first
            training has this seed, repeats the following ones.
        workers: Processes, one thread each; by default all cores. The result does not depend on it.
        compare: Another table, a file or shipped, to compare the accuracies with at the end.
        progress: Whether to show a progress bar.
    """
    _check_counts(architectures, repeated, repeats, workers)
    # A longer list of architectures is the same run: it extends the shorter one.
    settings = {
        name: value
        for name, value in locals().items()
        if name not in ("out", "architectures", "repeated", "repeats", "workers", "compare", "progress")
    }
    other = None if compare is None else load_table(compare)
    plan = TrainingPlan(space, data, replace(data_options, download=False), network, training, seed)
    images = data_options.load(data, seed=seed)
    order = _order(plan.search_space, architectures, seed)
    facts = {**device_facts(torch.device("cpu"), torch.float32), "seed": seed, "data_split": images.split_source}
    settings["data_fingerprint"] = images.fingerprint
    with (
        Run.create(out, {"command": "build-table", **settings}, facts) as run,
        ScoreStore(run.scores) as store,
    ):
        _train_missing(plan, store, order, repeated, repeats, workers or available_cores(), progress=progress)
        table = _table(plan, store, order, repeats, out.name, images.fingerprint)
        table.save(run.path / "table.npz")
        _report(table, other)
        say(f"\ntable: {run.path / 'table.npz'}")


def _check_counts(architectures: int | None, repeated: int, repeats: int, workers: int | None) -> None:
    for name, value, least in (
        ("architectures", architectures, 1),
        ("repeated", repeated, 0),
        ("repeats", repeats, 1),
        ("workers", workers, 1),
    ):
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, but got {value}.")


@final
@dataclass(frozen=True)
class TrainingPlan:
    """What a worker process needs to train any network of a table."""

    space: str
    data: str
    data_options: DataOptions
    network: StandaloneNetwork
    training: StandaloneSettings
    seed: int

    @property
    def search_space(self) -> SearchSpace:
        """The space."""
        return space(self.space)

    def load_data(self) -> ImageData:
        """The data set."""
        return self.data_options.load(self.data, seed=self.seed)

    def initial_network(self, data: ImageData, seed: int) -> CellNetwork:
        """All operations with their initial weights: equal edges of all architectures start equally."""
        skeleton = self.search_space.standalone_skeleton(
            data.num_classes,
            data.image_size,
            data.image_channels,
            channels=self.network.channels,
            cells=self.network.cells,
        )
        return CellNetwork.initialised(self.search_space, skeleton, seed)


@functools.lru_cache(maxsize=1)
def _worker_data(plan: TrainingPlan) -> ImageData:
    return plan.load_data()


@functools.lru_cache(maxsize=1)
def _worker_network(plan: TrainingPlan, seed: int) -> CellNetwork:
    return plan.initial_network(_worker_data(plan), seed)


def train_rows(plan: TrainingPlan, seed: int, architectures: Sequence[Architecture]) -> dict[Architecture, np.ndarray]:
    """Train networks in a worker process and measure them.

    Args:
        plan: How to train.
        seed: Seed of initial weights and batches.
        architectures: Which to train, one after the other.

    Returns:
        For each architecture the fractions of validation and test images that it classifies correctly; NaN for a split
        that the data set does not have.
    """
    data, initial = _worker_data(plan), _worker_network(plan, seed)
    rows = {}
    for architecture in architectures:
        network = train_standalone(initial.subnet(architecture), data, plan.training, seed=seed)
        rows[architecture] = np.array(list(_accuracies(fold_bn(network), data)))
    return rows


def _accuracies(network: CellNetwork, data: ImageData) -> Iterator[float]:
    for kind in KINDS:
        split = data.splits.get(kind)
        if split is None:
            yield np.nan
        else:
            yield evaluate(network, data.normalize(split.images), split.labels, batch_size=128).accuracy


def _order(search_space: SearchSpace, count: int | None, seed: int) -> list[Architecture]:
    """The first ``count`` architectures of a random order, one of each isomorphism class."""
    if isinstance(search_space, NASBench201):
        unique = {search_space.unique_key(each): each for each in reversed(list(search_space.architectures()))}
        everything = sorted(unique.values())
        shuffled = generator(seed, "table order").permutation(len(everything))
        order = [everything[position] for position in shuffled]
        if count is not None and count > len(order):
            raise ValueError(f"{search_space.name} has {len(order)} different architectures, but got {count}.")
        return order[:count]
    if count is None:
        raise ValueError(f"{search_space.name} is too large to train all of it; say how many architectures.")
    rng = generator(seed, "table order")
    found: dict[object, Architecture] = {}
    while len(found) < count:
        architecture = search_space.sample(rng)
        found.setdefault(search_space.unique_key(architecture), architecture)
    return list(found.values())


def _train_missing(
    plan: TrainingPlan,
    store: ScoreStore,
    order: Sequence[Architecture],
    repeated: int,
    repeats: int,
    workers: int,
    *,
    progress: bool,
) -> None:
    wanted = [(seed, order if seed == plan.seed else order[:repeated]) for seed in _seeds(plan, repeats)]
    missing = [
        (seed, [each for each in members if each not in known])
        for seed, members in wanted
        for known in [store.get(_key(seed), members)]
    ]
    total = sum(len(members) for _, members in missing)
    if total == 0:
        return
    keep_freed_memory()
    with (
        process_pool(min(workers, total)) as pool,
        tqdm(total=total, desc="train", unit="network", disable=not progress, dynamic_ncols=True) as bar,
    ):
        for seed, members in missing:
            train = functools.partial(train_rows, plan, seed)
            for rows in measure_in_parallel(pool, train, members, chunk_size=1):
                store.put(_key(seed), rows)
                bar.update(len(rows))


def _seeds(plan: TrainingPlan, repeats: int) -> range:
    return range(plan.seed, plan.seed + repeats)


def _key(seed: int) -> str:
    return f"accuracies of stand-alone networks, seed {seed}"


def _table(
    plan: TrainingPlan, store: ScoreStore, order: Sequence[Architecture], repeats: int, name: str, fingerprint: str
) -> Table:
    found = {seed: store.get(_key(seed), order) for seed in _seeds(plan, repeats)}
    accuracies: dict[Column, Mapping[Architecture, float]] = {}
    for column, kind in enumerate(KINDS):
        by_seed = {
            seed: {each: 100 * row[column] for each, row in rows.items() if not np.isnan(row[column])}
            for seed, rows in found.items()
        }
        for seed, values in by_seed.items():
            if values:
                accuracies[Column(_dataset(plan.data), kind, plan.training.epochs, seed)] = values
        means = {
            each: float(np.mean([values[each] for values in by_seed.values() if each in values]))
            for each in by_seed[plan.seed]
        }
        if means:
            accuracies[Column(_dataset(plan.data), kind, plan.training.epochs)] = means
    source = f"stand-alone networks trained by genas build-table on {plan.data}"
    return Table.from_accuracies(plan.search_space, name, source, fingerprint, accuracies, isomorphic=True)


def _dataset(name: str) -> str:
    """What the table's columns call a data set; of one in a file or folder, that one's name."""
    kind, colon, path = name.partition(":")
    return re.sub(r"[^a-z0-9_.-]", "-", Path(path).stem.lower()).lstrip("_.-") or kind if colon else name


def _report(table: Table, other: Table | None) -> None:
    for column in table.columns:
        covered = table.covered(column)
        values = table.values(column, covered)
        say(f"{column}: {len(values):,} architectures, from {values.min():.2f} % to {values.max():.2f} %")
        if other is not None and column in other.columns:
            differences = values - other.values(column, covered, missing="nan")
            differences = differences[~np.isnan(differences)]
            if len(differences):
                say(
                    f"    minus {other.name}: {differences.mean():+.3f} points on average over {len(differences):,} "
                    f"architectures, {np.abs(differences).max():.3f} at most"
                )
