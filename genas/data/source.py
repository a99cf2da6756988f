"""Requests to loaders, and their answers: labelled pools of images, before any split is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from genas.files import expanded

Images = npt.NDArray[np.uint8]
"""Pixels 0..255, shape ``(n, height, width, channels)``."""

Labels = npt.NDArray[np.int64]
"""Class indices, shape ``(n,)``."""

Positions = npt.NDArray[np.int64]
"""Positions in a pool, shape ``(n,)``."""


@final
@dataclass(frozen=True)
class Request:
    """The user's request for a data set: its name and the place of its files.

    Args:
        name: The full name of the data set, such as ``npz:flowers.npz``.
        argument: The part of the name after the colon; empty if there is none.
        data_root: Folder of downloaded data sets; relative paths of ``npz:`` and ``folder:`` start here.
        download: Whether missing files may be fetched.
        image_size: Wanted height and width in pixels; ``None``: as stored.
    """

    name: str
    argument: str = ""
    data_root: Path | None = None
    download: bool = False
    image_size: int | None = None

    def path(self) -> Path:
        """Path of the files of ``NAME:PATH``.

        Returns:
            The path after the colon, below ``data_root`` if it is relative.

        Raises:
            ValueError: If there is no path or a download is asked for.
        """
        if not self.argument:
            raise ValueError(f"{self.name!r} must be followed by a path, as in '{self.name.rstrip(':')}:PATH'.")
        self.refuse_download()
        return expanded(self.data_root or Path()) / expanded(self.argument)

    def root(self) -> Path:
        """Folder of downloaded data sets.

        Returns:
            The folder.

        Raises:
            ValueError: If it was not given, or the name has an argument.
        """
        self.refuse_argument()
        if self.data_root is None:
            raise ValueError(
                f"{self.name!r} is read from files: give their folder, or where to download them, as data_root."
            )
        return expanded(self.data_root)

    def refuse_files(self) -> None:
        """Raise ``ValueError`` unless the name stands alone, as for the embedded data sets."""
        self.refuse_argument()
        self.refuse_download()
        if self.data_root is not None:
            raise ValueError(f"{self.name!r} is embedded and reads no files; leave data_root out.")

    def refuse_argument(self) -> None:
        """Raise ``ValueError`` if something follows the name."""
        if self.argument:
            raise ValueError(
                f"{self.name!r}: this data set takes no path, but got {self.argument!r}; write only the part before "
                "the colon."
            )

    def refuse_download(self) -> None:
        """Raise ``ValueError`` if a download is asked for."""
        if self.download:
            raise ValueError(f"{self.name!r} cannot be downloaded; leave download out.")


@final
@dataclass(frozen=True, eq=False)
class Pool:
    """Labelled images, which are read once it is known which of them are needed.

    Args:
        origin: The file or folder, for error messages.
        labels: One class index per image, shape ``(n,)``.
        read: Maps positions of shape ``(k,)`` to images of shape ``(k, height, width, channels)``.

    Raises:
        ValueError: If there are no images, or the labels are not class indices.
    """

    origin: str
    labels: Labels
    read: Callable[[Positions], Images]

    def __post_init__(self) -> None:
        if not len(self.labels):
            raise ValueError(f"{self.origin} holds no images; at least one of each class is needed.")
        if self.labels.min() < 0:
            raise ValueError(
                f"{self.origin}: labels must be class indices 0, 1, ..., but the smallest is {self.labels.min()}; "
                "renumber them."
            )

    @classmethod
    def from_arrays(cls, origin: str, images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> Pool:
        """A pool of images in memory.

        Args:
            origin: The file or array, for error messages.
            images: uint8, shape ``(n, height, width, channels)`` or, for grey images, ``(n, height, width)``.
            labels: Integers, shape ``(n,)``.

        Returns:
            The pool.

        Raises:
            ValueError: If a shape is wrong or the counts differ. A wrong dtype raises ``TypeError``.
        """
        _check_images(origin, images)
        _check_labels(origin, labels)
        if len(images) != len(labels):
            raise ValueError(
                f"{origin}: every image needs one label, but there are {len(images)} images and {len(labels)} labels."
            )
        pixels = images if images.ndim == 4 else images[..., np.newaxis]
        return cls(origin, labels.astype(np.int64), lambda positions: pixels[positions])


def _check_images(origin: str, images: npt.NDArray[Any]) -> None:
    if images.dtype != np.uint8:
        cure = "multiply by 255 if they span 0..1, round, " if images.dtype.kind == "f" else "scale them to 0..255 "
        raise TypeError(
            f"{origin}: images must be uint8 pixels 0..255, but are {images.dtype}; {cure}and convert with "
            ".astype(numpy.uint8)."
        )
    if images.ndim not in {3, 4} or 0 in images.shape[1:]:
        raise ValueError(
            f"{origin}: images must have shape (n, height, width) or (n, height, width, channels), but have "
            f"{images.shape}; reshape them."
        )
    if images.ndim == 4 and images.shape[1] in {1, 3} and images.shape[2] > 3 and images.shape[3] not in {1, 3}:
        raise ValueError(
            f"{origin}: channels must come last, but the shape is {images.shape}; write images.transpose(0, 2, 3, 1)."
        )


def _check_labels(origin: str, labels: npt.NDArray[Any]) -> None:
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{origin}: labels must be integers, but are {labels.dtype}; number the classes from 0.")
    if labels.ndim != 1:
        raise ValueError(
            f"{origin}: labels must have shape (n,), but have {labels.shape}; one-hot rows need argmax(1), a column "
            "reshape(-1)."
        )


@final
@dataclass(frozen=True, eq=False)
class Source:
    """A data set as it is stored in its files.

    Args:
        class_names: One name per class, in label order.
        train: Training images; the validation split is taken from them unless ``valid`` or ``evaluation`` is given.
        valid: Images that the files set aside for validation.
        test: Test images.
        evaluation: One set that the published protocol halves into validation and test images. Excludes ``valid`` and
            ``test``.
        mean: Published mean of ``x / 255`` per channel; ``None``: computed from the training images.
        std: Published standard deviation of ``x / 255`` per channel; goes with ``mean``.
        flip: Whether a mirrored image still shows its class.
        nasbench201: Whether the training images are the 50,000 of CIFAR-10 in the official order, with a published
            split.

    Raises:
        ValueError: If a class has no training image, a label has no class, or two arguments contradict each other.
    """

    class_names: tuple[str, ...]
    train: Pool
    valid: Pool | None = None
    test: Pool | None = None
    evaluation: Pool | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    flip: bool = True
    nasbench201: bool = False

    def __post_init__(self) -> None:
        if self.evaluation is not None and not self.valid is self.test is None:
            raise ValueError(
                "evaluation images are halved into validation and test images; give them or those, not both."
            )
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"mean and std go together, but got {self.mean} and {self.std}.")
        known = len(self.class_names)
        if twice := [name for name in self.class_names if self.class_names.count(name) > 1]:
            raise ValueError(
                f"{self.train.origin}: every class needs a name of its own, but {twice[0]!r} is given twice."
            )
        for pool in (self.train, self.valid, self.test, self.evaluation):
            if pool is not None and pool.labels.max() >= known:
                raise ValueError(
                    f"{pool.origin}: labels must lie in 0..{known - 1} (the {known} classes of the training images), "
                    f"but the largest is {pool.labels.max()}; renumber them or give all class names."
                )
        self.check_training(self.train.labels, self.train.origin, "add images, or renumber the labels without gaps")
        if known < 2:
            raise ValueError(
                f"{self.train.origin}: at least two classes are needed, but there is only {self.class_names[0]!r}."
            )

    def check_training(self, labels: Labels, origin: str, cure: str) -> None:
        """Refuse training images that lack a class.

        Args:
            labels: Their classes.
            origin: Where they come from, for the message.
            cure: What to do, for the message.

        Raises:
            ValueError: If a class has no image.
        """
        known = len(self.class_names)
        missing = np.flatnonzero(np.bincount(labels, minlength=known) == 0)
        if len(missing):
            names = ", ".join(f"{label} ({self.class_names[label]})" for label in missing[:5])
            raise ValueError(
                f"{origin}: every class needs training images, but {len(missing)} of {known} have none: {names}; "
                f"{cure}."
            )
