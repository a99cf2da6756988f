"""The data sets that torchvision can download: CIFAR-10, CIFAR-100, SVHN, Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from genas.data.source import Pool, Request, Source

Parts = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""Images, shape ``(n, height, width[, channels])``, and labels, shape ``(n,)``."""

CIFAR10_MEAN, CIFAR10_STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
CIFAR100_MEAN, CIFAR100_STD = (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)
"""Published normalisation in pixel values (Zagoruyko and Komodakis, BMVC 2016; used by NAS-Bench-201)."""


def load_cifar10(request: Request) -> Source:
    """CIFAR-10 (Krizhevsky 2009), 50,000 and 10,000 images of 32x32 pixels, with NAS-Bench-201's split."""
    train, test, names = _with_class_names(request, "CIFAR10")
    return Source(names, train, test=test, mean=_scaled(CIFAR10_MEAN), std=_scaled(CIFAR10_STD), nasbench201=True)


def load_cifar100(request: Request) -> Source:
    """CIFAR-100 (Krizhevsky 2009), 50,000 and 10,000 images of 32x32 pixels."""
    train, test, names = _with_class_names(request, "CIFAR100")
    return Source(names, train, test=test, mean=_scaled(CIFAR100_MEAN), std=_scaled(CIFAR100_STD))


def load_svhn(request: Request) -> Source:
    """Street View House Numbers (Netzer et al. 2011), 73,257 and 26,032 cropped digits of 32x32 pixels."""

    def read(dataset_class: Callable[..., Any], training: bool) -> Parts:
        data = dataset_class(request.root(), split="train" if training else "test", download=request.download)
        return data.data.transpose(0, 2, 3, 1), np.asarray(data.labels)

    train, test = _pools(request, "SVHN", read)
    return Source(tuple(str(digit) for digit in range(10)), train, test=test, flip=False)


def load_fashion_mnist(request: Request) -> Source:
    """Fashion-MNIST (Xiao et al. 2017), 60,000 and 10,000 grey images of 28x28 pixels."""
    train, test, names = _with_class_names(request, "FashionMNIST")
    return Source(names, train, test=test)


def _with_class_names(request: Request, class_name: str) -> tuple[Pool, Pool, tuple[str, ...]]:
    """Training and test pool of a torchvision class that knows the names of its classes, and these."""
    names: tuple[str, ...] = ()

    def read(dataset_class: Callable[..., Any], training: bool) -> Parts:
        nonlocal names
        data = dataset_class(request.root(), train=training, download=request.download)
        names = tuple(data.classes)
        return np.asarray(data.data), np.asarray(data.targets)  # arrays, lists or tensors

    train, test = _pools(request, class_name, read)
    return train, test, names


def _pools(request: Request, class_name: str, read: Callable[[Callable[..., Any], bool], Parts]) -> tuple[Pool, Pool]:
    """Training and test pool of a torchvision class."""
    root = request.root()
    try:
        from torchvision import datasets
    except ImportError as error:
        raise ImportError(
            f"{request.name!r} is read by torchvision, which is not installed: run  pip install torchvision."
        ) from error
    try:
        train, test = (read(getattr(datasets, class_name), training) for training in (True, False))
    except (RuntimeError, OSError, EOFError, KeyError, ValueError) as error:
        # RuntimeError is torchvision's "not found or corrupted"; the others come from damaged files that it does not
        # verify.
        cure = (
            "check the network, delete its files there, which torchvision may take for complete, and try again."
            if request.download
            else "give download to fetch it, or another data_root."
        )
        raise FileNotFoundError(f"{request.name!r} is missing or damaged in {root} ({error}); {cure}") from error
    return Pool.from_arrays(f"{request.name} in {root}, train", *train), Pool.from_arrays(
        f"{request.name} in {root}, test", *test
    )


def _scaled(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(value / 255 for value in values)
