"""``npz:PATH``: images and labels as numpy arrays in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from genas.data.source import Pool, Request, Source
from genas.npz import read_npz

KNOWN = ("x_train", "y_train", "x_valid", "y_valid", "x_test", "y_test", "classes")
"""The arrays that such a file may hold; the first two are required."""


def load_npz(request: Request) -> Source:
    """Read an ``.npz`` file with ``x_train, y_train[, x_valid, y_valid][, x_test, y_test][, classes]``.

    Images are uint8 of shape ``(n, height, width, channels)`` or ``(n, height, width)``, labels integers of shape
    ``(n,)``, ``classes`` the class names in label order (by default the labels themselves).

    Args:
        request: Its argument is the path.

    Returns:
        The pools. Whether the images are CIFAR-10 in the official order is for the caller to say
        (``split="nasbench201"``).

    Raises:
        ValueError: If the file is damaged or an array is missing, unknown or misshapen. A missing file raises
            ``FileNotFoundError``, an array of the wrong dtype ``TypeError``.
    """
    path = request.path()
    arrays = _read(path)
    if unknown := sorted(set(arrays) - set(KNOWN)):
        raise ValueError(
            f"{path}: unknown array {unknown[0]!r}; the known ones are {', '.join(KNOWN)}: rename it or leave it out."
        )
    for key in ("x_train", "y_train"):
        if key not in arrays:
            raise ValueError(
                f"{path} must hold {key!r}, but holds {sorted(arrays)}; write it with numpy.savez(path, x_train=..., "
                "y_train=...)."
            )
    train = Pool.from_arrays(f"{path}, train", arrays["x_train"], arrays["y_train"])
    return Source(_class_names(path, arrays, train), train, _pool(path, arrays, "valid"), _pool(path, arrays, "test"))


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    if not path.is_file():
        raise FileNotFoundError(
            f"no file {path}; npz:PATH needs a file written by numpy.savez with x_train and y_train."
        )
    return read_npz(path)


def _pool(path: Path, arrays: dict[str, npt.NDArray[Any]], role: str) -> Pool | None:
    images, labels = arrays.get(f"x_{role}"), arrays.get(f"y_{role}")
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        raise ValueError(
            f"{path}: x_{role} and y_{role} go together, but {'x' if images is None else 'y'}_{role} is missing; "
            "add it."
        )
    return Pool.from_arrays(f"{path}, {role}", images, labels)


def _class_names(path: Path, arrays: dict[str, npt.NDArray[Any]], train: Pool) -> tuple[str, ...]:
    names = arrays.get("classes")
    if names is None:
        largest, count = int(train.labels.max()), len(train.labels)
        if largest >= count:  # before there are names of as many classes
            raise ValueError(
                f"{train.origin}: every class needs training images, but the largest label of {count} images is "
                f"{largest}; renumber the labels without gaps."
            )
        return tuple(str(label) for label in range(largest + 1))
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise ValueError(
            f"{path}: classes must be a list of names, but is {names.dtype} of shape {names.shape}; write "
            "numpy.array(['cat', ...])."
        )
    try:
        return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: the names in classes must be UTF-8, but {error.object!r} is not.") from error
