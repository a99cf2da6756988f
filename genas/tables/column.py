"""The meaning of an accuracy, as a value that can be compared, sorted and written as a short text."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, final

from genas.choices import check_choices

Kind = Literal["valid", "test", "valtest"]
Seed = int | Literal["any"] | None

_PART = re.compile(r"(-valid(0\.\d{0,2}[1-9]|1)?)?(-max\d+)?(-\d+px)?")
"""What :func:`dataset_of` appends to the name of a data set, nothing included."""

FORM = "DATASET/KIND/EPOCHS[/seed=N][/at=N], like cifar10/test/200 or cifar10-valid/valid/200/seed=888/at=90"
"""The text form, for messages."""


@final
@functools.total_ordering
@dataclass(frozen=True)
class Column:
    """The meaning of an accuracy: training set, evaluation images, length of training, seed.

    Args:
        dataset: The training images. NAS-Bench-201 has ``cifar10`` (all 50,000 of CIFAR-10), ``cifar10-valid`` (the
            25,000 half of them, the other half is for validation), ``cifar100`` and ``imagenet16-120``.
        kind: The images it was measured on. ``valtest``: validation and test images together, which is all that
            NATS-Bench has of CIFAR-100 and ImageNet16-120 before the end of a long training.
        epochs: Length of the training schedule.
        seed: Seed of the training. ``None``: the mean over all seeds; ``any``: a single training, but the source does
            not say of which seed.
        at: Epochs trained when it was measured; ``None``: all. Epoch 90 of a schedule of 200 is not a training of 90
            epochs.

    Raises:
        ValueError: If a value is not valid.

    Example:
        >>> str(Column("cifar10-valid", "valid", 200, seed=888, at=90))
        'cifar10-valid/valid/200/seed=888/at=90'
        >>> Column.parse("cifar10/test/200")
        Column(dataset='cifar10', kind='test', epochs=200, seed=None, at=None)
    """

    dataset: str
    kind: Kind
    epochs: int
    seed: Seed = None
    at: int | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", self.dataset):
            hint = f" Write {self.dataset.lower()!r}." if re.fullmatch(r"\w[\w.-]*", self.dataset) else ""
            raise ValueError(
                "The data set of a column must be a name of lower-case letters, digits, '-', '_' and '.', but got "
                f"{self.dataset!r}.{hint}"
            )
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, but got {self.epochs}.")
        if not isinstance(self.seed, int) and self.seed not in ("any", None):
            raise ValueError(f"seed must be a number, 'any' or None, but got {self.seed!r}.")
        if isinstance(self.seed, int) and not 0 <= self.seed < 10**19:
            raise ValueError(f"seed must lie in 0 .. 10^19 - 1, but got {self.seed}.")
        if self.at is not None and not 1 <= self.at < self.epochs:
            raise ValueError(
                f"at must be at least 1 and less than the {self.epochs} epochs of the training, but got {self.at}; "
                "leave it out for the end."
            )

    @classmethod
    def parse(cls, text: str) -> Column:
        """Return the column that a text stands for.

        Raises:
            ValueError: If the text has another form or a value that is not valid.
        """
        given = read_parts(text)
        if "kind" not in given or "epochs" not in given:
            raise ValueError(f"A column must look like {FORM}, but got {text!r}.")
        return cls(**given)

    def __str__(self) -> str:
        parts = [self.dataset, self.kind, str(self.epochs)]
        parts += [f"{name}={value}" for name, value in (("seed", self.seed), ("at", self.at)) if value is not None]
        return "/".join(parts)

    def __lt__(self, other: object) -> bool:
        return self._rank < other._rank if isinstance(other, Column) else NotImplemented

    @property
    def _rank(self) -> tuple[str, str, int, int, int, int]:
        """Sort key: means before single seeds, final accuracies before earlier ones."""
        seed = -1 if self.seed is None else 0 if self.seed == "any" else self.seed
        return self.dataset, self.kind, self.epochs, self.at or 0, isinstance(self.seed, int), seed


def dataset_of(data: str, *, held_out: float = 0.0, max_train: int | None = None, image_size: int | None = None) -> str:
    """The name in columns of a data set, or of the part of it that a network was trained on.

    Args:
        data: As for ``--data``: a name, with all that follows it; of ``npz:PATH`` and ``folder:PATH`` only the last
            part of the path counts.
        held_out: Share of its training images that were set aside, such as for validation; one half is NAS-Bench-201's
            ``-valid``. Shares count in thousandths, as a class does not divide into any share exactly.
        max_train: Limit of the number of training images.
        image_size: Side in pixels to which the images were scaled.

    Returns:
        A valid ``dataset`` of a :class:`Column`; a part of a data set has another name than the whole.

    Example:
        >>> dataset_of("cifar10"), dataset_of("npz:data/CIFAR10.npz"), dataset_of("folder:My Photos")
        ('cifar10', 'cifar10', 'my-photos')
        >>> dataset_of("folder:photos.v2"), dataset_of("birds:224")
        ('photos.v2', 'birds-224')
        >>> dataset_of("cifar10", held_out=0.5), dataset_of("cifar10", held_out=0.1)
        ('cifar10-valid', 'cifar10-valid0.1')
        >>> dataset_of("cifar10", max_train=500, image_size=16)
        'cifar10-max500-16px'
    """
    base = re.sub(r"[^a-z0-9_.-]", "-", _name_of(data).lower()).lstrip("_.-") or "data"
    # Not a bare number, by which the data set flowers-102 would be a part of flowers.
    limits = (f"-max{max_train}" if max_train else "", f"-{image_size}px" if image_size else "")
    thousandths = round(1000 * held_out)
    part = "" if thousandths == 0 else "-valid" if thousandths == 500 else f"-valid{thousandths / 1000:g}"
    return base + part + "".join(limits)


def _name_of(data: str) -> str:
    kind, _, path = data.partition(":")
    if kind == "npz" and path:
        return PurePath(path).stem
    if kind == "folder" and path:
        return PurePath(path).name
    return data


def is_part(dataset: str, whole: str) -> bool:
    """Whether a name that :func:`dataset_of` made stands for a data set or a part of it.

    Args:
        dataset: The name.
        whole: The name of the data set.

    Returns:
        Whether it is that name, or that name with what :func:`dataset_of` appends; other data sets may begin with it,
        too.

    Example:
        >>> is_part("cifar10-valid", "cifar10"), is_part("cifar10", "cifar10"), is_part("cifar10-c", "cifar10")
        (True, True, False)
    """
    return dataset.startswith(whole) and _PART.fullmatch(dataset, len(whole)) is not None


def mean_over_seeds(accuracies: Sequence[float]) -> float:
    """The mean of the accuracies of several seeds, without the last digits, in which equal means would differ.

    Args:
        accuracies: In percent, at least one.

    Returns:
        The mean to twelve decimals.

    Example:
        >>> mean_over_seeds([70.5, 70.7, 70.6]) == mean_over_seeds([70.6])
        True
    """
    return round(math.fsum(accuracies) / len(accuracies), 12)


def read_parts(text: str) -> dict[str, Any]:
    """Return the fields of :class:`Column` that a text names: a data set, and any of the rest.

    Raises:
        ValueError: If the text has another form.

    Example:
        >>> read_parts("cifar10/seed=888")
        {'dataset': 'cifar10', 'seed': 888}
    """
    match = re.fullmatch(
        r"(?P<dataset>[^/=]+)(?:/(?P<kind>[a-z]+))?(?:/(?P<epochs>\d{1,9}))?"
        r"(?:/seed=(?P<seed>\d{1,19}|any))?(?:/at=(?P<at>\d{1,9}))?",
        text.strip(),
    )
    if match is None:
        raise ValueError(f"A column must look like {FORM}, but got {text!r}.")
    parts = {name: part for name, part in match.groupdict().items() if part is not None}
    # A data set may be named 2024, like a folder.
    return {name: int(part) if name != "dataset" and part.isdigit() else part for name, part in parts.items()}
