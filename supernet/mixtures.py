"""Mixtures of a cell's candidate operations, which the differentiable searches learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from torch import Tensor

from genas.choices import check_choices


@final
@dataclass(frozen=True, eq=False)
class Mixture:
    """The weights with which one cell runs in one forward pass.

    Args:
        operations: Weight of each candidate on each edge, shape ``(edges, candidates)``. A row need not sum to one.
        edges: Weight of each edge, shape ``(edges,)``, which multiplies everything that the edge adds to its node
            (PC-DARTS' edge normalisation); ``None``: one.
        skip: Strength of the auxiliary skip connection of every edge (DARTS-), 0 without.
        runs: Whether each candidate on each edge runs, ``(edges, candidates)`` in all; one that does not must have a
            constant weight of zero. Where none runs, the edge passes nothing on. ``None``: all run.
    """

    operations: Tensor
    edges: Tensor | None = None
    skip: float = 0.0
    runs: tuple[tuple[bool, ...], ...] | None = None


PartialScope = Literal["edges", "cell"]


@final
@dataclass(frozen=True)
class MixtureOptions:
    """Options with which a network is built for mixtures, besides its candidates.

    Args:
        partial_channels: K of PC-DARTS: only the first of every K channels goes through the candidates; the others go
            around them, by 2x2 maximum pooling where the stride is 2; then the channels are shuffled in K groups. 1 is
            the plain mixture. A network with more runs mixtures only, no discrete paths.
        partial_scope: What the other channels bypass: each of the ``edges`` (PC-DARTS), or the whole ``cell`` (A²M's
            NAS-Bench-201 network).
        auxiliary_skip: Whether edges of stride 2 get the auxiliary skip connection's factorised reduction (DARTS-). At
            stride 1 it has no weights. It reads what the candidates read.

    Raises:
        ValueError: If ``partial_channels`` is not positive.

    Reference:
        Xu et al., PC-DARTS, ICLR 2020; Chu et al., DARTS-, ICLR 2021.
    """

    partial_channels: int = 1
    partial_scope: PartialScope = "edges"
    auxiliary_skip: bool = False

    def __post_init__(self) -> None:
        check_choices(self)
        if self.partial_channels < 1:
            raise ValueError(f"partial_channels must be at least 1, but got {self.partial_channels}.")


PLAIN = MixtureOptions()
"""The mixture of DARTS."""
