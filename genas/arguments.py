"""Command-line parser and help of one ``genas`` verb, built from the signature of its function.

jsonargparse reads the types and docstrings, checks the values and builds the dataclasses.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, final, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, set_loader

from genas.command_line import CommandLine
from genas.configuration_files import recipes
from genas.errors import UsageError
from genas.files import expanded
from genas.spelling import Spelling, dashed
from genas.strict_yaml import load_options

_YAML = "genas"
"""Name of the strict loader for jsonargparse."""
set_loader(_YAML, load_options, (yaml.YAMLError,))


def read_command_line(function: Callable[..., object], prog: str, argv: Sequence[str]) -> CommandLine:
    """Read the arguments of a function from its command line and configuration files.

    Args:
        function: Typed and documented. Its parameters without a default are positional, its frozen dataclasses become
            groups of options such as ``--training.epochs``.
        prog: The words before the arguments, for help and messages.
        argv: The words after them. Options win over ``--config``, a later option over an earlier one.

    Returns:
        The function and its arguments, ready to be called.

    Raises:
        UsageError: If an option is unknown, ambiguous or has no valid value, or if an argument is missing.
    """
    spelling = Spelling(dict(_types(get_type_hints(function))), prog)
    parser = _make_parser(function, prog, spelling)
    words = spelling.in_full(argv)
    try:
        values = parser.parse_args(words)
        values.pop("config", None)
        _check_groups(values, spelling)
        _check_values(values, spelling)
        arguments = vars(parser.instantiate(values))
        # A shell reads ~ at the beginning of a word only, and not in a configuration file.
        arguments = {name: expanded(value) if isinstance(value, Path) else value for name, value in arguments.items()}
    except argparse.ArgumentError as error:
        raise UsageError(_explained(str(error), spelling)) from error
    except ValueError as error:  # a dataclass refuses its values
        raise UsageError(str(error)) from error
    typed = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
    return CommandLine(function, arguments, frozenset(typed))


def _check_groups(values: Namespace, spelling: Spelling) -> None:
    """Refuse a configuration file in which a group of options is anything but a mapping, such as empty."""
    for group in sorted(spelling.groups):  # the outer ones first
        value = values.get(group)
        if not isinstance(value, Namespace):
            options = [name.removeprefix(f"{group}.") for name in spelling.types if name.startswith(f"{group}.")]
            raise UsageError(
                f"in the configuration file {group} must be a mapping of {', '.join(options)}, but got {value!r}; "
                "leave it out for the defaults."
            )


def _check_values(values: Namespace, spelling: Spelling) -> None:
    """Refuse infinite numbers, and null for an option that cannot be null, both of which jsonargparse takes."""
    for name, hint in spelling.types.items():
        value = values.get(name)
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, float) and not math.isfinite(part):
                raise UsageError(f"--{dashed(name)} must be a finite number, but got {part}.")
        if value is None and hint is not Any and NoneType not in get_args(hint):
            raise UsageError(
                f"in the configuration file {name} must be {_described(hint)}, but got null; leave it out for the "
                "default."
            )


def _types(hints: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full name and type of every argument, with dataclasses expanded."""
    for name, hint in hints.items():
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            inner = get_type_hints(hint)
            fields = {field.name: inner[field.name] for field in dataclasses.fields(hint)}
            yield from _types(fields, f"{prefix}{name}.")
        elif name != "return":
            yield prefix + name, hint


def _make_parser(function: Callable[..., object], prog: str, spelling: Spelling) -> ArgumentParser:
    parameters = inspect.signature(function).parameters.values()
    positional = [p.name.upper() for p in parameters if p.default is p.empty and p.name in spelling.types]
    parser = _Parser(
        prog=prog,
        usage=" ".join([prog, *positional, "[options]"]),
        description=inspect.cleandoc(function.__doc__ or "").partition("\n\nArgs:")[0],
        formatter_class=_HelpFormatter,
        exit_on_error=False,
        allow_abbrev=False,
        parser_mode=_YAML,
    )
    shipped = ", ".join(name for name, program in recipes().items() if program == prog)
    parser.add_argument(
        "--config",
        action="config",
        metavar="FILE",
        help=f"YAML file of options, or a recipe: {shipped}." if shipped else "YAML file of options.",
    )
    parser.add_function_arguments(function, as_positional=True)
    (parser.groups or {})[function.__name__].title = "arguments"
    for action in parser._actions:
        if not action.option_strings:
            action.metavar = action.dest.upper()
        elif action.dest == "print_config":
            action.help = "Print all options as YAML, ready for --config, and exit."
        elif action.dest in spelling.groups:  # jsonargparse's files for single groups: --config does it for all
            action.help = argparse.SUPPRESS
    return parser


@final
class _Parser(ArgumentParser):
    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        # jsonargparse refuses values of final dataclasses as defaults, but takes mappings.
        default = kwargs.get("default")
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            kwargs["default"] = dataclasses.asdict(default)
        return super().add_argument(*args, **kwargs)


@final
class _HelpFormatter(DefaultHelpFormatter):
    """Shows options with dashes, flags without values, types as people write them."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        shown = dashed(super()._format_action_invocation(action))
        shown = re.sub(r", --[\w.-]+\+ \w+", "", shown)  # jsonargparse's option that appends to a list
        name = shown.partition(" ")[0]
        if str(action.metavar).startswith("{true,false"):
            return f"{name}, --no-{name[2:]}"
        return name if action.dest == "print_config" else shown

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(super(_HelpFormatter, self)._fill_text(part, width, indent) for part in text.split("\n\n"))

    def _expand_help(self, action: argparse.Action) -> str:
        text = re.sub(r":\w+:`~?([^`]*)`", r"\1", _plain(super()._expand_help(action)))
        text = text.replace("``None``", "null").replace("``", "")
        return re.sub(r"\\([a-z]+)", r"\1", text.replace(r"\dots", "..."))  # formulas without TeX's backslashes


_NO_YAML = 'Parser key "config": '
_NO_MAPPING = "Unexpected config: "


def _explained(message: str, spelling: Spelling) -> str:
    """Return a message of jsonargparse, reworded where it is about an option."""
    types = spelling.types
    unknown = re.search(
        r"Option '([\w.-]+)' is not accepted|Group '([\w.]+)' does not accept option '([\w.-]+)'", message
    )
    if unknown:  # those of the command line were found before
        name = unknown[1] or f"{unknown[2]}.{unknown[3]}"
        if (written := name.replace("-", "_")) in types:
            return f"in a configuration file --{name} is called {written}, with underscores."
        return f"in the configuration file {spelling.unknown(name)}"
    if message.startswith(_NO_YAML):
        return f"the configuration file is not valid YAML: {' '.join(message.removeprefix(_NO_YAML).split())}"
    if message.startswith(_NO_MAPPING):
        found = message.removeprefix(_NO_MAPPING).strip()
        return f"the configuration file must be a mapping of options to values, but is {found!r}."
    about = re.search(r'Parser key "([\w.]+)"', message)
    values: list[str] = re.findall(r"(?:Given|Got) value: (.*)", message)
    if about and about[1] in types and values:
        name = dashed(about[1])
        given = values[-1] if values[-1].startswith("[") else repr(values[-1])
        if values[-1].strip("+-.").lower() in ("nan", "inf", "infinity"):
            return f"--{name} must be a finite number, but got {given}."
        return f"--{name} must be {_described(types[about[1]])}, but got {given}."
    return _plain(message)


def _described(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_described(part) for part in get_args(hint))
    if get_origin(hint) in (list, tuple):
        return f"a list of {_described(get_args(hint)[0])}, separated by commas"
    return _plain(inspect.formatannotation(hint)).replace("NoneType", "null")


def _plain(text: str) -> str:
    return re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
