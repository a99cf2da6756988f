"""Foreign pickles without their power: only plain containers and numeric numpy arrays are rebuilt."""

from __future__ import annotations

import bz2
import codecs
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

DAMAGES = (
    pickle.UnpicklingError,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
)
"""What a damaged pickle may raise."""


def load_plain_pickle(path: Path) -> Any:
    """Read a pickle that holds only numbers, texts, lists, tuples, dicts and numeric numpy arrays.

    A pickle is a program that may name and call any function. This reader hands out only its own makers of arrays, so
    the worst that a hostile file can do is to be refused. Files written under Python 2 are read with their byte texts
    as Latin-1.

    Args:
        path: The file. One named ``*.pbz2`` is decompressed first.

    Returns:
        What it holds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, or asks for anything else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; copy it there")
    with bz2.open(path) if path.suffix == ".pbz2" else path.open("rb") as file:
        try:
            return _PlainUnpickler(file, encoding="latin1").load()
        except DAMAGES as error:
            raise ValueError(
                f"{path} can not be read ({error}); it is truncated or not the official file: copy it again"
            ) from error


@final
class _PlainUnpickler(pickle.Unpickler):  # noqa: S301 - the very class that makes it safe
    """Resolves the names that a numeric numpy array needs, and no others."""

    def find_class(self, module: str, name: str) -> Any:
        # numpy 2 moved ``numpy.core`` to ``numpy._core``; files name either.
        maker = _MAKERS.get((module.replace("numpy._core", "numpy.core"), name))
        if maker is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which plain data does not need")
        return maker


def _numeric_dtype(code: str, *_: object) -> np.dtype[Any]:
    """A dtype of numbers; pickles pass its code and two flags about copies."""
    # A copy of its own, since the pickle goes on to set its byte order.
    dtype = np.dtype(code, copy=True)
    if dtype.kind not in "biufc":
        raise pickle.UnpicklingError(f"it holds an array of {dtype}, not of numbers")
    return dtype


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes that a pickle stores as text."""
    if encoding not in {"latin1", "latin-1"}:
        raise pickle.UnpicklingError(f"it encodes bytes by {encoding!r}")
    return codecs.encode(text, "latin1")


def _no_bytes() -> bytes:
    """The empty bytes, for which old protocols have no sign of their own."""
    return b""


def _blank_array(kind: object, _shape: object, _code: object) -> npt.NDArray[Any]:
    """The empty array that a pickle fills afterwards."""
    if kind is not _ARRAY_CLASS:
        raise pickle.UnpicklingError(f"it rebuilds an array of class {kind!r}")
    return np.empty(0, dtype=np.uint8)


def _array_of_buffer(buffer: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: str) -> npt.NDArray[Any]:
    """An array of pickle protocol 5."""
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


def _number(dtype: np.dtype[Any], data: bytes) -> Any:
    """A single number."""
    return np.frombuffer(data, dtype=dtype, count=1)[0]


_ARRAY_CLASS = object()
"""Stands for ``numpy.ndarray``, which pickles only name; so they can not call it."""

_MAKERS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "dtype"): _numeric_dtype,
    ("numpy", "ndarray"): _ARRAY_CLASS,
    ("numpy.core.multiarray", "_reconstruct"): _blank_array,
    ("numpy.core.multiarray", "scalar"): _number,
    ("numpy.core.numeric", "_frombuffer"): _array_of_buffer,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _no_bytes,
}
