"""Random search."""

from __future__ import annotations

import itertools

import pytest

from genas.search import Constraint, RandomSearch, search
from genas.spaces import DARTS, Cost, NASBench201


def test_makes_the_evaluations_in_batches() -> None:
    result = search(
        RandomSearch(DARTS(), seed=0, evaluations=25, batch=10), lambda batch: [0.0] * len(batch), progress=False
    )
    assert [len(batch.architectures) for batch in result.history] == [10, 10, 5]
    assert result.finished_because == "25 architectures were scored"


def test_whole_space_without_replacement(all_cells) -> None:
    searcher = RandomSearch(NASBench201(), seed=0, evaluations=20_000, batch=4000)
    result = search(searcher, lambda batch: [sum(architecture) for architecture in batch], progress=False)
    asked = list(itertools.chain.from_iterable(batch.architectures for batch in result.history))
    assert len(asked) == 15_625
    assert set(asked) == set(all_cells)
    assert result.best == (4,) * 6
    assert result.finished_because == "all 15,625 architectures of nasbench201 were proposed"


def test_equal_functions_are_scored_once() -> None:
    space = NASBench201()
    searcher = RandomSearch(space, seed=0, evaluations=300, dedup_key=space.supernet_key)
    result = search(searcher, lambda batch: [0.0] * len(batch), progress=False)
    keys = [space.supernet_key(architecture) for batch in result.history for architecture in batch.architectures]
    assert len(set(keys)) == len(keys) == 300


def test_constraint_is_kept_on_a_large_space() -> None:
    limit = Constraint(lambda architecture: Cost(macs=sum(architecture)), max_macs=60)
    searcher = RandomSearch(DARTS(), seed=1, evaluations=50, constraint=limit)
    assert all(limit.allows(architecture) for architecture in searcher.ask())


def test_sizes_must_be_positive() -> None:
    for sizes in ({"evaluations": 0}, {"evaluations": 5, "batch": 0}):
        with pytest.raises(ValueError, match="evaluations and batch must be at least 1"):
            RandomSearch(NASBench201(), seed=0, **sizes)
