from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from genas.data import SceneConfig, cluttered_digits, load_data
from genas.data.cluttered import _placed, base_digits
from genas.data.digits import read_digits

SMALL = SceneConfig(train=300, valid=100, test=100)
GOLDEN_FINGERPRINT = "94a2f364635f0191cf1938af7a773dcebc93f872be4686d64e63d3289de82868"
CLEAN = replace(SMALL, fragments=0, noise=0.0, rotation=0.0, shift=0.0, inverted=0.0)


def test_the_data_set_is_one_fixed_thing() -> None:
    """Tables of trained networks belong to these very bytes; a change needs new tables."""
    data = load_data("cluttered-digits")
    assert {role: len(split) for role, split in data.splits.items()} == {"train": 9_000, "valid": 4_000, "test": 4_000}
    assert (data.num_classes, data.image_size, data.image_channels, data.crop_padding) == (10, 16, 1, 2)
    assert not data.flip
    assert data.split_source == "official validation images"
    assert data.fingerprint == GOLDEN_FINGERPRINT
    for split in data.splits.values():
        assert split.labels.bincount().tolist() == [len(split) // 10] * 10


def test_base_digits_are_disjoint_and_proportional() -> None:
    parts = base_digits(SceneConfig())
    everything = np.concatenate(list(parts.values()))
    assert np.array_equal(np.sort(everything), np.arange(1_797))
    assert [len(part) for part in parts.values()] == [1_078, 360, 359]
    _, labels = read_digits()
    for part in parts.values():
        counts = np.bincount(labels[part], minlength=10)
        assert counts.min() > 0.8 * counts.max()
    assert not np.array_equal(parts["test"], base_digits(SceneConfig(), scene_seed=1)["test"])


def test_scenes_show_only_digits_of_their_split() -> None:
    """Clean, unscaled, in the middle: every scene is the original of a digit of its own split, and of its label."""
    config = replace(CLEAN, size=8, scale=(1.0, 1.0), background=(0.0, 0.0), contrast=(1.0, 1.0))
    digits, labels = read_digits()
    owners = base_digits(config)
    source = cluttered_digits(config)
    for role, pool in (("train", source.train), ("valid", source.valid), ("test", source.test)):
        assert pool is not None
        known = {(digits[member].tobytes(), int(labels[member])) for member in owners[role]}
        scenes = pool.read(np.arange(len(pool.labels)))
        shown = {(scene.tobytes(), int(label)) for scene, label in zip(scenes, pool.labels, strict=True)}
        assert shown <= known
        assert len(shown) > 0.3 * len(scenes)


def test_placing_against_scipy() -> None:
    digits, _ = read_digits()
    ink = digits[:6, ..., 0] / 255
    rng = np.random.default_rng(0)
    centre, scale = rng.uniform(4, 12, (6, 2)), rng.uniform(0.8, 2, 6)
    angle = rng.uniform(-np.pi, np.pi, 6)
    fast = _placed(ink, 16, centre, scale, angle)
    for n in range(6):
        matrix = np.array([[np.cos(angle[n]), np.sin(angle[n])], [-np.sin(angle[n]), np.cos(angle[n])]]) / scale[n]
        offset = 3.5 - matrix @ centre[n]
        framed = np.pad(ink[n], 20)
        slow = ndimage.affine_transform(framed, matrix, offset + 20, (16, 16), order=1)
        assert np.abs(fast[n] - slow).max() < 1e-12


def test_same_seed_same_bytes() -> None:
    def train_images(config: SceneConfig, seed: int) -> bytes:
        pool = cluttered_digits(config, seed).train
        return pool.read(np.arange(len(pool.labels))).tobytes()

    assert train_images(SMALL, 0) == train_images(SMALL, 0)
    assert train_images(SMALL, 0) != train_images(SMALL, 1)


def test_contrast_may_be_inverted() -> None:
    for inverted in (0.0, 1.0):
        pool = cluttered_digits(replace(CLEAN, inverted=inverted, background=(0.5, 0.5))).train
        scenes = pool.read(np.arange(300)).astype(int)
        assert ((scenes <= 128) if inverted else (scenes >= 127)).all()
        assert (np.abs(scenes - 127.5).max(axis=(1, 2, 3)) > 0.25 * 255).all(), "the digit must show"


def test_fragments_and_noise_do_what_they_say() -> None:
    def pixels(config: SceneConfig) -> np.ndarray:
        return cluttered_digits(config).train.read(np.arange(300)).astype(float) / 255

    blank = replace(CLEAN, contrast=(0.0, 0.0), background=(0.5, 0.5))
    assert np.ptp(pixels(blank)) == 0
    assert pixels(replace(blank, noise=0.05)).std() == pytest.approx(0.05, rel=0.02)
    touched = [(np.abs(pixels(replace(blank, fragments=n)) - 0.5) > 0.02).mean() for n in (1, 4)]
    assert 0.02 < touched[0] < touched[1] < 0.6
    # One fragment is seen through a window of at most 6 pixels.
    marked = np.abs(pixels(replace(blank, fragments=1)) - 0.5)[..., 0] > 0.02
    for scene in marked:
        for positions in np.nonzero(scene):
            assert len(positions) == 0 or np.ptp(positions) < 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": 0}, "train must be positive, but got 0"),
        ({"noise": -0.1}, "noise must not be negative, but got -0.1; 0 turns it off"),
        ({"contrast": (0.5, 0.2)}, r"contrast must be a range \(least, greatest\) from 0 on, but got \(0.5, 0.2\)"),
        ({"scale": (0.0, 1.0)}, "scale must be positive and inverted a probability"),
        ({"shares": (1.0, 0.0, 0.0)}, "shares must all be positive"),
        ({"inverted": 1.5}, "inverted a probability, but got .* and 1.5"),
    ],
)
def test_bad_settings(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SceneConfig(**changes)  # type: ignore[arg-type]


def test_a_split_without_originals() -> None:
    with pytest.raises(ValueError, match="The share of valid gives it no digit of some class"):
        cluttered_digits(replace(SMALL, shares=(1.0, 0.001, 0.2)))
