"""Images as tensors on the device: named data sets, seeded splits, augmentation of whole batches."""

from __future__ import annotations

from genas.data.augmentation import Augmentation
from genas.data.cluttered import SceneConfig, cluttered_digits
from genas.data.images import ImageData, Split
from genas.data.load import LOADERS, NAMED_WITH_PATH, Loader, load_data
from genas.data.options import DataOptions
from genas.data.source import Pool, Request, Source

__all__ = [
    "LOADERS",
    "NAMED_WITH_PATH",
    "Augmentation",
    "DataOptions",
    "ImageData",
    "Loader",
    "Pool",
    "Request",
    "SceneConfig",
    "Source",
    "Split",
    "cluttered_digits",
    "load_data",
]
