"""Words of which one must be chosen: settings that are one of a few, and the nearest word to a misspelt one."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Literal, get_args, get_origin, get_type_hints


def check_choices(settings: object) -> None:
    """Refuse a dataclass whose fields of ``Literal`` type hold something else.

    The command line checks this by itself; Python does not, and a misspelt word would silently select the last branch.

    Args:
        settings: An instance of a dataclass.

    Raises:
        ValueError: If a field has another value; the message names the field, its words, the value and the nearest
            word.
    """
    hints = get_type_hints(type(settings))
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        words, value = get_args(hints[field.name]), getattr(settings, field.name)
        if get_origin(hints[field.name]) is Literal and value not in words:
            raise ValueError(
                f"{field.name} must be one of {', '.join(words)}, but got {value!r}.{did_you_mean(str(value), words)}"
            )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word.

    Args:
        word: The unknown word.
        known: The words that there are.

    Returns:
        A sentence that names the nearest known word, after a space; empty if none is near.

    Example:
        >>> did_you_mean("sqare", ["circle", "square"])
        " Did you mean 'square'?"
    """
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
