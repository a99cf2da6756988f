"""Costs as metrics and as limits of a search."""

from __future__ import annotations

import numpy as np
import pytest

from genas.metrics import Macs, Params, architecture_cost
from genas.search import Constraint
from genas.spaces import cost


def test_metrics_are_the_costs_of_the_published_network(context, draw) -> None:
    """Closed form for images of 8 pixels and 6 classes: macs are a sixteenth of those at 32 pixels but for the head."""
    architectures = draw(context.space, 30)
    ones, threes = (np.array([genes.count(op) for genes in architectures]) for op in (2, 3))
    params = 73_306 + 65 * (6 - 10) + 28_000 * ones + 243_040 * threes
    macs = (7_782_400 + 3_932_160 * ones + 35_389_440 * threes) / 16 + 65 * 6
    np.testing.assert_allclose(Params().values(context, architectures), params)
    np.testing.assert_allclose(Macs().values(context, architectures), macs, rtol=1e-4)
    skeleton = context.space.standalone_skeleton(6, 8)
    assert Macs().values(context, architectures).tolist() == [
        cost(context.space, skeleton, genes).macs for genes in architectures
    ]


@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_costs_of_the_subnet_and_of_the_network_trained_from_scratch(name, shared_trained, make_context, draw) -> None:
    context = make_context(shared_trained(name))
    network = context.supernet
    for genes in draw(network.space, 3):
        subnet = architecture_cost(context, genes, "subnet")
        assert subnet == cost(network.space, network.skeleton, genes)
        assert subnet.params == sum(parameter.numel() for parameter in network.subnet(genes).parameters())
        alone = architecture_cost(context, genes)
        assert alone == cost(network.space, network.space.standalone_skeleton(6, 8), genes)
        assert alone.params > 10 * subnet.params


def test_the_standalone_network_has_the_images_of_the_supernet(shared_trained, make_context) -> None:
    grey, colour = make_context(shared_trained(image_channels=1)), make_context()
    difference = architecture_cost(colour, (3,) * 6).params - architecture_cost(grey, (3,) * 6).params
    assert difference == 2 * 9 * 16, "two more input channels of the stem"


def test_scores_are_negative_costs_and_free(context, forbid_networks) -> None:
    forbid_networks()
    for metric in (Macs(), Params()):
        values = metric.values(context, [(3,) * 6, (1,) * 6])
        assert values.dtype == np.float64
        assert values[0] > values[1] > 0
        assert metric.score(context, [(3,) * 6, (1,) * 6]).tolist() == (-values).tolist()
        assert not metric.higher_is_better
        assert metric.cost_hint == "free"
        assert metric.measurements == ()
        assert metric.score(context, []).shape == (0,)


@pytest.mark.parametrize("of", ["standalone", "subnet"])
def test_limits_admit_exactly_what_costs_no_more(of, context, draw) -> None:
    architectures = draw(context.space, 60)
    costs = [architecture_cost(context, genes, of) for genes in architectures]
    macs, params = (sorted(getattr(each, name) for each in costs)[30] for name in ("macs", "params"))
    allowed = [Constraint(lambda genes: architecture_cost(context, genes, of), macs).allows(a) for a in architectures]
    assert allowed == [each.macs <= macs for each in costs]
    assert 30 < sum(allowed) < 60
    both = Constraint(lambda genes: architecture_cost(context, genes, of), macs, params - 1)
    assert [both.allows(a) for a in architectures] == [e.macs <= macs and e.params <= params - 1 for e in costs]


def test_the_metrics_of_the_subnet_are_its_cost(context) -> None:
    expected = architecture_cost(context, (3,) * 6, "subnet")
    assert Macs("subnet").values(context, [(3,) * 6]).tolist() == [expected.macs]
    assert Params("subnet").values(context, [(3,) * 6]).tolist() == [expected.params]


def test_the_network_whose_cost_is_meant_must_exist() -> None:
    with pytest.raises(ValueError, match=r"of must be one of .*, but got 'sub'"):
        Macs("sub")  # type: ignore[arg-type]


def test_a_stand_alone_network_may_have_another_size(context) -> None:
    skeleton, cell = context.supernet.skeleton, (3, 1, 2, 4, 3, 2)
    sized = context.space.standalone_skeleton(
        skeleton.num_classes, skeleton.image_size, skeleton.image_channels, channels=4, cells=2
    )
    expected = cost(context.space, sized, cell)
    assert architecture_cost(context, cell, channels=4, cells=2) == expected
    assert Macs(channels=4, cells=2).values(context, [cell]).tolist() == [expected.macs]
    assert Params(channels=4, cells=2).values(context, [cell]).tolist() == [expected.params]
    with pytest.raises(ValueError, match="channels and cells are of the stand-alone network"):
        Params("subnet", cells=2)
