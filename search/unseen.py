"""The architectures that a search has not proposed yet."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterator
from typing import final

import numpy as np

from genas.errors import InfeasibleError
from genas.search.constraint import Constraint
from genas.spaces.base import Architecture, SearchSpace
from genas.spaces.listing import LISTABLE

_DRAWS_BEFORE_LISTING = 1_000


@final
class Unseen:
    """A source that yields every architecture at most once, and only those that the constraint allows. It always ends.

    Args:
        space: Space of the architectures.
        constraint: Limits on their cost; ``None``: no limits.
        dedup_key: Architectures with equal keys count as one, such as ``space.supernet_key``; ``None``: equal ones.
        patience: Number of consecutive random draws without a new architecture after which a large space counts as
            exhausted. A space of at most 131,072 gene vectors is listed instead, so that none of it is missed.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        constraint: Constraint | None = None,
        dedup_key: Callable[[Architecture], Hashable] | None = None,
        patience: int = 100_000,
    ) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1, but got {patience}.")
        self._space = space
        self._constraint = constraint
        self._what = "architectures" if dedup_key is None else "classes of equal architectures"
        self._key: Callable[[Architecture], Hashable] = dedup_key if dedup_key is not None else lambda arch: arch
        self._listable = math.prod(len(choices) for choices in space.choices) <= LISTABLE
        self._draws = min(patience, _DRAWS_BEFORE_LISTING) if self._listable else patience
        self._seen: set[Hashable] = set()
        self._smallest: dict[str, int] = {}
        self._rest: Iterator[Architecture] | None = None

    def claim(self, architecture: Architecture) -> bool:
        """Take an architecture, if it is new and allowed.

        Args:
            architecture: A valid architecture.

        Returns:
            Whether it was; from then on it is no longer new.
        """
        key = self._key(architecture)
        if key in self._seen or not self._allowed(architecture):
            return False
        self._seen.add(key)
        return True

    def sample(self, rng: np.random.Generator) -> Architecture | None:
        """Take a random new architecture.

        Args:
            rng: Source of randomness.

        Returns:
            One of the remaining ones, all equally likely (with ``dedup_key`` a class by its size), or ``None`` when
            there is none; :attr:`exhausted_because` gives the reason.

        Raises:
            InfeasibleError: If the constraint allows none at all.
        """
        if self._rest is None:
            for _ in range(self._draws):
                architecture = self._space.sample(rng)
                if self.claim(architecture):
                    return architecture
            self._rest = self._listed(rng) if self._listable else iter(())
        for architecture in self._rest:
            if self.claim(architecture):
                return architecture
        if not self._seen:
            smallest = ", ".join(f"the smallest {name} is {amount:,}" for name, amount in self._smallest.items())
            tried = "all architectures" if self._listable else f"{self._draws:,} random architectures"
            raise InfeasibleError(
                f"An architecture must have {self._constraint}, but none of {tried} of {self._space.name} does: "
                f"{smallest}. Raise the limit, or let it limit a smaller network."
            )
        return None

    @property
    def exhausted_because(self) -> str:
        """Why :meth:`sample` returned ``None``, as readable text."""
        limit = f" with {self._constraint}" if self._constraint else ""
        if self._listable:
            return f"all {len(self._seen):,} {self._what} of {self._space.name}{limit} were proposed"
        return f"{self._draws:,} random architectures of {self._space.name} had no new one{limit} among them"

    def _allowed(self, architecture: Architecture) -> bool:
        if self._constraint is None:
            return True
        amounts = self._constraint.amounts(architecture)
        for name, amount in amounts.items():
            self._smallest[name] = min(amount, self._smallest.get(name, amount))
        return self._constraint.admits(amounts)

    def _listed(self, rng: np.random.Generator) -> Iterator[Architecture]:
        """Return all valid architectures, shuffled."""
        vectors = list(itertools.product(*self._space.choices))
        return (vectors[position] for position in rng.permutation(len(vectors)) if self._is_valid(vectors[position]))

    def _is_valid(self, genes: Architecture) -> bool:
        try:
            self._space.check(genes)
        except ValueError:
            return False
        return True
