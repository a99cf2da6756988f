"""Division of a source's images into training, validation and test images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from genas.data.source import Labels, Pool, Positions, Source
from genas.data.splits import NASBENCH201_IMAGES, nasbench201_split, read_split_file, stratified_split
from genas.files import expanded
from genas.seeding import generator

SPLITS = ("auto", "nasbench201", "stratified", "file:PATH")
"""The known splits."""


@final
@dataclass(frozen=True, eq=False)
class Share:
    """Some images of a pool.

    Args:
        pool: The pool.
        positions: Their positions in it, increasing.
    """

    pool: Pool
    positions: Positions

    @property
    def labels(self) -> Labels:
        """Their class indices."""
        labels: Labels = self.pool.labels[self.positions]
        return labels

    @classmethod
    def whole(cls, pool: Pool) -> Share:
        """All images of a pool."""
        return cls(pool, np.arange(len(pool.labels)))


@final
@dataclass(frozen=True, eq=False)
class Partition:
    """The images of each role.

    Args:
        shares: By role: ``train``, ``valid`` and, where there are test images, ``test``.
        origin: Source of the validation images, in words.
        drawn: Whether they were drawn at random.
    """

    shares: dict[str, Share]
    origin: str
    drawn: bool = False


def partition(source: Source, split: str, valid_fraction: float | None, seed: int) -> Partition:
    """Divide the images of a source; test images are never used for validation.

    Args:
        source: The pools.
        split: One of :data:`SPLITS`.
        valid_fraction: Share that a stratified split sets aside; ``None`` means one half.
        seed: Seed of stratified splits.

    Returns:
        The images by role.

    Raises:
        ValueError: If the split is unknown, does not fit the source, or ``valid_fraction`` would do nothing.
    """
    kind, _, path = split.partition(":")
    if kind not in {"auto", "nasbench201", "stratified", "file"} or (kind == "file") != bool(path):
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, but got {split!r}.")
    if kind == "auto" and source.nasbench201:
        kind = "nasbench201"
    if source.valid is not None and kind != "auto":
        raise ValueError(
            f"{source.valid.origin}: the files hold their own validation images, so split must be 'auto', but got "
            f"{split!r}; remove those images or the option."
        )
    if kind != "stratified" and valid_fraction is not None and (kind != "auto" or source.valid or source.evaluation):
        raise ValueError(
            f"valid_fraction={valid_fraction} does nothing here, where the validation images are given; leave it out "
            "or choose split='stratified'."
        )
    if source.valid is not None:
        return _with_test(
            Share.whole(source.train), Share.whole(source.valid), source.test, "official validation images"
        )
    if source.evaluation is not None and kind in {"auto", "file"}:
        return _halved(source.train, source.evaluation, path, seed)
    fraction = 0.5 if valid_fraction is None else valid_fraction
    train, valid, origin = _divided(source.train, kind, path, fraction, seed)
    test = source.test or source.evaluation
    drawn = kind in {"auto", "stratified"}
    return _with_test(Share(source.train, train), Share(source.train, valid), test, origin, drawn=drawn)


def _divided(pool: Pool, kind: str, path: str, fraction: float, seed: int) -> tuple[Positions, Positions, str]:
    if kind == "file":
        file = expanded(path)
        return *read_split_file(file, ("train", "valid"), len(pool.labels)), f"split file {file.name}"
    if kind == "nasbench201":
        if len(pool.labels) != NASBENCH201_IMAGES:
            raise ValueError(
                f"{pool.origin}: the nasbench201 split divides the {NASBENCH201_IMAGES} training images of CIFAR-10 "
                f"in the official order, but there are {len(pool.labels)}; choose split='stratified'."
            )
        return *nasbench201_split(), "official NAS-Bench-201 split (seed 1021)"
    parts = stratified_split(pool.labels, fraction, generator(seed, "data", "split"))
    return *parts, f"stratified, seed {seed}, valid_fraction {fraction:g}"


def _halved(train: Pool, evaluation: Pool, path: str, seed: int) -> Partition:
    if path:
        file = expanded(path)
        valid, test = read_split_file(file, ("xvalid", "xtest"), len(evaluation.labels))
        origin = f"official evaluation images, halved by split file {file.name}"
    else:
        valid, test = stratified_split(evaluation.labels, 0.5, generator(seed, "data", "split"))
        origin = f"official evaluation images, halved: stratified, seed {seed}"
    shares = {"train": Share.whole(train), "valid": Share(evaluation, valid), "test": Share(evaluation, test)}
    return Partition(shares, origin, drawn=not path)


def _with_test(train: Share, valid: Share, test: Pool | None, origin: str, *, drawn: bool = False) -> Partition:
    known = {} if test is None else {"test": Share.whole(test)}
    return Partition({"train": train, "valid": valid} | known, origin, drawn)
