"""``load_data``: data sets as tensors, by name. Loaders read files; this module splits, limits and normalises."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from genas.data.arrays import load_npz
from genas.data.cluttered import load_cluttered_digits
from genas.data.digits import load_digit_images
from genas.data.folders import load_folder
from genas.data.imagenet16 import load_imagenet16
from genas.data.images import ImageData, Split
from genas.data.partition import Partition, Share, partition
from genas.data.resizing import resized_array
from genas.data.source import Images, Request, Source
from genas.data.splits import stratified_subset
from genas.data.torchvision_sets import load_cifar10, load_cifar100, load_fashion_mnist, load_svhn
from genas.files import expanded
from genas.registry import Registry
from genas.seeding import generator

Loader = Callable[[Request], Source]
"""A data set: a function from a request to labelled pools of images. Other packages offer theirs as entry points."""

LOADERS: Registry[Loader] = Registry("data set", "genas.data")
for _name, _loader in {
    "digits": load_digit_images,
    "cluttered-digits": load_cluttered_digits,
    "npz": load_npz,
    "folder": load_folder,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "svhn": load_svhn,
    "fashion-mnist": load_fashion_mnist,
    "imagenet16-120": load_imagenet16,
}.items():
    LOADERS.add(_name, _loader)


NAMED_WITH_PATH = frozenset({"npz", "folder"})
"""Data sets whose name continues with a colon and a path. Other packages' data sets read theirs as they like."""


def load_data(
    name: str,
    *,
    data_root: str | Path | None = None,
    download: bool = False,
    image_size: int | None = None,
    split: str = "auto",
    valid_fraction: float | None = None,
    split_seed: int | None = None,
    seed: int = 0,
    max_train: int | None = None,
    max_valid: int | None = None,
    max_test: int | None = None,
) -> ImageData:
    """Load a data set by name.

    Args:
        name: ``digits``, ``cluttered-digits`` (embedded); ``npz:PATH``, ``folder:PATH`` (yours); ``cifar10``,
            ``cifar100``, ``svhn``, ``fashion-mnist``, ``imagenet16-120`` (in ``data_root``); or a name that another
            package offers.
        data_root: Folder of downloaded data sets; relative paths of ``npz:`` and ``folder:`` start here.
        download: Fetch missing files, where torchvision knows how.
        image_size: Height and width in pixels to scale (shorter side) and crop (centre) to; by default as stored.
        split: Source of the validation images. ``auto``: validation images of the files, else the published split of
            ``cifar10``, else ``stratified``; ``nasbench201``: the published CIFAR-10 split; ``stratified``: a share of
            the training images, drawn by ``split_seed`` with the classes in proportion; ``file:PATH``: lists of
            positions, see :func:`genas.data.splits.read_split_file`.
        valid_fraction: Share of the training images that a stratified split sets aside; 0.5 by default.
        split_seed: Seed of the stratified split and of the subsets; by default ``seed``.
        seed: Root seed.
        max_train: Use at most this many training images, drawn by ``split_seed`` with the classes in proportion.
        max_valid: The same for validation.
        max_test: The same for test.

    Returns:
        The data on the CPU.

    Raises:
        ValueError: If an option does not fit the data, or the files are damaged or mislabelled. An unknown name raises
            ``KeyError``, a missing file ``FileNotFoundError``, an array of the wrong dtype ``TypeError``. All messages
            name the file, or the nearest name, and the cure.

    Example:
        >>> data = load_data("digits", max_train=100)
        >>> data.num_classes, data.image_size, data.image_channels, len(data.train)
        (10, 8, 1, 100)
    """
    for option, value in {
        "image_size": image_size,
        "max_train": max_train,
        "max_valid": max_valid,
        "max_test": max_test,
    }.items():
        if value is not None and value < 1:
            without = "for images as they are stored" if option == "image_size" else "for no limit"
            raise ValueError(f"{option} must be positive, but got {value}; leave it out {without}.")
    kind, _, argument = name.partition(":")
    if name not in LOADERS and expanded(name).is_dir():
        raise ValueError(f"{name} is a folder; to read images from it, write folder:{name}.")
    root = None if data_root is None else Path(data_root)
    source = LOADERS[kind](Request(name, argument, root, download, image_size))
    if max_train is not None and max_train < len(source.class_names):
        raise ValueError(
            f"max_train must leave an image of each of the {len(source.class_names)} classes, but got {max_train}."
        )
    drawn_by = seed if split_seed is None else split_seed
    parts = partition(source, split, valid_fraction, drawn_by)
    source.check_training(parts.shares["train"].labels, parts.origin, "choose another split")
    if max_test is not None and "test" not in parts.shares:
        raise ValueError(f"max_test limits the test images, but {name!r} has none; leave it out.")
    limits = {"train": max_train, "valid": max_valid, "test": max_test}
    if split_seed is not None and not parts.drawn and set(limits.values()) == {None}:
        raise ValueError(
            f"split_seed={split_seed} does nothing here, where nothing is drawn ({parts.origin}); leave it out."
        )
    splits = {
        role: _read(_limited(share, limits[role], drawn_by, role), image_size) for role, share in parts.shares.items()
    }
    return _image_data(name, source, parts, splits)


def _limited(share: Share, limit: int | None, seed: int, role: str) -> Share:
    if limit is None:
        return share
    chosen = stratified_subset(share.labels, limit, generator(seed, "data", "subset", role))
    return Share(share.pool, share.positions[chosen])


def _read(share: Share, image_size: int | None) -> Split:
    images = share.pool.read(share.positions)
    if image_size is not None:
        images = resized_array(images, image_size, share.pool.origin)
    elif images.shape[1] != images.shape[2]:
        raise ValueError(
            f"{share.pool.origin}: images must be square, but are {images.shape[1]}x{images.shape[2]} pixels; give "
            "image_size to scale and crop them."
        )
    return Split.from_arrays(images, share.labels)


def _image_data(name: str, source: Source, parts: Partition, splits: dict[str, Split]) -> ImageData:
    train, share = splits["train"], parts.shares["train"]
    if source.mean is None or source.std is None:
        mean, std = channel_statistics(train.images.permute(0, 2, 3, 1).numpy())
    else:
        mean, std = source.mean, source.std
    return ImageData(
        name=name,
        class_names=source.class_names,
        mean=mean,
        std=std,
        train=train,
        valid=splits["valid"],
        test=splits.get("test"),
        flip=source.flip,
        crop_padding=train.images.shape[2] // 8,
        split_source=parts.origin,
        held_out=1 - len(share.positions) / len(share.pool.labels),
    )


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of ``x / 255`` over all pixels of each channel.

    The sums of the values and of their squares are exact integers, so the result is the same on every machine.

    Args:
        images: Shape ``(n, height, width, channels)``.

    Returns:
        Mean and standard deviation per channel.

    Raises:
        ValueError: If a channel has one value only, which cannot be normalised.

    Example:
        >>> channel_statistics(np.array([0, 255], dtype=np.uint8).reshape(1, 1, 2, 1))
        ((0.5,), (0.5,))
    """
    means, stds = [], []
    for channel in range(images.shape[3]):
        # Blocks, because bincount widens pixels to eight bytes.
        blocks = (images[start : start + 1_000, ..., channel].ravel() for start in range(0, len(images), 1_000))
        counts = np.sum([np.bincount(block, minlength=256) for block in blocks], axis=0)
        if np.count_nonzero(counts) == 1:
            raise ValueError(
                f"all training images have the value {counts.argmax()} everywhere in channel {channel}; "
                "they show nothing to learn from."
            )
        number, total, squares = (int(counts @ np.arange(256) ** power) for power in (0, 1, 2))
        means.append(total / (255 * number))
        stds.append(math.sqrt(number * squares - total**2) / (255 * number))
    return tuple(means), tuple(stds)
