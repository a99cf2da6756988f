"""``imagenet16-120``: ImageNet in 16x16 pixels, its first 120 classes, from the official batch files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genas.data.source import Images, Labels, Pool, Request, Source
from genas.unpickling import load_plain_pickle

NUM_CLASSES = 120
"""The classes that NAS-Bench-201 keeps."""

SIZE = 16
"""Height and width in pixels."""

MEAN, STD = (122.68, 116.66, 104.01), (63.22, 61.26, 65.09)
"""Published normalisation in pixel values (NAS-Bench-201)."""

TRAIN_FILES = tuple(f"train_data_batch_{number}" for number in range(1, 11))
TEST_FILE = "val_data"
CURE = "get the official files train_data_batch_1 .. 10 and val_data of ImageNet16 (image-net.org, downsampled images)."


def load_imagenet16(request: Request) -> Source:
    """Read the batch files in ``data_root`` or its sub-folder ``ImageNet16``, without running code that they may carry.

    NAS-Bench-201 halves the 6,000 official validation images into "x-valid" and "x-test"; its list can be given as a
    split file.

    Args:
        request: The name and the root.

    Returns:
        Pools of 151,700 training and 6,000 evaluation images in the complete files.

    Raises:
        FileNotFoundError: If a file is missing. A damaged one raises ``ValueError``.

    References:
        Chrabaszcz et al., A Downsampled Variant of ImageNet, arXiv:1707.08819; Dong and Yang, NAS-Bench-201, ICLR 2020.
    """
    request.refuse_download()
    root = request.root()
    folder = root / "ImageNet16" if (root / "ImageNet16").is_dir() else root
    missing = [name for name in (*TRAIN_FILES, TEST_FILE) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} files of ImageNet16 are missing in {folder}, first {missing[0]}; {CURE}"
        )
    batches = [_read_batch(folder / name) for name in TRAIN_FILES]
    train = Pool.from_arrays(
        str(folder), np.concatenate([batch[0] for batch in batches]), np.concatenate([batch[1] for batch in batches])
    )
    evaluation = Pool.from_arrays(str(folder / TEST_FILE), *_read_batch(folder / TEST_FILE))
    return Source(
        tuple(str(number) for number in range(1, NUM_CLASSES + 1)),
        train,
        evaluation=evaluation,
        mean=tuple(value / 255 for value in MEAN),
        std=tuple(value / 255 for value in STD),
    )


def _read_batch(path: Path) -> tuple[Images, Labels]:
    """Images ``(n, 16, 16, 3)`` and labels 0..119 of the kept classes in one file."""
    content = load_plain_pickle(path)
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * SIZE * SIZE:
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise ValueError(f"{path} must hold 'data', uint8 of shape (n, {3 * SIZE * SIZE}), but holds {found}; {CURE}")
    labels = np.asarray(content.get("labels", ()))
    if labels.shape != (len(data),) or labels.dtype.kind not in "iu" or labels.min() < 1:
        raise ValueError(
            f"{path} must hold 'labels', {len(data)} integers from 1 on, but holds {labels.dtype} {labels.shape}; "
            f"{CURE}"
        )
    kept = labels <= NUM_CLASSES
    images = np.asarray(data)[kept].reshape(-1, 3, SIZE, SIZE).transpose(0, 2, 3, 1)
    return images, labels[kept].astype(np.int64) - 1
