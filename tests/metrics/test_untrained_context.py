"""Contexts without a supernet: what they give, what they refuse, and whose numbers may be shared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from genas.errors import GenasError, MissingInputError
from genas.metrics import (
    Accuracy,
    Angle,
    Context,
    Flatness,
    Loss,
    Macs,
    Params,
    ScoringSettings,
    architecture_cost,
)
from genas.scores import ScoreStore
from genas.spaces import NASBench201, Skeleton, cost, space
from genas.supernet import Calibration

GENES = (3, 1, 2, 4, 3, 2)


@pytest.fixture
def measurement(table_measurement):
    """A measurement that needs no supernet."""

    class Untrained(table_measurement):
        needs_supernet = False

    return Untrained({GENES: 1.5})


def test_a_context_of_a_space_and_images(shared_trained) -> None:
    data = shared_trained().data
    context = Context.untrained(NASBench201(), data, precision=torch.float64, seed=3)
    assert context.space == NASBench201()
    assert context.data is data
    assert context.settings == ScoringSettings()
    assert (context.precision, context.seed, context.device.type) == (torch.float64, 3, "cpu")
    assert not context.has_supernet
    assert Context(shared_trained(), ScoringSettings()).has_supernet


@pytest.mark.parametrize("metric", [Accuracy(), Loss(), Flatness(), Angle(), Macs("subnet")], ids=lambda m: m.name)
def test_a_metric_of_a_supernet_says_what_is_missing(metric, shared_trained) -> None:
    context = Context.untrained(NASBench201(), shared_trained().data)
    with pytest.raises(MissingInputError, match=r"needs a trained supernet, but there is none: give .* train-supernet"):
        metric.score(context, [GENES])
    with pytest.raises(MissingInputError, match="needs a trained supernet"):
        _ = context.initial
    assert issubclass(MissingInputError, GenasError)


def test_a_metric_that_needs_images_says_so() -> None:
    context = Context.untrained(NASBench201())
    with pytest.raises(MissingInputError, match=r"needs images, .* but there are none: name a data set"):
        Macs().score(context, [GENES])
    assert context.device.type == "cpu"


def test_what_reads_only_the_architecture_needs_nothing(measurement) -> None:
    context = Context.untrained(NASBench201())
    assert context.measure(measurement, [GENES, GENES]).tolist() == [[1.5], [1.5]]
    assert measurement.runs == [GENES]


@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_costs_need_no_supernet(name, shared_trained, draw) -> None:
    trained = shared_trained(name)
    search_space, data = trained.network.space, trained.data
    context = Context.untrained(search_space, data)
    architectures = draw(search_space, 5)
    skeleton = search_space.standalone_skeleton(data.num_classes, data.image_size, data.image_channels)
    costs = [cost(search_space, skeleton, genes) for genes in architectures]
    assert [architecture_cost(context, genes) for genes in architectures] == costs
    assert Macs().values(context, architectures).tolist() == [each.macs for each in costs]
    assert Params().values(context, architectures).tolist() == [each.params for each in costs]
    assert Params().score(context, []).shape == (0,)


@pytest.mark.parametrize("of", ["standalone", "subnet"])
def test_costs_of_all_cells_are_sums_over_edges(of, context, draw) -> None:
    """The quick sum is what the closed form says of each cell."""
    architectures = draw(context.space, 40)
    for metric in (Macs(of), Params(of)):
        costs = [architecture_cost(context, genes, of) for genes in architectures]
        assert metric.values(context, architectures).tolist() == [getattr(each, metric.name) for each in costs]


def test_keys_without_a_supernet_do_not_depend_on_one(shared_trained, make_context, measurement) -> None:
    """The same numbers serve all supernets of a space, whatever subnets are evaluated on."""
    trained = shared_trained()
    contexts = [
        Context.untrained(NASBench201(), trained.data, precision=torch.float64),
        make_context(),
        make_context(shared_trained(seed=1)),
        make_context(settings=ScoringSettings(12, Calibration(images=20), batch_size=7)),
    ]
    assert len({context.key(measurement) for context in contexts}) == 1
    other = make_context(shared_trained(seed=1))
    assert other.fingerprint != make_context().fingerprint


class Larger(NASBench201):
    def standalone_skeleton(self, *given: Any, **named: Any) -> Skeleton:
        return replace(super().standalone_skeleton(*given, **named), cells=6)


def test_keys_without_a_supernet_depend_on_all_else(shared_trained, measurement, edited_space) -> None:
    data = shared_trained().data
    contexts = [
        Context.untrained(NASBench201(), data),
        Context.untrained(space("darts"), data),
        Context.untrained(NASBench201(), None),
        Context.untrained(NASBench201(), replace(data, train=data.valid)),
        Context.untrained(edited_space, data),
        Context.untrained(edited_space, None),
        Context.untrained(Larger(), data),
        Context.untrained(NASBench201(), data, seed=1),
        Context.untrained(NASBench201(), data, precision=torch.float64),
    ]
    assert len({context.key(measurement) for context in contexts}) == len(contexts)


def test_networks_without_a_supernet_compute_in_float32_at_least(shared_trained, measurement) -> None:
    keys = {
        Context.untrained(NASBench201(), shared_trained().data, precision=precision).key(measurement)
        for precision in (torch.float32, torch.bfloat16)
    }
    assert len(keys) == 1


def test_numbers_measured_without_a_supernet_are_found_with_one(shared_trained, make_context, measurement) -> None:
    with ScoreStore(":memory:") as store:
        first = Context.untrained(NASBench201(), shared_trained().data, precision=torch.float64, store=store)
        np.testing.assert_array_equal(first.measure(measurement, [GENES]), [[1.5]])
        second = make_context(store=store)
        assert second.missing(measurement, [GENES]) == []
        np.testing.assert_array_equal(second.measure(measurement, [GENES]), [[1.5]])
    assert measurement.runs == [GENES]
