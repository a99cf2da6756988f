"""The angle in closed form against the concatenation of all paths, written down again from the papers' rule."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from genas.metrics import Angle, angle_table
from genas.spaces import DARTS, Architecture, NASBench201
from genas.supernet import CellNetwork

Vector = list[np.ndarray]

# -------------------------------------------------------------------------------------------- slow oracle: concatenate

NASBENCH_PATHS = ((3,), (1, 5), (0, 2, 5), (0, 4))
"""0-3, 0-2-3, 0-1-2-3 and 0-1-3, as positions of the edges 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2."""


@functools.cache
def darts_paths() -> list[tuple[tuple[int, int], ...]]:
    """Every directed path from input 0 or 1 to any node 2 to 5, as (source, target) pairs."""

    def onward(node: int, path: tuple[tuple[int, int], ...]) -> Iterator[tuple[tuple[int, int], ...]]:
        if path:
            yield path
        for target in range(max(node + 1, 2), 6):
            yield from onward(target, (*path, (node, target)))

    return [path for start in (0, 1) for path in onward(start, ())]


def flat(*tensors: Any) -> Vector:
    return [tensor.detach().numpy().ravel() for tensor in tensors]


def normalised(layer: Any) -> Vector:
    """A convolution and its BN."""
    return flat(layer.conv.weight, layer.bn.weight, layer.bn.bias)


def halving(layer: Any) -> Vector:
    return flat(layer.conv_even.weight, layer.conv_odd.weight, layer.bn.weight, layer.bn.bias)


def nasbench_edge(name: str, cell: Any, edge: int) -> Vector:
    if name == "skip_connect":
        return []
    if name == "avg_pool_3x3":
        return [np.full(cell.block.channels * 9, 1 / 9)]
    return flat(*cell.edges[edge][name].parameters())


def nasbench_vector(network: Any, genes: Architecture) -> np.ndarray | None:
    """``None`` where all four paths are dead."""
    live = [path for path in NASBENCH_PATHS if all(genes[edge] for edge in path)]
    if not live:
        return None
    parts = normalised(network.stems[0])
    for path in live:
        for cell in network.cells:
            for edge in path:
                parts += nasbench_edge(network.space.operations[genes[edge]], cell, edge)
    for block in network.blocks:
        if hasattr(block, "shortcut"):
            parts += normalised(block.conv_a) + normalised(block.conv_b) + flat(block.shortcut[1].weight)
    head = network.head
    return np.concatenate(parts + flat(head.bn.weight, head.bn.bias, head.classifier.weight, head.classifier.bias))


@functools.cache  # what an edge adds does not depend on the path
def darts_edge(name: str, cell: Any, edge: int, source: int, legacy: bool) -> Vector:
    if name == "skip_connect" and (cell.block.stride == 1 or source > 1):
        return [np.eye(cell.block.channels).ravel()]
    if name == "noise":
        return []
    operation = cell.edges[edge][name]
    if name == "skip_connect":
        return halving(operation)
    if name.endswith("pool_3x3"):
        return [np.full(cell.block.channels * 9, 1 / 9), *flat(operation.bn.weight, operation.bn.bias)]
    if name.startswith("dil_conv"):
        last = operation.bn.weight if legacy else operation.bn.bias
        return flat(operation.depthwise.weight, operation.conv.weight, operation.bn.weight, last)
    parts = []
    for half in (operation.first, operation.second):
        parts += flat(half.depthwise.weight) + normalised(half)
    return parts


def darts_vector(network: Any, genes: Architecture, legacy: bool) -> np.ndarray:
    offsets = (0, 2, 5, 9)
    parts = normalised(network.stems[0])
    for position, cell in enumerate(network.cells):
        reduction = position in (len(network.cells) // 3, 2 * len(network.cells) // 3)
        own = genes[14:] if reduction else genes[:14]
        for layer in cell.preprocess:
            parts += halving(layer) if hasattr(layer, "conv_even") else normalised(layer)
        for path in darts_paths():
            edges = [offsets[target - 2] + source for source, target in path]
            if all(own[edge] for edge in edges):
                for edge, (source, _) in zip(edges, path, strict=True):
                    parts += darts_edge(network.space.operations[own[edge]], cell, edge, source, legacy)
    return np.concatenate(parts + flat(network.head.classifier.weight))


def concatenated(initial: CellNetwork, trained: CellNetwork, genes: Architecture, legacy: bool = False) -> float:
    """The angle between the two long vectors, by a formula that is accurate for every angle."""
    if isinstance(trained.space, NASBench201):
        pair = nasbench_vector(initial, genes), nasbench_vector(trained, genes)
    else:
        pair = darts_vector(initial, genes, legacy), darts_vector(trained, genes, legacy)
    if pair[0] is None or pair[1] is None:
        return 0.0
    u, v = (vector / np.linalg.norm(vector) for vector in pair)
    return float(2 * np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v)))


def test_the_oracle_walks_the_thirty_paths_of_a_darts_cell() -> None:
    ends = [path[-1][1] for path in darts_paths()]
    assert [ends.count(node) for node in (2, 3, 4, 5)] == [2, 4, 8, 16]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["nasbench201", "darts", "darts7", "s1", "s2", "s3", "s4"])
def test_the_table_equals_the_concatenation_of_all_paths(name, legacy, shared_trained, draw) -> None:
    trained = shared_trained(name)
    architectures = draw(trained.network.space, 200)
    expected = [concatenated(trained.initial, trained.network, genes, legacy) for genes in architectures]
    found = angle_table(trained.initial, trained.network, repeat_dilated_weight=legacy).angles(architectures)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert len(set(found)) > len(found) // 2


@pytest.mark.parametrize("options", [{"cells": 2}, {"affine": True}, {"conv_bias": True}])
def test_variations_of_the_nasbench201_supernet_count_their_weights_too(options, shared_trained, draw) -> None:
    trained = shared_trained(**options)
    architectures = draw(trained.network.space, 50)
    expected = [concatenated(trained.initial, trained.network, genes) for genes in architectures]
    np.testing.assert_allclose(
        angle_table(trained.initial, trained.network).angles(architectures), expected, rtol=1e-10
    )


# --------------------------------------------------------------------------------------------------------- closed forms


def changed(network: CellNetwork, change: Callable[[str, torch.Tensor], torch.Tensor]) -> CellNetwork:
    """A copy with every parameter replaced by ``change(name, parameter)``."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            parameter.copy_(change(name, parameter))
    return other


@pytest.mark.parametrize(
    ("name", "precision"), [("nasbench201", torch.float32), ("nasbench201", torch.float64), ("darts", torch.float64)]
)
def test_equal_weights_have_the_angle_zero_to_the_last_bit(name, precision, shared_trained, draw) -> None:
    network = shared_trained(name, precision=precision).network
    angles = angle_table(network, copy.deepcopy(network)).angles(draw(network.space, 200))
    assert (angles == 0.0).all()


def test_opposite_weights_have_the_angle_pi_where_no_constant_is_live(shared_trained, draw) -> None:
    network = shared_trained().network
    table = angle_table(network, changed(network, lambda _, weight: -weight))
    without_pool = [genes for genes in draw(network.space, 300) if 4 not in genes]
    angles = table.angles([genes for genes in without_pool if network.space.cell_types[0].live_edges(genes)])
    assert len(angles) > 50
    assert (angles == math.pi).all()
    assert table.angles([(4, 4, 4, 4, 4, 4)])[0] < math.pi, "the constants of a pool do not turn round"


@pytest.mark.parametrize(("of_initial", "of_trained"), [(3.7, 1.0), (1.0, 0.01), (0.3, 20.0)])
def test_positive_scaling_changes_nothing_but_where_constants_are_live(of_initial, of_trained, shared_trained) -> None:
    trained = shared_trained()
    plain = angle_table(trained.initial, trained.network)
    scaled = angle_table(
        changed(trained.initial, lambda _, weight: of_initial * weight),
        changed(trained.network, lambda _, weight: of_trained * weight),
    )
    without_constants = [(3, 2, 1, 3, 2, 3), (1, 1, 1, 1, 1, 1), (0, 3, 2, 1, 0, 2)]
    np.testing.assert_allclose(scaled.angles(without_constants), plain.angles(without_constants), rtol=1e-12)
    with_pool = [(4, 4, 4, 4, 4, 4)]
    assert abs(scaled.angles(with_pool) - plain.angles(with_pool)) > 1e-4


def test_the_angle_of_an_orthogonal_step_is_its_arctangent(shared_trained) -> None:
    r"""w = w0 + s u, u orthogonal to w0, in the convolution of the edge 0 -> 3; all else is zero: atan(s|u| / |w0|)."""
    template, conv = shared_trained().network, "edges.3.nor_conv_3x3.conv.weight"
    start = changed(template, lambda name, weight: weight if conv in name else torch.zeros_like(weight))
    generator = torch.Generator().manual_seed(0)
    steps = {}
    for name, weight in start.named_parameters():
        w0, draws = weight.detach(), torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        steps[name] = draws - w0 * (draws * w0).sum() / (w0 * w0).sum() if conv in name else torch.zeros_like(w0)
    norm_w = math.sqrt(sum(float((weight.detach() ** 2).sum()) for weight in start.parameters()))
    norm_u = math.sqrt(sum(float((step**2).sum()) for step in steps.values()))
    genes, found, expected = (0, 0, 0, 3, 0, 0), [], []
    for s in (0.0, 0.01, 0.1, 0.5, 1.0, 3.0, 100.0):
        moved = changed(start, lambda name, weight, s=s: weight + s * steps[name])
        found.append(angle_table(start, moved).angles([genes])[0])
        expected.append(math.atan(s * norm_u / norm_w))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize(("name", "identity"), [("nasbench201", 0), ("darts", 8 * (2 + 8))])
def test_a_skip_is_an_identity_matrix_in_darts_and_nothing_in_nasbench201(name, identity, shared_trained) -> None:
    """All weights are zero but two of the stem's, orthogonal before and after: only identities are left in <v0, v>.

    The DARTS supernet has a normal cell of two channels and one of eight.
    """
    trained = shared_trained(name)
    networks = [changed(network, lambda _, weight: 0 * weight) for network in (trained.initial, trained.network)]
    for position, network in enumerate(networks):
        with torch.no_grad():
            network.stems[0].conv.weight[0, 0, 0, position] = (2.0, 3.0)[position]
    both_inputs = (3, 3, 3, 3, 0, 3, 3, 0, 0, 3, 3, 0, 0, 0)  # eight edges, one path over each
    genes = (1,) * 6 if name == "nasbench201" else both_inputs * 2  # DARTS: strided skips have weights, here zero
    expected = math.acos(identity / math.sqrt((4 + identity) * (9 + identity)))
    assert angle_table(*networks).angles([genes])[0] == pytest.approx(expected, rel=1e-12)


def test_the_classifiers_bias_counts_in_nasbench201_and_not_in_darts(shared_trained, draw) -> None:
    for name in ("nasbench201", "darts"):
        trained = shared_trained(name)
        genes = draw(trained.network.space, 20)
        moved = changed(
            trained.network, lambda name, weight: weight + 1.0 if name == "head.classifier.bias" else weight
        )
        same = angle_table(trained.initial, trained.network).angles(genes) == angle_table(
            trained.initial, moved
        ).angles(genes)
        assert not same.any() if name == "nasbench201" else same.all()


def test_the_slip_of_the_published_code_touches_dilated_convolutions_only(shared_trained) -> None:
    trained = shared_trained("darts")
    separable, dilated = (tuple(op * (gene > 0) for gene in DARTS().parse("DARTS_V2")) for op in (4, 6))
    plain, legacy = (
        angle_table(trained.initial, trained.network, repeat_dilated_weight=slip).angles([separable, dilated])
        for slip in (False, True)
    )
    assert plain[0] == legacy[0]
    assert abs(plain[1] - legacy[1]) > 1e-6


# --------------------------------------------------------------------------------------------------------- all of them


def test_all_15625_angles_are_numbers_from_zero_to_pi_and_zero_where_the_cell_is_dead(shared_trained) -> None:
    trained = shared_trained()
    space = trained.network.space
    architectures = list(space.architectures())
    angles = angle_table(trained.initial, trained.network).angles(architectures)
    dead = np.array([not space.cell_types[0].live_edges(genes) for genes in architectures])
    assert angles.dtype == np.float64
    assert angles.shape == (15_625,)
    assert dead.sum() == 341
    assert (angles[dead] == 0).all()
    assert (angles[~dead] > 0).all()
    assert (angles <= math.pi).all()
    assert len({round(angle, 12) for angle in angles}) <= 6604 + 1, "one per angle key, and zero"


def test_all_at_once_equal_one_by_one_to_the_last_bit(shared_trained, draw) -> None:
    """Every third of the 15,625 one by one; a score must not depend on who is scored beside it."""
    for trained, step in ((shared_trained(), 3), (shared_trained("darts"), 1)):
        table, space = angle_table(trained.initial, trained.network), trained.network.space
        architectures = list(space.architectures()) if isinstance(space, NASBench201) else draw(space, 200)
        together = table.angles(architectures)[::step]
        assert (together == [table.angles([genes])[0] for genes in architectures[::step]]).all()


def test_no_architectures_have_no_angles(context) -> None:
    assert Angle().score(context, []).shape == (0,)


# -------------------------------------------------------------------------------------------------------------- metric


def test_the_metric_works_its_table_out_once_and_runs_no_network(
    context, make_context, shared_trained, monkeypatch, forbid_networks
) -> None:
    forbid_networks()
    calls = []

    def counted(*networks: CellNetwork, **options: bool) -> object:
        calls.append(options)
        return angle_table(*networks, **options)

    monkeypatch.setattr("genas.metrics.angle.angle_table", counted)
    first = Angle().score(context, [(3, 1, 2, 4, 0, 3)])
    second = Angle().score(context, [(1, 1, 2, 4, 0, 3), (3, 1, 2, 4, 0, 3)])
    assert second[1] == first[0] == angle_table(context.initial, context.supernet).angles([(3, 1, 2, 4, 0, 3)])[0]
    assert calls == [{"repeat_dilated_weight": False}]
    Angle(repeat_dilated_weight=True).score(make_context(shared_trained("darts")), [DARTS().parse("DARTS_V2")])
    assert calls[1:] == [{"repeat_dilated_weight": True}]


@pytest.mark.parametrize("name", ["nasbench201", "s2"])
def test_the_slip_is_refused_where_there_is_nothing_to_repeat(name, make_context, shared_trained, draw) -> None:
    context = make_context(shared_trained(name))
    with pytest.raises(ValueError, match=f"needs dilated convolutions, but the supernet of {name} has none"):
        Angle(repeat_dilated_weight=True).score(context, draw(context.space, 1))


def test_facts() -> None:
    assert Angle().higher_is_better
    assert Angle().unit == "rad"
    assert Angle().cost_hint == "weights"
    assert Angle().scale * math.pi == pytest.approx(1)
    assert Angle().measurements == ()
