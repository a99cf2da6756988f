"""Errors that a caller may want to catch, and the test that tells a message to the user from a bug.

Other errors are ``ValueError``, ``TypeError`` and ``KeyError``.
"""

from __future__ import annotations

from opcode import opmap

REFUSING_PACKAGES = {"genas"}
"""Top-level packages whose errors are messages to the user: genas, and those whose entry points were loaded."""

_RAISE = opmap["RAISE_VARARGS"]


class GenasError(Exception):
    """Base class: the request was well-formed, but it cannot be carried out."""


class InfeasibleError(GenasError):
    """No architecture satisfies the constraint."""


class RunError(GenasError):
    """A run folder or one of its files is damaged, in use by another process, or belongs to other settings."""


class MissingInputError(GenasError):
    """A metric needs a trained supernet or images, and the context was given none."""


class TrainingDiverged(GenasError):
    """The loss or a weight became NaN or infinite."""


class TableError(GenasError):
    """A file of accuracies is damaged, incomplete, or not in the expected format."""


class UsageError(Exception):
    """The command line asks for something that the verb does not have."""


class UnreadSettingError(ValueError):
    """Settings that are not the default, but that nothing reads with the others.

    Args:
        reason: Why nothing reads them, without a full stop.
        settings: Their names, such as ``scoring`` or ``noise.stds``.
    """

    def __init__(self, reason: str, *settings: str) -> None:
        super().__init__(f"{reason}; leave out {', '.join(settings)}.")
        self.reason, self.settings = reason, settings

    def __reduce__(self) -> tuple[type[UnreadSettingError], tuple[str, ...]]:
        return type(self), (self.reason, *self.settings)


def is_refusal(error: Exception) -> bool:
    """Whether an error is a message to the user: from a ``raise`` statement of genas or a plug-in, or about a file.

    A ``KeyError`` of a dictionary, a ``ValueError`` of a library are bugs and must show their tracebacks.

    Args:
        error: The error as caught, in the process in which it was raised.

    Returns:
        Whether its message tells the user enough.
    """
    if isinstance(error, (GenasError, OSError)):
        return True
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or not isinstance(error, (ValueError, KeyError, TypeError, ImportError)):
        return False
    ours = str(last.tb_frame.f_globals.get("__name__")).partition(".")[0] in REFUSING_PACKAGES
    return ours and last.tb_frame.f_code.co_code[last.tb_lasti] == _RAISE
