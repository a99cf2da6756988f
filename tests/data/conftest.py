"""Small made-up data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genas.data import ImageData, Split

Writer = Callable[..., Path]


@pytest.fixture
def write_npz(tmp_path: Path) -> Writer:
    """Writes ``flowers.npz`` with 40 images of 4 classes, 6x6 RGB; keywords replace arrays, ``None`` leaves one out."""

    def write(**changes: Any) -> Path:
        rng = np.random.default_rng(0)
        arrays: dict[str, Any] = {
            "x_train": rng.integers(256, size=(40, 6, 6, 3), dtype=np.uint8),
            "y_train": np.arange(40) % 4,
            "x_test": rng.integers(256, size=(8, 6, 6, 3), dtype=np.uint8),
            "y_test": np.arange(8) % 4,
        } | changes
        path = tmp_path / "flowers.npz"
        np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
        return path

    return write


@pytest.fixture
def data() -> ImageData:
    """32 random RGB images of 8x8 pixels to train on."""
    rng = np.random.default_rng(1)

    def split(count: int) -> Split:
        return Split.from_arrays(rng.integers(256, size=(count, 8, 8, 3), dtype=np.uint8), np.arange(count) % 2)

    return ImageData(
        name="noise",
        class_names=("a", "b"),
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.25, 0.3),
        train=split(32),
        valid=split(8),
        test=None,
        flip=True,
        crop_padding=2,
        split_source="made up",
    )
