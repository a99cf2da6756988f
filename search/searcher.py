"""The interface of search strategies, which propose architectures and learn from their scores, without networks."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from genas.spaces.base import Architecture


class Searcher(abc.ABC):
    """Interface of a search: ask for architectures, tell their scores, until nothing more is asked.

    A searcher is a deterministic function of its arguments and the scores that it was told, so an interrupted search is
    resumed by repeating it with the known scores. To write one, define :meth:`propose`, :meth:`learn` and
    :attr:`budget`, and test it with :class:`genas.testing.SearcherContract`.

    Example:
        >>> from genas.search import RandomSearch
        >>> from genas.spaces.nasbench201 import NASBench201
        >>> searcher = RandomSearch(NASBench201(), seed=0, evaluations=100)
        >>> best = -np.inf
        >>> while batch := searcher.ask():
        ...     scores = [sum(architecture) for architecture in batch]
        ...     searcher.tell(batch, scores)
        ...     best = max(best, *scores)
        >>> best, searcher.finished_because
        (21, '100 architectures were scored')
    """

    def __init__(self) -> None:
        self._asked: list[Architecture] | None = None
        self._finished_because: str | None = None

    @property
    @abc.abstractmethod
    def budget(self) -> int | None:
        """The largest number of architectures that will be asked, or ``None`` if it is not known."""

    @property
    def ranking(self) -> list[tuple[Architecture, float]] | None:
        """What the search found with the searcher's own judgement of each, best first.

        ``None``, if not overridden: everything that was scored, by its score.
        """
        return None

    @abc.abstractmethod
    def propose(self) -> list[Architecture]:
        """The next batch: valid architectures, none proposed before. To end the search, ``return self.finish(...)``."""

    @abc.abstractmethod
    def learn(self, architectures: Sequence[Architecture], scores: np.ndarray) -> None:
        """Learn from the scores of the last batch.

        Args:
            architectures: Architectures whose evaluation succeeded, in the order in which they were proposed.
            scores: Higher is better, shape ``(len(architectures),)``, without NaN.
        """

    @final
    @property
    def finished_because(self) -> str | None:
        """Why the search ended, as readable text; ``None`` while it goes on."""
        return self._finished_because

    @final
    def finish(self, because: str) -> list[Architecture]:
        """End the search.

        Args:
            because: The reason, as a sentence without capital and full stop.

        Returns:
            The empty batch, for :meth:`propose` to return.
        """
        self._finished_because = because
        return []

    @final
    def ask(self) -> list[Architecture]:
        """Ask for the next batch.

        Returns:
            Architectures to score, or an empty list when the search is finished.

        Raises:
            RuntimeError: If the scores of the last batch have not been told.
        """
        if self._asked is not None:
            raise RuntimeError(
                f"Tell the scores of the last ask first: {len(self._asked)} architectures are waiting for theirs."
            )
        if self._finished_because is not None:
            return []
        batch = self.propose()
        if batch:
            self._asked = list(batch)
        elif self._finished_because is None:
            self.finish("the searcher had nothing more to propose")
        return list(batch)

    @final
    def tell(self, architectures: Sequence[Architecture], scores: ArrayLike) -> None:
        """Tell the scores of the last batch.

        Args:
            architectures: Architectures of the last ask, in any order.
            scores: Higher is better, shape ``(len(architectures),)``. NaN means that the evaluation failed: the
                architecture is not proposed again and nothing is learnt from it.

        Raises:
            RuntimeError: If nothing was asked.
            ValueError: If the architectures are not those of the last ask, or there is not one score for each.
        """
        if self._asked is None:
            raise RuntimeError("Ask for architectures before telling scores.")
        values = np.asarray(scores, dtype=np.float64)
        if values.shape != (len(architectures),):
            raise ValueError(
                f"scores must have shape ({len(architectures)},), one for each architecture, but got {values.shape}."
            )
        told = dict(zip(architectures, values, strict=True))
        if len(architectures) != len(self._asked) or set(told) != set(self._asked):
            raise ValueError(
                f"The scores of all {len(self._asked)} architectures of the last ask must be told together, and of no "
                f"others, but got {len(architectures)}, of which {len(set(told) & set(self._asked))} were asked."
            )
        succeeded = [architecture for architecture in self._asked if not np.isnan(told[architecture])]
        self._asked = None
        self.learn(succeeded, np.array([told[architecture] for architecture in succeeded], dtype=np.float64))
