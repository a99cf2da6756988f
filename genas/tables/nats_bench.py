"""Ground truth from NATS-Bench's topology benchmark, read without running the code in its files.

The source is the folder ``NATS-tss-v1_0-3ffb9-simple``: ``meta.pickle.pbz2`` lists the architecture strings in the
benchmark's order, ``000000.pickle.pbz2`` to ``015624.pickle.pbz2`` have the trainings of one cell each. Costs in them
are not read: they are known in closed form.

Reference:
    Dong et al., NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and Size, TPAMI 2021.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from genas.errors import TableError
from genas.tables.column import Column
from genas.tables.fingerprint import fingerprint
from genas.tables.nasbench201_rows import check_complete
from genas.tables.table import Table
from genas.tables.trials import Record, Trial, table_of_trials
from genas.unpickling import load_plain_pickle

_SUFFIX = ".pickle.pbz2"


def import_nats_bench(
    folder: Path, columns: Sequence[Column] | None = None, *, partial: bool = False, progress: bool = False
) -> Table:
    """Read the folder.

    Args:
        folder: The folder.
        columns: Accuracies to read, including those during training (``at``); by default those at the end of each
            training: every seed, and the mean over a cell's seeds, of which there are one to three.
        partial: Whether cells or accuracies may be missing.
        progress: Whether to show a progress bar.

    Returns:
        The table, its rows in the benchmark's order. Columns of a single seed cover the cells trained with it.

    Raises:
        FileNotFoundError: If there is no such folder.
        TableError: If a file is missing, damaged, not in the expected format, or would run code.
    """
    files = cell_files(folder, partial=partial)
    meta = folder / f"meta{_SUFFIX}"
    strings = _plain(meta).get("meta_archs")
    if not isinstance(strings, (list, tuple)):
        raise TableError(f"{meta} has no list of architectures 'meta_archs'.")
    records = (_record(file, index, strings) for index, file in tqdm(files.items(), disable=not progress))
    checksum = fingerprint([meta, *files.values()])
    return table_of_trials(records, columns, folder, f"NATS-Bench folder {folder.name}", checksum, partial=partial)


def cell_files(folder: Path, *, partial: bool) -> dict[int, Path]:
    """The files of the cells.

    Args:
        folder: The folder.
        partial: Whether some may be missing.

    Returns:
        Increasing indices to files.

    Raises:
        FileNotFoundError: If there is no such folder.
        TableError: If there is no ``meta`` file or no file of a cell, or if one is missing.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}{', but a file' if folder.is_file() else ''}.")
    if not (folder / f"meta{_SUFFIX}").is_file():
        raise TableError(f"{folder} is not a folder of NATS-Bench: it has no meta{_SUFFIX}.")
    files: dict[int, Path] = {}
    for file in sorted(folder.glob(f"*{_SUFFIX}")):
        number = file.name.removesuffix(_SUFFIX)
        if number.isdecimal():
            if int(number) in files:
                raise TableError(f"{folder} has cell {int(number)} twice: {files[int(number)].name} and {file.name}.")
            files[int(number)] = file
    if not files:
        raise TableError(f"{folder} has no files of cells, named like 000000{_SUFFIX}.")
    if not partial:
        check_complete(folder, files)
    return dict(sorted(files.items()))


def _plain(file: Path) -> dict[Any, Any]:
    """The dict in a file."""
    try:
        content = load_plain_pickle(file)
    except ValueError as error:
        raise TableError(str(error)) from error
    if not isinstance(content, dict):
        raise TableError(f"{file} must hold a dict, but holds a {type(content).__name__}.")
    return content


def _record(file: Path, index: int, strings: Sequence[Any]) -> Record:
    """The trainings in the file of a cell."""
    content = _plain(file)
    try:
        string = strings[index]
        others = [results["arch_str"] for results in content.values() if results["arch_str"] != string]
        trials = tuple(trial for results in content.values() for trial in _trials(results))
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, OverflowError) as error:
        raise TableError(f"{file} is not in the format of NATS-Bench ({type(error).__name__}: {error}).") from error
    if others:
        raise TableError(f"{file} is of {others[0]}, but the list of architectures says {string}.")
    return Record(str(file), index, str(string), trials)


def _trials(results: dict[str, Any]) -> Iterator[Trial]:
    """The trainings with one schedule."""
    for (dataset, seed), result in results["all_results"].items():
        yield Trial(dataset, int(seed), int(result["epochs"]), dict(result["eval_acc1es"]))
