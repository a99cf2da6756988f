"""Spellings of options on the command line: dashes, last parts of names, flags."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final, get_args, get_origin

from genas.configuration_files import read_configuration
from genas.errors import UsageError

_TRUTHS = ("true", "false", "yes", "no", "null")


@final
class Spelling:
    """The options of one verb, and the words that stand for them.

    Args:
        types: Full name to type of every option and positional argument, as in ``training.epochs``.
        prog: The program and its verb, whose recipes ``--config`` takes.
        others: Options of the parser itself. Of these, ``config`` takes a file.

    Example:
        >>> spelling = Spelling({"run": str, "max_macs": int, "training.epochs": int, "training.flip": bool})
        >>> spelling.in_full(["runs/a", "--max-macs", "9", "--epochs=3", "--no-flip"])
        ['runs/a', '--max_macs=9', '--training.epochs=3', '--training.flip=false']
    """

    def __init__(
        self, types: Mapping[str, Any], prog: str = "", others: Sequence[str] = ("config", "print_config", "help")
    ) -> None:
        self.types, self._prog = types, prog
        self.groups = {name[:place] for name in types for place, letter in enumerate(name) if letter == "."}
        self._names = [*types, *others]

    def in_full(self, argv: Iterable[str]) -> list[str]:
        """Return the words, with every option as ``--full.name=value``; configuration files first, so that options win.

        Raises:
            UsageError: If an option is unknown or ambiguous, or a configuration file does not exist.
        """
        files: list[str] = []
        words: list[str] = []
        rest = list(argv)
        while rest and rest[0] != "--":
            word = rest.pop(0)
            if not word.startswith("--"):
                words.append(word)
                continue
            given, equals, attached = word[2:].partition("=")
            name, negated = self._resolve(given)
            if equals and negated:
                raise UsageError(f"--{given} takes no value, but got {attached!r}; use --{dashed(name)}={attached}.")
            value = attached if equals else self._pop_value(name, negated, rest)
            if name == "config" and value is not None:
                files.append(f"--config={read_configuration(value, self._prog)}")
            elif value is not None and self._is_sequence(name) and not value.startswith("["):
                words.append(f"--{name}=[{value}]")
            else:
                words.append(f"--{name}" if value is None else f"--{name}={value}")
        return [*files, *words, *rest]

    def _pop_value(self, name: str, negated: bool, rest: list[str]) -> str | None:
        """Return the value of an option that has no ``=``: ``None`` if there is none."""
        is_flag = self._is_flag(name)
        if negated:
            return "false"
        if is_flag and not (rest and rest[0].lower() in _TRUTHS):
            return "true"
        if not rest or rest[0].startswith("--") or name in ("help", "print_config"):
            return None
        return rest.pop(0)

    def _is_flag(self, name: str) -> bool:
        return bool in (self.types.get(name), *get_args(self.types.get(name)))

    def _is_sequence(self, name: str) -> bool:
        hint = self.types.get(name)
        return not {tuple, list}.isdisjoint(get_origin(part) for part in (hint, *get_args(hint)))

    def _resolve(self, given: str) -> tuple[str, bool]:
        """Return the full name of an option, and whether it was given as ``--no-NAME``."""
        wanted = given.replace("-", "_")
        if found := self._find(wanted):
            return found, False
        if wanted.startswith("no_") and (found := self._find(wanted.removeprefix("no_"))) and self._is_flag(found):
            return found, True
        raise UsageError(self.unknown(given))

    def _find(self, wanted: str) -> str | None:
        if wanted in self._names:
            return wanted
        found = [name for name in self._names if name.endswith(f".{wanted}")]
        if len(found) > 1:
            raise UsageError(f"--{dashed(wanted)} is ambiguous; give one of {_listed(found)}.")
        return found[0] if found else None

    def unknown(self, given: str) -> str:
        """Return a message about an unknown option, with the nearest ones."""
        wanted = given.replace("-", "_")
        members = [name for name in self.types if f".{wanted}." in f".{name}"]
        if members:
            return f"--{given} is a group of options; set one of {_listed(members)}."
        full_names = {name.rpartition(".")[2]: name for name in self._names} | {name: name for name in self._names}
        near = dict.fromkeys(full_names[name] for name in difflib.get_close_matches(wanted, full_names))
        return f"there is no option --{given}." + (f" Did you mean {_listed(near)}?" if near else "")


def dashed(text: str) -> str:
    """Return the text with dashes in its option names; metavars, in capitals or braces, keep their underscores.

    Example:
        >>> dashed("--training.batch_size BATCH_SIZE"), dashed("--na.edge_scope {each,normal_only}")
        ('--training.batch-size BATCH_SIZE', '--na.edge-scope {each,normal_only}')
    """
    return re.sub(r"{[^}]*}|\b[a-z][a-z0-9_.]*", _dashed_name, text)


def _dashed_name(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith("{") else found[0].replace("_", "-")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"--{dashed(name)}" for name in names)
