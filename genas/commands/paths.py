"""Paths that a run goes on with, from whichever folder it is called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from genas.data import DataOptions


def absolute_data(data: str, root: Path | None) -> str:
    """The name of a data set with the path that it may have after a colon made absolute."""
    kind, colon, path = data.partition(":")
    return f"{kind}:{((root or Path()).expanduser() / Path(path).expanduser()).resolve()}" if colon else data


def absolute_options(options: DataOptions) -> DataOptions:
    """The options with an absolute folder, and without the permission to download, on which no result depends."""
    root = options.data_root
    return replace(options, data_root=None if root is None else root.expanduser().resolve(), download=False)
