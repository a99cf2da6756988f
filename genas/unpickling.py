"""Safe reading of foreign pickles: only plain containers and numeric numpy arrays are rebuilt."""

from __future__ import annotations

import bz2
import codecs
import pickle
from collections import OrderedDict
from collections.abc import Callable
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
    MemoryError,  # an absurd size
)
"""Exceptions that a damaged pickle may raise."""


def load_plain_pickle(path: Path) -> Any:
    """Read a pickle that holds only numbers, texts, lists, tuples, dicts and numeric numpy arrays.

    A pickle is a program that may name and call any function, and set the state of any object. This reader offers only
    its own array constructors, and types that check their state, so the worst that a hostile file can do is to be
    refused. Byte strings of files written under Python 2 are read as Latin-1.

    Args:
        path: The file. One named ``*.pbz2`` is decompressed first.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, or asks for anything else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}; copy it there.")
    with bz2.open(path) if path.suffix == ".pbz2" else path.open("rb") as file:
        try:
            return _PlainUnpickler(file, encoding="latin1").load()
        except DAMAGES as error:
            raise ValueError(
                f"{path} cannot be read ({error}); it is truncated or not the official file: copy it again."
            ) from error


@final
class _PlainUnpickler(pickle.Unpickler):  # noqa: S301 - the very class that makes it safe
    """Unpickler that resolves only the names that a numeric numpy array needs."""

    def find_class(self, module: str, name: str) -> Any:
        # numpy 2 moved ``numpy.core`` to ``numpy._core``; files name either.
        maker = _MAKERS.get((module.replace("numpy._core", "numpy.core"), name))
        if maker is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which plain data does not need")
        return maker


@final
class _Maker:
    """A callable whose attributes a pickle cannot set, unlike those of a function."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: object) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes what makes its arrays")


@final
class _NumberType:
    """Stand-in for a dtype, whose own ``__setstate__`` would accept any size, shape and flags.

    Args:
        code: Code of the type without byte order; two flags about copies follow it in pickles.
    """

    __slots__ = ("dtype",)

    def __init__(self, code: str, *_: object) -> None:
        self.dtype = np.dtype(code)
        if self.dtype.kind not in "biufc":
            raise pickle.UnpicklingError(f"it holds an array of {self.dtype}, not of numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, byte_order, *others = state
        if byte_order not in ("<", ">", "|", "=") or others != [None, None, None, -1, -1, 0]:
            raise pickle.UnpicklingError(f"it holds a type with the state {state!r}, not of numbers")
        self.dtype = self.dtype.newbyteorder(byte_order)


class _Array(np.ndarray):
    """An array that takes its type from a :class:`_NumberType`."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if self.size:  # numpy would free the old numbers
            raise pickle.UnpicklingError("it fills an array twice")
        version, shape, kind, fortran, data = state
        super().__setstate__((version, shape, kind.dtype, fortran, data))


def _latin1(text: str, encoding: str) -> bytes:
    """The bytes that a pickle stores as text."""
    if encoding not in {"latin1", "latin-1"}:
        raise pickle.UnpicklingError(f"it encodes bytes by {encoding!r}")
    return codecs.encode(text, "latin1")


def _no_bytes() -> bytes:
    """The empty bytes, for which old protocols have no opcode."""
    return b""


def _blank_array(kind: object, _shape: object, _code: object) -> npt.NDArray[Any]:
    """The empty array that a pickle fills afterwards."""
    if kind is not _ARRAY_CLASS:
        raise pickle.UnpicklingError(f"it rebuilds an array of class {kind!r}")
    return _Array(0, dtype=np.uint8)


def _array_of_buffer(buffer: bytes, kind: _NumberType, shape: tuple[int, ...], order: str) -> npt.NDArray[Any]:
    """An array of pickle protocol 5."""
    return np.frombuffer(_plain_bytes(buffer), dtype=kind.dtype).reshape(shape, order="F" if order == "F" else "C")


def _number(kind: _NumberType, data: bytes) -> Any:
    """A single number."""
    return np.frombuffer(_plain_bytes(data), dtype=kind.dtype, count=1)[0]


def _plain_bytes(buffer: object) -> bytes:
    """The bytes of an array as pickled: a view of another object would outlive what it shows."""
    if not isinstance(buffer, bytes | bytearray):
        raise pickle.UnpicklingError(f"it makes an array of {type(buffer).__name__}, not of bytes")
    return bytes(buffer)


_ARRAY_CLASS = object()
"""Stand-in for ``numpy.ndarray``, which pickles only name; so they cannot call it."""

_MAKERS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "dtype"): _Maker(_NumberType),
    ("numpy", "ndarray"): _ARRAY_CLASS,
    ("numpy.core.multiarray", "_reconstruct"): _Maker(_blank_array),
    ("numpy.core.multiarray", "scalar"): _Maker(_number),
    ("numpy.core.numeric", "_frombuffer"): _Maker(_array_of_buffer),
    ("_codecs", "encode"): _Maker(_latin1),
    ("__builtin__", "bytes"): _Maker(_no_bytes),
}
