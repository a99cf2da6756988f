"""Fixtures of the tests of search spaces."""

from __future__ import annotations

import numpy as np
import pytest

from genas.spaces import Architecture, NASBench201


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def all_nasbench201() -> list[Architecture]:
    return list(NASBench201().architectures())
