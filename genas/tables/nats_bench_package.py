"""Ground truth from NATS-Bench's topology benchmark, read by the package ``nats_bench`` of its authors.

The package unpickles, so the files can run code: use it only on files whose origin you trust.
:mod:`genas.tables.nats_bench` reads the same folder without that.

Reference:
    Dong et al., NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and Size, TPAMI 2021.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tqdm import tqdm

from genas.errors import TableError
from genas.tables.column import Column
from genas.tables.fingerprint import fingerprint
from genas.tables.nasbench201_rows import check_complete
from genas.tables.nats_bench import cell_files
from genas.tables.table import Table
from genas.tables.trials import Record, Trial, table_of_trials
from genas.unpickling import DAMAGES

_DAMAGES = (*DAMAGES, AssertionError)  # the last comes from the package's own checks


def import_nats_bench_package(
    source: Path, columns: Sequence[Column] | None = None, *, partial: bool = False, progress: bool = False
) -> Table:
    """Read the folder of the "simple" archive, or the one file of the whole benchmark.

    Args:
        source: Folder ``NATS-tss-v1_0-3ffb9-simple``, or file ``NATS-tss-v1_0-3ffb9.pickle.pbz2``.
        columns: As for :func:`genas.tables.nats_bench.import_nats_bench`, like the other arguments.
        partial: Whether cells or accuracies may be missing.
        progress: Whether to show a progress bar.

    Returns:
        The table.

    Raises:
        ImportError: If the package is not installed.
        FileNotFoundError: If there is no such folder or file.
        TableError: If cells are missing, or files are damaged or not in the expected format.
    """
    try:
        nats_bench = import_module("nats_bench")
    except ImportError as error:
        raise ImportError(
            "The package nats_bench is not installed: pip install 'genas[nasbench]', or read the folder without it by "
            "--kind nats-bench."
        ) from error
    files = cell_files(source, partial=partial) if source.is_dir() else {}
    if not source.exists():
        raise FileNotFoundError(f"There is no folder or file {source}.")
    try:
        api = nats_bench.NATStopology(str(source), fast_mode=source.is_dir(), verbose=False)
    except _DAMAGES as error:
        raise TableError(f"{source} cannot be read by nats_bench ({error}).") from error
    indices = list(files) or sorted(api.evaluated_indexes)
    if not partial:
        check_complete(source, indices)
    records = (_record(api, files.get(index, source), index) for index in tqdm(indices, disable=not progress))
    read = [*source.glob("meta.*"), *files.values()] if files else [source]
    return table_of_trials(
        records, columns, source, f"NATS-Bench {source.name}, by nats_bench", fingerprint(read), partial=partial
    )


def _record(api: Any, file: Path, index: int) -> Record:
    """The trainings of a cell, which are then dropped from the package's memory: all of them would fill many GB."""
    try:
        if index not in api.arch2infos_dict:
            api.reload(str(file.parent), index)
        schedules = api.arch2infos_dict.pop(index)
        trials = tuple(trial for results in schedules.values() for trial in _trials(results))
    except _DAMAGES as error:
        raise TableError(f"{file} cannot be read by nats_bench ({type(error).__name__}: {error}).") from error
    return Record(str(file), index, str(api.arch(index)), trials)


def _trials(results: Any) -> Iterator[Trial]:
    """The trainings with one schedule."""
    for dataset in results.get_dataset_names():
        for seed, result in results.query(dataset).items():
            yield Trial(dataset, int(seed), int(result.get_total_epoch()), result.eval_acc1es)
