"""``genas build-table``."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from genas.commands.known_trainings import check_known, known_rows
from genas.commands.paths import absolute_data, absolute_options
from genas.commands.reporting import say
from genas.commands.standalone_network import StandaloneNetwork
from genas.commands.table_training import KINDS, TrainingPlan, train_rows
from genas.data import DataOptions, ImageData
from genas.devices import device_facts, keep_freed_memory, resolve_device, resolve_workers
from genas.errors import TrainingDiverged, UnreadSettingError
from genas.runs import Run
from genas.scores import ScoreStore
from genas.search import measure_in_parallel, process_pool
from genas.seeding import generator
from genas.spaces import Architecture, SearchSpace
from genas.spaces.listing import all_architectures, is_listable
from genas.supernet import StandaloneSettings
from genas.tables import Column, Table, dataset_of, load_table, mean_over_seeds

_KEY = "accuracies of stand-alone networks, seed "

_REPEATS = 3
"""Number of seeds of repeated architectures."""

_DRAWS = 1000
"""Largest number of random draws per distinct architecture in a space that is too large to list."""


def build_table(
    out: Path,
    architectures: int | None = None,
    repeated: int = 0,
    repeats: int = _REPEATS,
    space: str = "nasbench201",
    data: str = "cluttered-digits",
    data_options: DataOptions = DataOptions(),  # noqa: B008 (frozen)
    network: StandaloneNetwork = StandaloneNetwork(),  # noqa: B008 (frozen)
    training: StandaloneSettings = StandaloneSettings(),  # noqa: B008 (frozen)
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    known: str | None = None,
    compare: str | None = None,
    progress: bool = True,
) -> None:
    """Train stand-alone networks and write their accuracies as a table of ground truth.

    Isomorphic cells are trained once. The same command continues an interrupted table, and one with more architectures,
    repeated or repeats extends it: every finished network is kept in the folder. Writes table.npz, which has all of
    these, even if fewer are asked for now. A network whose training diverges is left out and counted. Columns are named
    after the images that trained: where validation images are set aside from them, as in NAS-Bench-201's cifar10-valid,
    or where options limit them, the name shows it.

    Args:
        out: Folder of the run; made if it does not exist.
        architectures: Number of architectures, in a random order that the seed determines; by default the whole space,
            which must be small enough to be listed.
        repeated: Number of architectures, from the first on, to train with several seeds.
        repeats: Number of seeds of the repeated ones.
        space: Search space.
        data: Data set, as in genas train-supernet; its training split trains, the others give the table's accuracies.
        data_options: Options of the data set.
        network: Size of the networks.
        training: Training settings; by default NAS-Bench-201's.
        seed: Root seed: of the split of the data, of the order of the architectures, and of the networks: the first
            training has this seed, repeats the following ones.
        device: auto (CUDA if there is one, else cpu), cpu, cuda, cuda:N or mps.
        workers: Processes, one thread each; by default all cores on a CPU, 1 on a GPU. The result does not depend on
            it.
        known: Another table of such networks, a file or shipped: what it has is taken from it, not trained again. Its
            settings and images must be the same.
        compare: Another table, a file or shipped, to compare the accuracies with at the end.
        progress: Whether to show a progress bar.
    """
    _check_counts(architectures, repeated, repeats)
    where = resolve_device(device)
    processes = resolve_workers(workers, where)
    images = data_options.load(data, seed=seed)
    place, options = absolute_data(data, data_options.data_root), absolute_options(data_options)
    dataset = dataset_of(
        data,
        held_out=images.held_out,
        max_train=data_options.max_train,
        image_size=data_options.image_size,
    )
    plan = TrainingPlan(space, place, options, dataset, network, training, seed, str(where))
    other = None if compare is None else _comparable(compare, plan)
    begun = None if known is None else check_known(known, plan, images)
    order = _order(plan.search_space, architectures, seed)
    if repeated > len(order):
        raise ValueError(f"repeated must be at most the number of architectures, {len(order)}, but got {repeated}.")
    facts = {**device_facts(where, torch.float32), "seed": seed, "data_split": images.split_source}
    # The number of architectures is not a setting: a longer list is the same run and extends the shorter one.
    settings = {**vars(plan), "device": where.type, "data_fingerprint": images.fingerprint}
    plan.initial_network(images, seed)  # settings that the network refuses shall bind no folder
    with (
        Run.create(out, {"command": "build-table", **settings}, facts) as run,
        ScoreStore(run.scores) as store,
    ):
        if begun is not None:
            _take_over(begun, plan, images, run, store, order)
        _train_missing(plan, store, order, repeated, repeats, processes, progress=progress)
        trained = _trained(plan, store, order)
        table = _table(plan, store, trained, out.name, images)
        table.save(run.path / "table.npz")
        _report(table, other)
        _report_diverged(plan, store, trained)
        say(f"\ntable: {run.path / 'table.npz'}")


def _check_counts(architectures: int | None, repeated: int, repeats: int) -> None:
    for name, value, least in (
        ("architectures", architectures, 1),
        ("repeated", repeated, 0),
        ("repeats", repeats, 1),
    ):
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, but got {value}.")
    if repeated and repeats == 1:
        raise ValueError(f"repeats must be at least 2 to train {repeated} architectures repeatedly, but got 1.")
    if not repeated and repeats != _REPEATS:
        raise UnreadSettingError(
            "repeats is the number of seeds of repeated architectures, but repeated is 0", "repeats"
        )


def _comparable(path: str, plan: TrainingPlan) -> Table:
    """The table to compare with, if it has accuracies of the same kind."""
    other = load_table(path)
    if other.space.name != plan.space:
        raise ValueError(f"The table to compare with must be of {plan.space}, but {path} is of {other.space.name}.")
    wanted = [plan.column(kind) for kind in KINDS]
    if not any(column in other.columns for column in wanted):
        raise ValueError(
            f"The table to compare with must have {' or '.join(map(str, wanted))}, but {path} has "
            f"{', '.join(map(str, other.columns))}."
        )
    return other


def _order(search_space: SearchSpace, count: int | None, seed: int) -> list[Architecture]:
    """The first ``count`` architectures of a random order, one of each isomorphism class."""
    if is_listable(search_space):
        unique = {search_space.unique_key(each): each for each in reversed(all_architectures(search_space))}
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
    for _ in range(_DRAWS * count):
        architecture = search_space.sample(rng)
        found.setdefault(search_space.unique_key(architecture), architecture)
        if len(found) == count:
            return list(found.values())
    raise ValueError(
        f"{_DRAWS * count:,} random architectures of {search_space.name} have only {len(found)} different ones, but "
        f"{count} are wanted; ask for fewer."
    )


def _take_over(
    table: Table, plan: TrainingPlan, images: ImageData, run: Run, store: ScoreStore, order: Sequence[Architecture]
) -> None:
    """Copy what another table knows into the store, without overwriting anything."""
    taken = 0
    for seed, rows in known_rows(table, plan, images, order).items():
        own = store.get(_key(seed), rows)
        new = {architecture: row for architecture, row in rows.items() if architecture not in own}
        store.put(_key(seed), new)
        taken += len(new)
    if taken:
        run.log({"taken_over": taken, "from": table.name, "fingerprint": table.fingerprint})
        say(f"taken over from {table.name}: {taken:,} networks")


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
    seeds = range(plan.seed, plan.seed + repeats)
    wanted = [(seed, order if seed == plan.seed else order[:repeated]) for seed in seeds]
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


def _key(seed: int) -> str:
    return f"{_KEY}{seed}"


def _seeds(store: ScoreStore) -> list[int]:
    """All seeds with which the folder has trained a network: its table drops none of them."""
    return sorted(int(key.removeprefix(_KEY)) for key in store.keys() if key.startswith(_KEY))  # noqa: SIM118 (not a mapping)


def _trained(plan: TrainingPlan, store: ScoreStore, order: Sequence[Architecture]) -> Sequence[Architecture]:
    """Everything that the folder has trained: its table drops none of it, and its rows keep their order."""
    stored = {each for seed in _seeds(store) for each in store.architectures(_key(seed))}
    if stored == set(order):
        return order
    count = None if is_listable(plan.search_space) else len(stored)
    longer = _order(plan.search_space, count, plan.seed)
    # Of a space too large to list, an interrupted run may have trained some that come even later.
    return [each for each in longer if each in stored] + sorted(stored.difference(longer))


def _table(
    plan: TrainingPlan, store: ScoreStore, trained: Sequence[Architecture], name: str, images: ImageData
) -> Table:
    found = {seed: store.get(_key(seed), trained) for seed in _seeds(store)}
    accuracies: dict[Column, Mapping[Architecture, float]] = {}
    for column, kind in enumerate(KINDS):
        by_seed = {
            seed: {each: 100 * row[column] for each, row in rows.items() if not np.isnan(row[column])}
            for seed, rows in found.items()
        }
        for seed, values in by_seed.items():
            if values:
                accuracies[plan.column(kind, seed)] = values
        # Not only those of the first seed: its training may have diverged where that of another did not.
        measured = dict.fromkeys(each for values in by_seed.values() for each in values)
        means = {
            each: mean_over_seeds([values[each] for values in by_seed.values() if each in values]) for each in measured
        }
        if means:
            accuracies[plan.column(kind)] = means
    if not accuracies:
        raise TrainingDiverged("No training kept its loss finite; lower the learning rate, in a new folder.")
    source = plan.source(images)
    return Table.from_accuracies(plan.search_space, name, source, images.fingerprint, accuracies, isomorphic=True)


def _report_diverged(plan: TrainingPlan, store: ScoreStore, trained: Sequence[Architecture]) -> None:
    for seed in _seeds(store):
        lost = [each for each, row in store.get(_key(seed), trained).items() if np.isnan(row).all()]
        if lost:
            named = ", ".join(map(plan.search_space.format, lost[:3]))
            say(f"left out, as their training diverged: {len(lost):,} networks of seed {seed}, such as {named}")


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
            else:
                say(f"    {other.name} has none of these architectures")
