"""Random search: the baseline that every other searcher must beat."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import final

import numpy as np

from genas.search.constraint import Constraint
from genas.search.searcher import Searcher
from genas.search.unseen import Unseen
from genas.seeding import generator
from genas.spaces.base import Architecture, SearchSpace


@final
class RandomSearch(Searcher):
    """A search over architectures drawn uniformly, without replacement, from those that the constraint allows.

    Args:
        space: The search space.
        seed: Root seed.
        evaluations: Number of architectures to score.
        batch: Number of architectures to ask at a time.
        constraint: Limits on the cost; ``None``: no limits.
        dedup_key: Architectures with equal keys are scored once, such as ``space.supernet_key``.

    Raises:
        ValueError: If ``evaluations`` or ``batch`` is not positive.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        evaluations: int,
        batch: int = 50,
        constraint: Constraint | None = None,
        dedup_key: Callable[[Architecture], Hashable] | None = None,
    ) -> None:
        super().__init__()
        if evaluations < 1 or batch < 1:
            raise ValueError(f"evaluations and batch must be at least 1, but got {evaluations} and {batch}.")
        self._evaluations = evaluations
        self._batch = batch
        self._asked_so_far = 0
        self._rng = generator(seed, "search", "random")
        self._unseen = Unseen(space, constraint=constraint, dedup_key=dedup_key)

    @property
    def budget(self) -> int:
        """``evaluations``."""
        return self._evaluations

    def propose(self) -> list[Architecture]:
        """Return the next draws."""
        left = self._evaluations - self._asked_so_far
        if left == 0:
            return self.finish(f"{self._evaluations:,} architectures were scored")
        batch: list[Architecture] = []
        while len(batch) < min(self._batch, left):
            architecture = self._unseen.sample(self._rng)
            if architecture is None:
                break
            batch.append(architecture)
        self._asked_so_far += len(batch)
        return batch or self.finish(self._unseen.exhausted_because)

    def learn(self, architectures: Sequence[Architecture], scores: np.ndarray) -> None:
        """Do nothing: draws do not depend on scores."""
