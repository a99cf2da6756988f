"""``.npz`` files without pickles."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_DAMAGES = (
    ValueError,
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,  # an encrypted entry, or one of an unknown compression method
    MemoryError,  # an absurd size
    OverflowError,
    SyntaxError,  # a header, which is Python's notation
    tokenize.TokenError,
    TypeError,
    LookupError,
)
"""Exceptions that a damaged file may raise."""


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of a file, by name.

    Args:
        path: An existing file.

    Returns:
        The arrays.

    Raises:
        ValueError: If the file is damaged or holds anything but named plain arrays.
    """
    try:
        # Opened here, since numpy leaves a damaged file open.
        with path.open("rb") as stream:
            content = np.load(stream, allow_pickle=False)
            if not isinstance(content, np.ndarray):
                return {key: content[key] for key in content.files}
    except _DAMAGES as error:
        raise ValueError(
            f"{path} cannot be read ({error}); it is truncated or not an .npz file of plain arrays: write it again."
        ) from error
    raise ValueError(f"{path} holds one array without a name; write it with numpy.savez(path, name=array).")
