"""Tests that every searcher must pass."""

from __future__ import annotations

import abc
import itertools

import numpy as np

from genas.errors import InfeasibleError
from genas.search import Constraint, Searcher
from genas.spaces import Architecture, Cost, NASBench201, SearchSpace
from genas.testing.global_generators import check_globals_do_not_matter
from genas.testing.refusals import refuses


class SearcherContract(abc.ABC):
    """Tests for every searcher. They use NAS-Bench-201's cells with cheap scores."""

    @abc.abstractmethod
    def make(self, space: SearchSpace, seed: int, constraint: Constraint | None) -> Searcher:
        """Return a fresh searcher that makes between 100 and 2,000 evaluations."""

    def run(self, seed: int = 0, constraint: Constraint | None = None) -> tuple[Searcher, list[list[Architecture]]]:
        """Run a searcher to its end.

        Args:
            seed: Seed of the searcher.
            constraint: Constraint of the searcher.

        Returns:
            The finished searcher and the batches that it asked.
        """
        searcher = self.make(NASBench201(), seed, constraint)
        batches: list[list[Architecture]] = []
        while batch := searcher.ask():
            assert len(batches) < 2000, "the searcher does not end"
            batches.append(batch)
            searcher.tell(batch, [_score(architecture) for architecture in batch])
        return searcher, batches

    def test_same_seed_same_asks(self) -> None:
        """The seed alone determines the search, not the global generators."""
        check_globals_do_not_matter(lambda: self.run(seed=0)[1])
        assert self.run(seed=0)[1] != self.run(seed=1)[1]

    def test_asks_valid_architectures_once(self) -> None:
        """No architecture is asked twice, and the budget is kept."""
        searcher, batches = self.run(seed=2)
        asked = list(itertools.chain.from_iterable(batches))
        assert all(NASBench201().check(architecture) == architecture for architecture in asked)
        assert len(set(asked)) == len(asked) >= 100
        assert searcher.budget is None or len(asked) <= searcher.budget

    def test_says_why_it_ended(self) -> None:
        """``finished_because`` is set at the end, after which nothing more is asked."""
        assert self.make(NASBench201(), 0, None).finished_because is None
        searcher, _ = self.run(seed=3)
        assert searcher.finished_because
        assert searcher.ask() == []

    def test_order_of_telling_does_not_matter(self) -> None:
        """Scores may come in any order, as from parallel workers."""
        searcher = self.make(NASBench201(), 0, None)
        for batch in self.run(seed=0)[1]:
            assert searcher.ask() == batch
            searcher.tell(batch[::-1], [_score(architecture) for architecture in batch[::-1]])

    def test_failed_evaluations_do_not_stop_it(self) -> None:
        """The search goes on after NaN scores, even if all scores are NaN."""
        for divisor in (1, 2):
            searcher = self.make(NASBench201(), 4, None)
            asked = 0
            while batch := searcher.ask():
                searcher.tell(batch, [_score(arch) if sum(arch) % divisor else np.nan for arch in batch])
                asked += len(batch)
            assert asked >= 100

    def test_ask_and_tell_take_turns(self) -> None:
        """Calls out of turn and incomplete scores raise errors, after which the search can go on."""
        searcher = self.make(NASBench201(), 0, None)
        with refuses(RuntimeError, "Ask"):
            searcher.tell([], [])
        batch = searcher.ask()
        with refuses(RuntimeError, "Tell the scores of the last ask first"):
            searcher.ask()
        with refuses(ValueError, "shape"):
            searcher.tell(batch, [0.0] * (len(batch) + 1))
        with refuses(ValueError, "of the last ask"):
            searcher.tell(batch[1:], [0.0] * (len(batch) - 1))
        with refuses(ValueError, "of the last ask"):
            searcher.tell([*batch, batch[0]], [0.0] * (len(batch) + 1))
        searcher.tell(batch, [0.0] * len(batch))
        assert searcher.ask()

    def test_keeps_the_constraint_to_the_last_architecture(self) -> None:
        """With 40 architectures allowed, the search ends without asking any other."""
        constraint = Constraint(_position_cost, max_macs=40)
        searcher, batches = self.run(seed=5, constraint=constraint)
        asked = list(itertools.chain.from_iterable(batches))
        assert all(constraint.allows(architecture) for architecture in asked)
        assert 0 < len(set(asked)) == len(asked) <= 40
        assert searcher.finished_because

    def test_infeasible_constraint_is_an_error(self) -> None:
        """With no architecture allowed, the first ask says what the smallest one costs."""
        searcher = self.make(NASBench201(), 0, Constraint(lambda _: Cost(macs=1001), max_macs=1000))
        with refuses(InfeasibleError, "macs <= 1,000", "1,001"):
            searcher.ask()


def _score(architecture: Architecture) -> float:
    return float(sum(gene == 3 for gene in architecture)) + 0.01 * architecture[0]


def _position_cost(architecture: Architecture) -> Cost:
    """Return one more than the position in lexicographic order."""
    return Cost(macs=1 + int("".join(map(str, architecture)), base=5))
