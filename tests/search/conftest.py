"""Objectives with a known optimum."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from genas.spaces import Architecture

Objective = Callable[[Sequence[Architecture]], np.ndarray]


@pytest.fixture(scope="session")
def all_cells() -> list[Architecture]:
    """The 15,625 architectures of NAS-Bench-201."""
    return list(itertools.product(range(5), repeat=6))


@pytest.fixture(scope="session")
def rugged() -> Callable[[int], Objective]:
    """For each seed an objective on NAS-Bench-201: a random value for each gene and for each pair of genes."""

    def make(seed: int) -> Objective:
        rng = np.random.default_rng(seed)
        single, pairs = rng.normal(size=(6, 5)), rng.normal(size=(6, 5, 6, 5))

        def score(architectures: Sequence[Architecture]) -> np.ndarray:
            genes = np.array(architectures)
            total = single[range(6), genes].sum(axis=1)
            for i, j in itertools.combinations(range(6), 2):
                total += pairs[i, genes[:, i], j, genes[:, j]]
            return total

        return score

    return make
