from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genas.unpickling import load_plain_pickle


def written(path: Path, content: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    content: dict[str, Any] = {
        "data": np.arange(12, dtype=np.uint8).reshape(3, 4),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "labels": [1, 2, 3],
        "mean": (0.5, np.float64(0.25), None, True),
        "big": np.arange(3, dtype=">i4"),
        "empty": np.zeros((0, 2)),
    }
    path = written(tmp_path / "plain", content, protocol)
    found, expected = load_plain_pickle(path), pickle.loads(path.read_bytes())  # noqa: S301 - the oracle
    assert list(found) == list(content)
    for key in ("data", "fortran", "big", "empty"):
        assert np.array_equal(found[key], content[key])
        assert found[key].dtype == expected[key].dtype
    assert found["labels"] == [1, 2, 3]
    assert found["mean"] == (0.5, 0.25, None, True)


def test_python_2_batches(tmp_path: Path) -> None:
    """What Python 2 wrote: protocol 2, byte strings without a mark, numpy under its old module name."""
    shell = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    dtype = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
    array = shell + b"(I1\n(I3\nt" + dtype + b"I00\nS'\\x00\\x7f\\xff'\ntb"
    (tmp_path / "old").write_bytes(b"(dS'data'\n" + array + b"sS'labels'\n(lI1\naI120\nas.")
    found = load_plain_pickle(tmp_path / "old")
    assert found["data"].tolist() == [0, 127, 255]
    assert found["data"].dtype == np.uint8
    assert found["labels"] == [1, 120]


class _Hostile:
    """Unpickling this with ``pickle.load`` runs a shell command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_command_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "mark"
    path = written(tmp_path / "hostile", {"data": _Hostile(mark)}, protocol)
    with pytest.raises(
        ValueError, match=r"hostile cannot be read \(it asks for posix.system, which plain data does not"
    ):
        load_plain_pickle(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # noqa: S301 - shows that the file is truly hostile
    assert mark.exists()


SHAPED_TYPE = (
    b"cnumpy\ndtype\n(S'i8'\nI0\nI1\ntR(I3\nS'<'\n(cnumpy\ndtype\n(S'i8'\nI0\nI1\ntR(I1000000000\nttNNI8\nI8\nI0\ntb."
)


# Numbers that are freed while another array still shows them.
INT8 = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
FILL = b"(I1\n(I4\nt" + INT8 + b"I00\nS'abcd'\ntb"
FILLED_TWICE = EMPTY + FILL + FILL + b"."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "asks for builtins.eval"),
        (b"c__builtin__\nbytes\n(I9\ntR.", "takes 0 positional arguments but 1 was given"),
        # The state of a type that gives a number of 8 bytes the shape of a thousand million.
        (SHAPED_TYPE, "holds a type with the state"),
        (b"cnumpy.core.multiarray\nscalar\n(" + SHAPED_TYPE[:-1] + b"S'12345678'\ntR.", "holds a type with the state"),
        (b"cnumpy\ndtype\n(S'i8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI1\ntb.", "holds a type with the state"),
        # The defaults of a function are a state, too.
        (b"cnumpy.core.multiarray\n_reconstruct\n(N(S'__defaults__'\n(I1\ntdtb.", "changes what makes its arrays"),
        (b"]r\xff\xff\xff\x7f.", "cannot be read"),  # an absurd place to remember a list at
        (b"cnumpy\nload\n(S'x'\ntR.", "asks for numpy.load"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.", "asks for numpy.ndarray.dumps"),
        (b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR.", "array of object, not of numbers"),
        (b"cnumpy\ndtype\n(S'V8'\nI0\nI1\ntR.", "not of numbers"),
        (b"cnumpy\nndarray\n(I3\ntR.", "not callable"),
        (b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.", "encodes bytes by 'rot13'"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR.", "rebuilds an array of class"),
        (FILLED_TWICE, "fills an array twice"),
        (b"cnumpy.core.multiarray\nscalar\n(" + INT8 + EMPTY + b"tR.", "makes an array of _Array, not of bytes"),
        (b"", "truncated or not the official file: copy it again"),
        (b"no pickle at all", "cannot be read"),
    ],
)
def test_other_requests_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_plain_pickle(tmp_path / "file")


def test_truncated_and_missing(tmp_path: Path) -> None:
    path = written(tmp_path / "batch", {"data": np.zeros(1_000)})
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"batch cannot be read .*truncated"):
        load_plain_pickle(path)
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing; copy it there"):
        load_plain_pickle(tmp_path / "nothing")
