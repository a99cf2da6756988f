"""Reproducible picture files: the same bytes whenever and wherever they are made."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from genas.files import atomic_write

_METADATA: dict[str, dict[str, None]] = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""Metadata that ``savefig`` leaves out, by file suffix: dates and versions."""


def figure_style() -> AbstractContextManager[None]:
    """Return a context in which pictures look the same everywhere: with the font shipped with matplotlib."""
    # Not the user's own style; the backend alone is a matter of the machine.
    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if "backend" not in name}
    return matplotlib.rc_context(
        {
            **defaults,
            "svg.hashsalt": "genas",
            "svg.fonttype": "path",
            "font.family": "DejaVu Sans",
            "mathtext.fontset": "dejavusans",
            "text.usetex": False,
        }
    )


def shortened(text: str, length: int = 44) -> str:
    """Return the beginning of a text that would be too long for a title, which may hold a whole expression."""
    return text if len(text) <= length else text[: length - 1] + "…"


def save_figure(draw: Callable[[], Figure], path: str | os.PathLike[str]) -> None:
    """Draw a figure into a file.

    Args:
        draw: Makes the figure; called once the name has been checked.
        path: The file; ``.svg``, ``.png`` (200 dots per inch) or ``.pdf`` choose the format.

    Raises:
        ValueError: If the suffix is not one of these.
    """
    target = Path(path)
    if target.suffix not in _METADATA:
        raise ValueError(
            f"A picture's name must end in one of {', '.join(_METADATA)}, but got {target.name!r}; rename it."
        )
    with figure_style():
        figure = draw()
        atomic_write(target, lambda file: figure.savefig(file, dpi=200, metadata=_METADATA[target.suffix]))
