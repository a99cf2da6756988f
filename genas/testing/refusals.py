"""Checks that something is refused, with the words that help."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def refuses(kind: type[Exception], *words: str) -> Iterator[None]:
    """Check that the block raises an error whose message contains all these words.

    Args:
        kind: Class of the error.
        *words: Words that the message must contain.

    Raises:
        AssertionError: If nothing is raised, or the message lacks a word.
    """
    try:
        yield
    except kind as error:
        missing = [word for word in words if word not in str(error)]
        if missing:
            raise AssertionError(f"the message must contain {missing}, but is: {error}") from error
    else:
        raise AssertionError(f"expected a {kind.__name__}, but nothing was raised.")
