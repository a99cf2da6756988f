from __future__ import annotations

import numpy as np

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
