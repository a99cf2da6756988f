"""Named random streams from one root seed: every part of a run has a generator of its own.

A stream is named by words and numbers, such as ``("noise", 2)``. Its seed is the SHA-256 digest of the root seed and
the name, so streams are independent of each other, and adding one does not change the others.
"""

from __future__ import annotations

import hashlib
import json
import operator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def generator(seed: int, *stream: str | int) -> np.random.Generator:
    """NumPy generator of a named stream.

    The bit generator is PCG64 by name, not NumPy's default one, which a later version may replace.

    Args:
        seed: Root seed of the run, not negative.
        *stream: Name of the stream: words and numbers. ``1`` and ``"1"`` are different names.

    Returns:
        A new generator at the start of its stream.

    Example:
        >>> int(generator(0, "paths").integers(1000)) == int(generator(0, "paths").integers(1000))
        True
    """
    return np.random.Generator(np.random.PCG64(_digest(seed, stream)))


def torch_generator(seed: int, *stream: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Torch generator of a named stream.

    Args:
        seed: Root seed of the run, not negative.
        *stream: Name of the stream: words and numbers.
        device: Device of the generator. CPU and GPU generators draw different numbers.

    Returns:
        A new generator at the start of its stream.
    """
    import torch

    return torch.Generator(device=device).manual_seed(derived_seed(seed, *stream))


def derived_seed(seed: int, *stream: str | int) -> int:
    """Seed of a named stream, for generators of other libraries.

    Args:
        seed: Root seed of the run, not negative.
        *stream: Name of the stream: words and numbers.

    Returns:
        An integer in [0, 2**63).

    Example:
        >>> derived_seed(0, "batches")
        1786051035031432618
    """
    return _digest(seed, stream) >> (256 - 63)


def _digest(seed: int, stream: tuple[str | int, ...]) -> int:
    """Return the SHA-256 digest of ``[seed, *stream]`` as JSON, which tells ``("a", "b")`` from ``("ab",)``."""
    if operator.index(seed) < 0:
        raise ValueError(f"A seed must not be negative, but got {seed}.")
    name = [operator.index(seed), *(part if isinstance(part, str) else operator.index(part) for part in stream)]
    return int.from_bytes(hashlib.sha256(json.dumps(name).encode()).digest(), "big")
