"""The options of a data set as one value, for run settings and the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from genas.data.images import ImageData
from genas.data.load import load_data


@dataclass(frozen=True)
class DataOptions:
    """Arguments of :func:`load_data` besides name and seed.

    Args:
        data_root: Folder of downloaded data sets; relative paths of ``npz:`` and ``folder:`` start here.
        download: Fetch missing files, where torchvision knows how.
        image_size: Height and width in pixels to scale and crop to; by default as stored.
        split: Source of the validation images: ``auto``, ``nasbench201`` (the published CIFAR-10 split),
            ``stratified``, or ``file:PATH``.
        valid_fraction: Share of the training images that a stratified split sets aside; 0.5 by default.
        split_seed: Seed of a stratified split and of the limits below; by default the root seed. With one of its own,
            runs of several seeds have the same images.
        max_train: Use at most this many training images, with the classes in proportion.
        max_valid: The same for validation.
        max_test: The same for test.
    """

    data_root: Path | None = None
    download: bool = False
    image_size: int | None = None
    split: str = "auto"
    valid_fraction: float | None = None
    split_seed: int | None = None
    max_train: int | None = None
    max_valid: int | None = None
    max_test: int | None = None

    def load(self, name: str, *, seed: int) -> ImageData:
        """Load the data set ``name`` with these options; ``seed`` is the root seed."""
        return load_data(name, seed=seed, **asdict(self))
