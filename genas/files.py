"""Paths with ``~``, and atomic file writes: under a temporary name, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
from collections.abc import Callable
from pathlib import Path

_MARK = ".unfinished"


def expanded(path: Path | str) -> Path:
    """Put the user's home folder for ``~``, and that of another user for ``~name``.

    Args:
        path: A path.

    Returns:
        The path.

    Raises:
        ValueError: If there is no such user.

    Example:
        >>> expanded("runs/~") == Path("runs/~")
        True
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path} begins with the home folder of a user, but there is none; write ./{path}.") from error


def atomic_write(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file in the same folder, then replace ``path`` by it.

    Args:
        path: The file. Its folder must exist. A link stays, and what it points to is replaced; an existing file keeps
            its rights.
        write: Called with the temporary path, which keeps the suffix of ``path`` (some writers choose the format by
            it).
    """
    path = path.resolve()
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{_MARK}{path.suffix}")
    temporary.touch()
    # Of new files the user's default; some writers make them private.
    mode = (path if path.exists() else temporary).stat().st_mode
    try:
        write(temporary)
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the new name reaches the disk with its folder; Windows cannot open folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        except OSError as error:  # some network and shared folders have no such operation; the file itself is safe
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
                raise
        finally:
            os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text with :func:`atomic_write`.

    Args:
        path: The file.
        text: Its new content.
    """
    atomic_write(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def write_json(path: Path, value: object) -> None:
    """Write indented JSON with :func:`atomic_write`.

    Args:
        path: The file.
        value: Plain values. NaN and infinity are not valid JSON and are refused: give ``None`` instead.
    """
    write_text(path, to_json(value, indent=2) + "\n")


def json_number(value: float | None) -> float | None:
    """A number as JSON can hold it: ``None`` for NaN and infinity.

    Args:
        value: Any number; ``None`` stays.

    Returns:
        A finite number or ``None``.
    """
    return value if value is not None and math.isfinite(value) else None


def to_json(value: object, indent: int | None = None) -> str:
    """JSON text.

    Args:
        value: Plain values.
        indent: As in ``json.dumps``.

    Returns:
        The text, not escaped to ASCII.

    Raises:
        ValueError: If a number is NaN or infinite.
    """
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"JSON has no NaN and no infinity; give None instead ({error}).") from error


def remove_unfinished(folder: Path) -> None:
    """Delete the temporary files that a killed process left in a folder, not in its sub-folders.

    Call it only while no other process writes there.

    Args:
        folder: The folder.
    """
    for path in folder.glob(f".*{_MARK}*"):
        path.unlink()
