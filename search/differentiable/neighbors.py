"""Neighbours of a relaxed architecture: mixtures that differ from it on a few edges."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, final, get_args

import numpy as np
import torch
from torch import Tensor

from genas.devices import sent
from genas.search.differentiable.selection import SKIP
from genas.spaces import NONE, SearchSpace
from genas.supernet.mixtures import Mixture

EdgeScope = Literal["each", "joint", "normal_only"]

EPSILON = 0.1
"""Default of the largest change of a weight by additive neighbours."""


class Neighbors(abc.ABC):
    r"""Mixtures near a given one: the weights of the operations change on ``distance`` edges.

    The distance between two relaxed architectures is the sum over the edges of :math:`\frac12 \lVert p_e - p'_e
    \rVert_1 \le 1`, so a neighbour is no further away than the number of changed edges. Weights of edges do not change.

    Args:
        space: The search space.
        distance: Number of edges on which a neighbour differs.
        scope: Place of these edges: ``each``: so many in every cell type; ``joint``: so many in all cell types
            together; ``normal_only``: only in the normal cell.

    Raises:
        ValueError: If ``scope`` is unknown or means nothing in the space, or if there are not that many edges.

    Reference:
        Wang et al., Neighborhood-Aware Neural Architecture Search, BMVC 2021.
    """

    def __init__(self, space: SearchSpace, distance: int, scope: EdgeScope = "each") -> None:
        if scope not in get_args(EdgeScope):
            raise ValueError(f"scope must be one of {', '.join(get_args(EdgeScope))}, but got {scope!r}.")
        names = [cell.name for cell in space.cell_types]
        if scope == "normal_only" and "normal" not in names:
            raise ValueError(
                f"normal_only needs a cell type named normal, but {space.name} has {', '.join(names)}; choose each."
            )
        if scope == "joint" and len(names) == 1:
            raise ValueError(f"joint needs several cell types, but {space.name} has only {names[0]}; choose each.")
        self._ends = np.cumsum([len(cell.edges) for cell in space.cell_types])[:-1]
        types = np.split(np.arange(space.num_genes), self._ends)
        if scope == "joint":
            self._groups = [np.concatenate(types)]
        else:
            self._groups = [
                edges for edges, name in zip(types, names, strict=True) if scope == "each" or name == "normal"
            ]
        most = min(len(group) for group in self._groups)
        if not 0 <= distance <= most:
            raise ValueError(f"distance must lie between 0 and {most}, the number of edges, but got {distance}.")
        self.space, self.distance, self.scope = space, distance, scope

    @final
    def draw(self, mixtures: Sequence[Mixture], rng: np.random.Generator) -> tuple[Mixture, ...]:
        """Draw a neighbour.

        Args:
            mixtures: One per cell type.
            rng: Source of randomness; the number of draws does not depend on the mixtures.

        Returns:
            The neighbour, one mixture per cell type, differentiable with respect to the given one. Rows of unchanged
            edges are identical, bit for bit.
        """
        chosen = np.zeros(self.space.num_genes, dtype=bool)
        for group in self._groups:
            chosen[rng.permutation(group)[: self.distance]] = True
        found = []
        starts = (0, *self._ends)
        for mixture, start, flags in zip(mixtures, starts, np.split(chosen, self._ends), strict=True):
            changed = self.changed(mixture.operations, int(start), rng)
            mask = sent(torch.from_numpy(flags), changed.device)[:, None]
            found.append(dataclasses.replace(mixture, operations=torch.where(mask, changed, mixture.operations)))
        return tuple(found)

    @abc.abstractmethod
    def changed(self, operations: Tensor, start: int, rng: np.random.Generator) -> Tensor:
        """The weights of every edge of a cell for the case that the edge is among those that change.

        Args:
            operations: Weights of a cell type, shape ``(edges, candidates)``; rows sum to one.
            start: Position of its first edge among the genes of the space.
            rng: Source of randomness.

        Returns:
            A tensor of the same shape whose rows sum to one.
        """


@final
class AdditiveNeighbors(Neighbors):
    r"""A changed edge has the weights :math:`(p_k + q_k) / \sum_j (p_j + q_j)`.

    q_k is uniform between :math:`\max(-\epsilon, -p_k)` and :math:`\epsilon` and constant in the differentiation.

    Args:
        space: The search space.
        distance: Number of edges on which a neighbour differs.
        epsilon: Largest change of a weight before the division.
        scope: Place of these edges.

    Raises:
        ValueError: As :class:`Neighbors`, and if ``epsilon`` is negative or not finite.
    """

    def __init__(
        self, space: SearchSpace, distance: int, *, epsilon: float = EPSILON, scope: EdgeScope = "each"
    ) -> None:
        super().__init__(space, distance, scope)
        if not 0 <= epsilon < math.inf:
            raise ValueError(f"epsilon must be finite and not negative, but got {epsilon}.")
        self.epsilon = epsilon

    def changed(self, operations: Tensor, start: int, rng: np.random.Generator) -> Tensor:  # noqa: ARG002
        """The weights with noise, divided by their sum."""
        lowest = -operations.detach().clamp(max=self.epsilon)
        draws = torch.from_numpy(rng.random(tuple(operations.shape))).to(operations.dtype)
        uniform = sent(draws, operations.device)
        moved = operations + (lowest + (self.epsilon - lowest) * uniform)
        return moved / moved.sum(dim=1, keepdim=True)


@final
class MultiplicativeNeighbors(Neighbors):
    """A changed edge has all its weight on ``none`` or on ``skip_connect``, with equal probability.

    So it gets no gradient; only edges that do not change learn from such a neighbour.

    Args:
        space: The search space.
        distance: Number of edges on which a neighbour differs.
        scope: Place of these edges.

    Raises:
        ValueError: As :class:`Neighbors`, and if an edge lacks one of the two operations.
    """

    def __init__(self, space: SearchSpace, distance: int, *, scope: EdgeScope = "each") -> None:
        super().__init__(space, distance, scope)
        needed = {NONE, *(k for k, name in enumerate(space.operations) if name == SKIP)}
        if len(needed) < 2 or any(not needed <= set(edge) for edge in space.candidates):
            raise ValueError(
                f"Multiplicative neighbours need none and {SKIP} among the candidates of every edge, but {space.name} "
                "has edges without; choose additive neighbours."
            )
        self._columns = np.array([[edge.index(k) for k in sorted(needed)] for edge in space.candidates])

    def changed(self, operations: Tensor, start: int, rng: np.random.Generator) -> Tensor:
        """One-hot rows."""
        edges = len(operations)
        picks = self._columns[np.arange(start, start + edges), rng.integers(2, size=edges)]
        ones = torch.zeros_like(operations)
        ones[torch.arange(edges), torch.from_numpy(picks)] = 1
        return ones
