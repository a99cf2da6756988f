from __future__ import annotations

import numpy as np

from genas.data import load_data
from genas.data.digits import read_digits


def test_values_are_spread_over_the_whole_range() -> None:
    from sklearn.datasets import load_digits

    images, labels = read_digits()
    assert images.shape == (1_797, 8, 8, 1)
    assert images.dtype == np.uint8
    original = load_digits()
    assert np.abs(images[..., 0] / 255 * 16 - original.images).max() < 0.5 * 16 / 255
    assert len(np.unique(images)) == 17
    assert np.array_equal(labels, original.target)


def test_the_images_of_every_split_are_those_of_every_release() -> None:
    """Stored scores and results are bound to this fingerprint."""
    assert load_data("digits").fingerprint == "02de4063f12cc86c56b320f7d8e9207c7c4e8dc61dbc8b4f193196c38f0906a2"
