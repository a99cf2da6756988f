"""Search strategies: they propose architectures and learn from scores, without access to networks."""

from __future__ import annotations

from genas.search.constraint import Constraint
from genas.search.evolution import Evolution, EvolutionConfig
from genas.search.executors import Rows, measure_in_parallel, process_pool
from genas.search.loop import Batch, Score, SearchResult, search
from genas.search.neighborhood_search import NeighborhoodRandomSearch
from genas.search.random_search import RandomSearch
from genas.search.searcher import Searcher

__all__ = [
    "Batch",
    "Constraint",
    "Evolution",
    "EvolutionConfig",
    "NeighborhoodRandomSearch",
    "RandomSearch",
    "Rows",
    "Score",
    "SearchResult",
    "Searcher",
    "measure_in_parallel",
    "process_pool",
    "search",
]
