"""Printed results of commands, on standard output; progress bars go to standard error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def say(text: str) -> None:
    """Print a result at once, so that it is not lost when the next step is killed."""
    print(text, flush=True)


def mean_and_spread(sample: npt.ArrayLike) -> tuple[float | None, float | None]:
    """Mean and standard deviation of several repeats.

    Args:
        sample: Numbers, shape ``(n,)``.

    Returns:
        The mean, ``None`` without any number; the sample standard deviation, ``None`` with fewer than two.
    """
    values = np.asarray(sample, dtype=np.float64)
    mean = float(values.mean()) if len(values) else None
    return mean, float(values.std(ddof=1)) if len(values) > 1 else None


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, right-aligned.

    Args:
        header: Name of each column.
        rows: Cells of each row.

    Returns:
        The lines, without a final newline.

    Example:
        >>> print(table(["rank", "score"], [["1", "0.75"], ["2", "0.5"]]))
        rank  score
           1   0.75
           2    0.5
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in [header, *rows]
    )
