"""Images of any shape to squares of one size."""

from __future__ import annotations

import numpy as np
from PIL.Image import Image, Resampling, fromarray

from genas.data.source import Images

MEMORY_LIMIT = 8 * 2**30
"""Bytes that the images of one split may take."""


def empty_images(origin: str, count: int, size: int, channels: int) -> Images:
    """Memory for square images.

    Args:
        origin: What they are, for messages.
        count: Number of images.
        size: Height and width in pixels.
        channels: 1 or 3.

    Returns:
        Shape ``(count, size, size, channels)``, not yet filled.

    Raises:
        ValueError: If they need more than :data:`MEMORY_LIMIT`.
    """
    needed = count * size * size * channels
    if needed > MEMORY_LIMIT:
        raise ValueError(
            f"{origin}: {count} images of {size}x{size} pixels need {needed / 2**30:.1f} GiB of memory, more than "
            f"{MEMORY_LIMIT / 2**30:.1f}; give a smaller image_size, or max_train, max_valid and max_test."
        )
    return np.empty((count, size, size, channels), dtype=np.uint8)


def resized(image: Image, size: int) -> Image:
    """Scale the shorter side to ``size`` pixels (bilinear, antialiased) and crop the centre.

    Args:
        image: Any Pillow image in mode ``L`` or ``RGB``.
        size: Height and width of the result in pixels.

    Returns:
        The square image.
    """
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Resampling.BILINEAR, box=(left, top, left + side, top + side))


def resized_array(images: Images, size: int, origin: str) -> Images:
    """Resize every image of an array, channel by channel.

    Args:
        images: Shape ``(n, height, width, channels)``.
        size: Height and width of the result in pixels.
        origin: What they are, for messages.

    Returns:
        Shape ``(n, size, size, channels)``; the same array if the size is right.
    """
    count, height, width, channels = images.shape
    if height == width == size:
        return images
    result = empty_images(origin, count, size, channels)
    for target, image in zip(result, images, strict=True):
        for channel in range(channels):
            target[..., channel] = np.asarray(resized(fromarray(image[..., channel]), size))
    return result
