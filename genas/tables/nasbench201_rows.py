"""Checks that all importers of NAS-Bench-201 share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from genas.errors import TableError
from genas.spaces import Architecture, NASBench201


def check_complete(source: Path, indices: Iterable[int]) -> None:
    """Refuse a source that lacks cells.

    Args:
        source: Name of the source, for the message.
        indices: The cells that it has, by their numbers in the benchmark's order.

    Raises:
        TableError: If some are missing.
    """
    missing = sorted({*range(NASBench201().size)}.difference(indices))
    if missing:
        raise TableError(
            f"{source} must have all {NASBench201().size} cells, but lacks {len(missing)}, the first of them with "
            f"index {', '.join(map(str, missing[:3]))}; get the complete source, or import what there is with "
            "--partial."
        )


def cell(place: str, index: str, string: str) -> Architecture:
    """The cell that a source gives both by number and by string.

    Args:
        place: Place in the source, for the message.
        index: Number in the benchmark's order.
        string: Architecture string.

    Returns:
        The cell.

    Raises:
        TableError: If one of them is not valid, or they are different cells.
    """
    space = NASBench201()
    try:
        by_index, by_string = space.parse(index), space.parse(string)
    except ValueError as error:
        raise TableError(f"{place}: {error}") from error
    if by_index != by_string:
        raise TableError(
            f"{place}: index {index} is {space.format(by_index)} in the benchmark's order, but here it is {string}."
        )
    return by_index
