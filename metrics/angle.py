"""The angle between a subnet's initial and trained weights, in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
import torch
from torch import Tensor

from genas.metrics.base import Metric
from genas.metrics.context import Context
from genas.spaces import NONE, Architecture, CellType, SearchSpace, path_multiplicities
from genas.supernet import CellNetwork
from genas.supernet.operations import DilConv, Operation, Pool, Skip

Sums = np.ndarray
"""Three sums of a part of the weight vectors v0 (initial) and v (trained): ``<v0, v>``, ``|v0|^2``, ``|v|^2``; float64,
shape ``(3,)``."""


@final
@dataclass(frozen=True, eq=False)
class AngleTable:
    r"""The angle of every architecture of a supernet, from a few sums.

    The weight vector of an architecture is the concatenation of its fixed parts and, for every live path of every cell,
    of the weights on that path. Inner products add up over parts, so each of the three sums is

    .. math:: S(a) = S_\text{fixed} + \sum_e m_e(a)\, S[e, o_e], \qquad
        \cos \text{angle}(a) = S_{v_0 v} / \sqrt{S_{v_0 v_0} S_{vv}}

    with :math:`m_e` the number of live paths over edge :math:`e` and :math:`S[e, o]` the sum over all cells of the
    edge's type.

    Args:
        space: The search space.
        fixed: Sums of the parts that every architecture has, shape ``(3,)``.
        edges: Sums of every operation on every edge, shape ``(genes, operations, 3)``; zero for ``none``.
        dead_is_zero: Whether an architecture without any live path gets the angle 0 (NAS-Bench-201) rather than that of
            its fixed parts.

    Reference:
        Hu et al., Angle-based Search Space Shrinking for Neural Architecture Search, ECCV 2020, Eq. 3; Zhang et al.,
        RLNAS, CVPR 2021.
    """

    space: SearchSpace
    fixed: Sums
    edges: np.ndarray
    dead_is_zero: bool

    def angles(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """Angles in radians.

        Args:
            architectures: Valid architectures.

        Returns:
            Float64 array in [0, pi], shape ``(len(architectures),)``.
        """
        genes = np.asarray(architectures, dtype=np.int64).reshape(-1, self.space.num_genes)
        sums = np.tile(self.fixed, (len(genes), 1))
        live = np.zeros(len(genes), dtype=bool)
        for cell, columns in zip(self.space.cell_types, self.space.split(range(self.space.num_genes)), strict=True):
            own = genes[:, columns]
            multiplicities = _multiplicities(cell, own)
            chosen = self.edges[columns, own]
            sums += np.einsum("ae,aes->as", multiplicities, chosen)
            live |= multiplicities.any(axis=1)
        # The root of a square is exact, so equal vectors have the cosine 1 and opposite ones -1, to the last bit.
        cosines = np.clip(sums[:, 0] / np.sqrt(sums[:, 1] * sums[:, 2]), -1.0, 1.0)
        return np.where(live | (not self.dead_is_zero), np.arccos(cosines), 0.0)


def _multiplicities(cell: CellType, genes: np.ndarray) -> np.ndarray:
    """Live paths over each edge, in the shape of ``genes``: computed once per pattern of missing edges."""
    patterns, which = np.unique(genes != NONE, axis=0, return_inverse=True)
    multiplicities = [path_multiplicities(cell, pattern) for pattern in patterns]
    return np.array(multiplicities, dtype=np.int64).reshape(patterns.shape)[which.reshape(-1)]


def angle_table(initial: CellNetwork, trained: CellNetwork, *, repeat_dilated_weight: bool = False) -> AngleTable:
    """The sums of a supernet.

    NAS-Bench-201 counts the classifier's bias and nothing for a skip connection; DARTS leaves the bias out and counts a
    skip connection as an identity matrix. A pool counts as its averaging kernel in both.

    Args:
        initial: The supernet before training.
        trained: The supernet after training.
        repeat_dilated_weight: Whether to count the BN weight of dilated convolutions twice and their BN bias not at
            all, as RLNAS' and GeNAS' code does.

    Returns:
        The table.
    """
    space, nasbench = trained.space, trained.skeleton.kind == "nasbench201"
    edges = np.zeros((space.num_genes, len(space.operations), 3))
    starts = np.cumsum([0, *(len(cell.edges) for cell in space.cell_types)])
    for before, after, cell_type in zip(initial.cells, trained.cells, trained.cell_types, strict=True):
        for edge, candidates in enumerate(after.candidates):
            for index in candidates:
                if index != NONE:
                    pair = before.operation(edge, index), after.operation(edge, index)
                    edges[starts[cell_type] + edge, index] += _operation_sums(
                        *pair, after.block.channels, identity=not nasbench, repeat_dilated_weight=repeat_dilated_weight
                    )
    left_out = () if nasbench else ("head.classifier.bias",)
    fixed = _sums(_fixed(initial, left_out), _fixed(trained, left_out))
    return AngleTable(space, fixed, edges, dead_is_zero=nasbench)


def _operation_sums(
    before: Operation, after: Operation, channels: int, *, identity: bool, repeat_dilated_weight: bool
) -> Sums:
    sums = _sums(_weights(before, repeat_dilated_weight), _weights(after, repeat_dilated_weight))
    if isinstance(after, Pool):
        sums = sums + channels * 9 * (1 / 9) ** 2  # a kernel of nine entries 1/9 per channel in both vectors
    elif isinstance(after, Skip) and identity:
        sums = sums + channels
    return sums


def _has_dilated(network: CellNetwork) -> bool:
    return any(
        isinstance(cell.operation(edge, index), DilConv)
        for cell in network.cells
        for edge, candidates in enumerate(cell.candidates)
        for index in candidates
        if index != NONE
    )


def _weights(operation: Operation, repeat_dilated_weight: bool) -> Iterator[Tensor]:
    for name, parameter in operation.named_parameters():
        if repeat_dilated_weight and isinstance(operation, DilConv) and name == "bn.bias":
            yield operation.bn.weight
        else:
            yield parameter


def _fixed(network: CellNetwork, left_out: tuple[str, ...]) -> Iterator[Tensor]:
    """All parameters but those on the edges of cells."""
    on_edges = {id(parameter) for cell in network.cells for parameter in cell.edges.parameters()}
    for name, parameter in network.named_parameters():
        if id(parameter) not in on_edges and name not in left_out:
            yield parameter


def _sums(before: Iterator[Tensor], after: Iterator[Tensor]) -> Sums:
    total = np.zeros(3)
    for first, second in zip(before, after, strict=True):
        v0 = first.detach().cpu().double().flatten()
        v = second.detach().cpu().double().flatten()
        total += [float(torch.dot(v0, v)), float(torch.dot(v0, v0)), float(torch.dot(v, v))]
    return total


@final
@dataclass(frozen=True)
class Angle(Metric):
    """Angle between a subnet's initial and trained weight vectors; subnets that train better have larger angles.

    Args:
        repeat_dilated_weight: Whether to reproduce an error of RLNAS' and GeNAS' code on DARTS, see
            :func:`angle_table`.

    Reference:
        Hu et al., ECCV 2020; Zhang et al., Neural Architecture Search with Random Labels, CVPR 2021.
    """

    name: ClassVar[str] = "angle"
    unit: ClassVar[str] = "rad"
    cost_hint: ClassVar[Literal["free", "weights", "forward"]] = "weights"

    repeat_dilated_weight: bool = False

    @property
    def scale(self) -> float:
        """1 / pi: the papers normalise the angle to [0, 1] in combinations."""
        return 1 / np.pi

    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """Not stored, as computing angles is as quick as looking them up.

        Args:
            context: Where the supernet is, initial and trained.
            architectures: Valid architectures.

        Returns:
            Angles in radians.

        Raises:
            ValueError: If ``repeat_dilated_weight`` is set for a supernet without dilated convolutions.
        """
        table = context.once(("angle table", self.repeat_dilated_weight), lambda: self._table(context))
        return table.angles(architectures)

    def _table(self, context: Context) -> AngleTable:
        if self.repeat_dilated_weight and not _has_dilated(context.supernet):
            raise ValueError(
                "repeat_dilated_weight needs dilated convolutions, but the supernet of "
                f"{context.space.name} has none; leave it out."
            )
        return angle_table(context.initial, context.supernet, repeat_dilated_weight=self.repeat_dilated_weight)
