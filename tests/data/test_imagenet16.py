from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genas.data import load_data

Change = Callable[[dict[str, Any]], None]


def batch(seed: int, labels: list[int]) -> dict[str, Any]:
    data = np.random.default_rng(seed).integers(256, size=(len(labels), 3 * 16 * 16), dtype=np.uint8)
    return {"data": data, "labels": labels}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten training batches with 36 labels each, 1..360 in all, and an evaluation file with four images of 1..150."""
    folder = tmp_path / "ImageNet16"
    folder.mkdir()
    for number in range(1, 11):
        labels = list(range(36 * (number - 1) + 1, 36 * number + 1))
        (folder / f"train_data_batch_{number}").write_bytes(pickle.dumps(batch(number, labels), protocol=2))
    (folder / "val_data").write_bytes(pickle.dumps(batch(99, [1 + n % 150 for n in range(600)]), protocol=2))
    return tmp_path


def damage(root: Path, name: str, change: Change) -> None:
    path = root / "ImageNet16" / name
    content = pickle.loads(path.read_bytes())  # noqa: S301 - written above
    change(content)
    path.write_bytes(pickle.dumps(content))


def test_first_120_classes_counted_from_zero(root: Path) -> None:
    data = load_data("imagenet16-120", data_root=root)
    assert data.num_classes == 120
    assert data.train.labels.tolist() == list(range(120))
    assert (data.image_size, data.image_channels, data.crop_padding, data.flip) == (16, 3, 2, True)
    assert data.mean == (122.68 / 255, 116.66 / 255, 104.01 / 255)
    assert data.std == (63.22 / 255, 61.26 / 255, 65.09 / 255)
    # Label 40 is the fourth image of the second batch; its pixels stand channel by channel.
    expected = batch(2, list(range(36)))["data"][3].reshape(3, 16, 16)
    assert np.array_equal(data.train.images[39].numpy(), expected)


def test_evaluation_images_are_halved(root: Path) -> None:
    data = load_data("imagenet16-120", data_root=root)
    assert data.test is not None
    assert data.valid.labels.bincount().tolist() == data.test.labels.bincount().tolist() == [2] * 120
    both = {image.numpy().tobytes() for split in (data.valid, data.test) for image in split.images}
    assert len(both) == 480
    assert data.split_source == "official evaluation images, halved: stratified, seed 0"
    assert data.fingerprint != load_data("imagenet16-120", data_root=root, seed=1).fingerprint


def test_evaluation_images_halved_by_a_file(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "halves.npz"
    np.savez(path, xvalid=np.arange(100), xtest=np.arange(100, 480))
    data = load_data("imagenet16-120", data_root=root / "ImageNet16", split=f"file:{path}")
    assert data.test is not None
    assert (len(data.valid), len(data.test)) == (100, 380)
    assert data.split_source == "official evaluation images, halved by split file halves.npz"
    with pytest.raises(ValueError, match=r"valid_fraction=0.5 does nothing here"):
        load_data("imagenet16-120", data_root=root, valid_fraction=0.5)


def test_stratified_split_of_the_training_images_keeps_all_evaluation_images_for_the_test(root: Path) -> None:
    for number, first in ((5, 1), (6, 1), (7, 1), (8, 1), (9, 37), (10, 73)):
        content = batch(number, list(range(first, first + 36)))
        (root / "ImageNet16" / f"train_data_batch_{number}").write_bytes(pickle.dumps(content))
    data = load_data("imagenet16-120", data_root=root, split="stratified", valid_fraction=0.2)
    assert data.test is not None
    assert len(data.test) == 480
    assert len(data.train) + len(data.valid) == 120 + 4 * 36 + 72
    with pytest.raises(ValueError, match="the nasbench201 split divides the 50000"):
        load_data("imagenet16-120", data_root=root, split="nasbench201")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda content: content.pop("data"),
            "must hold 'data', uint8 of shape .*, but holds NoneType; get the official",
        ),
        (lambda content: content.update(data=np.zeros((36, 10), np.uint8)), r"but holds uint8 \(36, 10\)"),
        (lambda content: content.update(data=np.zeros((36, 768))), r"but holds float64 \(36, 768\)"),
        (lambda content: content.pop("labels"), "must hold 'labels', 36 integers from 1 on, but holds"),
        (lambda content: content.update(labels=[1] * 35), r"36 integers from 1 on, but holds int64 \(35,\)"),
        (lambda content: content.update(labels=[0] * 36), "integers from 1 on"),
        (lambda content: content.update(labels=[1.5] * 36), "but holds float64"),
        (
            lambda content: content.update(labels=[1] * 36),
            r"every class needs training images, but 36 of 120 have none: 36",
        ),
    ],
)
def test_damaged_batches(root: Path, change: Change, message: str) -> None:
    damage(root, "train_data_batch_2", change)
    with pytest.raises(ValueError, match=message):
        load_data("imagenet16-120", data_root=root)


def test_missing_files_and_needless_options(root: Path) -> None:
    (root / "ImageNet16" / "train_data_batch_7").unlink()
    (root / "ImageNet16" / "val_data").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"2 files of ImageNet16 are missing in .*, first train_data_batch_7; get"
    ):
        load_data("imagenet16-120", data_root=root)
    with pytest.raises(ValueError, match="cannot be downloaded"):
        load_data("imagenet16-120", data_root=root, download=True)
    with pytest.raises(ValueError, match="as data_root"):
        load_data("imagenet16-120")
