"""Images of any shape to squares of one size."""

from __future__ import annotations

import numpy as np
from PIL.Image import Image, Resampling, fromarray

from genas.data.source import Images


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


def resized_array(images: Images, size: int) -> Images:
    """Resize every image of an array, channel by channel.

    Args:
        images: Shape ``(n, height, width, channels)``.
        size: Height and width of the result in pixels.

    Returns:
        Shape ``(n, size, size, channels)``; the same array if the size is right.
    """
    count, height, width, channels = images.shape
    if height == width == size:
        return images
    result = np.empty((count, size, size, channels), dtype=np.uint8)
    for target, image in zip(result, images, strict=True):
        for channel in range(channels):
            target[..., channel] = np.asarray(resized(fromarray(image[..., channel]), size))
    return result
