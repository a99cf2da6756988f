"""The DARTS space and its variants: two cells in which every node reads exactly two earlier ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt

from genas.spaces import darts_text
from genas.spaces.base import NONE, Architecture, SearchSpace
from genas.spaces.darts_cell import (
    CANDIDATES,
    CELLS,
    EDGES,
    LIVE_INPUTS,
    NUM_INPUTS,
    NUM_NODES,
    OPERATIONS,
    OPERATIONS_WITH_NOISE,
)
from genas.spaces.genes import another_choice, checked_genes, redrawn
from genas.spaces.skeleton import Skeleton, SkeletonKind

_IMAGENET_SIZE = 128  # images of at least this size get the network whose stem shrinks them eightfold

_Node = tuple[int, ...]
"""Genes of the edges into one node."""

_States = npt.NDArray[np.int64]
"""Several nodes, shape ``(states, edges)``."""

_NODES = tuple(
    (cell.name, target, slice(start := position * len(EDGES) + EDGES.index((0, target)), start + target))
    for position, cell in enumerate(CELLS)
    for target in range(NUM_INPUTS, NUM_NODES)
)
"""Cell name, node and position of its genes, for the eight nodes that are not inputs."""


@final
@dataclass(frozen=True)
class DARTS(SearchSpace):
    """A normal and a reduction cell; every node reads two different earlier nodes through one operation each.

    A gene is 0 (``none``) where there is no edge, so an architecture of any variant has 28 genes, 16 of which are not
    0. ``candidates`` holds ``none`` only where the variant's supernet relaxes over it; ``choices`` always does.

    ========  ==================================================================================
    variant   operations on an edge
    ========  ==================================================================================
    darts     all eight, ``none`` among them (DARTS, PC-DARTS, RLNAS, GeNAS)
    darts7    all but ``none`` (SmoothDARTS, DARTS-PT, Λ-DARTS, A²M)
    s1        two, other ones on every edge
    s2        ``skip_connect``, ``sep_conv_3x3``
    s3        ``none``, ``skip_connect``, ``sep_conv_3x3``
    s4        ``sep_conv_3x3``, ``noise``
    ========  ==================================================================================

    Args:
        name: The variant.

    Raises:
        ValueError: If there is no such variant.

    Reference:
        Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019; S1 to S4: Zela et al., Understanding and
        Robustifying Differentiable Architecture Search, ICLR 2020.

    Example:
        >>> space = DARTS()
        >>> space.split(space.parse("DARTS_V2"))[0]
        (4, 4, 4, 4, 0, 3, 4, 0, 0, 3, 0, 6, 0, 0)
    """

    name: str = "darts"
    operations: tuple[str, ...] = field(init=False, repr=False, compare=False)
    candidates: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    choices: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    cell_types = CELLS

    def __post_init__(self) -> None:
        if self.name not in CANDIDATES:
            raise ValueError(f"The variant of DARTS must be one of {', '.join(CANDIDATES)}, but got {self.name!r}.")
        candidates = CANDIDATES[self.name]
        object.__setattr__(self, "operations", OPERATIONS_WITH_NOISE if self.name == "s4" else OPERATIONS)
        object.__setattr__(self, "candidates", candidates)
        object.__setattr__(self, "choices", tuple(tuple(sorted({NONE, *edge})) for edge in candidates))

    @property
    def size(self) -> int:
        """1.0767e18 for eight and for seven operations: ``none`` is not an operation of a live edge."""
        return math.prod(len(states) for states in self._states)

    def check(self, architecture: Sequence[int]) -> Architecture:
        """Return the genes as Python integers; every node must have exactly two genes that are not ``none``.

        Raises:
            ValueError: If the number of genes, a gene or the number of live inputs of a node is wrong.
        """
        genes = checked_genes(self, architecture)
        for cell, target, place in _NODES:
            live = [str(source) for source, gene in enumerate(genes[place]) if gene != NONE]
            if len(live) != LIVE_INPUTS:
                came = f"{len(live)}: from {', '.join(live)}" if live else "none"
                raise ValueError(
                    f"Node {target} of the {cell} cell must have exactly two live inputs, but got {came}. "
                    f"Set its genes so that {target - LIVE_INPUTS} of {target} are 0, or call repair."
                )
        return genes

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Return a uniform draw of each node's state (two inputs and their operations)."""
        picks = rng.integers([len(states) for states in self._states])
        nodes = [states[pick] for states, pick in zip(self._states, picks, strict=True)]
        return tuple(np.concatenate(nodes).tolist())

    def repair(self, genes: Sequence[int], rng: np.random.Generator) -> Architecture:
        """Return the genes with exactly two live inputs per node.

        If there are too many, a random subset becomes ``none``; if too few, random dead edges get a uniform operation.
        Repaired uniform genes are uniform over the valid architectures.
        """
        repaired = list(checked_genes(self, genes))
        positions = range(self.num_genes)
        for _, _, place in _NODES:
            live = [position for position in positions[place] if repaired[position] != NONE]
            dead = [position for position in positions[place] if repaired[position] == NONE]
            for position in _subset(live, len(live) - LIVE_INPUTS, rng):
                repaired[position] = NONE
            for position in _subset(dead, LIVE_INPUTS - len(live), rng):
                repaired[position] = another_choice(self, position, NONE, rng)
        return tuple(repaired)

    def mutate(self, architecture: Architecture, rng: np.random.Generator, rate: float = 0.1) -> Architecture:
        """Return a child: each of the 28 genes takes another value with probability ``rate``, then repair.

        If that changes nothing, the child is a uniformly drawn neighbour at distance 1. The published code of RLNAS and
        GeNAS mutates the normal cell only; here both cells change.
        """
        parent = self.check(architecture)
        child = self.repair(redrawn(self, parent, rng, rate), rng)
        if child != parent:
            return child
        moves = list(self.neighbors(parent))
        return moves[rng.integers(len(moves))]

    def neighbors(self, architecture: Architecture, radius: int = 1) -> Iterator[Architecture]:
        """Return all other architectures within ``radius`` moves, nearest first.

        A move changes the operation of a live edge, or moves one input of a node to a free source. A moved input may
        take any operation of its new edge. With k operations there are 40 k - 16 neighbours at distance 1: 264 for
        ``darts``, 64 for ``s3``.

        Raises:
            ValueError: If ``radius`` is not positive or the architecture is not valid.
        """
        if radius < 1:
            raise ValueError(f"radius must be at least 1, but got {radius}.")
        return self._neighbors(self.check(architecture), radius)

    def _neighbors(self, centre: Architecture, radius: int) -> Iterator[Architecture]:
        shells = [_shells(states, node) for states, node in zip(self._states, _nodes(centre), strict=True)]
        for distance in range(1, min(radius, LIVE_INPUTS * len(shells)) + 1):
            for steps in _compositions(distance, len(shells)):
                for nodes in itertools.product(*(shell[step] for shell, step in zip(shells, steps, strict=True))):
                    yield tuple(itertools.chain.from_iterable(nodes))

    def distance(self, first: Architecture, second: Architecture) -> int:
        r"""Return the number of moves between two architectures, at most 16.

        .. math:: d(A, B) = \sum_{\text{nodes}} \bigl(2 - |E_A \cap E_B|\bigr)

        with E the ``(source, operation)`` pairs that a node reads.
        """
        return sum(_node_distance(a, b) for a, b in zip(_nodes(first), _nodes(second), strict=True))

    def parse(self, text: str) -> Architecture:
        """Return the architecture of a genotype in any published order, of 28 genes, or of a published genotype's name.

        Genes are separated by commas or spaces, the cells also by ``/``. Names are those of
        :data:`genas.spaces.GENOTYPES`.
        """
        return self.check(darts_text.parse(self, text))

    def format(self, architecture: Architecture) -> str:
        """Return the genotype as the published code prints it, the inputs of a node in increasing order."""
        return darts_text.format_genotype(self, self.check(architecture))

    def unique_key(self, architecture: Architecture) -> Hashable:
        """Return the genes after the least renumbering of the nodes of each cell.

        The outputs of the nodes are concatenated, and only convolutions and the classifier read them: their order means
        no more than the order of channels. No valid cell has a dead node.
        """
        return tuple(min(_renumbered(genes)) for genes in self.split(architecture))

    def supernet_key(self, architecture: Architecture) -> Hashable:
        """Return the architecture itself: the supernet has weights of its own for every node."""
        return architecture

    def angle_key(self, architecture: Architecture) -> Hashable:
        """Return the architecture itself."""
        return architecture

    def supernet_skeleton(
        self,
        num_classes: int,
        image_size: int,
        image_channels: int = 3,
        *,
        channels: int = 16,
        cells: int | None = None,
    ) -> Skeleton:
        """Return DARTS' search network: eight cells, reductions at 2 and 5.

        BN has weight and bias, as in RLNAS and GeNAS; differentiable DARTS leaves them out.
        """
        depth = 8 if cells is None else cells
        return Skeleton("darts-search", channels, depth, num_classes, image_size, image_channels)

    def standalone_skeleton(
        self,
        num_classes: int,
        image_size: int,
        image_channels: int = 3,
        *,
        channels: int | None = None,
        cells: int | None = None,
    ) -> Skeleton:
        """Return DARTS' evaluation network, without auxiliary head.

        Images below 128 pixels get the CIFAR network (36 channels, 20 cells), others the ImageNet network (48 channels,
        14 cells).
        """
        published: tuple[SkeletonKind, int, int] = ("darts-imagenet", 48, 14)
        if image_size < _IMAGENET_SIZE:
            published = ("darts-cifar", 36, 20)
        kind, width, depth = published
        width = width if channels is None else channels
        depth = depth if cells is None else cells
        return Skeleton(kind, width, depth, num_classes, image_size, image_channels)

    @cached_property
    def _states(self) -> tuple[_States, ...]:
        """For every node of both cells, all valid genes of its edges."""
        operations = [[edge[1:] for edge in self.choices[place]] for _, _, place in _NODES]
        return tuple(np.array(list(_node_states(edges))) for edges in operations)


def _nodes(architecture: Architecture) -> tuple[_Node, ...]:
    return tuple(architecture[place] for _, _, place in _NODES)


def _renumbered(genes: Sequence[int]) -> Iterator[Architecture]:
    """Yield the genes of a cell after each renumbering of its nodes that leaves every edge pointing forwards."""
    live = [(source, target, gene) for (source, target), gene in zip(EDGES, genes, strict=True) if gene != NONE]
    for order in itertools.permutations(range(NUM_INPUTS, NUM_NODES)):
        number = (*range(NUM_INPUTS), *order)
        moved = {(number[source], number[target]): gene for source, target, gene in live}
        if all(source < target for source, target in moved):
            yield tuple(moved.get(edge, NONE) for edge in EDGES)


def _node_states(operations: Sequence[Sequence[int]]) -> Iterator[_Node]:
    """Yield all genes of a node with exactly two live inputs, given the operations of each of its edges."""
    for inputs in itertools.combinations(range(len(operations)), LIVE_INPUTS):
        yield from itertools.product(*(edge if source in inputs else (NONE,) for source, edge in enumerate(operations)))


def _node_distance(first: _Node, second: _Node) -> int:
    return LIVE_INPUTS - sum(a == b != NONE for a, b in zip(first, second, strict=True))


def _shells(states: _States, centre: _Node) -> list[list[list[int]]]:
    """Return the states of a node by their distance from one of them, as in :func:`_node_distance`."""
    shared = ((states == centre) & (states != NONE)).sum(axis=1)
    return [states[shared == LIVE_INPUTS - distance].tolist() for distance in range(LIVE_INPUTS + 1)]


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Yield all ways to write ``total`` as an ordered sum of that many node distances."""
    if not parts:
        yield from [()] if not total else []
        return
    for first in range(min(total, LIVE_INPUTS) + 1):
        for rest in _compositions(total - first, parts - 1):
            yield first, *rest


def _subset(positions: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
    """Return a uniform subset of that size; empty, and nothing drawn, if ``count`` is not positive."""
    return [positions[pick] for pick in rng.permutation(len(positions))[:count]] if count > 0 else []
