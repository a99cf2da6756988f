"""Baselines that read only the architecture."""

from __future__ import annotations

import numpy as np
import pytest

from genas.metrics import Context, Count, LiveEdges, Random, parse_metric
from genas.spaces import NASBench201, space

ARCHITECTURES = [(3, 3, 3, 3, 3, 3), (0, 0, 0, 0, 0, 0), (3, 0, 1, 0, 3, 4), (0, 3, 3, 0, 3, 1)]


@pytest.fixture
def untrained() -> Context:
    return Context.untrained(NASBench201())


def test_counts_include_dead_edges(untrained: Context) -> None:
    assert Count().score(untrained, ARCHITECTURES).tolist() == [6, 0, 2, 3]
    assert parse_metric("count(operation='skip_connect')").score(untrained, ARCHITECTURES).tolist() == [0, 0, 1, 1]
    assert Count().score(untrained, []).shape == (0,)


def test_counts_of_live_edges_only(untrained: Context) -> None:
    # (0, 3, 3, 0, 3, 1): nothing reaches node 1, where two of its three convolutions start.
    assert parse_metric("count(live=True)").score(untrained, ARCHITECTURES).tolist() == [6, 0, 2, 1]


def test_live_edges_lie_on_paths_from_input_to_output(untrained: Context) -> None:
    # (3, 0, 1, 0, 3, 4): 0 -> 1 -> 3 and 0 -> 1 -> 2 -> 3; (0, 3, 3, 0, 3, 1): only 0 -> 2 -> 3.
    assert LiveEdges().score(untrained, ARCHITECTURES).tolist() == [6, 0, 4, 2]


def test_darts_cells_are_added_up() -> None:
    darts = space("darts")
    context = Context.untrained(darts)
    architectures = [darts.sample(np.random.default_rng(seed)) for seed in range(5)]
    assert LiveEdges().score(context, architectures).tolist() == [16] * 5  # two live inputs of four nodes, two cells
    expected = [sum(gene == darts.operations.index("sep_conv_5x5") for gene in each) for each in architectures]
    assert Count("sep_conv_5x5").score(context, architectures).tolist() == expected


def test_an_operation_that_the_space_lacks(untrained: Context) -> None:
    with pytest.raises(ValueError, match=r"one of none, .* in nasbench201, but got 'sep_conv_3x3'"):
        Count("sep_conv_3x3").score(untrained, ARCHITECTURES)


def test_no_live_edge_has_none() -> None:
    with pytest.raises(ValueError, match=r"is 0 always, as none ends every path; leave out live"):
        Count("none", live=True)


def test_random_scores_belong_to_seed_and_architecture() -> None:
    everything = [NASBench201().from_index(index) for index in range(2000)]
    first, again, other = (
        Random().score(Context.untrained(NASBench201(), seed=seed), everything) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(Random().score(Context.untrained(NASBench201()), everything[::-1]), first[::-1])
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.1
    assert 0 <= first.min() < 0.01
    assert 0.99 < first.max() < 1
    assert len(set(first)) == 2000
