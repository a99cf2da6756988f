"""``cluttered-digits``: grey scenes made from scikit-learn's digits, hard enough to tell architectures apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from genas.data.digits import DIGITS, read_digits
from genas.data.source import Images, Labels, Pool, Positions, Request, Source
from genas.data.splits import stratified_order
from genas.seeding import generator

Reals = npt.NDArray[np.float64]

Range = tuple[float, float]
"""Least and greatest value of a uniform draw."""

BLOCK = 250
"""Scenes that are composed together: few enough for their arrays to stay in the processor's cache."""


@final
@dataclass(frozen=True)
class SceneConfig:
    """Composition of a scene, which determines its difficulty. Brightness runs from 0 (black) to 1 (white).

    A scene is a flat grey background, on which fragments of other digits are painted, then the whole digit that is the
    label, then noise. Each digit is painted in one brightness, as opaque as its ink is dark, so it may be lighter or
    darker than what is behind it. The defaults were chosen for telling architectures apart: among the settings tried,
    stand-alone networks of two seeds agree best on the order of architectures.

    Args:
        size: Height and width of a scene in pixels.
        train: Number of training scenes.
        valid: Number of validation scenes.
        test: Number of test scenes.
        shares: Shares of the digits that training, validation and test scenes are made of. Digits are drawn with
            replacement, so a split may have many scenes of few digits.
        background: Brightness of the background.
        scale: Pixels of the scene per pixel of the 8x8 originals, of the digit and of the fragments.
        rotation: Largest turn of the digit in degrees, either way; fragments turn freely.
        shift: Largest distance of the digit's centre from the scene's, along each axis, in pixels.
        contrast: Distance of the digit's brightness from the background's.
        inverted: Probability that the digit is darker than the background.
        fragments: Number of fragments per scene.
        fragment_side: Height and width, in pixels, of the window through which a fragment is seen.
        fragment_contrast: Distance of a fragment's brightness from the background's, either way.
        noise: Standard deviation of the Gaussian noise on every pixel.

    Raises:
        ValueError: If a number is out of range.
    """

    size: int = 16
    train: int = 9_000
    valid: int = 4_000
    test: int = 4_000
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    background: Range = (0.4, 0.6)
    scale: Range = (1.2, 1.7)
    rotation: float = 15.0
    shift: float = 1.5
    contrast: Range = (0.3, 0.55)
    inverted: float = 0.0
    fragments: int = 2
    fragment_side: Range = (4.0, 6.0)
    fragment_contrast: Range = (0.15, 0.4)
    noise: float = 0.05

    def __post_init__(self) -> None:
        for name in ("size", "train", "valid", "test"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, but got {getattr(self, name)}.")
        for name in ("rotation", "shift", "fragments", "noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but got {getattr(self, name)}; 0 turns it off.")
        for name in ("background", "scale", "contrast", "fragment_side", "fragment_contrast"):
            least, greatest = getattr(self, name)
            if not 0 <= least <= greatest:
                raise ValueError(f"{name} must be a range (least, greatest) from 0 on, but got {(least, greatest)}.")
        if min(self.shares) <= 0:
            raise ValueError(f"shares must all be positive, but got {self.shares}.")
        if self.scale[0] == 0 or not 0 <= self.inverted <= 1:
            raise ValueError(
                f"scale must be positive and inverted a probability, but got {self.scale} and {self.inverted}."
            )


def load_cluttered_digits(request: Request) -> Source:
    """The scenes of the default settings and seed: one fixed data set.

    Args:
        request: Must hold the name only.

    Returns:
        Pools of training, validation and test scenes.
    """
    request.refuse_files()
    return cluttered_digits()


def cluttered_digits(config: SceneConfig = SceneConfig(), scene_seed: int = 0) -> Source:
    """Compose scenes; equal arguments give equal bytes.

    The 1,797 digits are first divided among the splits, class by class, in proportion to ``config.shares``. No digit,
    nor a fragment of it, appears in more than one split. Classes are balanced within one scene.

    Args:
        config: Composition and sizes.
        scene_seed: Seed of the division and of all scenes.

    Returns:
        Pools of training, validation and test scenes.

    Raises:
        ValueError: If a split is so small beside the others that it gets no digit of some class.
    """
    digits, labels = read_digits()
    ink = digits[..., 0] / 255
    pools = {}
    for role, members in base_digits(config, scene_seed).items():
        if len(np.unique(labels[members])) < len(DIGITS):
            raise ValueError(
                f"The share of {role} gives it no digit of some class, but every split needs all; "
                f"make the shares {config.shares} more equal."
            )
        rng = generator(scene_seed, "cluttered-digits", role)
        images, classes = _scenes(ink[members], labels[members], getattr(config, role), config, rng)
        pools[role] = Pool.from_arrays(f"cluttered-digits, {role}", images, classes)
    return Source(DIGITS, pools["train"], pools["valid"], pools["test"], flip=False)


def base_digits(config: SceneConfig, scene_seed: int = 0) -> dict[str, Positions]:
    """The scikit-learn digits from which the scenes of each split are made.

    Args:
        config: The shares.
        scene_seed: Seed of the division.

    Returns:
        Disjoint positions by ``train``, ``valid`` and ``test``.
    """
    _, labels = read_digits()
    order = stratified_order(labels, generator(scene_seed, "cluttered-digits", "division"))
    ends = np.cumsum(config.shares)
    parts = np.split(order, np.rint(ends[:-1] / ends[-1] * len(order)).astype(int))
    return dict(zip(("train", "valid", "test"), parts, strict=True))


def _scenes(
    ink: Reals, labels: Labels, count: int, config: SceneConfig, rng: np.random.Generator
) -> tuple[Images, Labels]:
    """Images ``(count, size, size, 1)`` and labels ``(count,)`` from digits of shape ``(d, 8, 8)``."""
    classes = rng.permutation(np.arange(count) % len(DIGITS))
    images = np.empty((count, config.size, config.size, 1), dtype=np.uint8)
    for start in range(0, count, BLOCK):
        block = classes[start : start + BLOCK]
        background = rng.uniform(*config.background, len(block))
        canvas = np.broadcast_to(background[:, None, None], (len(block), config.size, config.size)).copy()
        for _ in range(config.fragments):
            _paint_fragment(canvas, ink[_of_other_classes(labels, block, rng)], background, config, rng)
        _paint_digit(canvas, ink[_of_classes(labels, block, rng)], background, config, rng)
        canvas += config.noise * rng.standard_normal(canvas.shape)
        images[start : start + BLOCK, ..., 0] = np.rint(canvas.clip(0, 1) * 255)
    return images, classes


def _of_classes(labels: Labels, classes: Labels, rng: np.random.Generator) -> Positions:
    """One digit of each wanted class."""
    by_class = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=len(DIGITS))
    starts = np.cumsum(counts) - counts
    chosen: Positions = by_class[starts[classes] + (rng.random(len(classes)) * counts[classes]).astype(np.int64)]
    return chosen


def _of_other_classes(labels: Labels, classes: Labels, rng: np.random.Generator) -> Positions:
    """One digit of a different class for each class."""
    other = (classes + rng.integers(1, len(DIGITS), len(classes))) % len(DIGITS)
    return _of_classes(labels, other, rng)


def _paint_digit(canvas: Reals, ink: Reals, background: Reals, config: SceneConfig, rng: np.random.Generator) -> None:
    count = len(canvas)
    centre = (config.size - 1) / 2 + rng.uniform(-config.shift, config.shift, (count, 2))
    angle = np.deg2rad(rng.uniform(-config.rotation, config.rotation, count))
    opacity = _placed(ink, config.size, centre, rng.uniform(*config.scale, count), angle)
    sign = np.where(rng.random(count) < config.inverted, -1.0, 1.0)
    _blend(canvas, opacity, background + sign * rng.uniform(*config.contrast, count))


def _paint_fragment(
    canvas: Reals, ink: Reals, background: Reals, config: SceneConfig, rng: np.random.Generator
) -> None:
    count = len(canvas)
    centre = rng.uniform(0, config.size - 1, (count, 2))
    angle = rng.uniform(0, 2 * np.pi, count)
    scale = rng.uniform(*config.scale, count)
    # The window lies around ``centre``; the digit behind it is moved, so that any part of it may show.
    offset = rng.uniform(-2, 2, (count, 2)) * scale[:, None]
    opacity = _placed(ink, config.size, centre + offset, scale, angle)
    half = rng.uniform(*config.fragment_side, count)[:, None] / 2
    near = np.abs(np.arange(config.size) - centre[:, :, None]) <= half[:, None]
    opacity *= near[:, 0, :, None] & near[:, 1, None, :]
    sign = rng.choice([-1.0, 1.0], count)
    _blend(canvas, opacity, background + sign * rng.uniform(*config.fragment_contrast, count))


def _blend(canvas: Reals, opacity: Reals, brightness: Reals) -> None:
    canvas += opacity * (brightness[:, None, None] - canvas)


def _placed(ink: Reals, size: int, centre: Reals, scale: Reals, angle: Reals) -> Reals:
    """Turn, enlarge and move digits, by bilinear interpolation.

    Args:
        ink: Shape ``(n, 8, 8)``; outside it there is no ink.
        size: Height and width of the scenes in pixels.
        centre: Row and column of the digit's centre in the scene, shape ``(n, 2)``.
        scale: Pixels of the scene per pixel of the digit, shape ``(n,)``.
        angle: Turn in radians, shape ``(n,)``.

    Returns:
        Ink of the scenes, shape ``(n, size, size)``.
    """
    count, side, _ = ink.shape
    cos, sin = (values[:, None, None] for values in (np.cos(angle) / scale, np.sin(angle) / scale))
    rows = np.arange(size)[None, :, None] - centre[:, 0, None, None]
    columns = np.arange(size)[None, None, :] - centre[:, 1, None, None]
    # Positions in the digit, in a frame with two empty pixels on each side, clipped to it: far positions read as empty.
    row = np.clip(cos * rows + sin * columns + (side - 1) / 2 + 2, 0, side + 2)
    column = np.clip(cos * columns - sin * rows + (side - 1) / 2 + 2, 0, side + 2)
    framed = np.pad(ink, ((0, 0), (2, 2), (2, 2))).reshape(-1)
    top, left = row.astype(np.int64), column.astype(np.int64)
    down, right = row - top, column - left
    corner = np.arange(count)[:, None, None] * (side + 4) ** 2 + top * (side + 4) + left
    upper = framed[corner] * (1 - right) + framed[corner + 1] * right
    lower = framed[corner + side + 4] * (1 - right) + framed[corner + side + 5] * right
    placed: Reals = upper * (1 - down) + lower * down
    return placed
