from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from genas.data import ImageData, Split


def test_sizes_are_read_off_the_images(data: ImageData) -> None:
    assert (data.num_classes, data.image_size, data.image_channels) == (2, 8, 3)
    assert {role: len(split) for role, split in data.splits.items()} == {"train": 32, "valid": 8}
    assert list(replace(data, test=data.valid).splits) == ["train", "valid", "test"]


@pytest.mark.parametrize("channels", [1, 3])
def test_from_arrays_is_channels_last(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(5, 4, 4, channels), dtype=np.uint8)
    split = Split.from_arrays(pixels, np.zeros(5, dtype=np.int64))
    assert split.images.stride() == (16 * channels, 1, 4 * channels, channels)
    assert np.array_equal(split.images.numpy(), pixels.transpose(0, 3, 1, 2))


def test_normalize_against_the_formula(data: ImageData) -> None:
    exact = data.normalize(data.train.images, torch.float64)
    pixel = int(data.train.images[3, 1, 2, 4])
    assert float(exact[3, 1, 2, 4]) == pytest.approx((pixel / 255 - 0.4) / 0.25, abs=1e-12)
    assert exact.stride() == data.train.images.stride()
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 2e-2)):
        result = data.normalize(data.train.images, dtype)
        assert result.dtype == dtype
        torch.testing.assert_close(result.double(), exact, rtol=tolerance, atol=tolerance)
    # bfloat16 is float32 rounded once.
    assert torch.equal(data.normalize(data.train.images, torch.bfloat16), data.normalize(data.train.images).bfloat16())


def test_fingerprint_changes_with_one_pixel_one_label_and_the_normalisation(data: ImageData) -> None:
    pixels, labels = data.valid.images.clone(), data.valid.labels.clone()
    pixels[7, 2, 7, 7] ^= 1
    labels[0] = 1 - labels[0]
    changed = [
        replace(data, valid=Split(pixels, data.valid.labels)),
        replace(data, valid=Split(data.valid.images, labels)),
        replace(data, mean=(0.5, 0.4, 0.31)),
        replace(data, class_names=("a", "b", "c")),
        replace(data, test=data.valid),
        replace(data, train=data.valid, valid=data.train),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in changed)}) == 7
    assert replace(data, name="other", split_source="another").fingerprint == data.fingerprint


def test_fingerprint_does_not_depend_on_memory_order(data: ImageData) -> None:
    plain = Split(data.train.images.contiguous(), data.train.labels)
    assert plain.images.stride() != data.train.images.stride()
    assert replace(data, train=plain).fingerprint == data.fingerprint
    assert data.to("cpu").fingerprint == data.fingerprint
    assert len(data.fingerprint) == 64


def test_to_moves_every_split(data: ImageData) -> None:
    moved = replace(data, test=data.valid)
    assert all(split.images.device.type == "cpu" for split in moved.to("cpu").splits.values())
    on_meta = data.train.to("meta")
    assert repr(on_meta).endswith("on meta)")
    assert (on_meta.images.device.type, on_meta.labels.device.type) == ("meta", "meta")


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (
            torch.zeros(2, 1, 4, 4),
            torch.zeros(2).long(),
            TypeError,
            "uint8 images and int64 labels, but got torch.float32",
        ),
        (torch.zeros(2, 1, 4, 4).byte(), torch.zeros(2), TypeError, "but got torch.uint8 and torch.float32"),
        (torch.zeros(2, 1, 4, 5).byte(), torch.zeros(2).long(), ValueError, r"but got \(2, 1, 4, 5\); crop or resize"),
        (torch.zeros(0, 1, 4, 4).byte(), torch.zeros(0).long(), ValueError, "with n > 0"),
        (torch.zeros(2, 4, 4).byte(), torch.zeros(2).long(), ValueError, r"\(n, channels, size, size\)"),
        (
            torch.zeros(2, 1, 4, 4).byte(),
            torch.zeros(3).long(),
            ValueError,
            r"2 images came with labels of shape \(3,\)",
        ),
    ],
)
def test_bad_splits(images: torch.Tensor, labels: torch.Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Split(images, labels)


def test_bad_data(data: ImageData) -> None:
    grey = Split(data.valid.images[:, :1], data.valid.labels)
    with pytest.raises(
        ValueError, match=r"noise: all splits must hold images of one shape.*\(3, 8, 8\).*valid.*\(1, 8, 8\)"
    ):
        replace(data, valid=grey)
    with pytest.raises(ValueError, match=r"labels must lie in 0..0, but those of train span 0..1"):
        replace(data, class_names=("a",))
    with pytest.raises(ValueError, match="a positive std for each of 3 channels"):
        replace(data, std=(1.0, 1.0, 0.0))
    with pytest.raises(ValueError, match="a mean and a positive std for each of 3 channels"):
        replace(data, mean=(0.5,))
