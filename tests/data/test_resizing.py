from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from genas.data import resizing
from genas.data.resizing import resized_array


def test_right_size_is_left_alone() -> None:
    images = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    assert resized_array(images, 4, "x") is images


@pytest.mark.parametrize("size", [3, 6, 15])
def test_scaled_whole_then_cropped_in_the_middle(size: int) -> None:
    images = np.random.default_rng(0).integers(256, size=(2, 6, 18, 3), dtype=np.uint8)
    for turned in (images, images.transpose(0, 2, 1, 3)):
        scaled = tuple(side * size // 6 for side in turned.shape[2:0:-1])
        top, left = (scaled[1] - size) // 2, (scaled[0] - size) // 2
        for image, result in zip(turned, resized_array(turned, size, "x"), strict=True):
            whole = np.asarray(Image.fromarray(image).resize(scaled, Image.Resampling.BILINEAR)).astype(int)
            assert np.abs(result - whole[top : top + size, left : left + size]).max() <= 1


def test_halving_a_ramp_keeps_it() -> None:
    """Antialiased bilinear scaling keeps linear images linear away from the border."""
    ramp = np.broadcast_to((np.arange(16) * 8)[None, :, None, None], (1, 16, 16, 1)).astype(np.uint8)
    halved = resized_array(ramp, 8, "x")[0, :, 0, 0].astype(int)
    assert np.abs(halved[1:-1] - (np.arange(1, 7) * 16 + 4)).max() <= 1


def test_an_odd_margin_is_cut_off_half_on_each_side() -> None:
    columns = np.array([0, 100, 200], dtype=np.uint8)
    for image in (np.tile(columns, (2, 1)), np.tile(columns, (2, 1)).T):
        result = resized_array(image[None, :, :, None], 2, "x")[0, :, :, 0]
        assert sorted(set(result.ravel().tolist())) == [50, 150]


def test_channels_are_not_mixed() -> None:
    images = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    images[..., 1] = 255
    result = resized_array(images, 4, "x")
    assert (result[..., 1] == 255).all()
    assert (result[..., [0, 2]] == 0).all()


def test_too_big_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "MEMORY_LIMIT", 63)
    images = np.zeros((1, 2, 2, 1), dtype=np.uint8)
    assert resized_array(images, 7, "pictures").shape == (1, 7, 7, 1)
    with pytest.raises(ValueError, match=r"pictures: 1 images of 8x8 pixels need .* give a smaller image_size"):
        resized_array(images, 8, "pictures")
