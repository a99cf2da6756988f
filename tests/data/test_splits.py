from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genas.data import load_data
from genas.data.splits import (
    nasbench201_split,
    read_split_file,
    stratified_order,
    stratified_split,
    stratified_subset,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_nasbench201_split_golden_values() -> None:
    train, valid = nasbench201_split()
    assert (train[0], train[10], train[111]) == (0, 26, 203)
    assert (valid[0], valid[10], valid[111]) == (1, 18, 242)
    assert len(train) == len(valid) == 25_000
    assert np.array_equal(np.sort(np.concatenate([train, valid])), np.arange(50_000))
    assert (np.diff(train) > 0).all()
    assert (np.diff(valid) > 0).all()


def test_nasbench201_split_equals_the_published_lists(shared_data: Path) -> None:
    with np.load(shared_data / "nasbench201_splits.npz") as lists:
        for found, role in zip(nasbench201_split(), ("train", "valid"), strict=True):
            assert np.array_equal(found, lists[f"cifar-split__{role}"])


def test_nasbench201_split_leaves_pythons_generator_alone() -> None:
    import random

    before = random.getstate()
    nasbench201_split()
    assert random.getstate() == before


@pytest.mark.parametrize("sizes", [[60, 30, 10], [900, *[10] * 10], [10, 10, 10]])
def test_every_prefix_of_the_stratified_order_is_in_proportion(sizes: list[int]) -> None:
    classes, shares = len(sizes), np.array(sizes) / sum(sizes)
    labels = rng(1).permutation(np.repeat(np.arange(classes), sizes))
    order = stratified_order(labels, rng())
    assert np.array_equal(np.sort(order), np.arange(sum(sizes)))
    for length in range(1, sum(sizes) + 1):
        counts = np.bincount(labels[order[:length]], minlength=classes)
        assert (counts <= shares * length + 1 + 1e-9).all(), (length, counts)
        assert (counts >= shares * (length - classes) - 1e-9).all(), (length, counts)
    assert set(labels[order[:classes]]) == set(range(classes))


def test_stratified_order_is_uniform_within_a_class() -> None:
    """Each of four images of a class comes first a quarter of the time (4,000 draws, standard deviation 27)."""
    labels = np.array([0, 0, 0, 0, 1, 1])
    generator, firsts = rng(), np.zeros(6)
    for _ in range(4_000):
        order = stratified_order(labels, generator)
        firsts[order[labels[order] == 0][0]] += 1
    assert (np.abs(firsts[:4] - 1_000) < 5 * 27).all()


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.75])
def test_stratified_split(fraction: float) -> None:
    labels = np.repeat(np.arange(5), 40)
    train, valid = stratified_split(labels, fraction, rng())
    assert np.array_equal(np.sort(np.concatenate([train, valid])), np.arange(200))
    assert (np.bincount(labels[valid]) == 40 * fraction).all()
    assert (np.diff(train) > 0).all()
    again, _ = stratified_split(labels, fraction, rng())
    other, _ = stratified_split(labels, fraction, rng(1))
    assert np.array_equal(train, again)
    assert not np.array_equal(train, other)


def test_a_class_with_one_image_trains() -> None:
    labels = np.array([0] * 20 + [1] * 20 + [2])
    for seed in range(20):
        train, _ = stratified_split(labels, 0.5, rng(seed))
        assert 40 in train


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(ValueError, match="valid_fraction must lie strictly between 0 and 1, but got"):
        stratified_split(np.arange(4) % 2, fraction, rng())


@pytest.mark.parametrize("fraction", [0.01, 0.95])
def test_too_few_images_to_split(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"each of 2 classes, but valid_fraction=.* of 10 images for training"):
        stratified_split(np.arange(10) % 2, fraction, rng())


def test_stratified_subset() -> None:
    labels = np.repeat([0, 1], [90, 30])
    chosen = stratified_subset(labels, 40, rng())
    assert np.bincount(labels[chosen]).tolist() == [30, 10]
    assert (np.diff(chosen) > 0).all()
    assert np.array_equal(stratified_subset(labels, 1_000, rng()), np.arange(120))


def test_split_files_in_every_notation(tmp_path: Path) -> None:
    first, second = [4, 0, 2], [1, 3]
    np.savez(tmp_path / "a.npz", train=first, valid=second)
    (tmp_path / "b.json").write_text(json.dumps({"train": first, "valid": second}))
    wrapped = {"train": ["int", ["4", "0", "2"]], "valid": ["int", ["1", "3"]]}
    (tmp_path / "c.txt").write_text(json.dumps(wrapped))
    for name in ("a.npz", "b.json", "c.txt"):
        train, valid = read_split_file(tmp_path / name, ("train", "valid"), 5)
        assert (train.tolist(), valid.tolist()) == ([0, 2, 4], [1, 3])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "split.json is not a split file"),
        ("[1, 2]", "is not a split file"),
        ('{"train": [0.5], "valid": [1]}', "is not a split file .*list of integers"),
        ('{"train": [0], "val": [1]}', r"'valid' is missing or empty; it holds \['train', 'val'\]"),
        ('{"train": [0, 1], "valid": [1]}', "some are repeated"),
        (
            '{"train": [0, 9], "valid": [1]}',
            r"positions must lie in 0..4, but span 0..9; the file belongs to other data",
        ),
        ('{"train": [0, -1], "valid": [1]}', "but span -1..1"),
    ],
)
def test_bad_split_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_split_file(path, ("train", "valid"), 5)


def test_a_split_file_must_leave_training_images_of_every_class(tmp_path: Path) -> None:
    images = rng().integers(255, size=(50, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x_train=images, y_train=np.arange(50) // 10)
    (tmp_path / "s.json").write_text(json.dumps({"train": list(range(40)), "valid": list(range(40, 50))}))
    with pytest.raises(ValueError, match=r"split file s\.json: every class needs .*, but 1 of 5 have none: 4"):
        load_data(f"npz:{tmp_path / 'x.npz'}", split=f"file:{tmp_path / 's.json'}")


def test_damaged_and_missing_split_file(tmp_path: Path) -> None:
    path = tmp_path / "split.npz"
    with pytest.raises(FileNotFoundError, match=r"no split file at .*split.npz; write it"):
        read_split_file(path, ("train", "valid"), 5)
    path.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(ValueError, match=r"split.npz is not a split file"):
        read_split_file(path, ("train", "valid"), 5)


def test_a_validation_share_is_rounded_to_the_nearest_number_of_images() -> None:
    _, valid = stratified_split(np.arange(10) % 2, 0.38, rng())
    assert len(valid) == 4


def test_every_class_must_have_a_training_image() -> None:
    with pytest.raises(ValueError, match=r"each of 4 classes, but valid_fraction=0\.5 leaves 3 of 6"):
        stratified_split(np.array([0, 1, 2, 3, 0, 1]), 0.5, rng())
