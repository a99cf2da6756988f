"""Files for ``--config``: recipes by name, and files in which every option is set once."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import yaml

from genas.errors import UsageError

_RECIPES = "genas.recipes"


def recipes() -> dict[str, str]:
    """Return the names of the shipped configuration files, and the program of each, named in its first line."""
    files = [entry for entry in resources.files(_RECIPES).iterdir() if entry.name.endswith(".yaml")]
    texts = {entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8") for entry in files}
    return {name: " ".join(text.split(maxsplit=3)[1:3]) for name, text in sorted(texts.items())}


def find_file(name: str, prog: str) -> str:
    """Return the path of a configuration file.

    Args:
        name: Its path, or the name of a recipe.
        prog: The program and its verb, whose recipe it must be.

    Raises:
        UsageError: If there is no such file or recipe, or if the file is not valid YAML or sets an option twice.
    """
    if Path(name).is_file():
        _check_keys(name)
        return name
    found = recipes()
    if name not in found:
        known = ", ".join(each for each, program in found.items() if program == prog) or "none"
        raise UsageError(
            f"--config takes a YAML file or the name of a recipe, but {name!r} is neither. Recipes: {known}."
        )
    if found[name] != prog:
        raise UsageError(f"{name} is a recipe of {found[name]}, not of {prog}.")
    return str(resources.files(_RECIPES) / f"{name}.yaml")


def _check_keys(name: str) -> None:
    """Refuse what is no YAML, and repeated keys, of which YAML's readers silently take the last."""
    try:
        text = Path(name).read_text(encoding="utf-8")
        yaml.safe_load(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration file is not valid YAML: {' '.join(str(error).split())}") from error
    for first, second in _repeated(root):
        raise UsageError(
            f"in the configuration file {first.value} is set twice, in lines {first.start_mark.line + 1} and "
            f"{second.start_mark.line + 1}; keep one of them."
        )


def _repeated(node: yaml.Node | None) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Yield the pairs of equal keys in the mappings below a node."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, yaml.Node] = {}
    for key, value in node.value:
        first = seen.setdefault(key.value, key)
        if first is not key:
            yield first, key
        yield from _repeated(value)
