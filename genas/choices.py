"""Check of settings that allow a few words only."""

from __future__ import annotations

import dataclasses
import difflib
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
            near = difflib.get_close_matches(str(value), words, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{field.name} must be one of {', '.join(words)}, but got {value!r}.{hint}")
