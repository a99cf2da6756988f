"""Sampling of the supernet's paths for training steps: uniform single-path sampling and its published variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from genas.choices import check_choices
from genas.spaces.base import NONE, Architecture, CellType, SearchSpace
from genas.supernet.network import CellNetwork, NetworkPath


@dataclass(frozen=True)
class PathSampling:
    """Settings of path sampling.

    Args:
        sharing: ``network``: one architecture for all cells (SPOS, GeNAS); ``per_cell``: an independent draw for every
            cell (RLNAS' code for NAS-Bench-201); ``auto``: ``per_cell`` where a network has one cell type, else
            ``network``.
        reject_dead_nodes: Redraw a node's operations while all of them are ``none`` (RLNAS' code for NAS-Bench-201:
            11,904 of the 15,625 cells remain). Spaces whose nodes always have inputs do not offer it. ``None``: true
            where it is offered, but under ``strict_fairness``.
        strict_fairness: Every step takes as many paths as an edge has operations, such that each operation is trained
            exactly once (FairNAS, Chu et al., ICCV 2021), and sums their gradients. Where ``none`` only marks missing
            edges, these are the operations of the edges of one random topology.
    """

    sharing: Literal["auto", "network", "per_cell"] = "auto"
    reject_dead_nodes: bool | None = None
    strict_fairness: bool = False

    def __post_init__(self) -> None:
        check_choices(self)


@final
class PathSampler:
    """Draws the paths of training steps.

    Args:
        network: The supernet.
        settings: Settings of the sampling.

    Raises:
        ValueError: If the space does not offer the settings.
    """

    def __init__(self, network: CellNetwork, settings: PathSampling) -> None:
        space = network.space
        may_die = space.is_product and len(space.cell_types) == 1 and all(NONE in values for values in space.choices)
        if settings.reject_dead_nodes and not may_die:
            raise ValueError(
                "reject_dead_nodes needs a space whose nodes can lose all inputs, "
                f"but every node of {space.name} has some; leave it out."
            )
        if settings.strict_fairness and settings.reject_dead_nodes:
            raise ValueError(
                "strict_fairness trains every operation equally often, so reject_dead_nodes cannot hold: choose one."
            )
        self.strict_fairness, self.space, self._path = settings.strict_fairness, space, network.path
        counts = sorted({len(self._fair_choices(values)) for values in space.choices})
        if self.strict_fairness and len(counts) > 1:
            raise ValueError(
                "strict_fairness trains all operations of every edge in one step, so all edges must have equally many, "
                f"but those of {space.name} have {' or '.join(map(str, counts))}; leave it out."
            )
        one_type = len(space.cell_types) == 1
        self._cell_types = network.cell_types
        self.per_cell = settings.sharing == "per_cell" or (settings.sharing == "auto" and one_type)
        self.reject_dead_nodes = may_die and not settings.strict_fairness and settings.reject_dead_nodes is not False

    def sample(self, rng: np.random.Generator) -> list[NetworkPath]:
        """The paths of one step: one, or under strict fairness one per operation.

        Args:
            rng: The only source of randomness.

        Returns:
            Paths for :meth:`CellNetwork.forward`.
        """
        if not self.per_cell:
            return [self._path(architecture) for architecture in self._draw(rng)]
        draws = [self._draw(rng) for _ in self._cell_types]
        parts = [
            [self.space.split(architecture)[cell_type] for architecture in draw]
            for draw, cell_type in zip(draws, self._cell_types, strict=True)
        ]
        return [tuple(path) for path in zip(*parts, strict=True)]

    def _draw(self, rng: np.random.Generator) -> list[Architecture]:
        if self.strict_fairness:
            return self._fair(rng)
        if self.reject_dead_nodes:
            return [tuple(_without_dead_nodes(self.space, self.space.cell_types[0], rng))]
        return [self.space.sample(rng)]

    def _fair_choices(self, values: Sequence[int]) -> list[int]:
        """The operations of an edge that are trained equally often: all, or all but a ``none`` that means no edge."""
        return [value for value in values if value != NONE or self.space.is_product]

    def _fair(self, rng: np.random.Generator) -> list[Architecture]:
        """Permuted operations for each edge; where ``none`` only marks missing edges, on one random topology."""
        product, topology = self.space.is_product, self.space.sample(rng)
        columns = []
        for gene, values in zip(topology, self.space.choices, strict=True):
            allowed = self._fair_choices(values)
            columns.append(rng.permutation(allowed).tolist() if product or gene != NONE else [NONE] * len(allowed))
        return [tuple(path) for path in zip(*columns, strict=True)]


def _without_dead_nodes(space: SearchSpace, cell: CellType, rng: np.random.Generator) -> list[int]:
    """Uniform genes of a cell, node by node redrawn while all inputs of the node are ``none``.

    The product of the nodes' uniform draws is uniform over the remaining cells. Every redraw succeeds with probability
    at least one half (a node has another operation than ``none``), so the loop ends.

    Returns:
        One operation index per edge of the cell.
    """
    genes: list[int] = []
    for node in range(cell.num_inputs, cell.num_nodes):
        edges = [edge for edge, (_, target) in enumerate(cell.edges) if target == node]
        while True:
            drawn = [space.choices[edge][int(rng.integers(len(space.choices[edge])))] for edge in edges]
            if any(gene != NONE for gene in drawn):
                break
        genes += drawn
    return genes
