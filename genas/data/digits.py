"""``digits``: scikit-learn's 1,797 handwritten digits, which need no download."""

from __future__ import annotations

import functools

import numpy as np

from genas.data.source import Images, Labels, Pool, Request, Source
from genas.data.splits import stratified_split
from genas.seeding import generator

DIGITS = tuple(str(digit) for digit in range(10))
"""Class names."""

TEST_FRACTION = 0.2
"""Share of the digits that is set aside as a test set; the same images for every seed."""


@functools.cache
def read_digits() -> tuple[Images, Labels]:
    """All digits, with 0 = paper and 255 = ink.

    Returns:
        Images of shape ``(1797, 8, 8, 1)`` and labels of shape ``(1797,)``, read-only.

    Reference:
        Kaynak, Methods of Combining Multiple Classifiers and Their Applications to Handwritten Digit Recognition, 1995
        (UCI repository); the copy inside scikit-learn, whose values 0..16 are spread over 0..255 here.
    """
    from sklearn.datasets import load_digits  # here, since it takes a second to import

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    labels = bunch.target.astype(np.int64)
    images.setflags(write=False)
    labels.setflags(write=False)
    return images, labels


def load_digit_images(request: Request) -> Source:
    """The plain digits, a fifth of them as test images: quick to train on, too easy to tell architectures apart.

    Args:
        request: Must hold the name only.

    Returns:
        The pools of training and test images.
    """
    request.refuse_files()
    images, labels = read_digits()
    train, test = stratified_split(labels, TEST_FRACTION, generator(0, "data", "digits", "test"))
    return Source(
        DIGITS,
        Pool.from_arrays("digits", images[train], labels[train]),
        test=Pool.from_arrays("digits", images[test], labels[test]),
        flip=False,
    )
