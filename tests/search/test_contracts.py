"""Every searcher against the conformance suite."""

from __future__ import annotations

from genas.search import Constraint, Evolution, EvolutionConfig, NeighborhoodRandomSearch, RandomSearch, Searcher
from genas.spaces import SearchSpace
from genas.testing import SearcherContract


class TestRandomSearch(SearcherContract):
    def make(self, space: SearchSpace, seed: int, constraint: Constraint | None) -> Searcher:
        return RandomSearch(space, seed=seed, evaluations=200, batch=15, constraint=constraint)


class TestEvolution(SearcherContract):
    def make(self, space: SearchSpace, seed: int, constraint: Constraint | None) -> Searcher:
        config = EvolutionConfig(population=20, generations=10, parents=5, mutations=8, crossovers=8)
        return Evolution(space, seed=seed, config=config, constraint=constraint)


class TestNeighborhoodRandomSearch(SearcherContract):
    def make(self, space: SearchSpace, seed: int, constraint: Constraint | None) -> Searcher:
        return NeighborhoodRandomSearch(space, seed=seed, steps=40, samples=8, constraint=constraint)
