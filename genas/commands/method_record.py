"""The record of a method in a run, and its description in a line."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from genas.search.differentiable import Method


def recorded(method: Method) -> dict[str, Any]:
    """A method as plain values: each part is a mapping of its numbers, with its name under ``class``.

    Args:
        method: Its parts must be dataclasses, so that two runs with equal records do the same.

    Returns:
        For ``config.yaml``.

    Raises:
        ValueError: If a part is none.
    """
    parts = {name: _plain(value, name) for name, value in vars(method).items() if name != "settings"}
    return {"settings": method.settings, **parts}


def _plain(value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        # No field can have this name.
        return {"class": type(value).__name__, **{own: _plain(each, f"{name}.{own}") for own, each in fields.items()}}
    if isinstance(value, (tuple, list)):
        return [_plain(each, name) for each in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(
        f"A part of a method must be a dataclass of plain values, so that a run can record it, but {name} is a "
        f"{type(value).__name__}; put @dataclass(frozen=True) before its class."
    )


def described(method: Method) -> str:
    """The epochs, and all that the method has otherwise than first-order DARTS.

    Args:
        method: The method.

    Returns:
        Such as ``50 epochs, batch_size=96, weight_step=LambdaHook(strength=0.25)``.
    """
    others = [*_differences(method.settings, "epochs"), *_differences(method, "settings")]
    return ", ".join([f"{method.settings.epochs} epochs", *others])


def _differences(part: Any, without: str = "") -> Iterator[str]:
    """The fields that are not as they are by default."""
    for field in dataclasses.fields(part):
        factory, value = field.default_factory, getattr(part, field.name)
        usual = field.default if factory is dataclasses.MISSING else factory()
        if field.name != without and value != usual:
            yield f"{field.name}={_short(value)}"


def _short(value: Any) -> str:
    if not dataclasses.is_dataclass(value):
        return str(value)
    return f"{type(value).__name__}({', '.join(_differences(value))})"
