from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from genas.data import load_data


def made_up(count: int, size: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    return rng.integers(256, size=(count, size, size, channels), dtype=np.uint8), np.arange(count) % 10


@pytest.fixture
def fake_datasets(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Fakes with the attributes of torchvision's classes, which check their files by checksum; returns the calls."""
    import torch
    from torchvision import datasets

    calls: list[dict[str, Any]] = []

    def cifar(root: Path, train: bool, download: bool) -> SimpleNamespace:
        calls.append({"root": root, "download": download})
        images, labels = made_up(50_000 if train else 1_000, 4, 3)
        return SimpleNamespace(data=images, targets=labels.tolist(), classes=[f"class {n}" for n in range(10)])

    def svhn(root: Path, split: str, download: bool) -> SimpleNamespace:
        calls.append({"root": root, "download": download})
        images, labels = made_up(60 if split == "train" else 20, 4, 3)
        return SimpleNamespace(data=images.transpose(0, 3, 1, 2), labels=labels)

    def fashion(root: Path, train: bool, download: bool) -> SimpleNamespace:
        calls.append({"root": root, "download": download})
        images, labels = made_up(60 if train else 20, 28, 1)
        names = [f"class {n}" for n in range(10)]
        return SimpleNamespace(data=torch.from_numpy(images[..., 0]), targets=torch.from_numpy(labels), classes=names)

    for name, fake in {"CIFAR10": cifar, "CIFAR100": cifar, "SVHN": svhn, "FashionMNIST": fashion}.items():
        monkeypatch.setattr(datasets, name, fake)
    return calls


def test_cifar10_has_the_published_split_and_normalisation(fake_datasets: list[dict[str, Any]], tmp_path: Path) -> None:
    data = load_data("cifar10", data_root=tmp_path, download=True)
    assert fake_datasets == [{"root": tmp_path, "download": True}] * 2
    assert data.split_source == "official NAS-Bench-201 split (seed 1021)"
    assert (len(data.train), len(data.valid)) == (25_000, 25_000)
    images, labels = made_up(50_000, 4, 3)
    assert np.array_equal(data.train.images[111].permute(1, 2, 0).numpy(), images[203])
    assert np.array_equal(data.valid.images[111].permute(1, 2, 0).numpy(), images[242])
    assert data.valid.labels[:3].tolist() == labels[[1, 2, 3]].tolist()
    assert data.mean == (125.3 / 255, 123.0 / 255, 113.9 / 255)
    assert data.std == (63.0 / 255, 62.1 / 255, 66.7 / 255)
    assert data.test is not None
    assert len(data.test) == 1_000
    assert data.class_names[9] == "class 9"
    assert data.flip
    with pytest.raises(ValueError, match=r"valid_fraction=0.1 does nothing here"):
        load_data("cifar10", data_root=tmp_path, valid_fraction=0.1)
    assert len(load_data("cifar10", data_root=tmp_path, split="stratified", valid_fraction=0.1).train) == 45_000


def test_cifar100_is_split_by_the_seed(fake_datasets: list[dict[str, Any]], tmp_path: Path) -> None:
    data = load_data("cifar100", data_root=tmp_path, seed=7)
    assert data.split_source == "stratified, seed 7, valid_fraction 0.5"
    assert data.mean == (129.3 / 255, 124.1 / 255, 112.4 / 255)
    assert data.std == (68.2 / 255, 65.4 / 255, 70.4 / 255)
    assert fake_datasets[0]["download"] is False


def test_svhn(fake_datasets: list[dict[str, Any]], tmp_path: Path) -> None:
    data = load_data("svhn", data_root=tmp_path)
    assert (len(data.train), len(data.valid), data.flip) == (30, 30, False)
    images, _ = made_up(20, 4, 3)
    assert data.test is not None
    assert np.array_equal(data.test.images.permute(0, 2, 3, 1).numpy(), images)


def test_fashion_mnist(fake_datasets: list[dict[str, Any]], tmp_path: Path) -> None:
    data = load_data("fashion-mnist", data_root=tmp_path)
    assert (data.image_size, data.image_channels, data.crop_padding, data.flip) == (28, 1, 3, True)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "fashion-mnist"])
def test_missing_files(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"'{name}' is missing or damaged in .*give download to fetch it"):
        load_data(name, data_root=tmp_path)
    with pytest.raises(ValueError, match=f"'{name}' is read from files: give their folder"):
        load_data(name)


def test_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half a file")
    with pytest.raises(FileNotFoundError, match="'cifar10' is missing or damaged in"):
        load_data("cifar10", data_root=tmp_path)


def test_without_torchvision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match="'svhn' is read by torchvision, which is not installed: run  pip install"):
        load_data("svhn", data_root=tmp_path)


def test_torchvision_is_imported_only_where_needed() -> None:
    import subprocess

    code = "import sys; from genas.data import load_data; load_data('digits'); assert 'torchvision' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
