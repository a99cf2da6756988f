"""The command ``genas VERB``: finds the verb's function, reads its arguments, calls it, and reports errors briefly."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, final

from genas.choices import did_you_mean
from genas.errors import UsageError, is_refusal
from genas.version import __version__

USAGE, FAILED, INTERRUPTED, BROKEN_PIPE = 2, 1, 130, 141
"""Exit codes besides 0."""


@final
class Verb(NamedTuple):
    """Module and name of a verb's function; the module is imported when the verb is used."""

    module: str
    function: str
    summary: str


VERBS = {
    "inspect": Verb(
        "genas.commands.inspect", "inspect", "Print notations, cost, keys and live edges of an architecture."
    ),
    "train-supernet": Verb(
        "genas.commands.train_supernet", "train_supernet", "Train the weights that all subnets share."
    ),
    "build-table": Verb(
        "genas.commands.build_table", "build_table", "Train stand-alone networks: your own ground truth."
    ),
    "import-table": Verb(
        "genas.commands.import_table", "import_table", "Make a table of ground truth from published accuracies."
    ),
    "na-tables": Verb(
        "genas.commands.na_tables", "na_tables", "Repeat the tables of Neighborhood-Aware NAS on ground truth."
    ),
    "evolve": Verb("genas.commands.evolve", "evolve", "Search a trained supernet for the best architecture."),
    "search": Verb(
        "genas.commands.search_differentiable",
        "search_differentiable",
        "Search by gradient descent: DARTS and its descendants, with flat minima.",
    ),
    "compare": Verb(
        "genas.commands.compare", "compare", "Compare what searches of several seeds have found, seed by seed."
    ),
    "rank": Verb("genas.commands.rank", "rank", "Measure how well metrics rank architectures, against ground truth."),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: The words of the command line without the program's name; by default the process's own.

    Returns:
        The exit code: 0, 1 for a request that failed, 2 for a wrong command line, 130 when interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        print(_help(), file=sys.stderr)
        return USAGE
    verb = words[0].replace("_", "-")
    prog = f"genas {verb}"
    try:
        if words[0] in ("-h", "--help", "--version"):
            print(f"genas {__version__}" if words[0] == "--version" else _help(), flush=True)
            return 0
        if verb not in VERBS:
            return _report("genas", _unknown(words[0]), USAGE)
        return _run(VERBS[verb], prog, words[1:])
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to continue.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader is gone, as with `| head`: discard what is left in the buffer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        if not is_refusal(error) or os.environ.get("GENAS_TRACEBACK"):
            raise
        return _report(prog, _message(error), FAILED)


def _run(verb: Verb, prog: str, words: Sequence[str]) -> int:
    from genas.arguments import read_command_line  # jsonargparse is not needed for `genas --help`

    function: Callable[..., Any] = getattr(import_module(verb.module), verb.function)
    try:
        line = read_command_line(function, prog, words)
    except SystemExit:  # --help and --print-config have printed what they were asked for
        _flush()
        return 0
    except UsageError as error:
        return _report(prog, f"{error}\nSee {prog} --help.", USAGE)
    line.call()
    _flush()
    return 0


def _flush() -> None:
    if sys.stdout is not None:  # as it is where a program is started without one
        sys.stdout.flush()


def _message(error: Exception) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return "\n".join([text, *getattr(error, "__notes__", [])])


def _report(prog: str, message: str, code: int) -> int:
    print(f"{prog}: error: {message}", file=sys.stderr)
    return code


def _unknown(word: str) -> str:
    near = did_you_mean(word.replace("_", "-"), VERBS)
    return f"there is no verb {word!r}.{near} Verbs: {', '.join(VERBS)}.\nSee genas --help."


def _help() -> str:
    verbs = "\n".join(f"  {name:<16}{verb.summary}" for name, verb in VERBS.items())
    return (
        "usage: genas VERB [arguments]\n\nNeural architecture search that prefers flat minima.\n\n"
        f"verbs:\n{verbs}\n\n"
        "genas VERB --help lists the arguments of a verb, genas --version the version.\n"
        "With GENAS_TRACEBACK=1 in the environment, errors show where they came from."
    )
