"""Call of a verb's function; settings of a configuration file that the typed options make useless are left out."""

from __future__ import annotations

import collections
import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

from genas.errors import UnreadSettingError


@final
@dataclasses.dataclass(frozen=True)
class CommandLine:
    """A function and what its command line and configuration files say.

    Args:
        function: The function.
        arguments: Its arguments: names to values, dataclasses built.
        typed: Full names of the options on the command line itself, such as ``training.epochs``.
    """

    function: Callable[..., object]
    arguments: Mapping[str, Any]
    typed: frozenset[str]

    def call(self) -> None:
        """Call the function.

        A configuration file is made for one use, and options beside it may make another of it: its settings that
        nothing reads then are left out, with a note. Those of the command line are refused.
        """
        arguments = dict(self.arguments)
        while True:
            try:
                self.function(**arguments)
            except UnreadSettingError as error:
                without = self._without(arguments, error.settings)
                if without == arguments or any(self._is_typed(name) for name in error.settings):
                    raise
                arguments = without
                print(f"note: left out of the configuration file: {error.reason}.", file=sys.stderr)
            else:
                return

    def _is_typed(self, name: str) -> bool:
        return any(f"{option}.".startswith(f"{name}.") for option in self.typed)

    def _without(self, arguments: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
        """The arguments, with the defaults for some of them or for fields of their dataclasses."""
        defaults = {name: each.default for name, each in inspect.signature(self.function).parameters.items()}
        return _with_values(arguments, {name: _value(defaults, name) for name in names})


def _value(arguments: Mapping[str, Any], name: str) -> Any:
    """The value of a name such as ``evolution.mutations``."""
    first, *fields = name.split(".")
    return functools.reduce(getattr, fields, arguments[first])


def _with_values(arguments: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, with other values of some names such as ``join`` and ``evolution.mutations``."""
    changed = dict(arguments)
    fields: collections.defaultdict[str, dict[str, Any]] = collections.defaultdict(dict)
    for name, value in values.items():
        first, dot, rest = name.partition(".")
        if dot:
            fields[first][rest] = value
        else:
            changed[first] = value
    for name, inner in fields.items():  # all fields at once, since one may not suit the old value of another
        group = changed[name]
        plain = {field.name: getattr(group, field.name) for field in dataclasses.fields(group)}
        changed[name] = dataclasses.replace(group, **_with_values(plain, inner))
    return changed
