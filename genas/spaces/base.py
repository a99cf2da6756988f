"""The interface of a search space: cells, edges, operations, and moves between architectures."""

from __future__ import annotations

import abc
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, final

import numpy as np

from genas.spaces.skeleton import Skeleton

Architecture = tuple[int, ...]
"""One point of a space: the operation index of every edge, cell type after cell type. Index 0 means: no edge."""

T = TypeVar("T")

NONE = 0
"""The operation index that every space reserves for "no edge"."""


@final
@dataclass(frozen=True)
class CellType:
    """The graph of a cell: nodes ``0 .. num_nodes - 1``, the first ``num_inputs`` of which are inputs.

    Args:
        name: Name of the cell in texts and pictures.
        num_inputs: Number of input nodes: the outputs of that many previous blocks, oldest first.
        num_nodes: Number of nodes, inputs included.
        edges: ``(source, target)`` of every edge in the order of the genes: by target, then by source.
        output: ``last``: the last node is the output; ``concat``: all nodes that are not inputs, concatenated over
            channels.
    """

    name: str
    num_inputs: int
    num_nodes: int
    edges: tuple[tuple[int, int], ...]
    output: Literal["last", "concat"]

    @property
    def output_nodes(self) -> tuple[int, ...]:
        """The nodes whose values form the output."""
        return (self.num_nodes - 1,) if self.output == "last" else tuple(range(self.num_inputs, self.num_nodes))

    def live_edges(self, genes: Sequence[int]) -> tuple[int, ...]:
        """Positions of the edges that lie on a path without ``none`` from an input to an output.

        Only these are run: an edge whose source is always zero adds nothing, an edge whose target is not read is not
        needed.

        Args:
            genes: Operation index per edge, shape ``(len(edges),)``.

        Returns:
            Increasing positions into ``edges``. Empty when nothing connects input and output.
        """
        reached = set(range(self.num_inputs))
        for (source, target), gene in zip(self.edges, genes, strict=True):
            if gene != NONE and source in reached:
                reached.add(target)
        needed = set(self.output_nodes)
        live = []
        for position in reversed(range(len(self.edges))):
            source, target = self.edges[position]
            if genes[position] != NONE and source in reached and target in needed:
                needed.add(source)
                live.append(position)
        return tuple(reversed(live))


class SearchSpace(abc.ABC):
    """A finite set of architectures over one or more cell types.

    Attributes:
        name: The name on the command line.
        operations: The vocabulary. A gene is an index into it; ``operations[0]`` is always ``none``.
        cell_types: The cell types, in the order in which their genes follow each other in an architecture.
        candidates: For every gene, the operations that a supernet holds on that edge (increasing).
        choices: For every gene, the values that it may take in an architecture (increasing).
    """

    name: str
    operations: tuple[str, ...]
    cell_types: tuple[CellType, ...]
    candidates: tuple[tuple[int, ...], ...]
    choices: tuple[tuple[int, ...], ...]

    @final
    @property
    def num_genes(self) -> int:
        """Length of an architecture."""
        return sum(len(cell.edges) for cell in self.cell_types)

    @final
    @property
    def is_product(self) -> bool:
        """Whether every combination of ``choices`` is a valid architecture."""
        return self.size == math.prod(len(values) for values in self.choices)

    @final
    def split(self, architecture: Sequence[T]) -> tuple[tuple[T, ...], ...]:
        """Return the genes of each cell type, or other values given per gene, in the order of ``cell_types``."""
        parts, start = [], 0
        for cell in self.cell_types:
            parts.append(tuple(architecture[start : start + len(cell.edges)]))
            start += len(cell.edges)
        return tuple(parts)

    def index(self, architecture: Architecture) -> int | None:  # noqa: ARG002 (most spaces have none)
        """The number of an architecture in the published order of its space, ``None`` if it has no such order."""
        return None

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Number of valid architectures."""

    @abc.abstractmethod
    def check(self, architecture: Sequence[int]) -> Architecture:
        """The architecture as a tuple of Python integers, if it is valid.

        Raises:
            TypeError: If a gene is not an integer.
            ValueError: If it is not valid; the message states the rule, the genes and the cure.
        """

    @abc.abstractmethod
    def sample(self, rng: np.random.Generator) -> Architecture:
        """An architecture drawn uniformly from all valid ones."""

    @abc.abstractmethod
    def repair(self, genes: Sequence[int], rng: np.random.Generator) -> Architecture:
        """The nearest valid architecture by the space's published rule; valid genes come back unchanged.

        Raises:
            ValueError: If the number of genes is wrong or a gene is not among its ``choices``.
        """

    @abc.abstractmethod
    def mutate(self, architecture: Architecture, rng: np.random.Generator, rate: float = 0.1) -> Architecture:
        """A different valid architecture: each gene changes with probability ``rate``, at least one does.

        For searchers of one's own: :class:`genas.search.Evolution` varies genes as the papers' code does, which may
        leave all of them as they are, and needs only :meth:`repair`.

        Raises:
            ValueError: If ``rate`` is not in [0, 1].
        """

    @final
    def crossover(self, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
        """Return a child: each gene from either parent with probability one half, then repaired."""
        pick = rng.integers(2, size=len(first))
        return self.repair([(a, b)[side] for a, b, side in zip(first, second, pick, strict=True)], rng)

    @abc.abstractmethod
    def neighbors(self, architecture: Architecture, radius: int = 1) -> Iterator[Architecture]:
        """All other valid architectures within ``radius``, each once, nearest first, in a fixed order.

        Raises:
            ValueError: If ``radius`` is not positive.
        """

    @abc.abstractmethod
    def distance(self, first: Architecture, second: Architecture) -> int:
        """The distance by which ``neighbors`` measures its radius."""

    @abc.abstractmethod
    def parse(self, text: str) -> Architecture:
        """Read an architecture in any notation of the space.

        Raises:
            ValueError: If the text is in none of them or not valid; the message names the place.
        """

    @abc.abstractmethod
    def format(self, architecture: Architecture) -> str:
        """The canonical text; ``parse(format(a)) == a``."""

    @abc.abstractmethod
    def unique_key(self, architecture: Architecture) -> Hashable:
        """Equal for architectures that the literature counts as isomorphic."""

    @abc.abstractmethod
    def supernet_key(self, architecture: Architecture) -> Hashable:
        """Equal for architectures that compute the same function with a supernet's shared weights."""

    def supernet_representative(self, architecture: Architecture) -> Architecture:
        """The architecture that is evaluated for all architectures of equal ``supernet_key``.

        By default every architecture represents itself, which suits a space whose ``supernet_key`` is the architecture.

        Args:
            architecture: A valid architecture.

        Returns:
            The same architecture for all members of the class.
        """
        return architecture

    @final
    def without_dead_edges(self, architecture: Architecture) -> Architecture:
        """The architecture with ``none`` on every edge that no path from an input of its cell to the output crosses.

        It is the same function, and the same network but for weights that nothing reads.

        Args:
            architecture: A valid architecture.

        Returns:
            Its genes, where dead edges have no operation.
        """
        genes: list[int] = []
        for cell, own in zip(self.cell_types, self.split(architecture), strict=True):
            live = set(cell.live_edges(own))
            genes += [gene if edge in live else NONE for edge, gene in enumerate(own)]
        return tuple(genes)

    @abc.abstractmethod
    def angle_key(self, architecture: Architecture) -> Hashable:
        """Equal for architectures whose weight vectors of the angle metric are the same.

        The angle of an architecture without a live edge is zero by convention, whatever its key.
        """

    @abc.abstractmethod
    def supernet_skeleton(
        self,
        num_classes: int,
        image_size: int,
        image_channels: int = 3,
        *,
        channels: int = 16,
        cells: int | None = None,
    ) -> Skeleton:
        """The macro-structure of the space's supernet.

        ``cells`` counts as in :class:`Skeleton`; ``None`` means the published number.
        """

    @abc.abstractmethod
    def standalone_skeleton(
        self,
        num_classes: int,
        image_size: int,
        image_channels: int = 3,
        *,
        channels: int | None = None,
        cells: int | None = None,
    ) -> Skeleton:
        """The macro-structure in which a found architecture is trained from scratch, by default the published one."""
