"""``folder:PATH``: one sub-folder of image files per class."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

import numpy as np
from PIL import ExifTags, Image

from genas.data.resizing import empty_images, resized
from genas.data.source import Images, Pool, Positions, Request, Source

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
"""Suffixes of the files that count as images."""

BESIDE_IMAGES = frozenset({".txt", ".md", ".csv", ".json", ".xml", ".ini", ".db"})
"""Suffixes of what people and systems leave beside images: notes, annotations, thumbnails. Others are refused."""

ROLES = {"train": ("train",), "valid": ("valid", "val", "validation"), "test": ("test",)}
"""Names of the sub-folders of each role."""

GREY_MODES = frozenset({"1", "L", "LA"})
"""Pillow's modes of images without colour."""

COLOUR_MODES = frozenset({"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB"})
"""Pillow's modes of images with colour. The others hold more than eight bits, and their range is not known."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes an orientation: cameras store a rotated picture as it was taken and note the rotation beside it."""

T = TypeVar("T")


def load_folder(request: Request) -> Source:
    """Read ``PATH/CLASS/*.png`` or ``PATH/train/CLASS/*``.

    Beside ``PATH/train`` there may be ``PATH/valid`` (``val``, ``validation``) and ``PATH/test`` with the same classes,
    and no other folder. Classes are the folder names in alphabetical order. All images become one size: their own if
    they agree, else ``image_size``. They are grey if all of them are, else RGB, and white where they are transparent.
    Only the headers are read here; pixels are decoded when a split has been made.

    Args:
        request: Its argument is the path.

    Returns:
        The pools.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no classes, files or folders that would not be read, two roles differ in classes, an
            image is damaged, or the images differ in size and no ``image_size`` is given.
    """
    path = request.path()
    if not path.is_dir():
        raise FileNotFoundError(f"no folder {path}; folder:PATH needs one sub-folder of images per class.")
    roots = {role: _role_folder(path, names) for role, names in ROLES.items()}
    if roots["train"] is None:
        if present := [str(root) for root in roots.values() if root is not None]:
            raise ValueError(f"{path} has {present[0]} but no training images; put them into {path / 'train'}.")
        roots["train"] = path
    else:
        _refuse_loose_images(path)
        if others := [each for each in _sub_folders(path) if each not in roots.values()]:
            raise ValueError(
                f"{path} must hold no folders but {', '.join(itertools.chain(*ROLES.values()))} beside its training "
                f"images, but holds {others[0].name}; rename it or move it elsewhere."
            )
    listings = {role: _list(root) for role, root in roots.items() if root is not None}
    classes = listings["train"].classes
    for listing in listings.values():
        if listing.classes != classes:
            only = sorted(set(listing.classes) ^ set(classes))
            raise ValueError(
                f"{listing.root} and {listings['train'].root} must hold the same classes, but {only[0]!r} is in one "
                "of them only; add or remove it."
            )
    grey, size = _inspect([file for listing in listings.values() for file in listing.files], request.image_size)
    pools = {role: _pool(listing, size, grey) for role, listing in listings.items()}
    return Source(classes, pools["train"], pools.get("valid"), pools.get("test"))


@final
@dataclass(frozen=True)
class _Listing:
    """The image files below one folder, class after class."""

    root: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: tuple[int, ...]


def _role_folder(path: Path, names: Sequence[str]) -> Path | None:
    found = [path / name for name in names if (path / name).is_dir()]
    if len(found) > 1:
        raise ValueError(f"{found[0]} and {found[1]} mean the same; merge them.")
    return found[0] if found else None


def _sub_folders(path: Path) -> list[Path]:
    folders = [folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    return sorted(folders, key=lambda folder: folder.name)  # Windows would order paths without regard to case


def _refuse_loose_images(path: Path) -> None:
    if loose := sorted(entry for entry in path.iterdir() if entry.suffix.lower() in SUFFIXES and entry.is_file()):
        raise ValueError(f"{loose[0]} lies in no class; move it into one of the sub-folders.")


def _list(root: Path) -> _Listing:
    folders = _sub_folders(root)
    if not folders:
        raise ValueError(
            f"{root} must hold one sub-folder of images per class, but holds no folder; sort the images into folders, "
            f"none of which may be called {', '.join(itertools.chain(*ROLES.values()))}."
        )
    _refuse_loose_images(root)
    files: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        members = [entry for entry in entries if entry.suffix.lower() in SUFFIXES]
        if inner := [entry for entry in entries if entry.is_dir()]:
            raise ValueError(
                f"{folder} must hold the images of a class, but holds the folder {inner[0].name}; move it."
            )
        if unread := [entry for entry in entries if entry.suffix.lower() not in SUFFIXES | BESIDE_IMAGES]:
            raise ValueError(
                f"{unread[0]} is of no kind that is read ({', '.join(sorted(SUFFIXES))}); convert it, or move it "
                "elsewhere."
            )
        if not members:
            raise ValueError(
                f"{folder} holds no images ({', '.join(sorted(SUFFIXES))}); add some or remove the folder."
            )
        files += members
        labels += [label] * len(members)
    return _Listing(root, tuple(folder.name for folder in folders), tuple(files), tuple(labels))


def _inspect(files: Sequence[Path], image_size: int | None) -> tuple[bool, int]:
    """Whether all images are grey, and their common size in pixels, from the headers alone."""
    first, *_ = files
    grey, expected = True, _opened(first, lambda image: image.size)
    for file in files:
        mode, (width, height), pages = _opened(file, lambda image: (image.mode, image.size, _pages(image)))
        if mode not in GREY_MODES | COLOUR_MODES:
            raise ValueError(
                f"{file}: images must have 8 bits per channel, but this one is of Pillow's mode {mode!r}; save it as "
                "8-bit grey or RGB."
            )
        if pages > 1:
            raise ValueError(f"{file} has {pages} pages, of which only one would be read; save each as a file.")
        grey = grey and mode in GREY_MODES
        if image_size is None and (width, height) != expected:
            raise ValueError(
                f"images must be of one size, but {first} has {expected[0]}x{expected[1]} pixels and {file} has "
                f"{width}x{height}; give image_size to scale and crop them."
            )
    if image_size is None and expected[0] != expected[1]:
        raise ValueError(
            f"{first}: images must be square, but are {expected[0]}x{expected[1]} pixels; give image_size to scale "
            "and crop them."
        )
    return grey, image_size or expected[0]


def _pages(image: Image.Image) -> int:
    """The number of pictures in a file; cameras' MPO files hold previews or depth beside their one."""
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def _opened(file: Path, look: Callable[[Image.Image], T]) -> T:
    """The result of ``look`` for an image file, with errors that name the file."""
    try:
        with Image.open(file) as image:
            return look(image)
    except MemoryError:
        raise
    except Exception as error:  # Pillow reports damage, and images that are too large for it, by errors of many kinds
        raise ValueError(f"{file} cannot be decoded ({error}); replace or remove it.") from error


def _pool(listing: _Listing, size: int, grey: bool) -> Pool:
    channels = 1 if grey else 3

    def read(positions: Positions) -> Images:
        images = empty_images(str(listing.root), len(positions), size, channels)
        for target, position in zip(images, positions, strict=True):
            target[...] = _opened(listing.files[position], lambda image: _decoded(image, size, grey))
        return images

    return Pool(str(listing.root), np.array(listing.labels, dtype=np.int64), read)


def _decoded(image: Image.Image, size: int, grey: bool) -> Images:
    image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at a fraction of its size, many times as fast
    orientation: Any = image.getexif().get(ExifTags.Base.Orientation)
    upright = image.transpose(_TURNS[orientation]) if orientation in _TURNS else image
    if upright.has_transparency_data:
        transparent = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", transparent.size, "white"), transparent)
    plain = resized(upright.convert("L" if grey else "RGB"), size)
    return np.asarray(plain).reshape(size, size, -1)
