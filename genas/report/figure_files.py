"""Pictures that are the same files whenever and wherever they are made."""

from __future__ import annotations

from contextlib import AbstractContextManager

import matplotlib

METADATA: dict[str, dict[str, None]] = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What ``savefig`` is to leave out, by the suffix of the file: dates and versions."""


def figure_style() -> AbstractContextManager[None]:
    """Return a context in which pictures come out the same for everybody: with the font that matplotlib brings."""
    return matplotlib.rc_context(
        {
            "svg.hashsalt": "genas",
            "svg.fonttype": "path",
            "font.family": "DejaVu Sans",
            "mathtext.fontset": "dejavusans",
            "text.usetex": False,
        }
    )
