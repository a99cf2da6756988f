"""Named streams: stable, independent, and apart from the global generators."""

from __future__ import annotations

import hashlib
import itertools
import random

import numpy as np
import pytest
import torch

from genas.seeding import derived_seed, generator, torch_generator


def test_derived_seed_is_the_head_of_the_digest() -> None:
    digest = hashlib.sha256(b'[7, "noise", 2]').digest()
    assert derived_seed(7, "noise", 2) == int.from_bytes(digest[:8], "big") >> 1


def test_golden_values_do_not_change_between_versions() -> None:
    assert derived_seed(0) == 7520536977032167579
    assert generator(0, "paths").integers(1000, size=5).tolist() == [513, 792, 893, 594, 492]


def test_names_and_seeds_make_different_streams() -> None:
    names = [(), ("a",), ("b",), ("ab",), ("a", "b"), ("a", 1), ("a", "1"), ("a", 11), ("a", 1, 1), (1,), ("1",)]
    seeds = [derived_seed(seed, *name) for seed in (0, 1, 2**70) for name in names]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_streams_are_uncorrelated() -> None:
    draws = np.stack([generator(seed, "x").normal(size=4000) for seed in range(20)])
    correlations = np.corrcoef(draws)[np.triu_indices(20, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(4000)


def test_numpy_integers_name_the_same_stream() -> None:
    assert derived_seed(np.int64(3), np.int32(4)) == derived_seed(3, 4)


def test_torch_generator_repeats_and_leaves_the_global_one_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (torch.rand(4, generator=torch_generator(seed, "noise")) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_generator_ignores_the_global_ones() -> None:
    python_state = random.getstate()
    draws = []
    for _ in range(2):
        random.random()
        draws.append(generator(0, "x").random())
    random.setstate(python_state)
    assert len(set(draws)) == 1


@pytest.mark.parametrize("make", [generator, torch_generator, derived_seed])
def test_bad_seeds_and_names_are_refused(make) -> None:
    with pytest.raises(ValueError, match="must not be negative, but got -1"):
        make(-1)
    for arguments in itertools.chain([(0.5,), ("0",), (None,)], [(0, 0.5), (0, None)]):
        with pytest.raises(TypeError):
            make(*arguments)
