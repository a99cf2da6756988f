"""Selection of an architecture from mixtures, and signs of a collapsed search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from genas.errors import TrainingDiverged
from genas.search.differentiable.parts import Selection
from genas.spaces import Architecture, CellType, SearchSpace
from genas.spaces.base import NONE
from genas.spaces.darts_cell import LIVE_INPUTS
from genas.supernet.mixtures import Mixture

SKIP = "skip_connect"
"""Name of the skip connection in all spaces."""


@final
@dataclass(frozen=True)
class ArgMax(Selection):
    """On every edge the operation of the largest weight, ``none`` included; the first one among ties (NAS-Bench-201).

    If every path contains a ``none``, the architecture is valid but disconnected: see :class:`Collapse`.
    """

    def select(self, space: SearchSpace, mixtures: Sequence[Mixture]) -> Architecture:
        """The architecture; edge weights do not matter, because every edge stays."""
        genes: list[int] = []
        for rows, _ in _weights(space, mixtures):
            genes += [edge[int(np.argmax(row))] for edge, row in rows]
        return space.check(genes)


@final
@dataclass(frozen=True)
class TopTwo(Selection):
    """For every node the two incoming edges of the largest scores, on each of them the operation of the largest weight.

    An edge's score is its largest weight over all operations but ``none``, times the weight of the edge if it has one
    (PC-DARTS). Ties go to the earlier edge and to the first operation.

    Reference:
        Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, Section 2.4.
    """

    def select(self, space: SearchSpace, mixtures: Sequence[Mixture]) -> Architecture:
        """The architecture."""
        genes: list[int] = []
        for cell, (rows, edge_weights) in zip(space.cell_types, _weights(space, mixtures), strict=True):
            best = [_best_but_none(edge, row) for edge, row in rows]
            scores = np.array([weight for _, weight in best]) * edge_weights
            kept = {
                edge for node in incoming(cell) for edge in sorted(node, key=lambda edge: -scores[edge])[:LIVE_INPUTS]
            }
            genes += [gene if edge in kept else NONE for edge, (gene, _) in enumerate(best)]
        return space.check(genes)


def selection_for(space: SearchSpace) -> Selection:
    """The selection that suits a space.

    Args:
        space: The search space.

    Returns:
        :class:`ArgMax` where any combination of operations is an architecture, else :class:`TopTwo`.
    """
    return ArgMax() if space.is_product else TopTwo()


def incoming(cell: CellType) -> list[list[int]]:
    """For each node with incoming edges, their positions in increasing order."""
    nodes: dict[int, list[int]] = {}
    for edge, (_, target) in enumerate(cell.edges):
        nodes.setdefault(target, []).append(edge)
    return list(nodes.values())


@final
@dataclass(frozen=True)
class Collapse:
    """The signs of a collapsed search.

    Args:
        skips: Skip connections of the architecture, by cell type.
        nones: Edges on which ``none`` has the largest weight, by cell type.
        disconnected: Whether in some cell no path leads from an input to the output: accuracy at chance.
    """

    skips: dict[str, int]
    nones: dict[str, int]
    disconnected: bool

    @classmethod
    def of(cls, space: SearchSpace, architecture: Architecture, mixtures: Sequence[Mixture]) -> Collapse:
        """Examine an architecture and the mixtures that it was derived from.

        Args:
            space: The search space.
            architecture: A valid architecture.
            mixtures: One per cell type.

        Returns:
            The signs of a collapse.
        """
        parts = list(zip(space.cell_types, space.split(architecture), _weights(space, mixtures), strict=True))
        return cls(
            {cell.name: sum(space.operations[gene] == SKIP for gene in genes) for cell, genes, _ in parts},
            {cell.name: sum(_prefers_none(edge, row) for edge, row in rows) for cell, _, (rows, _) in parts},
            not all(cell.live_edges(genes) for cell, genes, _ in parts),
        )


_Rows = list[tuple[tuple[int, ...], np.ndarray]]


def _weights(space: SearchSpace, mixtures: Sequence[Mixture]) -> list[tuple[_Rows, np.ndarray]]:
    """For each cell type, the candidates of every edge with their weights, and the weights of the edges."""
    if len(mixtures) != len(space.cell_types):
        raise ValueError(
            f"There must be one mixture for each of the {len(space.cell_types)} cell types of {space.name}, "
            f"but got {len(mixtures)}."
        )
    parts = []
    for cell, candidates, mixture in zip(space.cell_types, space.split(space.candidates), mixtures, strict=True):
        weights = mixture.operations.detach().cpu().double().numpy()
        edges = np.ones(len(candidates)) if mixture.edges is None else mixture.edges.detach().cpu().double().numpy()
        if len(weights) != len(candidates) or edges.shape != (len(candidates),):
            raise ValueError(
                f"The mixture of the {cell.name} cell must have {len(candidates)} edges, but got weights of shape "
                f"{weights.shape} and edge weights of shape {edges.shape}."
            )
        if not (np.isfinite(weights).all() and np.isfinite(edges).all()):
            raise TrainingDiverged(
                f"The weights of the {cell.name} cell must be finite, but some are not: the search diverged."
            )
        parts.append(([(edge, row[: len(edge)]) for edge, row in zip(candidates, weights, strict=True)], edges))
    return parts


def _prefers_none(edge: tuple[int, ...], row: np.ndarray) -> bool:
    """Whether ``none`` has the largest weight; not on an edge that a projection removed, whose weights are zero."""
    best = int(np.argmax(row))
    return edge[best] == NONE and bool(row[best] > 0)


def _best_but_none(edge: tuple[int, ...], row: np.ndarray) -> tuple[int, float]:
    """The operation of the largest weight that is not ``none``, and its weight."""
    live = [column for column, gene in enumerate(edge) if gene != NONE]
    best = live[int(np.argmax(row[live]))]
    return edge[best], float(row[best])
