"""Weighted mixtures against a plain loop over edges and operations: partial channels, skips, edge weights."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from genas.spaces import space
from genas.supernet import CellNetwork
from genas.supernet.mixing import shuffle_channels
from genas.supernet.mixtures import Mixture, MixtureOptions
from genas.supernet.weighting import concatenate, weighted_sum

SPACES = ("nasbench201", "darts", "darts7", "s1", "s2", "s3", "s4")
PARTIAL = MixtureOptions(partial_channels=2)
CELLWISE = MixtureOptions(partial_channels=2, partial_scope="cell")
WITH_SKIP = MixtureOptions(auxiliary_skip=True)
VARIANTS = {
    "plain": (MixtureOptions(), False, 0.0),
    "edge weights": (MixtureOptions(), True, 0.0),
    "skip": (WITH_SKIP, False, 0.4),
    "skip and edge weights": (WITH_SKIP, True, 0.4),
    "partial": (PARTIAL, True, 0.0),
    "all": (MixtureOptions(partial_channels=2, auxiliary_skip=True), True, 0.4),
}
LABELS = torch.tensor([0, 1, 2])


def _leaves(network: CellNetwork, edges: bool, seed: int = 1) -> list[Tensor]:
    """For every cell the weights of its operations, then of its edges where asked."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64).requires_grad_()
    leaves = [draw(len(cell.candidates), max(map(len, cell.candidates))) for cell in network.cells]
    return leaves + [draw(len(cell.candidates)) for cell in network.cells if edges]


def _mixtures(network: CellNetwork, leaves: list[Tensor], skip: float) -> list[Mixture]:
    cells = len(network.cells)
    edges = leaves[cells:] or [None] * cells
    return [Mixture(rows, weights, skip) for rows, weights in zip(leaves[:cells], edges, strict=True)]


def _images(count: int = 3, size: int = 8) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _buffers(network: CellNetwork) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        *itertools.product(SPACES, ["plain", "all"]),
        *itertools.product(["nasbench201", "s3"], ["edge weights", "skip", "skip and edge weights", "partial"]),
    ],
)
def test_values_and_all_gradients_equal_the_slow_mixture(name, variant, shared_network, naive_logits) -> None:
    options, edges, skip = VARIANTS[variant]
    network, images = shared_network(name, affine=False, channels=4, mixture=options), _images()
    leaves = _leaves(network, edges)
    network.seed_noise(3)
    fast = network(images, _mixtures(network, leaves, skip))
    slow = naive_logits(network, images, _mixtures(network, leaves, skip), 3)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
    everything = [*leaves, *network.parameters()]
    gradients = [
        torch.autograd.grad(functional.cross_entropy(logits, LABELS), everything, materialize_grads=True)
        for logits in (fast, slow)
    ]
    assert all(gradient.abs().sum() > 0 for gradient in gradients[0][: len(leaves)])
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_either_statistics_and_any_bn_equal_the_slow_mixture(
    name, affine, training, shared_network, naive_logits
) -> None:
    network, images = shared_network(name, affine=affine).train(training), _images()
    mixtures = _mixtures(network, _leaves(network, True), 0.0)
    slow = naive_logits(network, images, mixtures)
    torch.testing.assert_close(network(images, mixtures), slow, rtol=1e-10, atol=1e-10)


def _curvature(network: CellNetwork, run: Any, edges: bool, skip: float) -> tuple[Tensor, ...]:
    """The Hessian with respect to mixtures and weights times a fixed direction."""
    leaves = _leaves(network, edges)
    everything = [*leaves, *network.parameters()]
    network.seed_noise(3)
    loss = functional.cross_entropy(run(_images(), _mixtures(network, leaves, skip)), LABELS)
    gradients = torch.autograd.grad(loss, everything, create_graph=True, materialize_grads=True)
    generator = torch.Generator().manual_seed(5)
    directions = [torch.randn(leaf.shape, generator=generator, dtype=torch.float64) for leaf in everything]
    inner = sum((gradient * along).sum() for gradient, along in zip(gradients, directions, strict=True))
    assert isinstance(inner, Tensor)
    return torch.autograd.grad(inner, everything, materialize_grads=True)


@pytest.mark.parametrize(
    ("name", "variant"), [("nasbench201", "all"), ("darts7", "plain"), ("s1", "skip"), ("s3", "all"), ("s4", "partial")]
)
def test_hessian_vector_products_equal_those_of_the_slow_mixture(name, variant, shared_network, naive_logits) -> None:
    options, edges, skip = VARIANTS[variant]
    network = shared_network(name, affine=False, channels=4, mixture=options)
    fast = _curvature(network, network, edges, skip)
    slow = _curvature(network, lambda images, mixtures: naive_logits(network, images, mixtures, 3), edges, skip)
    assert fast[0].abs().max() > 1e-6
    for left, right in zip(fast, slow, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["nasbench201", "darts", "s3"])
def test_running_statistics_move_as_if_each_bn_had_read_its_values_itself(name, make_network) -> None:
    """Pools share one normalisation; affine BN, which cannot share it, records by itself."""
    network, plain = make_network(name, affine=False), make_network(name, affine=True)
    for left, right in zip(network.modules(), plain.modules(), strict=True):
        if isinstance(right, torch.nn.BatchNorm2d) and not getattr(left, "affine", True):
            torch.nn.init.ones_(right.weight), torch.nn.init.zeros_(right.bias)
    plain.load_state_dict(network.state_dict(), strict=False)
    mixtures = _mixtures(network, _leaves(network, False), 0.0)
    before = _buffers(network)
    for _ in range(2):
        network(_images(), mixtures), plain(_images(), mixtures)
    after = _buffers(network)
    assert not any(torch.equal(before[key], buffer) for key, buffer in after.items())
    for key, buffer in _buffers(plain).items():
        torch.testing.assert_close(after[key], buffer, rtol=1e-10, atol=1e-12, msg=key)


@pytest.mark.parametrize("kind", ["batch", "running"])
def test_statistics_that_are_not_recorded_change_no_buffer(kind, make_network) -> None:
    network = make_network("darts7", affine=False)
    before = _buffers(network)
    mixtures = _mixtures(network, _leaves(network, False), 0.0)
    with network.statistics(kind):
        inside = network(_images(), mixtures)
    assert all(torch.equal(before[key], buffer) for key, buffer in network.named_buffers())
    assert all(module.training for module in network.modules())
    expected = network.train(kind == "batch")(_images(), mixtures)
    torch.testing.assert_close(inside, expected, rtol=0, atol=0)


# ----------------------------------------------------------------------------------------------------- partial channels


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_a_shuffle_is_a_permutation_that_another_undoes(groups) -> None:
    values = torch.arange(6.0).view(1, 6, 1, 1)
    shuffled = shuffle_channels(values, groups)
    assert sorted(shuffled.flatten().tolist()) == values.flatten().tolist()
    assert torch.equal(shuffle_channels(shuffled, 6 // groups), values)
    assert groups != 2 or shuffled.flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_channels_that_go_around_get_no_gradient_from_the_operations(make_network) -> None:
    """With all operations at zero the first channels of the output are dead, the others pass through."""
    cell = make_network("nasbench201", channels=8, mixture=MixtureOptions(partial_channels=4)).cells[0]
    node = _images(2, 4)[:, :1].repeat(1, 8, 1, 1).requires_grad_()
    rows = torch.zeros(6, 5, dtype=torch.float64, requires_grad=True)
    output = shuffle_channels(cell([node], Mixture(rows)), 2)  # undoes the last shuffle: 8 channels in 4 groups
    assert output[:, :2].abs().max() == 0
    (through,) = torch.autograd.grad(output[:, 2:].sum(), node, retain_graph=True)
    assert through.abs().sum() > 0
    (of_rows,) = torch.autograd.grad(output[:, 2:].sum(), rows)
    assert of_rows[[3, 4, 5]].abs().max() == 0, "edges into the output node"
    assert of_rows[0].abs().max() > 0, "what this edge adds is shuffled before it goes around the next ones"


@pytest.mark.parametrize("size", [8, 7])
def test_partial_reductions_have_the_shapes_of_plain_ones(size, make_network) -> None:
    plain = make_network("s3", channels=4, size=size)
    partial = make_network("s3", channels=4, size=size, mixture=PARTIAL)
    state = torch.zeros(2, 12, size, size, dtype=torch.float64)
    for left, right in zip(plain.cells[:2], partial.cells[:2], strict=True):
        mixture = Mixture(torch.rand(14, 3, dtype=torch.float64))
        states = [state, state] if left.block.stride == 1 else [state, torch.zeros(2, 16, size, size).double()]
        assert left(states, mixture).shape == right(states, mixture).shape


def test_cellwise_partial_channels_equal_the_slow_mixture(make_network, naive_logits) -> None:
    network = make_network("nasbench201", channels=4, mixture=CELLWISE)
    mixtures = _mixtures(network, _leaves(network, True), 0.0)
    slow = naive_logits(network, _images(), mixtures)
    torch.testing.assert_close(network(_images(), mixtures), slow, rtol=1e-10, atol=1e-10)


# ---------------------------------------------------------------------------------------------------- auxiliary skips


@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_a_skip_of_zero_is_the_plain_mixture_bit_for_bit(name, make_network) -> None:
    plain, skipping = make_network(name, affine=False), make_network(name, affine=False, mixture=WITH_SKIP)
    shared = {key: value for key, value in skipping.named_parameters() if "auxiliary_skips" not in key}
    for key, value in plain.named_parameters():
        assert torch.equal(value, shared.pop(key)), "the initial weights must not shift"
    assert not shared
    skipping.load_state_dict(plain.state_dict(), strict=False)
    mixtures = _mixtures(plain, _leaves(plain, False), 0.0)
    assert torch.equal(plain(_images(), mixtures), skipping(_images(), mixtures))


def test_a_skip_of_one_half_besides_a_skip_connection_is_three_halves(make_network) -> None:
    cell = make_network("nasbench201", mixture=WITH_SKIP).cells[0]
    rows = torch.zeros(6, 5, dtype=torch.float64)
    rows[3, 1] = 1.0  # the edge from input to output
    edges = torch.tensor([0, 0, 0, 1, 0, 0], dtype=torch.float64)  # without the skips of the others
    node = _images(2, 4)[:, :2].contiguous()
    torch.testing.assert_close(cell([node], Mixture(rows, edges, 0.5)), 1.5 * node, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["darts", "s3"])
def test_stand_alone_networks_have_no_auxiliary_skips(name, make_network, architectures) -> None:
    network = make_network(name, mixture=WITH_SKIP)
    (architecture,) = architectures(network.space, 1)
    subnet = network.subnet(architecture)
    assert any("auxiliary_skips" in key for key in network.state_dict())
    assert not any("auxiliary_skips" in key for key in subnet.state_dict())
    path = network.path(architecture)
    network.seed_noise(0), subnet.seed_noise(0)
    assert torch.equal(network.eval()(_images(), path), subnet.eval()(_images()))


# --------------------------------------------------------------------------------------------------------------- sums


def test_weighted_sums_and_joined_channels_differentiate_twice() -> None:
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
    weights, values = draw(2), [draw(1, 2, 2, 3), draw(1, 2, 2, 3)]
    mix = lambda weights, *values: concatenate([weighted_sum(weights.unbind(), values), values[0]]).sin()
    torch.testing.assert_close(weighted_sum(weights.unbind(), values), weights[0] * values[0] + weights[1] * values[1])
    assert torch.autograd.gradcheck(mix, (weights, *values))
    assert torch.autograd.gradgradcheck(mix, (weights, *values))


def test_a_mixture_in_bfloat16_is_near_the_one_in_float32(make_network) -> None:
    network = make_network("nasbench201", channels=4).float()
    images = _images().float()

    def logits(precision: torch.dtype) -> Tensor:
        rows = torch.full((6, 5), 0.2, requires_grad=True)
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            output = network(images, [Mixture(rows)] * 3).float()
        output.sum().backward()
        assert rows.grad is not None
        assert rows.grad.abs().sum() > 0
        return output.detach()

    torch.testing.assert_close(logits(torch.bfloat16), logits(torch.float32), rtol=0.1, atol=0.1)


def test_a_product_in_bfloat16_is_rounded_once() -> None:
    """Not the weight before it, which would be one of the nearest 8 bits."""
    weight, images = torch.tensor(0.2003), torch.randn(1, 2, 16, 16).bfloat16()
    (found, again) = (weighted_sum([factor], [images]) for factor in (weight, weight.bfloat16().float()))
    assert torch.equal(found, (images.double() * float(weight)).bfloat16())
    assert not torch.equal(found, again)


# ------------------------------------------------------------------------------------------------------------- messages


def test_wrong_mixtures_and_options_are_refused(make_network) -> None:
    network = make_network("nasbench201")
    with pytest.raises(ValueError, match=r"must have 6 rows, one per edge, of 5 candidates, but .* \(6, 4\)"):
        network(_images(), [Mixture(torch.zeros(6, 4))] * 3)
    with pytest.raises(ValueError, match=r"auxiliary skip of 0.5 needs .* MixtureOptions\(auxiliary_skip=True\)"):
        network(_images(), [Mixture(torch.zeros(6, 5), skip=0.5)] * 3)
    with pytest.raises(ValueError, match="partial_channels must be at least 1, but got 0"):
        MixtureOptions(partial_channels=0)
    with pytest.raises(ValueError, match="Did you mean 'edges'"):
        MixtureOptions(partial_scope="edge")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must divide the 2 channels of every cell, but is 4"):
        make_network("nasbench201", mixture=MixtureOptions(partial_channels=4))
    with pytest.raises(ValueError, match="'cell' needs cells with one input, but normal cells have 2"):
        make_network("darts", mixture=CELLWISE)


def test_partial_networks_refuse_paths_and_subnets(make_network) -> None:
    network = make_network("nasbench201", mixture=PARTIAL)
    path = network.path((1,) * 6)
    with pytest.raises(ValueError, match="partial_channels 2 runs mixtures only, no discrete paths"):
        network(_images(), path)
    with pytest.raises(ValueError, match="runs mixtures only"):
        network.subnet((1,) * 6)


def test_initialised_networks_take_options() -> None:
    search_space = space("nasbench201")
    skeleton = search_space.supernet_skeleton(5, 8, channels=4, cells=1)
    network = CellNetwork.initialised(search_space, skeleton, 0, PARTIAL)
    assert copy.deepcopy(network).options == PARTIAL
    widths = {
        conv.weight.shape[0]
        for cell in network.cells[:1]
        for conv in itertools.islice(cell.modules(), 99)
        if isinstance(conv, torch.nn.Conv2d)
    }
    assert widths == {2}
