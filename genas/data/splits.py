"""Published, given and stratified splits of labelled images into training and validation images."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genas.data.source import Labels, Positions
from genas.npz import read_npz

NASBENCH201_IMAGES = 50_000
"""Number of CIFAR-10 training images that the NAS-Bench-201 split divides."""


def nasbench201_split() -> tuple[Positions, Positions]:
    """The CIFAR-10 split of NAS-Bench-201 (Dong and Yang, ICLR 2020), made from its published seed without any file.

    The 50,000 training images in the official order are shuffled by Python's Mersenne Twister with seed 1021. The first
    half trains, the second validates, both in increasing order.

    Returns:
        Positions for training and for validation, shape ``(25000,)`` each.

    Example:
        >>> train, valid = nasbench201_split()
        >>> int(train[111]), int(valid[111])
        (203, 242)
    """
    order = list(range(NASBENCH201_IMAGES))
    random.Random(1021).shuffle(order)
    half = NASBENCH201_IMAGES // 2
    return np.sort(np.array(order[:half], dtype=np.int64)), np.sort(np.array(order[half:], dtype=np.int64))


def stratified_order(labels: Labels, rng: np.random.Generator) -> Positions:
    """A random order in which every prefix holds the classes in proportion.

    Within its class of ``c`` images the k-th (from 0, in random order) is placed at ``k / c`` of the way; ties between
    classes are in random order too. So of ``C`` classes, a prefix of ``m`` images holds of a class with the share ``p``
    at most ``p m + 1`` and at least ``p (m - C)`` images, and a prefix of ``C`` images holds every class.

    Args:
        labels: Class indices, shape ``(n,)``.
        rng: Source of the order.

    Returns:
        A permutation of ``0 .. n - 1``.
    """
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    classes = labels[by_class]
    place = (np.arange(len(labels)) - starts[classes]) / counts[classes]
    ties = rng.permutation(len(labels))
    order: Positions = by_class[np.lexsort((ties, place))]
    return order


def stratified_split(labels: Labels, valid_fraction: float, rng: np.random.Generator) -> tuple[Positions, Positions]:
    """Split at random so that both parts hold the classes in the same proportion.

    Args:
        labels: Class indices, shape ``(n,)``.
        valid_fraction: Share of the validation images, strictly between 0 and 1.
        rng: Source of the split.

    Returns:
        Increasing positions for training and for validation. Every class has training images, even one with a single
        image.

    Raises:
        ValueError: If the fraction is out of range or leaves a part too few images.
    """
    if not 0 < valid_fraction < 1:
        raise ValueError(
            f"valid_fraction must lie strictly between 0 and 1, but got {valid_fraction}; 0.5 is customary."
        )
    num_train = len(labels) - round(len(labels) * valid_fraction)
    num_classes = len(np.unique(labels))
    if not num_classes <= num_train < len(labels):
        raise ValueError(
            f"a split needs a validation image and a training image of each of {num_classes} classes, but "
            f"valid_fraction={valid_fraction} "
            f"leaves {num_train} of {len(labels)} images for training; change it or add images."
        )
    order = stratified_order(labels, rng)
    return np.sort(order[:num_train]), np.sort(order[num_train:])


def stratified_subset(labels: Labels, size: int, rng: np.random.Generator) -> Positions:
    """At most ``size`` images, drawn at random with the classes in proportion.

    Args:
        labels: Class indices, shape ``(n,)``.
        size: Upper limit, positive.
        rng: Source of the draw.

    Returns:
        Increasing positions.
    """
    return np.sort(stratified_order(labels, rng)[:size])


def read_split_file(path: Path, keys: tuple[str, str], size: int) -> tuple[Positions, Positions]:
    """The two lists of positions in a split file.

    Args:
        path: ``.npz`` with two integer arrays, or JSON with two lists of integers; the benchmark's own files, which
            wrap each list as ``[type, values]`` with the values as strings, are read as well.
        keys: Names of the two lists, such as ``("train", "valid")``.
        size: Number of images that the positions index.

    Returns:
        Both lists in increasing order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, a list is missing or empty, or positions are repeated, shared or out of
            range.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no split file at {path}; write it as .npz or JSON with the lists {keys[0]!r} and {keys[1]!r}."
        )
    try:
        found = _positions_by_key(path)
    except (ValueError, OSError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a split file ({error}); it must be .npz or JSON with lists of positions."
        ) from error
    if absent := [key for key in keys if not len(found.get(key, ()))]:
        raise ValueError(
            f"{path} must hold the lists {keys[0]!r} and {keys[1]!r}, but {absent[0]!r} is missing or empty; it "
            f"holds {sorted(found)}."
        )
    first, second = (np.sort(found[key]) for key in keys)
    both = np.concatenate([first, second])
    if len(np.unique(both)) != len(both):
        raise ValueError(f"{path}: a position may be in {keys[0]!r} or in {keys[1]!r}, once, but some are repeated.")
    if both.min() < 0 or both.max() >= size:
        raise ValueError(
            f"{path}: positions must lie in 0..{size - 1}, but span {both.min()}..{both.max()}; the file belongs to "
            "other data."
        )
    return first, second


def _positions_by_key(path: Path) -> dict[str, Positions]:
    if path.suffix == ".npz":
        return {key: _integers(values) for key, values in read_npz(path).items()}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {key: _integers(_unwrapped(values)) for key, values in content.items()}


def _unwrapped(values: Any) -> npt.NDArray[Any]:
    """The values of ``["int", ["0", "5", ...]]`` as numbers; anything else as an array."""
    if len(values) == 2 and isinstance(values[1], list):
        return np.array([int(value) for value in values[1]])
    return np.array(values)


def _integers(values: npt.NDArray[Any]) -> Positions:
    if values.dtype.kind not in "iu" or values.ndim != 1:
        raise ValueError(f"expected a list of integers, got {values.dtype} of shape {values.shape}")
    return values.astype(np.int64)
