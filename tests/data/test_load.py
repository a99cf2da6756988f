from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest
import torch

from genas.data import LOADERS, Pool, Request, Source, load_data
from genas.data.load import channel_statistics
from genas.data.splits import nasbench201_split

Writer = Callable[..., Path]


def test_digits() -> None:
    data = load_data("digits")
    assert (data.num_classes, data.image_size, data.image_channels) == (10, 8, 1)
    assert data.test is not None
    assert (len(data.train), len(data.valid), len(data.test)) == (719, 719, 359)
    assert not data.flip
    assert data.crop_padding == 1
    assert int(data.train.images.max()) == 255
    assert data.split_source == "stratified, seed 0, valid_fraction 0.5"


def test_digits_test_images_do_not_depend_on_the_seed() -> None:
    first, second = load_data("digits", seed=0), load_data("digits", seed=1)
    assert first.test is not None
    assert second.test is not None
    assert torch.equal(first.test.images, second.test.images)
    assert not torch.equal(first.train.images, second.train.images)


def test_same_seed_same_data(write_npz: Writer) -> None:
    name = f"npz:{write_npz()}"
    first = load_data(name, seed=3, max_train=12)
    np.random.seed(5)  # noqa: NPY002 - the global state must not matter
    torch.manual_seed(5)
    assert first.fingerprint == load_data(name, seed=3, max_train=12).fingerprint
    assert first.fingerprint != load_data(name, seed=4, max_train=12).fingerprint


def test_limits_keep_the_classes_balanced(write_npz: Writer) -> None:
    data = load_data(f"npz:{write_npz()}", valid_fraction=0.2, max_train=16, max_valid=4, max_test=4)
    for split, each in ((data.train, 4), (data.valid, 1), (data.test, 1)):
        assert split is not None
        assert split.labels.bincount().tolist() == [each] * 4
    assert len(load_data(f"npz:{write_npz()}", max_train=1_000).train) == 20


def test_limited_training_images_are_among_the_unlimited_ones(write_npz: Writer) -> None:
    name = f"npz:{write_npz()}"
    everything = {image.numpy().tobytes() for image in load_data(name).train.images}
    assert {image.numpy().tobytes() for image in load_data(name, max_train=8).train.images} < everything


@pytest.mark.parametrize("option", ["max_train", "max_valid", "max_test", "image_size"])
def test_limits_must_be_positive(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be positive, but got 0; leave it out"):
        load_data("digits", **{option: 0})  # type: ignore[arg-type]


def test_a_limit_of_test_images_needs_some(tmp_path: Path) -> None:
    images, labels = np.arange(320, dtype=np.uint8).reshape(20, 4, 4), np.arange(20) % 2
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels)
    with pytest.raises(
        ValueError, match=r"max_test limits the test images, but 'npz:.*own.npz' has none; leave it out"
    ):
        load_data(f"npz:{tmp_path / 'own.npz'}", max_test=3)


def test_too_few_training_images_for_the_classes() -> None:
    with pytest.raises(ValueError, match="max_train must leave an image of each of the 10 classes, but got 9"):
        load_data("digits", max_train=9)


def test_normalisation_against_numpy(write_npz: Writer) -> None:
    data = load_data(f"npz:{write_npz()}")
    pixels = data.train.images.double() / 255
    assert data.mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist(), abs=1e-12)
    assert data.std == pytest.approx(pixels.std(dim=(0, 2, 3), correction=0).tolist(), abs=1e-12)
    normalised = data.normalize(data.train.images, torch.float64)
    assert normalised.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0] * 3, abs=1e-12)


def test_constant_images_can_not_be_normalised() -> None:
    images = np.full((3, 2, 2, 2), 9, dtype=np.uint8)
    images[..., 0] = np.arange(4).reshape(2, 2)
    with pytest.raises(ValueError, match="the value 9 everywhere in channel 1"):
        channel_statistics(images)


def test_image_size_resizes(write_npz: Writer) -> None:
    data = load_data(f"npz:{write_npz()}", image_size=12)
    assert (data.image_size, data.crop_padding) == (12, 1)


def test_rectangles_need_an_image_size(write_npz: Writer) -> None:
    path = write_npz(x_train=np.random.default_rng(0).integers(256, size=(40, 6, 9, 3), dtype=np.uint8))
    with pytest.raises(
        ValueError, match=r"flowers.npz, train: images must be square, but are 6x9 pixels; give image_size"
    ):
        load_data(f"npz:{path}")
    assert load_data(f"npz:{path}", image_size=6).image_size == 6


def test_a_folder_is_not_taken_for_a_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder; to read images from it, write folder:/"):
        load_data(str(tmp_path))


def test_unknown_name_suggests_and_lists() -> None:
    with pytest.raises(
        KeyError, match=r"no data set named 'cifar-10'. Did you mean 'cifar10'\? Known: .*digits.*folder.*npz"
    ):
        load_data("cifar-10")


@pytest.mark.parametrize("name", ["digits", "cluttered-digits"])
def test_options_that_would_do_nothing_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"'{name}' cannot be downloaded; leave download out"):
        load_data(name, download=True)
    with pytest.raises(ValueError, match=f"'{name}' is embedded and reads no files; leave data_root out"):
        load_data(name, data_root=tmp_path)
    with pytest.raises(ValueError, match=f"'{name}:8': this data set takes no path, but got '8'"):
        load_data(f"{name}:8")


def test_the_split_may_have_a_seed_of_its_own(write_npz: Writer, tmp_path: Path) -> None:
    first, second, other = (
        load_data("digits", split_seed=split_seed, seed=seed, max_valid=9)
        for split_seed, seed in ((5, 0), (5, 1), (6, 0))
    )
    assert first.fingerprint == second.fingerprint != other.fingerprint
    assert first.fingerprint == load_data("digits", seed=5, max_valid=9).fingerprint
    path = write_npz()
    np.savez(tmp_path / "lists.npz", train=np.arange(30), valid=np.arange(30, 40))
    lists = f"file:{tmp_path / 'lists.npz'}"
    assert len(load_data(f"npz:{path}", split=lists, split_seed=1, max_train=9).train) == 9
    for name, options in (("cluttered-digits", {}), (f"npz:{path}", {"split": lists})):
        with pytest.raises(
            ValueError, match=r"split_seed=1 does nothing here, where nothing is drawn \(.*\); leave it out"
        ):
            load_data(name, split_seed=1, **options)


def test_a_split_that_does_not_exist() -> None:
    for split in ("official", "file", "file:", "stratified:x"):
        with pytest.raises(
            ValueError, match=f"split must be one of auto, nasbench201, stratified, file:PATH, but got '{split}'"
        ):
            load_data("digits", split=split)


def test_nasbench201_split_needs_cifar10() -> None:
    with pytest.raises(
        ValueError, match=r"digits: the nasbench201 split divides the 50000 .* but there are 1438; choose"
    ):
        load_data("digits", split="nasbench201")


def test_split_file(write_npz: Writer, tmp_path: Path) -> None:
    path = write_npz()
    np.savez(tmp_path / "lists.npz", train=np.arange(30), valid=np.arange(30, 40))
    data = load_data(f"npz:{path}", split=f"file:{tmp_path / 'lists.npz'}")
    with np.load(path) as arrays:
        assert np.array_equal(data.valid.images.numpy(), arrays["x_train"][30:].transpose(0, 3, 1, 2))
    assert data.split_source == "split file lists.npz"
    assert data.held_out == 0.25
    assert load_data(f"npz:{path}", valid_fraction=0.3, max_train=10, max_valid=3).held_out == pytest.approx(0.3)
    with pytest.raises(ValueError, match=r"valid_fraction=0.3 does nothing here"):
        load_data(f"npz:{path}", split=f"file:{tmp_path / 'lists.npz'}", valid_fraction=0.3)


def test_validation_images_never_come_from_the_test_set(write_npz: Writer) -> None:
    path = write_npz()
    with np.load(path) as arrays:
        test = {image.tobytes() for image in arrays["x_test"]}
    for split in ("auto", "stratified"):
        data = load_data(f"npz:{path}", split=split, valid_fraction=0.4)
        used = {image.permute(1, 2, 0).numpy().tobytes() for image in data.valid.images}
        assert len(used) == 16
        assert not used & test


def test_a_loader_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_stripes(request: Request) -> Source:
        images = np.zeros((request.image_size or 4, 4, 4), dtype=np.uint8)
        images[1::2, ::2] = 255
        return Source(("plain", "striped"), Pool.from_arrays("stripes", images, np.arange(len(images)) % 2))

    monkeypatch.setitem(LOADERS._items, "stripes", load_stripes)
    data = load_data("stripes")
    assert (data.num_classes, len(data.train), len(data.valid), data.test) == (2, 2, 2, None)


def test_cifar10_as_arrays(shared_data: Path, tmp_path: Path) -> None:
    """The official split on 50,000 made-up images with the real labels: both halves hold the right ones."""
    with np.load(shared_data / "cifar10" / "labels.npz") as real:
        labels = real["y_train"].astype(np.int64)
    positions = np.arange(50_000)
    images = np.stack([positions % 256, positions // 256], axis=-1).astype(np.uint8).reshape(-1, 1, 1, 2)
    np.savez(tmp_path / "cifar10.npz", x_train=images, y_train=labels)
    data = load_data("npz:cifar10.npz", data_root=tmp_path, split="nasbench201")
    train, valid = nasbench201_split()
    for split, expected in ((data.train, train), (data.valid, valid)):
        low, high = split.images[:, :, 0, 0].long().unbind(1)
        assert np.array_equal((low + 256 * high).numpy(), expected)
        assert np.array_equal(split.labels.numpy(), labels[expected])
    assert data.split_source == "official NAS-Bench-201 split (seed 1021)"


def test_the_seed_draws_the_limited_images_where_no_split_does(write_npz: Writer) -> None:
    """The files have validation images of their own, so that nothing else depends on the seed."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)
    name = f"npz:{write_npz(x_valid=images, y_valid=np.arange(20) % 4)}"
    first, again, other = (load_data(name, seed=seed, max_train=8).train.images for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_data_set_of_the_contributing_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (example,) = [each for each in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "bloodmnist" in each]
    (tmp_path / "blood_of_the_guide.py").write_text(example, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    offer = EntryPoint("bloodmnist", "blood_of_the_guide:load_bloodmnist", "genas.data")
    monkeypatch.setattr("genas.registry.entry_points", lambda **wanted: EntryPoints([offer]).select(**wanted))
    monkeypatch.setattr(LOADERS, "_items", dict(LOADERS._items))  # forgets it afterwards
    with pytest.raises(FileNotFoundError, match=r"bloodmnist.npz; fetch it from medmnist.com"):
        load_data("bloodmnist", data_root=tmp_path)
    rng, arrays = np.random.default_rng(0), {}
    for part, count in (("train", 24), ("val", 16), ("test", 8)):
        arrays[f"{part}_images"] = rng.integers(256, size=(count, 28, 28, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count, dtype=np.uint8) % 8)[:, None]
    np.savez(tmp_path / "bloodmnist.npz", **arrays)
    data = load_data("bloodmnist", data_root=tmp_path)
    assert data.test is not None
    assert (len(data.train), len(data.valid), len(data.test)) == (24, 16, 8)
    assert (data.class_names[1], data.image_size, data.image_channels) == ("eosinophil", 28, 3)
    pixels = data.test.images.permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(pixels, arrays["test_images"])
