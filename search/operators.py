"""Variation of architectures by DEAP's operators, with children repaired by the space.

DEAP draws from the global generators of Python and NumPy: call the operators inside :func:`deap_random`.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
from deap import tools

from genas.spaces.base import NONE, Architecture, SearchSpace


@contextlib.contextmanager
def deap_random(rng: np.random.Generator) -> Iterator[None]:
    """Seed the two global generators that DEAP draws from, and restore them afterwards.

    It takes a tenth of a millisecond, so use it around a generation, not around a child.

    Args:
        rng: Source of their seeds.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - DEAP's own source
    random.seed(int(rng.integers(2**63)))
    np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def mutated(
    space: SearchSpace,
    parent: Architecture,
    rng: np.random.Generator,
    *,
    rate: float,
    genes: int | None = None,
    excludes_none: bool = False,
) -> Architecture:
    """Redraw each gene with some probability from all its choices, the old one included, then repair.

    Before repair ``rate * (1 - 1/q)`` of the genes with ``q`` choices change on average.

    Args:
        space: Space of the parent.
        parent: A valid architecture.
        rng: Source of randomness of the repair.
        rate: Probability of a redraw, in [0, 1].
        genes: Number of genes, from the start, that may be redrawn; ``None``: all.
        excludes_none: Whether to never draw ``none`` where there is another choice.

    Returns:
        A valid architecture, possibly the parent.
    """
    choices = [
        tuple(choice for choice in gene if choice != NONE) or gene if excludes_none else gene
        for gene in space.choices[:genes]
    ]
    # DEAP draws integers between bounds: let it draw positions among the choices. Where -1 remains, the gene was not
    # redrawn.
    positions = [-1] * len(choices)
    tools.mutUniformInt(positions, low=0, up=[len(gene) - 1 for gene in choices], indpb=rate)
    drawn = [
        old if position < 0 else gene[position] for position, gene, old in zip(positions, choices, parent, strict=False)
    ]
    return space.repair([*drawn, *parent[len(drawn) :]], rng)


def crossed(space: SearchSpace, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
    """Take each gene from either parent with probability one half, then repair.

    Args:
        space: Space of the parents.
        first: A valid architecture.
        second: A valid architecture.
        rng: Source of randomness of the repair.

    Returns:
        One child, a valid architecture.
    """
    child, _ = tools.cxUniform(list(first), list(second), indpb=0.5)
    return space.repair(child, rng)
