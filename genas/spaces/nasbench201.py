"""The NAS-Bench-201 space: six edges, five operations, 15,625 architectures."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from genas.spaces import nasbench201_keys, nasbench201_text
from genas.spaces.base import Architecture, SearchSpace
from genas.spaces.genes import another_choice, checked_genes, integers_in, redrawn
from genas.spaces.nasbench201_cell import CELL, OPERATIONS
from genas.spaces.skeleton import Skeleton

_CELLS_PER_STAGE = 5
_OFFICIAL_ORDER_SEED = 88


@final
@dataclass(frozen=True)
class NASBench201(SearchSpace):
    """All cells with four nodes and one of five operations on each of the six edges.

    Every vector of six genes is valid, even for disconnected cells: the benchmark trained them all. The integer genes
    follow the benchmark's operation order; other libraries order the operations differently, so exchange strings with
    them, never genes.

    Reference:
        Dong & Yang, NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search, ICLR 2020.

    Example:
        >>> space = NASBench201()
        >>> space.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|none~2|")
        (3, 0, 1, 0, 1, 0)
        >>> space.from_index(1462)
        (3, 3, 3, 3, 3, 3)
    """

    name = "nasbench201"
    operations = OPERATIONS
    cell_types = (CELL,)
    candidates = ((0, 1, 2, 3, 4),) * 6
    choices = candidates

    @property
    def size(self) -> int:
        """15,625."""
        return math.prod(len(choices) for choices in self.choices)

    def architectures(self) -> Iterator[Architecture]:
        """Return all architectures in lexicographic order of their genes, which is not the benchmark's order."""
        return itertools.product(*self.choices)

    def index(self, architecture: Architecture) -> int:
        """Return the position in the benchmark's official order, the same in NAS-Bench-201 and NATS-Bench."""
        return _official_indices()[self.check(architecture)]

    def from_index(self, index: int) -> Architecture:
        """Return the architecture at a position of the benchmark's official order.

        Raises:
            ValueError: If ``index`` is not in 0 .. 15,624.
        """
        if not 0 <= index < self.size:
            raise ValueError(f"The index of an architecture must lie in 0 .. {self.size - 1}, but got {index}.")
        return _official_order()[index]

    def check(self, architecture: Sequence[int]) -> Architecture:
        """Return the genes as Python integers; any six in 0 .. 4 are valid."""
        return checked_genes(self, architecture)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Return one of the 15,625 architectures, all equally likely."""
        return tuple(rng.integers(len(self.operations), size=self.num_genes).tolist())

    def repair(self, genes: Sequence[int], rng: np.random.Generator) -> Architecture:  # noqa: ARG002
        """Return the checked genes: nothing needs repair in this space."""
        return self.check(genes)

    def mutate(self, architecture: Architecture, rng: np.random.Generator, rate: float = 0.1) -> Architecture:
        """Return a child: each gene takes another value with probability ``rate``.

        If none did, one uniformly chosen gene does. The published searches may draw the old value again, and RLNAS
        never draws ``none``; here every draw changes the gene, and every operation is possible.
        """
        parent = self.check(architecture)
        child = redrawn(self, parent, rng, rate)
        if tuple(child) == parent:
            position = int(rng.integers(self.num_genes))
            child[position] = another_choice(self, position, child[position], rng)
        return tuple(child)

    def neighbors(self, architecture: Architecture, radius: int = 1) -> Iterator[Architecture]:
        """Return all other architectures within Hamming distance ``radius``, nearest first.

        There are 24, 240, 1280, 3840, 6144 and 4096 at the distances 1 to 6.

        Raises:
            ValueError: If ``radius`` is not positive or the architecture is not valid.
        """
        if radius < 1:
            raise ValueError(f"radius must be at least 1, but got {radius}.")
        return self._neighbors(self.check(architecture), radius)

    def _neighbors(self, centre: Architecture, radius: int) -> Iterator[Architecture]:
        others = [[gene for gene in choices if gene != own] for choices, own in zip(self.choices, centre, strict=True)]
        for distance in range(1, min(radius, self.num_genes) + 1):
            for positions in itertools.combinations(range(self.num_genes), distance):
                for values in itertools.product(*(others[position] for position in positions)):
                    neighbor = list(centre)
                    for position, value in zip(positions, values, strict=True):
                        neighbor[position] = value
                    yield tuple(neighbor)

    def distance(self, first: Architecture, second: Architecture) -> int:
        """Return the Hamming distance: the number of edges with different operations."""
        return sum(a != b for a, b in zip(first, second, strict=True))

    def parse(self, text: str) -> Architecture:
        """Return the architecture of a benchmark string, an index (``1462``), or six genes (``3,3,3,3,3,3``).

        Raises:
            ValueError: If the text is in none of these forms or not valid; the message names the place.
        """
        if "|" in text:
            return nasbench201_text.parse_string(self, text)
        numbers = integers_in(text)
        if numbers is None:
            raise ValueError(
                "A NAS-Bench-201 architecture must be a string like '|op~0|+|op~0|op~1|+|op~0|op~1|op~2|', an index "
                f"0 .. {self.size - 1} or six comma-separated genes, but got {text!r}."
            )
        return self.from_index(numbers[0]) if len(numbers) == 1 else self.check(numbers)

    def format(self, architecture: Architecture) -> str:
        """Return the benchmark's string, like ``|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|``."""
        return nasbench201_text.format_string(self, self.check(architecture))

    def unique_key(self, architecture: Architecture) -> Hashable:
        """Return the isomorphism class, one of 6,466: :func:`genas.spaces.nasbench201_keys.benchmark_key`."""
        return nasbench201_keys.benchmark_key(architecture, consider_zero=True)

    def supernet_key(self, architecture: Architecture) -> Hashable:
        """Return the key, one of 7,810: :func:`genas.spaces.nasbench201_keys.supernet_key`."""
        return nasbench201_keys.supernet_key(architecture)

    def supernet_representative(self, architecture: Architecture) -> Architecture:
        """Return the first member of the class in lexicographic order."""
        return _representatives()[nasbench201_keys.supernet_key(architecture)]

    def angle_key(self, architecture: Architecture) -> Hashable:
        """Return the key, one of 6,604: :func:`genas.spaces.nasbench201_keys.angle_key`."""
        return nasbench201_keys.angle_key(architecture)

    def supernet_skeleton(
        self,
        num_classes: int,
        image_size: int,
        image_channels: int = 3,
        *,
        channels: int = 16,
        cells: int | None = None,
    ) -> Skeleton:
        """Return the supernet's skeleton: five cells per stage, BN in the cells without weight and bias (as RLNAS)."""
        per_stage = _CELLS_PER_STAGE if cells is None else cells
        return Skeleton("nasbench201", channels, per_stage, num_classes, image_size, image_channels, affine=False)

    def standalone_skeleton(
        self,
        num_classes: int,
        image_size: int,
        image_channels: int = 3,
        *,
        channels: int | None = None,
        cells: int | None = None,
    ) -> Skeleton:
        """Return the benchmark's network: 16 channels, five cells per stage, all BN layers with weight and bias."""
        width = 16 if channels is None else channels
        per_stage = _CELLS_PER_STAGE if cells is None else cells
        return Skeleton("nasbench201", width, per_stage, num_classes, image_size, image_channels)


@functools.cache
def _official_order() -> tuple[Architecture, ...]:
    """Return the benchmark's order: CPython's shuffle of the lexicographic list, the same in every Python 3."""
    order = list(NASBench201().architectures())
    random.Random(_OFFICIAL_ORDER_SEED).shuffle(order)
    return tuple(order)


@functools.cache
def _official_indices() -> dict[Architecture, int]:
    return {architecture: index for index, architecture in enumerate(_official_order())}


@functools.cache
def _representatives() -> dict[str, Architecture]:
    """Return the first architecture of each class of equal supernet functions."""
    first: dict[str, Architecture] = {}
    for architecture in NASBench201().architectures():
        first.setdefault(nasbench201_keys.supernet_key(architecture), architecture)
    return first
