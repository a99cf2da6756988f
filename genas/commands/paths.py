"""Paths from the command line, and their absolute form, with which a run continues from any folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from genas.data import NAMED_WITH_PATH, DataOptions
from genas.files import expanded


def listed_folders(text: str) -> list[Path]:
    """Folders separated by commas; ``~`` is the user's home in each of them.

    Args:
        text: As on the command line.

    Returns:
        The folders.

    Example:
        >>> listed_folders("runs/a, runs/b") == [Path("runs/a"), Path("runs/b")]
        True
    """
    return [expanded(name.strip()) for name in text.split(",")]


def folder_names(folders: Sequence[Path]) -> list[str]:
    """What to call folders in results: their names, or their paths where a name does not tell them apart.

    Args:
        folders: The folders.

    Returns:
        A name for each.

    Example:
        >>> folder_names([Path("runs/a"), Path("runs/b")])
        ['a', 'b']
        >>> folder_names([Path("old/a"), Path("new/a"), Path("new/b")])[2]
        'b'
    """
    names = [folder.name for folder in folders]
    return [str(folder) if names.count(folder.name) > 1 else folder.name for folder in folders]


def absolute_data(data: str, root: Path | None) -> str:
    """The name of a data set with an absolute path, if it is one of those that are named with a path."""
    kind, _, path = data.partition(":")
    if kind not in NAMED_WITH_PATH:
        return data
    return f"{kind}:{(expanded(root or Path()) / expanded(path)).resolve()}"


def absolute_options(options: DataOptions) -> DataOptions:
    """The options with absolute paths, and without the permission to download, on which no result depends."""
    root, (kind, _, path) = options.data_root, options.split.partition(":")
    return replace(
        options,
        data_root=None if root is None else expanded(root).resolve(),
        split=f"file:{expanded(path).resolve()}" if kind == "file" and path else options.split,
        download=False,
    )
