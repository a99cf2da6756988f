"""Conversion of literals in the text of settings to the types of the settings."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin


def fitted(value: object, hint: Any) -> Any:
    """Return a literal converted to a type.

    Args:
        value: A number, string, boolean or ``None``, or a list or tuple of them.
        hint: A type: ``bool``, ``int``, ``float``, ``str``, ``Path``, ``Literal``, tuples and sequences of these, and
            unions.

    Returns:
        The value; an integer becomes a float, and a list a tuple, where the type requires it.

    Raises:
        TypeError: If the value is of another type.

    Example:
        >>> fitted([1, 2e-2], tuple[float, ...])
        (1.0, 0.02)
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _first_fit(value, inner)
    if origin is Literal and value in inner:
        return value
    if origin in (tuple, list, Sequence) and isinstance(value, (list, tuple)):
        return _fitted_items(value, origin, inner)
    if hint is float and type(value) in (int, float):
        return float(value)  # type: ignore[arg-type]
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint in (bool, int, str, NoneType) and type(value) is hint:
        return value
    raise TypeError(f"{value!r} is not {described(hint)}.")


def described(hint: Any) -> str:
    """Return a description of the values of a type, for messages.

    Example:
        >>> described(Literal["mean", "median"] | None), described(tuple[float, ...])
        ('one of mean, median or None', 'a list of float')
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(described(part) for part in inner)
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin in (tuple, list, Sequence) and (len(inner) == 1 or inner[1:] == (...,)):
        return f"a list of {described(inner[0])}"
    return "None" if hint is NoneType else inspect.formatannotation(hint)


def _first_fit(value: object, hints: Sequence[Any]) -> Any:
    for hint in hints:
        try:
            return fitted(value, hint)
        except TypeError:
            continue
    raise TypeError(f"{value!r} is not one of {hints}.")


def _fitted_items(values: Sequence[object], origin: Any, hints: Sequence[Any]) -> Any:
    if origin is not tuple or hints[1:] == (...,):
        hints = [hints[0]] * len(values)
    if len(hints) != len(values):
        raise TypeError(f"{values!r} is not a list of {len(hints)} items.")
    items = [fitted(value, hint) for value, hint in zip(values, hints, strict=True)]
    return items if origin is list else tuple(items)
