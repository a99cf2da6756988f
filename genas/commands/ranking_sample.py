"""The sample of architectures that ``genas rank`` ranks."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np

from genas.seeding import generator
from genas.spaces import Architecture, SearchSpace
from genas.spaces.listing import all_architectures, is_listable
from genas.tables import Column, Table

_SAMPLES = 300


def sample(
    table: Table, columns: Sequence[Column], samples: int | Literal["all"] | None, seed: int, *, unique: bool
) -> list[Architecture]:
    """Draw architectures that have all the truths.

    Args:
        table: The truth.
        columns: Its columns.
        samples: Number of architectures, or ``all``; ``None``: 300, or all where there are fewer.
        seed: Seed of the draw.
        unique: Whether to draw only one of each isomorphism class, the one that was trained. A table with one training
            per class has only that many independent accuracies.

    Returns:
        Distinct architectures in lexicographic order, by which RLNAS' code breaks ties.

    Raises:
        ValueError: If there are too few.
    """
    space = table.space
    pool: Sequence[Architecture] = table.architectures
    if is_listable(space):
        pool = sorted(all_architectures(space), key=lambda each: (space.index(each) or 0, each))
    truths = np.stack([table.values(column, pool, missing="nan") for column in columns])
    pool = [each for each, has_all in zip(pool, ~np.isnan(truths).any(axis=0), strict=True) if has_all]
    if unique:
        trained = set(table.architectures)
        first: dict[Hashable, Architecture] = {}
        for each in sorted(pool, key=lambda each: each not in trained):  # a stable sort: those of the rows come first
            first.setdefault(space.unique_key(each), each)
        pool = list(first.values())
    if len(pool) < 2:
        covered = ", ".join(f"{column} has {len(table.covered(column))}" for column in columns)
        raise ValueError(
            f"At least two architectures must have all the truths, but {len(pool)} of {table.name} have: {covered}. "
            "Choose truths that go together, or a larger table."
        )
    if samples == "all":
        return sorted(pool)
    samples = min(_SAMPLES, len(pool)) if samples is None else samples
    if not 2 <= samples <= len(pool):
        raise ValueError(
            f"samples must lie in 2 .. {len(pool)}, the architectures that have all the truths, or be all, but got "
            f"{samples}."
        )
    chosen = generator(seed, "ranking sample").choice(len(pool), samples, replace=False)
    return sorted(pool[place] for place in chosen)


def sampled_share(space: SearchSpace, architectures: Sequence[Architecture]) -> float:
    """Share of its space that a sample covers.

    Args:
        space: The space.
        architectures: Distinct ones of that space.

    Returns:
        That of the isomorphism classes, if the sample has each at most once, else that of the architectures; 1 if every
        class is there, so that nothing is left to chance; 0 for spaces that are too large to be listed.
    """
    if not is_listable(space):
        return 0.0
    everything = all_architectures(space)
    sampled, classes = len(set(map(space.unique_key, architectures))), len(set(map(space.unique_key, everything)))
    return sampled / classes if sampled in (len(architectures), classes) else len(architectures) / len(everything)
