"""What commands print: results to standard output; progress bars go to standard error."""

from __future__ import annotations

from collections.abc import Sequence


def say(text: str) -> None:
    """Print a result at once, so that it is not lost when the next step is killed."""
    print(text, flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, right-aligned.

    Args:
        header: Name of each column.
        rows: Cells of each row.

    Returns:
        Lines of equal structure, without a final line end.

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
