"""Training-free metrics against slow references, and what must not change or must grow."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from genas.metrics import (
    METRICS,
    Context,
    GradNorm,
    JacobCov,
    LogSynFlow,
    Metric,
    Naswot,
    SynFlow,
    naswot,
    parse_metric,
)
from genas.metrics.images import initial_batch
from genas.metrics.initialisation import initialised_network
from genas.metrics.jacob_cov import correlation_score
from genas.metrics.naswot import log_determinant
from genas.spaces import Architecture, NASBench201, space
from genas.supernet import CellNetwork

SMALL = {"channels": 2, "cells": 1}
IMAGES = 12
METRICS_ON_BATCHES = [kind(**SMALL, batch_size=IMAGES) for kind in (Naswot, GradNorm, JacobCov)]
ALL = [*METRICS_ON_BATCHES, SynFlow(**SMALL), LogSynFlow(**SMALL)]
DISCONNECTED = (3, 2, 3, 0, 0, 0)
ARCHITECTURES = [(3, 1, 2, 4, 3, 2), (3, 3, 3, 3, 3, 3), (0, 3, 0, 2, 1, 3), (1, 0, 0, 0, 3, 0), (4, 0, 0, 0, 4, 0)]

each_metric = pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
MakeUntrained = Callable[..., Context]


@pytest.fixture
def make(shared_trained) -> MakeUntrained:
    """Makes a context without a supernet, in float64."""

    def context(name: str = "nasbench201", *, precision: torch.dtype = torch.float64, seed: int = 0) -> Context:
        return Context.untrained(space(name), shared_trained().data, precision=precision, seed=seed)

    return context


# ------------------------------------------------------------------------------------------------------ slow reference


class Reference:
    """A NAS-Bench-201 network written out: live edges by paths, sums of terms, BN by the formula; notes every ReLU."""

    EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))

    def __init__(self, network: CellNetwork, genes: Architecture, *, bn: bool = True) -> None:
        self.network, self.genes, self.bn = network, genes, bn
        self.rectified: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        network, blocks = self.network, list(self.network.blocks)
        state = self.conv(network.stems[0], images)
        for block in blocks:
            state = self.cell(block, state) if block in network.cells else self.reduction(block, state)
        state = self.relu(self.norm(network.head.bn, state))
        return state.mean(dim=(2, 3)) @ network.head.classifier.weight.T + network.head.classifier.bias

    def cell(self, cell: Any, state: Tensor) -> Tensor:
        live = {edge for path in self.PATHS if all(self.genes[edge] for edge in path) for edge in path}
        nodes, rectified = {0: state}, {}
        for edge in sorted(live):
            source, target = self.EDGES[edge]
            gene, value = self.genes[edge], nodes[source]
            if gene in (2, 3):
                if source not in rectified:
                    rectified[source] = self.relu(value)
                value = self.conv(cell.operation(edge, gene), rectified[source])
            elif gene == 4:
                value = functional.avg_pool2d(value, 3, 1, 1, count_include_pad=False)
            nodes[target] = nodes[target] + value if target in nodes else value
        return nodes.get(3, torch.zeros_like(state))

    def reduction(self, block: Any, state: Tensor) -> Tensor:
        first = self.conv(block.conv_a, self.relu(state))
        short = block.shortcut[1](functional.avg_pool2d(state, 2, 2))
        return self.conv(block.conv_b, self.relu(first)) + short

    def conv(self, operation: Any, value: Tensor) -> Tensor:
        conv = operation.conv
        return self.norm(operation.bn, functional.conv2d(value, conv.weight, None, conv.stride, conv.padding))

    def norm(self, layer: Any, value: Tensor) -> Tensor:
        if not self.bn:
            return value
        centred = value - value.mean(dim=(0, 2, 3), keepdim=True)
        scaled = centred / torch.sqrt((centred**2).mean(dim=(0, 2, 3), keepdim=True) + layer.eps)
        return scaled * layer.weight[:, None, None] + layer.bias[:, None, None]

    def relu(self, value: Tensor) -> Tensor:
        self.rectified.append(value.clamp(min=0))
        return self.rectified[-1]


class PublishedReference(Reference):
    """Every edge is a module of its own, with a ReLU before its convolution; ``none`` multiplies by zero."""

    def cell(self, cell: Any, state: Tensor) -> Tensor:
        nodes = [state, *[torch.zeros_like(state)] * 3]
        for edge, (source, target) in enumerate(self.EDGES):
            gene, value = self.genes[edge], nodes[source]
            if gene in (2, 3):
                value = self.conv(cell.operation(edge, gene), self.relu(value))
            elif gene == 4:
                value = functional.avg_pool2d(value, 3, 1, 1, count_include_pad=False)
            nodes[target] = nodes[target] + (value if gene else 0 * value)
        return nodes[3]


def slow_naswot(
    context: Context, network: CellNetwork, genes: Architecture, kind: type[Reference] = Reference
) -> float:
    images, _ = initial_batch(context.data, IMAGES, 0, context.seed, torch.float64)
    reference = kind(network, genes)
    reference(images)
    kernel = np.zeros((IMAGES, IMAGES))
    for layer in reference.rectified:
        codes = (layer > 0).flatten(1)
        for i in range(IMAGES):
            for j in range(IMAGES):
                kernel[i, j] += int((codes[i] == codes[j]).sum())
    return float(np.log(np.linalg.eigvalsh(kernel)).sum())


def slow_grad_norm(context: Context, network: CellNetwork, genes: Architecture) -> float:
    images, labels = initial_batch(context.data, IMAGES, 0, context.seed, torch.float64)
    logits = Reference(network, genes)(images)
    loss = -functional.log_softmax(logits, dim=1)[torch.arange(IMAGES), labels].mean()
    return sum(float((each**2).sum()) ** 0.5 for _, each in layer_gradients(network, loss))


def slow_jacob_cov(context: Context, network: CellNetwork, genes: Architecture) -> float:
    images, _ = initial_batch(context.data, IMAGES, 0, context.seed, torch.float64)
    images.requires_grad_()
    Reference(network, genes)(images).sum().backward()
    assert images.grad is not None
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(images.grad.flatten(1).numpy()))
    return -sum(math.log(value + 1e-5) + 1 / (value + 1e-5) for value in eigenvalues.clip(min=0))


def flows(network: CellNetwork, genes: Architecture) -> list[tuple[Tensor, Tensor]]:
    positive = copy.deepcopy(network)
    for parameter in positive.parameters():
        parameter.data = parameter.data.abs()
    size = network.skeleton.image_size
    total = Reference(positive, genes, bn=False)(torch.ones(1, 3, size, size, dtype=torch.float64)).sum()
    return layer_gradients(positive, total)


def layer_gradients(network: CellNetwork, scalar: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Weight and gradient of every convolution and the classifier that has one."""
    network.zero_grad(set_to_none=True)
    scalar.backward()
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    found = [(each.detach(), each.grad) for each in weights if each.grad is not None]
    network.zero_grad(set_to_none=True)
    return found


def slow_synflow(context: Context, network: CellNetwork, genes: Architecture) -> float:
    return sum(float((weight * gradient).sum()) for weight, gradient in flows(network, genes))


def slow_log_synflow(context: Context, network: CellNetwork, genes: Architecture) -> float:
    return sum(float((weight * torch.log(1 + gradient)).sum()) for weight, gradient in flows(network, genes))


SLOW = {
    "naswot": slow_naswot,
    "grad_norm": slow_grad_norm,
    "jacob_cov": slow_jacob_cov,
    "synflow": slow_synflow,
    "log_synflow": slow_log_synflow,
}


@each_metric
def test_values_equal_the_slow_reference(metric, make) -> None:
    context = make()
    network = copy.deepcopy(initialised_network(context, **SMALL))
    expected = [SLOW[metric.name](context, network, genes) for genes in ARCHITECTURES]
    np.testing.assert_allclose(metric.score(context, ARCHITECTURES), expected, rtol=1e-8)
    assert len(set(expected)) == len(expected)


def test_naswot_counts_modules_as_published(make, draw) -> None:
    metric, context = Naswot(**SMALL, batch_size=IMAGES, counting="published"), make()
    dead = [(3, 3, 3, 0, 0, 0), (0, 3, 3, 0, 3, 2), (3, 0, 0, 2, 0, 1), DISCONNECTED]
    architectures = [*ARCHITECTURES, *dead, *draw(context.space, 10, seed=3)]
    network = copy.deepcopy(initialised_network(context, **SMALL))
    expected = [slow_naswot(context, network, genes, PublishedReference) for genes in architectures]
    np.testing.assert_allclose(metric.score(context, architectures), expected, rtol=1e-8)
    plain = Naswot(**SMALL, batch_size=IMAGES).score(context, architectures)
    assert 5 < np.count_nonzero(np.abs(plain - expected) > 1e-3) < len(architectures), "some cells share no ReLU"
    assert not any(cell._forward_pre_hooks for cell in initialised_network(context, **SMALL).cells)
    with pytest.raises(ValueError, match="counting must be one of nodes, published, but got 'modules'"):
        Naswot(counting="modules")  # type: ignore[arg-type]


def test_naswot_counts_every_reader_of_a_node_on_darts(make, draw, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each separable or dilated convolution has a ReLU of its own for its node; all else is the same."""
    context, bits = make("darts"), []
    monkeypatch.setattr(naswot, "log_determinant", lambda kernel: bits.append(kernel[0, 0]) or 0.0)
    network = initialised_network(context, channels=4, cells=3)
    for genes in draw(context.space, 3):
        for counting in ("nodes", "published"):
            Naswot(channels=4, cells=3, batch_size=2, counting=counting).score(context, [genes])
        more = 0
        for cell, own in zip(network.cells, network.path(genes), strict=True):
            readers = [(source, edge) for edge, (source, _) in enumerate(cell.cell_type.edges) if own[edge]]
            sources = [source for source, edge in readers if cell.operation(edge, own[edge]).rectified]
            for node in set(sources):
                size = cell.block.in_sizes[-1] if node < 2 else cell.block.node_size
                more += (sources.count(node) - 1) * cell.block.channels * size**2
        assert bits[-1] - bits[-2] == more > 0


# ------------------------------------------------------------------------------------------------- lowest and highest


@each_metric
def test_a_disconnected_cell_ranks_last(metric, make, draw) -> None:
    context = make()
    connected = [genes for genes in draw(context.space, 40) if any(context.space.cell_types[0].live_edges(genes))]
    scores = metric.score(context, [*connected, DISCONNECTED, (0,) * 6])
    assert np.isfinite(scores).all()
    assert scores[-1] == scores[-2] < scores[:-2].min()
    assert metric.higher_is_better


def test_bounds(make, draw) -> None:
    context = make()
    architectures = draw(context.space, 20)
    network = initialised_network(context, **SMALL)
    for genes, score in zip(architectures, METRICS_ON_BATCHES[0].score(context, architectures), strict=True):
        reference = Reference(network, genes)
        reference(initial_batch(context.data, IMAGES, 0, 0, torch.float64)[0])
        bits = sum(layer[0].numel() for layer in reference.rectified)
        assert score < IMAGES * math.log(bits), "Hadamard: the diagonal of the kernel is the number of bits"
    assert (JacobCov(**SMALL, batch_size=IMAGES).score(context, architectures) <= -IMAGES).all()
    plain, logarithmic = (metric.score(context, architectures) for metric in ALL[3:])
    assert (logarithmic <= plain).all(), "log(1 + x) <= x"


def test_a_network_of_nan_has_no_naswot(make, draw) -> None:
    """To ReLUs and to the signs of their outputs, NaN is a zero."""
    context = make()
    genes = next(genes for genes in draw(context.space, 20) if genes.count(3) > 2)
    assert Naswot(**SMALL).score(context, [genes])[0] > 0
    nn.init.constant_(initialised_network(context, **SMALL).head.classifier.weight, math.nan)
    assert np.isnan(Naswot(**SMALL, batch_size=IMAGES - 1).score(context, [genes])[0])


def test_log_determinants_of_matrices_of_integers() -> None:
    codes = np.random.default_rng(0).integers(2, size=(5, 40))
    kernel = (codes[:, None] == codes[None]).sum(axis=2).astype(float)
    assert log_determinant(kernel) == pytest.approx(math.log(np.linalg.det(kernel)))
    equal = (codes[[0, 1, 1]][:, None] == codes[[0, 1, 1]][None]).sum(axis=2).astype(float)
    assert log_determinant(equal) == 0.0, "two images with one code"
    assert log_determinant(np.eye(4)) == 0.0, "the smallest regular one"


def test_correlation_scores() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((6, 50))
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(rows)) + 1e-5
    assert correlation_score(rows) == pytest.approx(-np.sum(np.log(eigenvalues) + 1 / eigenvalues))
    assert correlation_score(3 * rows + 1) == pytest.approx(correlation_score(rows)), "shift and scale"
    assert correlation_score(rows[::-1]) == pytest.approx(correlation_score(rows)), "order"
    nearly_equal = rows[:1] + 0.1 * rows
    lowest = correlation_score(np.zeros((6, 50)))
    assert lowest < correlation_score(nearly_equal) < correlation_score(rows) < -6
    assert lowest == pytest.approx(correlation_score(rows[[0] * 6]), rel=1e-6)
    assert math.isnan(correlation_score(np.full((2, 4), math.nan)))


# --------------------------------------------------------------------------------------------------------- invariances


def scores_with(context: Context, metric: Metric, change: Callable[[CellNetwork], None]) -> np.ndarray:
    """The scores after a change of the initial weights."""
    with torch.no_grad():
        change(initialised_network(context, **SMALL))
    return metric.score(context, ARCHITECTURES)


def double_stem(network: CellNetwork) -> None:
    network.stems[0].conv.weight *= 2


def double_classifier(network: CellNetwork) -> None:
    network.head.classifier.weight *= 2


def flip_signs(network: CellNetwork) -> None:
    for position, parameter in enumerate(network.parameters()):
        parameter *= (-1) ** position


@pytest.mark.parametrize("kind", [Naswot, JacobCov])
def test_codes_and_correlations_do_not_depend_on_scale(kind, make) -> None:
    metric = kind(**SMALL, batch_size=IMAGES)
    before = metric.score(make(), ARCHITECTURES)
    for change in (double_stem, double_classifier):
        np.testing.assert_allclose(scores_with(make(), metric, change), before, rtol=1e-3)


def test_flow_is_proportional_to_a_layer_that_all_paths_cross_and_ignores_signs(make) -> None:
    metric = SynFlow(**SMALL)
    before = metric.score(make(), ARCHITECTURES)
    np.testing.assert_allclose(scores_with(make(), metric, double_stem), 2 * before, rtol=1e-12)
    np.testing.assert_allclose(scores_with(make(), metric, double_classifier), 2 * before, rtol=1e-12)
    for each in (metric, LogSynFlow(**SMALL)):
        np.testing.assert_allclose(scores_with(make(), each, flip_signs), each.score(make(), ARCHITECTURES), rtol=1e-12)


def test_flow_grows_with_every_edge(make) -> None:
    for metric in (SynFlow(**SMALL), LogSynFlow(**SMALL)):
        chain = metric.score(make(), [(0, 0, 0, 2, 0, 0), (1, 0, 0, 2, 2, 0), (1, 3, 0, 2, 2, 3), (3, 3, 3, 2, 2, 3)])
        assert (np.diff(chain) > 0).all()


def test_flows_beyond_float32_are_finite(make) -> None:
    (score,) = SynFlow(channels=16, cells=8).score(make(), [(3,) * 6])
    assert torch.finfo(torch.float32).max < score < np.inf


def test_flow_does_not_depend_on_the_precision(make) -> None:
    first, second = (
        SynFlow(**SMALL).score(make(precision=each), ARCHITECTURES) for each in (torch.float64, torch.bfloat16)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("metric", METRICS_ON_BATCHES, ids=lambda metric: metric.name)
def test_float32_is_close_to_float64(metric, make) -> None:
    exact, single = (metric.score(make(precision=each), ARCHITECTURES) for each in (torch.float64, torch.bfloat16))
    np.testing.assert_allclose(single, exact, rtol=1e-2)
    assert not np.array_equal(single, exact) or metric.name == "naswot"


# ---------------------------------------------------------------------------------------- shared weights, order, draws


@each_metric
def test_architectures_of_one_supernet_key_have_equal_values(metric, make, draw) -> None:
    """Each run by itself, not through its representative."""
    context, (measurement,) = make(), metric.measurements
    different = [
        (genes, other)
        for genes in draw(context.space, 60, seed=1)
        if (other := context.space.supernet_representative(genes)) != genes
    ]
    assert len(different) > 10
    for genes, other in different:
        assert context.space.supernet_key(genes) == context.space.supernet_key(other)
        np.testing.assert_allclose(measurement.run(context, genes), measurement.run(context, other), rtol=1e-9)


@each_metric
def test_scores_depend_neither_on_order_nor_on_what_came_before(metric, make, draw) -> None:
    context, architectures = make(), draw(NASBench201(), 4)
    generators = torch.get_rng_state()
    expected = metric.score(context, architectures)
    assert torch.equal(torch.get_rng_state(), generators)
    other = make()
    for each in reversed(ALL):
        each.score(other, architectures[::-1])
    np.testing.assert_array_equal(metric.score(other, architectures), expected)
    network = initialised_network(context, **SMALL)
    fresh = initialised_network(make(), **SMALL)
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), fresh.state_dict().values(), strict=True)
    )
    assert all(parameter.grad is None for parameter in network.parameters())


@each_metric
def test_repeats_are_averaged_and_added_to_those_that_are_there(metric, make) -> None:
    context, genes = make(), ARCHITECTURES[:2]
    thrice = type(metric)(**{**vars(metric), "repeats": 3})
    metric.score(context, genes)
    first, second, third = thrice.measurements
    assert [len(context.missing(each, genes)) for each in (first, second, third)] == [0, 2, 2]
    rows = [context.measure(each, genes)[:, metric.column] for each in (first, second, third)]
    assert len({row[0] for row in rows}) == 3
    np.testing.assert_allclose(thrice.score(context, genes), np.mean(rows, axis=0))
    assert not np.array_equal(metric.score(make(seed=1), genes), metric.score(context, genes))


def test_synflow_and_log_synflow_share_a_measurement(make) -> None:
    assert SynFlow().measurements == LogSynFlow().measurements
    context = make()
    SynFlow(**SMALL).score(context, ARCHITECTURES)
    assert context.missing(LogSynFlow(**SMALL).measurements[0], ARCHITECTURES) == []


@pytest.mark.parametrize("kind", [Naswot, GradNorm, JacobCov])
def test_settings_have_keys_of_their_own(kind, make) -> None:
    metrics = [kind(), kind(channels=8), kind(cells=2), kind(batch_size=32), kind(repeats=2)]
    keys = {make().key(each.measurements[-1]) for each in metrics}
    assert len(keys) == len(metrics)


def test_a_network_and_its_stand_alone_twin_start_alike(make) -> None:
    """The initial weights are those of the seed, the same for every architecture, and BN keeps no statistics."""
    context = make()
    network, other = initialised_network(context, **SMALL), initialised_network(make(seed=1), **SMALL)
    assert initialised_network(context, **SMALL) is network
    assert network.skeleton == NASBench201().standalone_skeleton(6, 8, **SMALL)
    assert not torch.equal(network.stems[0].conv.weight, other.stems[0].conv.weight)
    assert not [name for name in network.state_dict() if "running" in name]
    published = initialised_network(context, None, None)
    assert published.skeleton == NASBench201().standalone_skeleton(6, 8)


def test_the_batch_is_of_plain_training_images(make) -> None:
    data = make().data
    images, labels = initial_batch(data, IMAGES, 0, 0, torch.float64)
    everything = data.normalize(data.train.images, torch.float64)
    assert images.shape == (IMAGES, 3, 8, 8)
    for image, label in zip(images, labels, strict=True):
        (where,) = torch.nonzero((everything == image).all(dim=(1, 2, 3)).flatten())
        assert data.train.labels[where] == label
    assert not torch.equal(images, initial_batch(data, IMAGES, 1, 0, torch.float64)[0])
    assert not torch.equal(images, initial_batch(data, IMAGES, 0, 1, torch.float64)[0])
    assert len(initial_batch(data, 99, 0, 0, torch.float64)[0]) == len(data.train) == 40


# --------------------------------------------------------------------------------------------------- spaces and names


@each_metric
@pytest.mark.parametrize("name", ["darts", "s4"])
def test_darts_networks_have_values(metric, name, make, draw) -> None:
    small = type(metric)(**{**vars(metric), "cells": 3})
    first, again = make(name), make(name)
    architectures = draw(first.space, 2)
    scores = small.score(first, architectures)
    assert np.isfinite(scores).all()
    assert scores[0] != scores[1]
    np.testing.assert_array_equal(small.score(again, architectures[::-1])[::-1], scores)


def test_names_and_defaults() -> None:
    kinds = (Naswot, SynFlow, LogSynFlow, GradNorm, JacobCov)
    assert [kind.name for kind in kinds] == ["naswot", "synflow", "log_synflow", "grad_norm", "jacob_cov"]
    assert all(METRICS[kind.name] is kind for kind in kinds)
    assert (Naswot().batch_size, GradNorm().batch_size, JacobCov().batch_size) == (128, 64, 64)
    assert all(kind().channels is kind().cells is None for kind in kinds)
    assert not any(measurement.needs_supernet for kind in kinds for measurement in kind().measurements)


def test_expressions_know_their_settings() -> None:
    assert parse_metric("naswot(channels=8, cells=1, batch_size=32)") == Naswot(8, 1, batch_size=32)
    assert parse_metric("log_synflow(repeats=3)") == LogSynFlow(repeats=3)


@pytest.mark.parametrize("setting", ["channels", "cells", "repeats"])
def test_settings_out_of_range_are_refused(setting) -> None:
    for kind in (Naswot, SynFlow):
        with pytest.raises(ValueError, match=f"{setting} must be at least 1, but got 0"):
            kind(**{setting: 0})


def test_one_image_and_odd_channels_are_refused(make) -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 2, but got 1"):
        JacobCov(batch_size=1)
    with pytest.raises(ValueError, match="channels must be even"):
        Naswot(channels=3, cells=1).score(make(), [(3,) * 6])
