"""Whatever is wrong with an .npz file, there is one message that names it."""

from __future__ import annotations

import io
import tokenize
import zipfile
from pathlib import Path

import numpy as np
import pytest

from genas.npz import read_npz

LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
FLAGS, METHOD = {LOCAL: 6, CENTRAL: 8}, {LOCAL: 8, CENTRAL: 10}


HEADER = "{'descr': '|u1', 'fortran_order': False, 'shape': (%d,)}"


def changed(path: Path, offsets: dict[bytes, int], value: int) -> Path:
    """A file with one byte of both headers of its only entry changed."""
    np.savez(path, x=np.arange(9))
    content = bytearray(path.read_bytes())
    for signature, offset in offsets.items():
        content[content.index(signature) + offset] = value
    path.write_bytes(content)
    return path


def huge(path: Path) -> Path:
    """A file that promises more numbers than any memory holds."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", header.getvalue())
    return path


def test_arrays_come_back(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(9), y=np.ones((2, 3)))
    found = read_npz(tmp_path / "a.npz")
    assert found["x"].tolist() == list(range(9))
    assert found["y"].shape == (2, 3)


def misspelt(path: Path, header: str) -> Path:
    """A file whose header is not the notation of a dictionary, or not of an array's."""
    text = header.encode().ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    return path


@pytest.mark.parametrize(
    ("make", "reason", "kind"),
    [
        (lambda path: misspelt(path, "{'descr': '<f8', 'shape': (3,("), "EOF in multi-line", tokenize.TokenError),
        (lambda path: misspelt(path, HEADER % 2**70), "too big|too large", OverflowError),
        (lambda path: changed(path, METHOD, 99), "compression method is not supported", NotImplementedError),
        (lambda path: changed(path, FLAGS, 1), "encrypted", RuntimeError),
        (huge, "Unable to allocate", MemoryError),
    ],
)
def test_damage_is_a_message(tmp_path: Path, make, reason: str, kind: type[Exception]) -> None:
    path = make(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=rf"a.npz cannot be read \(.*{reason}") as error:
        read_npz(path)
    assert isinstance(error.value.__cause__, kind), "as zipfile and numpy raise it"
