"""Sources of accuracies, written by the tests themselves, and the golden records."""

from __future__ import annotations

import bz2
import gzip
import json
import pickle
import shutil
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from genas.spaces import NASBench201
from genas.tables import Column

SPACE = NASBench201()


class Training(NamedTuple):
    """What NATS-Bench keeps of one training: ``accuracies`` by reading and epoch, epochs counted from 0."""

    dataset: str
    seed: int
    epochs: int
    accuracies: dict[str, dict[int, Any]]


FolderWriter = Callable[..., Path]


def at_end(dataset: str, seed: int, epochs: int, **readings: Any) -> Training:
    """A training of which only the end was read; underscores stand for dashes."""
    last = {name.replace("_", "-"): {epochs - 1: value} for name, value in readings.items()}
    return Training(dataset, seed, epochs, last)


def cell_content(index: int, trainings: Iterable[Training], **changes: Any) -> dict[str, Any]:
    """What the file of a cell holds: the states of the benchmark's own classes."""
    string = SPACE.format(SPACE.from_index(index))
    content: dict[str, Any] = {}
    for each in trainings:
        content.setdefault(str(each.epochs), {"all_results": {}, "dataset_seed": defaultdict(list)})
        state = content[str(each.epochs)]
        state |= {"arch_index": index, "arch_str": string, "clear_net_done": True} | changes
        state["dataset_seed"][each.dataset].append(each.seed)
        by_key = {f"{name}@{epoch}": value for name, known in each.accuracies.items() for epoch, value in known.items()}
        curve = OrderedDict((epoch, np.float64(epoch)) for epoch in range(each.epochs))
        state["all_results"][each.dataset, each.seed] = {
            "name": each.dataset,
            "net_state_dict": None,
            "train_acc1es": curve,
            "train_acc5es": None,
            "train_losses": curve,
            "train_times": None,
            "arch_config": {"channel": 16, "num_cells": 5, "arch_str": string, "class_num": 10},
            "params": 0.1,
            "flop": np.float32(15.5),
            "seed": each.seed,
            "epochs": each.epochs,
            "latency": [0.01],
            "eval_names": list(each.accuracies),
            "eval_acc1es": by_key,
            "eval_losses": dict.fromkeys(by_key, 1.0),
            "eval_times": {},
        }
    for state in content.values():
        state["dataset_seed"] = dict(state["dataset_seed"])
    return content


def write_pickle(path: Path, content: Any) -> Path:
    with bz2.open(path, "wb", compresslevel=1) as file:
        pickle.dump(content, file, protocol=4)
    return path


@pytest.fixture(scope="session")
def all_strings() -> list[str]:
    """The benchmark's list of architectures."""
    return [SPACE.format(SPACE.from_index(index)) for index in range(SPACE.size)]


@pytest.fixture(scope="session")
def meta_file(all_strings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pickle(tmp_path_factory.mktemp("meta") / "meta.pickle.pbz2", {"meta_archs": all_strings})


@pytest.fixture
def write_nats(tmp_path: Path, meta_file: Path) -> FolderWriter:
    """Writes a folder like that of NATS-Bench with some cells, given as index to trainings."""

    def write(cells: dict[int, list[Training]], meta: Any = None) -> Path:
        folder = tmp_path / "NATS-tss-v1_0-3ffb9-simple"
        folder.mkdir(exist_ok=True)
        if meta is None:
            shutil.copy(meta_file, folder / "meta.pickle.pbz2")
        else:
            write_pickle(folder / "meta.pickle.pbz2", meta)
        for index, trainings in cells.items():
            write_pickle(folder / f"{index:06d}.pickle.pbz2", cell_content(index, trainings))
        return folder

    return write


Golden = dict[int, list[Training]]


@pytest.fixture(scope="session")
def golden(shared_data: Path) -> Golden:
    """The complete records of the cells 0, 11 and 284."""
    with gzip.open(shared_data / "nasbench201_curves_3archs.json.gz", "rt") as file:
        content = json.load(file)
    return {
        int(index): [
            Training(
                each["dataset"],
                each["seed"],
                each["epochs"],
                {
                    name: {int(epoch): value for epoch, value in curve.items()}
                    for name, curve in each["eval_acc1es"].items()
                },
            )
            for records in cell["hp"].values()
            for each in records
        ]
        for index, cell in content.items()
    }


SETS = {
    ("cifar10-valid", "valid"): "x-valid",
    ("cifar10-valid", "test"): "ori-test",
    ("cifar10", "test"): "ori-test",
    ("cifar100", "valid"): "x-valid",
    ("cifar100", "test"): "x-test",
    ("imagenet16-120", "valid"): "x-valid",
    ("imagenet16-120", "test"): "x-test",
}
"""Written down apart from genas, so that a wrong meaning there shows."""


def golden_readings(trainings: list[Training], column: Column) -> list[float]:
    """The accuracies of all seeds in the records that a column speaks of."""
    name = SETS[column.dataset, column.kind]
    return [
        each.accuracies[name][(column.at or each.epochs) - 1]
        for each in trainings
        if (each.dataset.lower(), each.epochs) == (column.dataset, column.epochs)
        and (column.seed in (None, "any") or each.seed == column.seed)
    ]


MAXIMA = {
    "cifar10/test/200": (6111, 94.37333),
    "cifar100/test/200": (9930, 73.51333),
    "imagenet16-120/test/200": (857, 47.31111),
}
"""The most accurate cells of the benchmark."""
