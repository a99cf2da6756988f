"""``genas import-table``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from genas import spaces
from genas.commands.reporting import say, table
from genas.spaces import NASBench201
from genas.tables import Column, Table
from genas.tables.csv_table import import_csv, parse_mapping
from genas.tables.nasbench201_csv import import_nasbench201_csv, is_nasbench201_csv

Kind = Literal["auto", "nasbench201-csv", "nats-bench", "nats-bench-package", "csv"]


def import_table(
    source: Path,
    out: Path,
    kind: Kind = "auto",
    columns: list[str] | None = None,
    space: str = "nasbench201",
    architecture: str | None = None,
    isomorphic: bool = False,
    partial: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> None:
    """Make a table of ground truth from published accuracies.

    Accuracies are in percent. Costs are never read: genas knows them in closed form.

    Args:
        source: A CSV file (*.csv or *.csv.gz), or the folder NATS-tss-v1_0-3ffb9-simple of NATS-Bench.
        out: The table, *.npz.
        kind: nasbench201-csv (columns index, arch_str, c10_test_200, ...), nats-bench (the folder; runs no code in it),
            nats-bench-package (the folder or the one big file, read by the package nats_bench, which can run code in
            it), csv (any other file with a column of architectures), or auto.
        columns: Accuracies to import, separated by commas, like cifar10/test/200 or
            cifar10-valid/valid/200/seed=888/at=90 (after 90 of 200 epochs); by default all at the end of a training.
            For any CSV file: what its columns mean, like acc=cifar10/test/200.
        space: Search space, for any CSV file.
        architecture: Name of the column of architectures, for any CSV file; by default architecture, arch, arch_str,
            genotype or genes.
        isomorphic: Whether a row stands for all isomorphic architectures, for any CSV file.
        partial: Whether accuracies may be missing and, in NAS-Bench-201's own files, cells.
        overwrite: Whether to replace a table that exists.
        progress: Whether to show a progress bar.
    """
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists already; choose another name, or replace it with --overwrite.")
    if out.suffix != ".npz":
        raise ValueError(f"The file of a table must be named *.npz, but got {out}.")
    if not source.exists():
        raise FileNotFoundError(f"There is no file or folder {source}.")
    found = _kind(source) if kind == "auto" else kind
    if found == "csv":
        imported = import_csv(
            source,
            spaces.space(space),
            parse_mapping(columns or []),
            architecture=architecture,
            partial=partial,
            isomorphic=isomorphic,
        )
    else:
        if space != NASBench201.name or architecture is not None or isomorphic:
            raise ValueError(f"--space, --architecture and --isomorphic are for any CSV file, but this is {found}.")
        chosen = None if columns is None else [Column.parse(text) for text in columns]
        imported = _import_nasbench201(source, found, chosen, partial, progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    imported.save(out)
    say(describe(imported))
    say(f"\n{out}: {out.stat().st_size / 1000:.0f} kB")


def describe(imported: Table) -> str:
    """Summary of a table, as text.

    Args:
        imported: A table.

    Returns:
        Its name, origin and checksum, and for each column the number of its accuracies and the best of them.
    """
    rows = []
    for column in imported.columns:
        best, value = imported.best(column)
        index, cells = imported.space.index(best), f"{len(imported.covered(column)):,}"
        number = "" if index is None else str(index)
        rows.append([str(column), cells, f"{value:.3f}", number, imported.space.format(best)])
    return "\n".join(
        [
            f"name      {imported.name}",
            f"source    {imported.source}",
            f"checksum  {imported.checksum}",
            f"rows      {len(imported):,} architectures of {imported.space.name}\n",
            table(["column", "values", "best", "index", "architecture"], rows),
        ]
    )


def _kind(source: Path) -> Kind:
    if source.is_dir():
        return "nats-bench"
    if source.suffix == ".pbz2":
        raise ValueError(
            f"{source} is a pickle of NATS-Bench: reading it can run code. Give the folder of the simple archive, or "
            "--kind nats-bench-package if you trust the file."
        )
    return "nasbench201-csv" if is_nasbench201_csv(source) else "csv"


def _import_nasbench201(source: Path, kind: Kind, columns: list[Column] | None, partial: bool, progress: bool) -> Table:
    if kind == "nasbench201-csv":
        return import_nasbench201_csv(source, columns, partial=partial)
    if kind == "nats-bench":
        from genas.tables.nats_bench import import_nats_bench

        return import_nats_bench(source, columns, partial=partial, progress=progress)
    from genas.tables.nats_bench_package import import_nats_bench_package

    return import_nats_bench_package(source, columns, partial=partial, progress=progress)
