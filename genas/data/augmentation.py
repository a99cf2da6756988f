"""Random augmentation of training images, a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from genas.devices import sent


@final
@dataclass(frozen=True)
class Augmentation:
    """Padded random crop, random mirroring, and cutout.

    The images of a batch get independent draws. All of them are taken from a CPU generator and then moved, so that a
    batch does not depend on the device.

    Args:
        flip: Mirror each image left to right with probability one half.
        crop_padding: Pixels of border added on each side before a random crop of the original size; 0: no crop.
        cutout: Side in pixels of the square that is blanked, with a centre drawn uniformly from all pixels and clipped
            at the border; 0: none. For even sides this is the published rule; an odd side is used as given (the
            authors' code rounds it down).

    Raises:
        ValueError: If a size is negative.

    References:
        He et al., Deep Residual Learning, CVPR 2016 (flip and padded crop); DeVries and Taylor, Cutout,
        arXiv:1708.04552.
    """

    flip: bool = False
    crop_padding: int = 0
    cutout: int = 0

    def __post_init__(self) -> None:
        for name in ("crop_padding", "cutout"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but got {getattr(self, name)}; 0 turns it off.")

    def __call__(self, images: Tensor, generator: torch.Generator, border: Tensor | float = 0) -> Tensor:
        """Augmented images: first crop and mirror, then cutout.

        Args:
            images: Shape ``(b, channels, size, size)``, pixels (uint8) or normalised (floating).
            generator: CPU generator.
            border: Value of the crop's border, a number or one per channel, shape ``(channels,)``. Black is 0 in pixels
                and ``-mean / std`` in normalised images.

        Returns:
            New images of the same shape and dtype, in channels-last memory.

        Raises:
            TypeError: If cutout is applied to pixels: 0 is black there, not the mean with which the published rule
                blanks.
        """
        if self.cutout and not images.is_floating_point():
            raise TypeError(
                f"cutout blanks with 0, the mean of normalised images, but got {images.dtype}; normalise first or "
                "use training_batch."
            )
        return self.cut(self.moved(images, generator, border), generator)

    def moved(self, images: Tensor, generator: torch.Generator, border: Tensor | float = 0) -> Tensor:
        """Crop and mirror only; arguments and result as in a call of the augmentation."""
        if not self.flip and not self.crop_padding:
            return images
        count, channels, size, _ = images.shape
        padding, side = self.crop_padding, size + 2 * self.crop_padding
        rows = columns = torch.arange(size).expand(count, size)
        if padding:
            tops, lefts = torch.randint(2 * padding + 1, (2, count, 1), generator=generator)
            rows, columns = rows + tops, columns + lefts
        if self.flip:
            mirrored = torch.rand((count, 1), generator=generator) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        framed = images.new_empty((count, side, side, channels))
        framed[:] = border if isinstance(border, int | float) else border.to(images)
        framed[:, padding : padding + size, padding : padding + size] = images.permute(0, 2, 3, 1)
        # One gather of whole pixels from the flattened batch. Rows and columns are sent, not an index of every pixel.
        firsts = (rows + torch.arange(count)[:, None] * side) * side
        firsts, columns = sent(firsts, images.device), sent(columns.contiguous(), images.device)
        sources = (firsts[:, :, None] + columns[:, None, :]).flatten()
        moved = framed.view(-1, channels).index_select(0, sources)
        return moved.view(count, size, size, channels).permute(0, 3, 1, 2)

    def cut(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Cutout only: zero one square of each image.

        Args:
            images: Normalised images, shape ``(b, channels, size, size)``.
            generator: CPU generator.

        Returns:
            New images; the same ones when cutout is off.
        """
        if not self.cutout:
            return images
        count, _, size, _ = images.shape
        first = sent(torch.randint(size, (2, count, 1), generator=generator) - self.cutout // 2, images.device)
        position = torch.arange(size, device=images.device)
        rows, columns = (position >= first) & (position < first + self.cutout)
        kept = ~(rows[:, :, None] & columns[:, None, :])[..., None]
        blanked: Tensor = images.permute(0, 2, 3, 1) * kept
        return blanked.permute(0, 3, 1, 2)
