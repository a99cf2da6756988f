"""The file of a table: a small ``.npz`` of four arrays, without pickles.

``header``: UTF-8 JSON as bytes. ``architectures``: int8, shape ``(rows, genes)``. ``levels``: float64 percent, every
accuracy that occurs, increasing; NaN, for a missing one, last. ``codes``: shape ``(columns, rows)``, the position of
each accuracy in ``levels``. Accuracies are counts of right answers, so levels are few, and codes compress better than
accuracies.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from genas.errors import TableError
from genas.files import atomic_write, to_json
from genas.npz import read_npz

_FORMAT, _VERSION = "genas table", 1
_ARRAYS = {"header", "architectures", "levels", "codes"}
_FIELDS = {"space": str, "name": str, "source": str, "checksum": str, "isomorphic": bool, "columns": list}


def write_table_file(path: Path, header: Mapping[str, Any], architectures: np.ndarray, values: np.ndarray) -> None:
    """Write a file; one of that name is replaced, as a whole.

    Args:
        path: The file; its folder must exist.
        header: ``space``, ``name``, ``source``, ``checksum``, ``isomorphic`` and ``columns`` (a list of texts).
        architectures: Integers of shape ``(rows, genes)``.
        values: Float64 of shape ``(columns, rows)``.

    Raises:
        ValueError: If the name does not end in ``.npz``.
    """
    if path.suffix != ".npz":
        raise ValueError(f"The file of a table must be named *.npz, but got {path}.")
    text = to_json({"format": _FORMAT, "version": _VERSION, **header})
    content = np.frombuffer(text.encode(), dtype=np.uint8)
    genes = architectures.astype(np.int8)
    levels, where = np.unique(values, return_inverse=True)
    codes = where.reshape(values.shape).astype(np.min_scalar_type(len(levels)))
    atomic_write(
        path,
        lambda temporary: np.savez_compressed(
            temporary, header=content, architectures=genes, levels=levels, codes=codes
        ),
    )


def read_table_file(path: Path) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Read a file that :func:`write_table_file` wrote.

    Args:
        path: The file.

    Returns:
        Header, architectures, values.

    Raises:
        FileNotFoundError: If there is no such file.
        TableError: If it is damaged, not a table, or of another version.
    """
    if path.is_dir():
        raise FileNotFoundError(f"A table is a file, but {path} is a folder; that of genas build-table has table.npz.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no table at {path}; make one with genas import-table.")
    if not zipfile.is_zipfile(path):
        raise TableError(
            f"{path} is no genas table, or a truncated one; genas import-table makes one, of a CSV file too."
        )
    try:
        arrays = read_npz(path)
    except ValueError as error:
        raise TableError(f"{error} Make the table again.") from error
    if arrays.keys() != _ARRAYS:
        raise TableError(f"{path} is not a genas table: it holds {', '.join(sorted(arrays)) or 'nothing'}.")
    header = _header(path, arrays["header"])
    architectures, levels, codes = arrays["architectures"], arrays["levels"], arrays["codes"]
    if architectures.ndim != 2 or codes.shape != (len(header["columns"]), len(architectures)):
        raise TableError(
            f"{path} is damaged: codes of shape {codes.shape} for {len(header['columns'])} columns and architectures "
            f"of shape {architectures.shape}."
        )
    if levels.ndim != 1 or levels.dtype != np.float64 or codes.dtype.kind != "u" or codes.max(initial=0) >= len(levels):
        raise TableError(f"{path} is damaged: {codes.dtype} codes of {levels.dtype} levels of shape {levels.shape}.")
    return header, architectures, levels[codes]


def _header(path: Path, array: np.ndarray) -> dict[str, Any]:
    """The header, with the type of every field checked."""
    try:
        header = json.loads(array.tobytes())
    except ValueError as error:
        raise TableError(f"{path} is damaged: its header cannot be read ({error}).") from error
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise TableError(f"{path} is not a genas table: its header says {str(header)[:60]!r}.")
    if header.get("version") != _VERSION:
        raise TableError(
            f"{path} is a table of version {header.get('version')}, but this genas reads version {_VERSION}; "
            "make it again, or install another genas."
        )
    wrong = [name for name, kind in _FIELDS.items() if not isinstance(header.get(name), kind)]
    if wrong:
        raise TableError(f"{path} is damaged: its header lacks {', '.join(wrong)}.")
    if not all(isinstance(column, str) for column in header["columns"]):
        raise TableError(f"{path} is damaged: its header has a column that is not a string.")
    if len({*header["columns"]}) < len(header["columns"]):
        raise TableError(f"{path} is damaged: its header names a column twice.")
    return header
