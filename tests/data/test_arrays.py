from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genas.data import load_data

Writer = Callable[..., Path]

RNG = np.random.default_rng(2)


def test_pixels_and_labels_arrive_unchanged(write_npz: Writer) -> None:
    path = write_npz(x_valid=RNG.integers(256, size=(12, 6, 6, 3), dtype=np.uint8), y_valid=np.arange(12) % 4)
    data = load_data(f"npz:{path}")
    with np.load(path) as arrays:
        for role, split in data.splits.items():
            assert np.array_equal(split.images.permute(0, 2, 3, 1).numpy(), arrays[f"x_{role}"])
            assert np.array_equal(split.labels.numpy(), arrays[f"y_{role}"])
    assert data.split_source == "official validation images"
    assert data.class_names == ("0", "1", "2", "3")
    assert data.flip


def test_own_validation_images_exclude_other_splits(write_npz: Writer) -> None:
    path = write_npz(x_valid=RNG.integers(256, size=(12, 6, 6, 3), dtype=np.uint8), y_valid=np.arange(12) % 4)
    with pytest.raises(ValueError, match="valid: the files hold their own validation images, so split must be 'auto'"):
        load_data(f"npz:{path}", split="stratified")
    with pytest.raises(ValueError, match=r"valid_fraction=0.2 does nothing here"):
        load_data(f"npz:{path}", valid_fraction=0.2)


def test_grey_images_and_class_names(write_npz: Writer) -> None:
    path = write_npz(
        x_train=RNG.integers(256, size=(40, 6, 6), dtype=np.uint8),
        y_train=(np.arange(40) % 4).astype(np.uint8),
        x_test=None,
        y_test=None,
        classes=np.array(["ash", "beech", "cedar", "date"]),
    )
    data = load_data(f"npz:{path}")
    assert (data.image_channels, data.test) == (1, None)
    assert data.class_names == ("ash", "beech", "cedar", "date")


def test_relative_paths_start_at_data_root(write_npz: Writer) -> None:
    path = write_npz()
    assert load_data("npz:flowers.npz", data_root=path.parent).num_classes == 4


X, Y = RNG.integers(256, size=(40, 6, 6, 3), dtype=np.uint8), np.arange(40) % 4


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x_train": None}, ValueError, "must hold 'x_train', but holds"),
        ({"y_train": None}, ValueError, "must hold 'y_train'.*numpy.savez"),
        ({"y_test": None}, ValueError, "x_test and y_test go together, but y_test is missing; add it"),
        ({"x_val": X}, ValueError, "unknown array 'x_val'; the known ones are x_train, .*x_valid"),
        ({"x_train": X / 255}, TypeError, "train: images must be uint8 .* float64; multiply by 255 .*astype"),
        ({"x_train": X.astype(np.int64)}, TypeError, "are int64; scale them to 0..255"),
        ({"x_train": X.reshape(40, -1)}, ValueError, r"must have shape .* but have \(40, 108\); reshape"),
        (
            {"x_train": X.transpose(0, 3, 1, 2)},
            ValueError,
            r"channels must come last, but the shape is \(40, 3, 6, 6\)",
        ),
        ({"x_train": X[:39]}, ValueError, "there are 39 images and 40 labels"),
        ({"x_train": X[:0], "y_train": Y[:0]}, ValueError, "train holds no images; at least one of each class"),
        ({"y_train": Y.astype(float)}, TypeError, "labels must be integers, but are float64; number the classes"),
        (
            {"y_train": Y.reshape(-1, 1)},
            ValueError,
            r"labels must have shape \(n,\), but have \(40, 1\);.*reshape\(-1\)",
        ),
        ({"y_train": Y - 1}, ValueError, "class indices 0, 1, ..., but the smallest is -1; renumber"),
        ({"y_train": Y * 2}, ValueError, r"3 of 7 have none: 1 \(1\), 3 \(3\), 5 \(5\); add images, or renumber"),
        (
            {"y_train": Y * 0, "y_test": np.zeros(8, int)},
            ValueError,
            "at least two classes are needed, but .* only '0'",
        ),
        ({"y_test": np.full(8, 4)}, ValueError, "test: labels must lie in 0..3 .* but the largest is 4"),
        ({"classes": np.array(["a", "b"])}, ValueError, "train: labels must lie in 0..1 .* but the largest is 3"),
        (
            {"y_train": np.where(np.arange(len(X)) == 3, 10**12, 0)},
            ValueError,
            "train: every class needs training images, but the largest label of .* images is 1000000000000; renumber",
        ),
        ({"classes": np.arange(4)}, ValueError, "classes must be a list of names, but is int64"),
        ({"classes": np.array([b"a", b"\xff"])}, ValueError, r"names in classes must be UTF-8, but b'\\xff' is not"),
        ({"classes": np.array(list("abca"))}, ValueError, "needs a name of its own, but 'a' is given twice"),
        ({"x_test": X[:8, :4, :4]}, ValueError, "all splits must hold images of one shape.*give image_size"),
        ({"x_test": X[:8, :, :, :1]}, ValueError, "all splits must hold images of one shape.*make all grey, or all"),
        (
            {"classes": np.array(["a", None], dtype=object)},
            ValueError,
            "cannot be read .*plain arrays: write it again",
        ),
    ],
)
def test_bad_arrays_name_file_and_cure(
    write_npz: Writer, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    path = write_npz(**changes)
    with pytest.raises(error, match=message) as caught:
        load_data(f"npz:{path}")
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*roses.npz; npz:PATH needs a file written by numpy.savez"):
        load_data(f"npz:{tmp_path / 'roses.npz'}")


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_truncated_file(write_npz: Writer, kept: float) -> None:
    path = write_npz()
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else int(kept)])
    with pytest.raises(ValueError, match=r"flowers.npz cannot be read .* truncated or not an .npz file"):
        load_data(f"npz:{path}")


def test_a_changed_byte_inside_the_file(write_npz: Writer) -> None:
    path = write_npz()
    content = bytearray(path.read_bytes())
    content[1_000] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"flowers.npz cannot be read .*CRC"):
        load_data(f"npz:{path}")


def test_single_array_file(tmp_path: Path) -> None:
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, X)
    with pytest.raises(ValueError, match=r"one.npz holds one array without a name; write it with numpy.savez"):
        load_data(f"npz:{tmp_path / 'one.npz'}")


def test_name_without_path_and_download(write_npz: Writer) -> None:
    for name in ("npz", "npz:"):
        with pytest.raises(ValueError, match="must be followed by a path, as in 'npz:PATH'"):
            load_data(name)
    with pytest.raises(ValueError, match="cannot be downloaded"):
        load_data(f"npz:{write_npz()}", download=True)
