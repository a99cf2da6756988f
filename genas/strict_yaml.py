"""YAML without surprises: every key is set once, and what is no number to the eye is none."""

from __future__ import annotations

import re
from typing import Any

import yaml


def load_yaml(text: str) -> Any:
    """Read YAML 1.1 as ``yaml.safe_load`` does, but refuse repeated keys, of which it would take the last.

    Args:
        text: The YAML.

    Returns:
        Plain values.

    Raises:
        yaml.YAMLError: If it is damaged, sets a key twice or asks for objects.
    """
    return _load(text, _StrictKeys)


def load_options(text: str) -> Any:
    """Read options from a file or from the command line, where a number means the same in both.

    In YAML 1.1, 1e-3 is a text, 010 is eight, 1:30 is ninety and 2026-11-27 is a date.

    Args:
        text: The YAML.

    Returns:
        Plain values.

    Raises:
        yaml.YAMLError: As :func:`load_yaml`.
    """
    return _load(text, _Options)


def _load(text: str, loader: type[yaml.SafeLoader]) -> Any:
    try:
        return yaml.load(text, Loader=loader)
    except (ValueError, LookupError, RecursionError) as error:  # of values that contradict their tags
        raise yaml.YAMLError(f"a value cannot be read: {error}") from error


class _StrictKeys(yaml.SafeLoader):
    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._open: list[str | None] = []

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse a value that contains itself, of which no reader would find the end."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        anchor = event.anchor
        if self.check_event(yaml.AliasEvent) and anchor in self._open:
            raise yaml.YAMLError(f"*{anchor} is a part of &{anchor}")
        self._open.append(anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            first = seen.setdefault(str(key.value), key)
            if first is not key:
                raise _set_twice(first, key)
        for name, key in seen.items():  # a.b: 1 beside a: {b: 2}
            for place, letter in enumerate(name):
                if letter == "." and name[:place] in seen:
                    raise _set_twice(*sorted([seen[name[:place]], key], key=lambda each: each.start_mark.line))
        return super().construct_mapping(node, deep)


def _set_twice(first: yaml.Node, second: yaml.Node) -> yaml.YAMLError:
    name, other = str(first.value), str(second.value)
    lines = f"{first.start_mark.line + 1} and {second.start_mark.line + 1}"
    return yaml.YAMLError(f"{min(name, other, key=len)} is set twice, in lines {lines}; keep one of them")


class _Options(_StrictKeys):
    pass


_REPLACED = {f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp")}
_Options.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Options.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9_]*)$"), list("-+0123456789"))
_Options.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9]+)([eE][-+]?[0-9]+)?$|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"
        r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)
