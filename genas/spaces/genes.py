"""Genes as plain numbers and names: checks, draws and parsing that all spaces share."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence

import numpy as np

from genas.choices import did_you_mean
from genas.spaces.base import Architecture, SearchSpace


def gene_place(space: SearchSpace, position: int) -> str:
    """Return the place of a gene, for messages: ``edge 0 -> 2 of the normal cell``."""
    for cell in space.cell_types:
        if position < len(cell.edges):
            source, target = cell.edges[position]
            name = cell.name if cell.name == "cell" else f"{cell.name} cell"
            return f"edge {source} -> {target} of the {name}"
        position -= len(cell.edges)
    raise IndexError(f"position must be less than {space.num_genes}, the number of genes of {space.name}.")


def checked_genes(space: SearchSpace, genes: Sequence[int]) -> Architecture:
    """Return the genes as Python integers, each of them among its choices. The rules between genes are not checked.

    Raises:
        TypeError: If a gene is not an integer.
        ValueError: If their number is wrong or one is not among its choices.
    """
    if len(genes) != space.num_genes:
        raise ValueError(
            f"An architecture of {space.name} must have {space.num_genes} genes, but got {len(genes)}. "
            "Give one operation index per edge, cell after cell."
        )
    checked = []
    for position, (gene, choices) in enumerate(zip(genes, space.choices, strict=True)):
        try:
            number = operator.index(gene)
        except TypeError:
            raise TypeError(f"Gene {position} must be an integer, but got {gene!r}.") from None
        if number not in choices:
            allowed = ", ".join(f"{choice} ({space.operations[choice]})" for choice in choices)
            raise ValueError(
                f"Gene {position} ({gene_place(space, position)}) of {space.name} must be one of {allowed}, "
                f"but got {number}."
            )
        checked.append(number)
    return tuple(checked)


def redrawn(space: SearchSpace, genes: Sequence[int], rng: np.random.Generator, rate: float) -> list[int]:
    """Return the genes, each replaced with probability ``rate`` by another of its choices (uniformly).

    Raises:
        ValueError: If ``rate`` is not in [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must lie in [0, 1], but got {rate}.")
    redrawn_genes = list(genes)
    for position in np.flatnonzero(rng.random(len(genes)) < rate):
        redrawn_genes[position] = another_choice(space, int(position), redrawn_genes[position], rng)
    return redrawn_genes


def another_choice(space: SearchSpace, position: int, gene: int, rng: np.random.Generator) -> int:
    """Return a uniform draw from the choices at ``position`` that differ from ``gene``."""
    others = [choice for choice in space.choices[position] if choice != gene]
    return others[rng.integers(len(others))]


def integers_in(text: str) -> tuple[int, ...] | None:
    """Return the integers of a text like ``3,1,4``, ``(3, 1, 4)`` or ``3 1 / 4``; ``None`` for other texts."""
    if not re.fullmatch(r"[\s(\[]*-?\d{1,9}(?:[\s,/]+-?\d{1,9})*[\s,)\]]*", text):
        return None
    return tuple(int(number) for number in re.findall(r"-?\d+", text))


def operation_index(space: SearchSpace, name: object, place: str) -> int:
    """Return the position of the operation ``name`` in the vocabulary.

    Raises:
        ValueError: If the space has no such operation; names ``place`` and the nearest operation.
    """
    if isinstance(name, str) and name in space.operations:
        return space.operations.index(name)
    raise ValueError(
        f"Every operation must be one of {', '.join(space.operations)}, but got {name!r} at {place}."
        + did_you_mean(str(name), space.operations)
    )
