"""Folders of ``genas search``: how its runs are told from others, and where those of several seeds lie."""

from __future__ import annotations

from pathlib import Path

COMMAND = "search"
"""What a run's configuration names as its command."""


def seed_folder(folder: Path, seed: int) -> Path:
    """Folder of one of several searches.

    Args:
        folder: Folder of all.
        seed: Its seed.

    Returns:
        A folder within.
    """
    return folder / f"seed-{seed}"


def seeds_with_results(folder: Path) -> set[int]:
    """Seeds of the finished searches in a folder of several.

    Args:
        folder: Folder of all.

    Returns:
        The seeds, whether the folder's summary has them or not.
    """
    names = (result.parent.name.removeprefix("seed-") for result in folder.glob("seed-*/result.json"))
    return {int(name) for name in names if name.isdecimal()}
