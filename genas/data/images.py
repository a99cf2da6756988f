"""Images on the device: the splits of a data set, its normalisation, its fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genas.data.augmentation import Augmentation


@final
@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images of one role: training, validation or test.

    Args:
        images: Pixels 0..255, uint8, shape ``(n, channels, size, size)``, in channels-last memory.
        labels: Class indices, int64, shape ``(n,)``.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape is wrong, the split is empty or the counts differ.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.labels.dtype != torch.int64:
            raise TypeError(
                f"a split holds uint8 images and int64 labels, but got {self.images.dtype} and {self.labels.dtype}; "
                "convert them first."
            )
        if self.images.ndim != 4 or self.images.shape[2] != self.images.shape[3] or 0 in self.images.shape:
            raise ValueError(
                f"images must have shape (n, channels, size, size) with n > 0, but got {tuple(self.images.shape)}; "
                "crop or resize them."
            )
        if self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"every image needs one label: {len(self.images)} images came with labels of shape "
                f"{tuple(self.labels.shape)}."
            )

    @classmethod
    def from_arrays(cls, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> Split:
        """A split on the CPU from arrays.

        Args:
            images: uint8, shape ``(n, size, size, channels)``.
            labels: int64, shape ``(n,)``.

        Returns:
            The split. Its images are in channels-last memory also when there is one channel only, where torch would
            accept either order and convolutions would then pick the slower one.
        """
        return cls(torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2), torch.from_numpy(labels))

    def __repr__(self) -> str:
        return f"Split({len(self)} images of shape {tuple(self.images.shape[1:])} on {self.images.device})"

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Split:
        """The same split on another device."""
        return Split(self.images.to(device), self.labels.to(device))


@final
@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set ready for training: all its images in memory, on one device.

    Args:
        name: The name under which it was loaded.
        class_names: One name per class, in label order.
        mean: Mean of ``x / 255`` per channel.
        std: Standard deviation of ``x / 255`` per channel.
        train: The images that weights are trained on.
        valid: The images that architectures are compared on; never test images.
        test: The images of the final report, if there are any.
        flip: Whether a mirrored image still shows its class (a mirrored digit does not).
        crop_padding: Width in pixels of the black border for the random crop, suited to the image size.
        split_source: Source of the validation split, in words.
        held_out: Share of the training images of the data set that the split takes from training, such as 0.5 for
            validation; images over a limit such as ``max_train`` do not count.

    Raises:
        ValueError: If the splits differ in shape, a label has no class, or the normalisation does not fit the channels.
    """

    name: str
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: Split
    valid: Split
    test: Split | None
    flip: bool
    crop_padding: int
    split_source: str
    held_out: float = 0.0

    def __post_init__(self) -> None:
        for role, split in self.splits.items():
            if split.images.shape[1:] != self.train.images.shape[1:]:
                same_channels = split.images.shape[1] == self.train.images.shape[1]
                raise ValueError(
                    f"{self.name}: all splits must hold images of one shape, but train has "
                    f"{tuple(self.train.images.shape[1:])} "
                    f"and {role} has {tuple(split.images.shape[1:])}; "
                    + ("give image_size to resize them." if same_channels else "make all grey, or all coloured.")
                )
            lowest, highest = int(split.labels.min()), int(split.labels.max())
            if lowest < 0 or highest >= self.num_classes:
                raise ValueError(
                    f"{self.name}: labels must lie in 0..{self.num_classes - 1}, but those of {role} span "
                    f"{lowest}..{highest}."
                )
        if not len(self.mean) == len(self.std) == self.image_channels or min(self.std) <= 0:
            raise ValueError(
                f"{self.name}: normalisation needs a mean and a positive std for each of {self.image_channels} "
                "channels, "
                f"but got mean {self.mean} and std {self.std}."
            )

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that exist, by role, in the order train, valid, test."""
        return {"train": self.train, "valid": self.valid} | ({} if self.test is None else {"test": self.test})

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_size(self) -> int:
        """Height and width of the images in pixels."""
        return int(self.train.images.shape[2])

    @property
    def image_channels(self) -> int:
        """Number of colour channels: 1 for grey, 3 for RGB."""
        return int(self.train.images.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of what a score depends on: images and labels of all splits, classes, normalisation."""
        digest = hashlib.sha256(repr((self.num_classes, self.mean, self.std)).encode())
        for role, split in self.splits.items():
            digest.update(f"{role} {tuple(split.images.shape)}".encode())
            digest.update(split.images.cpu().permute(0, 2, 3, 1).contiguous().numpy().data)
            digest.update(split.labels.cpu().numpy().astype("<i8").data)
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> ImageData:
        """The same data on another device."""
        test = None if self.test is None else self.test.to(device)
        return replace(self, train=self.train.to(device), valid=self.valid.to(device), test=test)

    def normalize(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Pixels to network input: ``(x / 255 - mean) / std`` per channel.

        Args:
            images: uint8, shape ``(b, channels, size, size)``.
            dtype: Floating type of the result. Types narrower than float32 are computed in float32 and rounded once.

        Returns:
            Tensor of the same shape and memory order.
        """
        wide = dtype if torch.finfo(dtype).bits >= 32 else torch.float32
        if (images.device, wide) not in self._lines:  # a copy to a GPU would wait for all that it has to do
            mean, std = (torch.tensor(values, dtype=wide).view(-1, 1, 1) for values in (self.mean, self.std))
            self._lines[images.device, wide] = (-mean / std).to(images.device), (1 / (255 * std)).to(images.device)
        intercept, slope = self._lines[images.device, wide]
        return torch.addcmul(intercept, images.to(wide), slope).to(dtype)

    @cached_property
    def _lines(self) -> dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]]:
        """Intercepts and slopes of the normalisation, by device and type."""
        return {}

    def training_batch(
        self,
        indices: Tensor,
        augmentation: Augmentation,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        *,
        role: str = "train",
    ) -> tuple[Tensor, Tensor]:
        """Augmented, normalised training images and their labels.

        Args:
            indices: Positions in the split, int64, shape ``(b,)``, on any device.
            augmentation: The random changes; its crop border is black, its cutout is the mean colour.
            generator: CPU generator, so that all devices draw the same.
            dtype: Floating type of the images.
            role: The split: a differentiable search trains its architecture on ``valid``.

        Returns:
            Images of shape ``(b, channels, size, size)`` in channels-last memory, and labels of shape ``(b,)``.
        """
        split = self.splits[role]
        indices = indices.to(split.labels.device)
        moved = augmentation.moved(split.images[indices], generator)
        return augmentation.cut(self.normalize(moved, dtype), generator), split.labels[indices]
