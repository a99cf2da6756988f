"""Map from architecture parameters to mixtures: DARTS' softmax, with PC-DARTS' edges and DARTS-' auxiliary skip."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from genas.choices import check_choices
from genas.search.differentiable.parts import Alphas, Relaxation
from genas.seeding import generator
from genas.spaces import CellType, SearchSpace
from genas.supernet.mixtures import Mixture

SkipShape = Literal["linear", "cosine", "slow_cosine"]

_INITIAL_STD = 1e-3


@final
@dataclass(frozen=True)
class SkipSchedule:
    r"""The strength of DARTS-' auxiliary skip connection: from its start towards zero.

    With t the epoch over the number of epochs, so that the strength is constant within an epoch and not zero in the
    last:

    .. math:: \text{linear: } \beta_0 (1 - t), \quad
              \text{cosine: } \beta_0 (1 + \cos \pi t) / 2, \quad
              \text{slow cosine: } \beta_0 \cos(\pi t / 2).

    Args:
        shape: The form of the decay.
        start: The strength in the first epoch.

    Raises:
        ValueError: If ``shape`` is unknown or ``start`` negative or not finite.

    Reference:
        Chu et al., DARTS-: Robustly Stepping out of Performance Collapse Without Indicators, ICLR 2021.

    Example:
        >>> SkipSchedule().at(49 / 50)
        0.020000000000000018
    """

    shape: SkipShape = "linear"
    start: float = 1.0

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0 <= self.start < math.inf:
            raise ValueError(f"The skip connection's start must be finite and not negative, but got {self.start}.")

    def at(self, progress: float) -> float:
        """The strength at a time in [0, 1]: epoch over number of epochs."""
        if self.shape == "linear":
            return self.start * (1 - progress)
        if self.shape == "cosine":
            return self.start * (1 + math.cos(math.pi * progress)) / 2
        return self.start * math.cos(math.pi * progress / 2)


@final
class Softmax(Relaxation):
    """Operation weights are softmaxes over the candidates of an edge.

    The parameters are one matrix per cell type, shape ``(edges, candidates)``, and with edge normalisation after these
    one vector per cell type, shape ``(edges,)``, whose softmax over the incoming edges of each node weighs the edges.

    Args:
        space: The search space.
        edge_normalization: PC-DARTS' weights of the edges.
        skip_schedule: DARTS-' auxiliary skip connections; ``None``: none.

    Raises:
        ValueError: If a cell type has edges with different numbers of candidates.

    Reference:
        Liu et al., DARTS, ICLR 2019, eq. (2); Xu et al., PC-DARTS, ICLR 2020.

    Example:
        >>> from genas.spaces import NASBench201
        >>> relaxation = Softmax(NASBench201())
        >>> (mixture,) = relaxation.mixtures(relaxation.initial(seed=0), progress=0.0)
        >>> mixture.operations.shape
        torch.Size([6, 5])
    """

    def __init__(
        self, space: SearchSpace, *, edge_normalization: bool = False, skip_schedule: SkipSchedule | None = None
    ) -> None:
        self.space = space
        self.edge_normalization = edge_normalization
        self.skip_schedule = skip_schedule
        self._candidates = _candidates_by_type(space)
        self._fan_ins = [_fan_ins(cell) for cell in space.cell_types]

    def initial(self, seed: int) -> Alphas:
        """Normal numbers of standard deviation 0.001; each tensor has a stream of its own."""
        shapes: dict[tuple[str, str], tuple[int, ...]] = {
            ("operations", cell.name): (len(cell.edges), candidates)
            for cell, candidates in zip(self.space.cell_types, self._candidates, strict=True)
        }
        if self.edge_normalization:
            shapes |= {("edges", cell.name): (len(cell.edges),) for cell in self.space.cell_types}
        draws = [generator(seed, "alphas", *name).standard_normal(shape) for name, shape in shapes.items()]
        return tuple(torch.from_numpy(_INITIAL_STD * draw).float().requires_grad_() for draw in draws)

    def mixtures(self, alphas: Alphas, progress: float) -> tuple[Mixture, ...]:
        """The softmaxes, and the skip strength of this epoch."""
        types = len(self.space.cell_types)
        expected = 2 * types if self.edge_normalization else types
        if len(alphas) != expected:
            raise ValueError(
                f"alphas must have {expected} tensors, {types} for the operations and {expected - types} for the "
                f"edges, but got {len(alphas)}; use those of initial()."
            )
        edges: list[Tensor | None] = [None] * types
        if self.edge_normalization:
            edges = [_per_node(row, sizes) for row, sizes in zip(alphas[types:], self._fan_ins, strict=True)]
        skip = 0.0 if self.skip_schedule is None else self.skip_schedule.at(progress)
        return tuple(
            Mixture(torch.softmax(matrix, dim=1), row, skip) for matrix, row in zip(alphas[:types], edges, strict=True)
        )


def _per_node(logits: Tensor, fan_ins: list[int]) -> Tensor:
    """Softmax over the incoming edges of each node."""
    return torch.cat([torch.softmax(part, dim=0) for part in torch.split(logits, fan_ins)])


def _fan_ins(cell: CellType) -> list[int]:
    """The number of incoming edges of each node that has any; a node's edges are consecutive."""
    return [len(list(group)) for _, group in itertools.groupby(target for _, target in cell.edges)]


def _candidates_by_type(space: SearchSpace) -> list[int]:
    counts = []
    for cell, edges in zip(space.cell_types, space.split(space.candidates), strict=True):
        found = {len(edge) for edge in edges}
        if len(found) != 1:
            raise ValueError(
                f"All edges of the {cell.name} cell of {space.name} must have equally many candidates for a softmax "
                f"in one matrix, but they have {sorted(found)}."
            )
        counts.append(found.pop())
    return counts
