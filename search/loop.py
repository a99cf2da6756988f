"""The search loop: ask, score, tell, until the searcher is finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from tqdm import tqdm

from genas.errors import GenasError
from genas.search.searcher import Searcher
from genas.spaces.base import Architecture

Score = Callable[[Sequence[Architecture]], np.ndarray]
"""Function that scores a batch: higher is better, not finite on failure, shape ``(len(architectures),)``."""


@final
@dataclass(frozen=True, eq=False)
class Batch:
    """Architectures and scores of one round, such as a generation.

    Args:
        number: Number of the batch, from 0.
        architectures: Architectures in the order in which they were asked.
        scores: Higher is better, NaN where the evaluation failed, shape ``(len(architectures),)``.
    """

    number: int
    architectures: tuple[Architecture, ...]
    scores: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class SearchResult:
    """The result of a search.

    Args:
        top: The best architectures and their scores, best first; ties in the order of scoring. That of a searcher with
            a ranking of its own, such as :class:`genas.search.NeighborhoodRandomSearch`, is the head of that ranking.
        history: All batches, oldest first.
        finished_because: Why the search ended, as readable text.
    """

    top: tuple[tuple[Architecture, float], ...]
    history: tuple[Batch, ...]
    finished_because: str

    @property
    def best(self) -> Architecture:
        """The first of :attr:`top`."""
        return self.top[0][0]

    @property
    def evaluations(self) -> int:
        """Number of architectures that were scored, failures included."""
        return sum(len(batch.architectures) for batch in self.history)

    @property
    def failures(self) -> int:
        """Number of architectures whose evaluation failed."""
        return sum(int(np.isnan(batch.scores).sum()) for batch in self.history)


def search(
    searcher: Searcher,
    score: Score,
    *,
    progress: bool = True,
    keep: int = 10,
    on_batch: Callable[[Batch], object] | None = None,
) -> SearchResult:
    """Run a searcher to its end.

    A killed search is resumed by calling this again with a new searcher of the same arguments, and a ``score`` that
    consults a store (:class:`genas.scores.ScoreStore`) before it measures.

    Args:
        searcher: Proposes architectures; a fresh one.
        score: Scores them.
        progress: Whether to show a progress bar on the standard error stream.
        keep: Number of best architectures to return.
        on_batch: Called after each batch, to log it for example.

    Returns:
        The best architectures and the history.

    Raises:
        ValueError: If ``keep`` is not positive.
        GenasError: If the searcher asked for nothing, not a single evaluation succeeded, or the searcher ranks nothing.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, but got {keep}.")
    history: list[Batch] = []
    best = np.nan
    with tqdm(total=searcher.budget, desc="search", unit="arch", disable=not progress) as bar:
        while architectures := searcher.ask():
            scores = np.array(score(architectures), dtype=np.float64)
            scores[~np.isfinite(scores)] = np.nan  # an infinite score is a failure, too
            searcher.tell(architectures, scores)
            history.append(Batch(len(history), tuple(architectures), scores))
            bar.update(len(architectures))
            best = np.fmax.reduce(scores, initial=best)  # fmax ignores NaN
            bar.set_postfix_str(f"best {best:.4g}")
            if on_batch is not None:
                on_batch(history[-1])
    if not history:
        raise GenasError(
            f"A search needs architectures, but {type(searcher).__name__} asked for none "
            f"({searcher.finished_because or 'without a reason'}); give every search a new searcher."
        )
    scored = _by_score(history)
    if not scored:
        count = sum(len(batch.architectures) for batch in history)
        raise GenasError(
            f"A search needs scores, but all {count} evaluations failed (NaN); check the supernet and the metric."
        )
    own = searcher.ranking
    ranking = scored if own is None else own
    if not ranking:
        raise GenasError(
            f"A search needs something to choose from, but {type(searcher).__name__} ranks nothing: too many "
            "evaluations failed (NaN)."
        )
    return SearchResult(tuple(ranking[:keep]), tuple(history), searcher.finished_because or "")


def _by_score(history: Sequence[Batch]) -> list[tuple[Architecture, float]]:
    scored = [
        (architecture, float(score))
        for batch in history
        for architecture, score in zip(batch.architectures, batch.scores, strict=True)
        if not np.isnan(score)
    ]
    return sorted(scored, key=lambda pair: -pair[1])  # which keeps the order of equal scores
