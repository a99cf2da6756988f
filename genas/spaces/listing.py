"""Lists of all architectures of a space, and tensors with one axis per gene that hold a number for each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from genas.spaces.base import Architecture, SearchSpace

LISTABLE = 2**17
"""Largest number of architectures that are listed in memory, such as a space or a neighbourhood."""


def all_architectures(space: SearchSpace) -> list[Architecture]:
    """Every combination of genes, in the order of a flattened tensor with one axis per gene.

    Args:
        space: Must have every combination, and few enough to be listed.

    Returns:
        All architectures.

    Raises:
        ValueError: If some combinations are not valid, or if there are more than :data:`LISTABLE`.
    """
    if not is_listable(space):
        raise ValueError(
            f"The space must have every combination of genes and at most {LISTABLE:,} of them, such as nasbench201, "
            f"but {space.name} has {space.size:,} of {math.prod(map(len, space.choices)):,}."
        )
    return list(itertools.product(*space.choices))


def is_listable(space: SearchSpace) -> bool:
    """Return whether a space has every combination of genes, and few enough to be listed."""
    return space.is_product and space.size <= LISTABLE


def positions(space: SearchSpace, architectures: Sequence[Architecture]) -> tuple[np.ndarray, ...]:
    """Positions of architectures in a tensor with one axis per gene.

    Args:
        space: Space that defines the choices of each gene.
        architectures: Valid architectures.

    Returns:
        Index arrays of shape ``(len(architectures),)``, one per gene.

    Example:
        >>> from genas.spaces import NASBench201
        >>> scores = np.arange(5**6).reshape((5,) * 6)
        >>> scores[positions(NASBench201(), [(0, 0, 0, 0, 1, 2), (4,) * 6])]
        array([    7, 15624])
    """
    columns = list(zip(*architectures, strict=True)) or [()] * space.num_genes
    where = [{gene: position for position, gene in enumerate(choices)} for choices in space.choices]
    return tuple(
        np.array([places[gene] for gene in column], dtype=np.intp)
        for places, column in zip(where, columns, strict=True)
    )
