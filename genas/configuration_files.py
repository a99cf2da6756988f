"""Files for ``--config``: a user's own, and recipes by name."""

from __future__ import annotations

from importlib import resources

from genas.errors import UsageError
from genas.files import expanded
from genas.runs import record_of

_RECIPES = "genas.recipes"


def recipes() -> dict[str, str]:
    """Return the names of the shipped configuration files, and the program of each, named in its first line."""
    files = [entry for entry in resources.files(_RECIPES).iterdir() if entry.name.endswith(".yaml")]
    texts = {entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8") for entry in files}
    return {name: " ".join(text.split(maxsplit=3)[1:3]) for name, text in sorted(texts.items())}


def read_configuration(name: str, prog: str) -> str:
    """Return the text of a configuration file.

    Args:
        name: Its path, or the name of a recipe.
        prog: The program and its verb, whose recipe it must be.

    Raises:
        UsageError: If there is no such file or recipe, or the file is the record of a run, or not UTF-8.
    """
    path = expanded(name)
    if path.is_file():
        if environment := record_of(path):
            raise UsageError(
                f"{name} is the record of a run, which has more than options. The command of that run is in "
                f"{environment}, as argv; genas VERB ... --print-config writes the options of a command as a file."
            )
        try:
            return path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise UsageError(f"{name} must be text in UTF-8, but is not ({error}); save it as that.") from error
    found = recipes()
    if name not in found:
        known = ", ".join(each for each, program in found.items() if program == prog) or "none"
        raise UsageError(
            f"--config takes a YAML file or the name of a recipe, but {name!r} is neither. Recipes: {known}."
        )
    if found[name] != prog:
        raise UsageError(f"{name} is a recipe of {found[name]}, not of {prog}.")
    return (resources.files(_RECIPES) / f"{name}.yaml").read_text(encoding="utf-8")
