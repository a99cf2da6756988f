"""What commands print."""

from __future__ import annotations


def say(text: str) -> None:
    """Print a result to standard output. Progress goes to standard error."""
    print(text, flush=True)
