"""Operations on tuples of tensors as single vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def detached(point: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The same numbers, without the graph that they come from."""
    return tuple(part.detach() for part in point)


def moved(point: Sequence[Tensor], scale: float | Tensor, direction: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """``point + scale * direction``.

    Args:
        point: A vector.
        scale: A number or a scalar tensor.
        direction: Tensors of the same shapes.

    Returns:
        A new vector.
    """
    return tuple(a + scale * b for a, b in zip(point, direction, strict=True))


def inner_product(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """The sum of the products of all entries, a scalar; both vectors have the same shapes."""
    return torch.stack([(a * b).sum() for a, b in zip(first, second, strict=True)]).sum()


def norm(vector: Sequence[Tensor]) -> Tensor:
    """The Euclidean length, a scalar."""
    return torch.stack([(part * part).sum() for part in vector]).sum().sqrt()


def check_length(name: str, value: float) -> None:
    """Refuse a number that cannot be the step of a difference quotient.

    Args:
        name: Name of the argument, for the message.
        value: The number.

    Raises:
        ValueError: If it is not positive and finite.
    """
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, but got {value}.")
