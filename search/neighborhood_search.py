"""Random search for the architecture with the best neighbourhood (NA-RS)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import numpy as np

from genas.search.constraint import Constraint
from genas.search.searcher import Searcher
from genas.search.unseen import Unseen
from genas.seeding import generator
from genas.spaces.base import Architecture, SearchSpace
from genas.spaces.neighborhoods import AGGREGATES, Aggregate, aggregated, sampled_neighborhood

_DRAWS = 64
"""Largest number of draws for a place in a neighbourhood: few architectures of a large space may be within limits."""


@final
class NeighborhoodRandomSearch(Searcher):
    """A search over random architectures, each judged by the scores in its neighbourhood.

    Each step draws a new architecture and some of its neighbours, and asks those that were not asked in an earlier
    step: so it makes at most ``steps * samples`` evaluations. Its :attr:`ranking` is that of the neighbourhoods, not of
    the architectures' own scores.

    Args:
        space: The search space.
        seed: Root seed.
        steps: Number of random architectures, T in the paper.
        samples: Size of a neighbourhood, the architecture included, n_nbr in the paper.
        distance: Its radius, d in the paper.
        aggregate: How its scores are aggregated, see :class:`genas.metrics.Neighborhood`.
        penalty: The paper's lambda, for the aggregate ``penalized``.
        constraint: Limits on the cost; ``None``: no limits. A neighbourhood is drawn among the architectures within the
            limits; it is smaller if there are fewer, or if 64 draws for each of its places have not found enough.

    Raises:
        ValueError: If a number is not positive, or a penalty would do nothing.

    Reference:
        Wang et al., Neighborhood-Aware Neural Architecture Search, BMVC 2021, algorithm 2.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        steps: int = 100,
        samples: int = 10,
        distance: int = 1,
        aggregate: Aggregate = "mean",
        penalty: float = 1.0,
        constraint: Constraint | None = None,
    ) -> None:
        super().__init__()
        if min(steps, samples, distance) < 1:
            raise ValueError(
                f"steps, samples and distance must be at least 1, but got {steps}, {samples} and {distance}."
            )
        if aggregate not in AGGREGATES:
            raise ValueError(f"aggregate must be one of {', '.join(AGGREGATES)}, but got {aggregate!r}.")
        if not 0 <= penalty < math.inf:
            raise ValueError(f"penalty must be a non-negative number, but got {penalty}.")
        if penalty != 1 and aggregate != "penalized":
            raise ValueError(f"penalty is a setting of aggregate=penalized, but aggregate is {aggregate}.")
        self._space, self._constraint = space, constraint
        self._steps, self._samples, self._distance = steps, samples, distance
        self._aggregate: Aggregate = aggregate
        self._penalty = penalty
        self._rng = generator(seed, "search", "neighborhood")
        self._centres = Unseen(space, constraint=constraint)
        self._groups: list[list[Architecture]] = []
        self._scores: dict[Architecture, float] = {}

    @property
    def budget(self) -> int:
        """``steps * samples``."""
        return self._steps * self._samples

    @property
    def ranking(self) -> list[tuple[Architecture, float]]:
        """The architecture of each finished step and the aggregated score of its neighbourhood, best first.

        Steps with a failed evaluation are left out; among ties, the earlier step comes first.
        """
        judged = []
        for group in self._groups:
            scores = [self._scores.get(each, np.nan) for each in group]
            judged.append((group[0], float(aggregated(np.array(scores), self._aggregate, penalty=self._penalty))))
        return sorted((pair for pair in judged if not np.isnan(pair[1])), key=lambda pair: -pair[1])

    def propose(self) -> list[Architecture]:
        """Return the architectures that the next step needs and that no step has asked."""
        while len(self._groups) < self._steps:
            centre = self._centres.sample(self._rng)
            if centre is None:
                return self.finish(self._centres.exhausted_because)
            self._groups.append(self._neighborhood(centre))
            unknown = [each for each in self._groups[-1] if each not in self._scores]
            if unknown:
                self._scores |= dict.fromkeys(unknown, np.nan)
                return unknown
        return self.finish(f"{self._steps:,} neighbourhoods were scored")

    def _neighborhood(self, centre: Architecture) -> list[Architecture]:
        """The centre and random others within the limits."""
        wanted = self._samples
        while True:
            drawn = sampled_neighborhood(self._space, centre, wanted, self._rng, self._distance)
            members = [each for each in drawn if self._constraint is None or self._constraint.allows(each)]
            if len(members) >= self._samples or len(drawn) < wanted or wanted >= _DRAWS * self._samples:
                return members[: self._samples]
            wanted *= 2

    def learn(self, architectures: Sequence[Architecture], scores: np.ndarray) -> None:
        """Store the scores.

        Args:
            architectures: Architectures of the last step whose evaluation succeeded.
            scores: Their scores.
        """
        self._scores |= dict(zip(architectures, scores.tolist(), strict=True))
