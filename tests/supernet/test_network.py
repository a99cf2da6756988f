"""The network against the slow reference, its subnets, its mixtures, its messages."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.nn import functional

from genas.spaces import NASBench201, space
from genas.supernet import CellNetwork
from genas.supernet.mixtures import Mixture

SPACES = ("nasbench201", "darts", "s1", "s3", "s4")  # darts7 and s2 hold a part of the operations of darts
EXACT = {"rtol": 1e-11, "atol": 1e-11}


def one_hot(network: CellNetwork, path: tuple[tuple[int, ...], ...]) -> list[Mixture]:
    """The mixtures that are the discrete path."""
    mixtures = []
    for cell, genes in zip(network.cells, path, strict=True):
        width = max(len(edge) for edge in cell.candidates)
        rows = torch.zeros(len(genes), width, dtype=torch.float64)
        for edge, (gene, candidates) in enumerate(zip(genes, cell.candidates, strict=True)):
            if gene in candidates:  # where none is not a candidate, no edge is a row of zeros
                rows[edge, candidates.index(gene)] = 1.0
        mixtures.append(Mixture(rows))
    return mixtures


# ------------------------------------------------------------------------------------------------------- slow reference


@pytest.mark.parametrize("name", SPACES)
def test_a_path_equals_the_slow_reference_with_batch_statistics(
    name, shared_network, random_images, architectures, naive_logits
) -> None:
    network, images = shared_network(name), random_images()
    for seed, architecture in enumerate(architectures(network.space, 5)):
        path = network.path(architecture)
        network.seed_noise(seed)
        torch.testing.assert_close(network(images, path), naive_logits(network, images, path, seed), **EXACT)


@pytest.mark.parametrize(
    ("name", "kind", "size"),
    [
        ("darts", "supernet", 8),
        ("s1", "supernet", 7),
        ("darts", "darts-cifar", 8),
        ("darts", "darts-cifar", 5),
        ("s4", "darts-cifar", 8),
        ("darts7", "darts-imagenet", 32),
        ("darts", "darts-imagenet", 27),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_darts_networks_equal_the_slow_reference(
    name, kind, size, training, shared_network, random_images, architectures, naive_logits
) -> None:
    network, images = shared_network(name, kind, size=size).train(training), random_images(3, size)
    for architecture in architectures(network.space, 2):
        path = network.path(architecture)
        network.seed_noise(1)
        torch.testing.assert_close(network(images, path), naive_logits(network, images, path, 1), **EXACT)


@pytest.mark.parametrize("options", [{"affine": True}, {"conv_bias": True}, {"cells": 2}])
@pytest.mark.parametrize("training", [True, False])
def test_nasbench201_variations_equal_the_slow_reference(
    options, training, shared_network, random_images, naive_logits
) -> None:
    """Without ``none`` the reference, which runs dead edges too, is the same function under any BN flags."""
    network, images = shared_network(**options).train(training), random_images()
    rng = np.random.default_rng(0)
    path = tuple(tuple(rng.integers(1, 5, size=6).tolist()) for _ in network.cells)
    assert len(set(path)) > 1, "every cell has its own genes here"
    torch.testing.assert_close(network(images, path), naive_logits(network, images, path), **EXACT)


@pytest.mark.parametrize("name", SPACES)
def test_a_mixture_equals_the_slow_reference(name, shared_network, random_images, naive_logits) -> None:
    network, images = shared_network(name), random_images(4)
    generator = torch.Generator().manual_seed(1)
    choice = []
    for cell in network.cells:
        width = max(len(edge) for edge in cell.candidates)
        weights = torch.rand(len(cell.candidates), width, generator=generator, dtype=torch.float64)
        choice.append(Mixture(weights))
    network.seed_noise(3)
    torch.testing.assert_close(network(images, choice), naive_logits(network, images, choice, 3), **EXACT)


@pytest.mark.parametrize("name", SPACES)
def test_one_hot_weights_equal_the_discrete_path(name, shared_network, random_images, architectures) -> None:
    network, images = shared_network(name), random_images(4)
    for architecture in architectures(network.space, 3):
        if name == "s4":  # a mixture draws the noise of every edge, a path only its own: no noise here
            architecture = tuple(min(gene, 4) for gene in architecture)
        path = network.path(architecture)
        torch.testing.assert_close(network(images, path), network(images, one_hot(network, path)), **EXACT)


@pytest.mark.parametrize("name", ["nasbench201", "darts", "s3"])
def test_gradients_equal_those_of_the_slow_reference(
    name, shared_network, random_images, architectures, naive_logits
) -> None:
    """In-place sums and shared ReLUs must not change a gradient, neither of a weight nor of the images."""
    network, labels = shared_network(name), torch.tensor([0, 1, 2, 3, 4, 0])
    for architecture in architectures(network.space, 2, seed=5):
        path = network.path(architecture)
        gradients = []
        for run in (network, lambda images, choice: naive_logits(network, images, choice)):
            images = random_images().requires_grad_()
            network.zero_grad(set_to_none=True)
            functional.cross_entropy(run(images, path), labels).backward()
            named = {key: p.grad.clone() for key, p in network.named_parameters() if p.grad is not None}
            gradients.append({"images": images.grad, **named})
        fast, slow = gradients
        dead = set(slow) - set(fast)  # the reference runs dead edges; what they get must be nothing
        assert all(slow[key].abs().max() < 1e-12 for key in dead)
        assert set(fast) <= set(slow)
        for key, gradient in fast.items():
            torch.testing.assert_close(gradient, slow[key], rtol=1e-9, atol=1e-11, msg=key)


@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_gradients_of_a_mixture_equal_those_of_the_slow_reference(
    name, shared_network, random_images, naive_logits
) -> None:
    network, images = shared_network(name), random_images(3)
    rng = torch.Generator().manual_seed(0)
    weights = [
        torch.rand(
            len(cell.candidates), len(cell.candidates[0]), generator=rng, dtype=torch.float64, requires_grad=True
        )
        for cell in network.cells
    ]
    targets = torch.tensor([0, 1, 2])
    everything, mixtures = [*weights, *network.parameters()], [Mixture(rows) for rows in weights]
    fast = torch.autograd.grad(functional.cross_entropy(network(images, mixtures), targets), everything)
    slow = torch.autograd.grad(functional.cross_entropy(naive_logits(network, images, mixtures), targets), everything)
    assert all(gradient.abs().sum() > 0 for gradient in fast[: len(weights)])
    for left, right in zip(fast, slow, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-10)


# -------------------------------------------------------------------------------------------------------------- subnets


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("training", [True, False])
def test_a_subnet_equals_the_supernet_on_its_path(name, training, shared_network, random_images, architectures) -> None:
    network, images = shared_network(name).train(training), random_images()
    for architecture in architectures(network.space, 2 if name != "nasbench201" else 6, seed=1):
        subnet = network.subnet(architecture)
        assert subnet.training is training
        for stochastic in (network, subnet):
            stochastic.seed_noise(7)
        torch.testing.assert_close(subnet(images), network(images, network.path(architecture)), rtol=0, atol=0)


def test_a_subnet_without_dead_edges_is_the_same_function_and_every_weight_is_read(
    shared_network, random_images
) -> None:
    network, images = shared_network("nasbench201").eval(), random_images()
    for genes in ((3, 3, 3, 1, 0, 0), (0, 3, 3, 1, 2, 1), (2, 4, 3, 3, 0, 0)):
        whole, pruned = network.subnet(genes), network.subnet(network.space.without_dead_edges(genes))
        torch.testing.assert_close(pruned(images), whole(images), rtol=0, atol=0)
        functional.cross_entropy(pruned(images), torch.zeros(len(images), dtype=torch.int64)).backward()
        assert all(parameter.grad is not None for parameter in pruned.parameters())
        assert len(list(pruned.parameters())) < len(list(whole.parameters()))


def test_a_subnet_shares_no_memory_and_its_training_leaves_the_supernet_alone(make_network, random_images) -> None:
    network = make_network("darts")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    subnet = network.subnet(network.space.parse("DARTS_V2"))
    assert all(parameter.requires_grad and parameter.grad is None for parameter in subnet.parameters())
    functional.cross_entropy(subnet(random_images()), torch.zeros(6, dtype=torch.int64)).backward()
    with torch.no_grad():
        for parameter in subnet.parameters():
            assert parameter.grad is not None
            parameter -= parameter.grad
    changed = [name for name, tensor in subnet.state_dict().items() if not torch.equal(tensor, before[name])]
    assert len(changed) > 0.9 * len(subnet.state_dict()), "the step must have trained the subnet"
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_subnet_holds_the_weights_of_its_path_only(make_network) -> None:
    network = make_network()
    subnet = network.subnet((3, 0, 1, 2, 4, 0))
    names = {name for name, _ in subnet.named_parameters() if ".edges." in name}
    assert names == {
        f"blocks.{cell}.edges.{edge}"
        for cell in (0, 2, 4)
        for edge in ("0.nor_conv_3x3.conv.weight", "3.nor_conv_1x1.conv.weight")
    }


def test_a_subnet_of_an_operation_that_the_network_does_not_hold_is_refused(make_network) -> None:
    network = make_network(candidates=[(0, 3)] * 6)
    assert network.subnet((3, 3, 0, 3, 3, 3)).candidates[2] == ()
    for missing in (2, 1):  # with weights and without
        with pytest.raises(ValueError, match=r"Edge 1 of this cell holds .*'nor_conv_3x3'.*asks for index"):
            network.subnet((3, missing, 3, 3, 3, 3))


# ----------------------------------------------------------------------------------------------------- keys, dead cells


def test_equal_supernet_keys_give_equal_logits_and_different_keys_do_not(shared_network, random_images) -> None:
    network, images, search_space = shared_network(), random_images(), NASBench201()
    everything = list(search_space.architectures())
    by_key: dict[object, list[tuple[int, ...]]] = {}
    for architecture in np.random.default_rng(0).permutation(everything)[:1500].tolist():
        by_key.setdefault(search_space.supernet_key(tuple(architecture)), []).append(tuple(architecture))
    groups = [group[:3] for group in by_key.values() if len(group) > 1][:25]
    assert len(groups) == 25
    seen = []
    with torch.no_grad():
        for group in groups:
            outputs = [network(images, network.path(architecture)) for architecture in group]
            for output in outputs[1:]:
                torch.testing.assert_close(output, outputs[0], **EXACT)
            seen.append(outputs[0])
        for first, second in itertools.combinations(range(len(seen)), 2):
            assert (seen[first] - seen[second]).abs().max() > 1e-6, (groups[first][0], groups[second][0])


@pytest.mark.parametrize("architecture", [(0,) * 6, (3, 3, 3, 0, 0, 0), (0, 0, 3, 0, 2, 3), (0, 0, 0, 0, 3, 3)])
@pytest.mark.parametrize("training", [True, False])
def test_a_disconnected_cell_gives_all_images_the_same_logits(
    architecture, training, make_network, random_images
) -> None:
    network = make_network(affine=True).train(training)
    logits = network(random_images(), network.path(architecture))
    assert logits.std(0).max() < 1e-12
    assert logits.std(1).min() > 1e-3, "they come from the head's weights"
    assert network.subnet(architecture)(random_images()).shape == (6, 5)


@pytest.mark.parametrize("source", ["path", "subnet"])
def test_dead_edges_are_not_run(source, make_network, random_images) -> None:
    """(3, 0, 3, 0, 2, 3) with node 2 unread: the edges into it must not even update their BN statistics."""
    network = make_network()
    genes = (3, 3, 3, 3, 1, 0)
    module = network if source == "path" else network.subnet(genes)
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    module(random_images(), network.path(genes) if source == "path" else None)
    changed = {
        name.split(".")[3]
        for name, b in module.named_buffers()
        if ".edges." in name and not torch.equal(b, before[name])
    }
    assert changed == {"0", "3"}


# ------------------------------------------------------------------------------------------------------------ structure


def test_cell_types_and_paths_follow_the_skeleton() -> None:
    for depth, reductions in ((8, {2, 5}), (14, {4, 9}), (20, {6, 13})):
        with torch.device("meta"):
            search_space = space("darts")
            skeleton = search_space.supernet_skeleton(10, 32, channels=2, cells=depth)
            network = CellNetwork(search_space, skeleton, candidates=[()] * 28)
        assert {position for position, kind in enumerate(network.cell_types) if kind == 1} == reductions
        genes = search_space.parse("DARTS_V2")
        assert network.path(genes) == tuple(
            genes[14:] if position in reductions else genes[:14] for position in range(depth)
        )
        assert [cell.block.stride for cell in network.cells] == [2 if k in reductions else 1 for k in range(depth)]
        assert [cell.block.channels for cell in network.cells] == [
            2 * 2 ** sum(r <= k for r in reductions) for k in range(depth)
        ]


def test_nasbench201_has_fifteen_cells_and_two_reductions() -> None:
    with torch.device("meta"):
        network = CellNetwork(NASBench201(), NASBench201().supernet_skeleton(10, 32), candidates=[()] * 6)
    assert network.cell_types == (0,) * 15
    assert [type(block).__name__ for block in network.blocks] == [
        "ResidualReduction" if position in (5, 11) else "Cell" for position in range(17)
    ]
    genes = (3, 0, 1, 2, 4, 3)
    assert network.path(genes) == (genes,) * 15


@pytest.mark.parametrize("size", [5, 7, 9])
def test_odd_images_run_and_shrink_by_rounding_up(size, make_network, random_images) -> None:
    for name, genes in (("nasbench201", (3,) * 6), ("darts", space("darts").parse("GENAS_FLATNESS_C100"))):
        network, sizes = make_network(name), []
        for block in network.blocks:
            block.register_forward_hook(lambda *hooked, sizes=sizes: sizes.append(hooked[-1].shape[-1]))
        network(random_images(2, size), network.path(genes))
        half = -(-size // 2)
        assert sizes == (
            [size, half, half, -(-half // 2), -(-half // 2)] if name == "nasbench201" else [size, half, -(-half // 2)]
        )


def test_conv_weights_are_channels_last_in_network_and_subnet(make_network) -> None:
    network = make_network(channels=4)
    for module in (network, network.subnet((3,) * 6)):
        kernels = [p for p in module.parameters() if p.dim() == 4]
        assert kernels
        assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_threads_draw_the_same_initial_weights_and_leave_the_global_generator() -> None:
    search_space = NASBench201()
    skeleton = search_space.supernet_skeleton(10, 8, channels=2, cells=1)
    expected = CellNetwork.initialised(search_space, skeleton, 0).state_dict()
    before = torch.random.get_rng_state()

    def draw(_: int) -> CellNetwork:
        network = CellNetwork.initialised(search_space, skeleton, 0)
        network.subnet((3, 1, 2, 4, 3, 1))
        return network

    with ThreadPoolExecutor(4) as pool:
        for network in pool.map(draw, range(8)):
            assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_initialised_depends_on_the_seed_alone_and_leaves_the_global_generator() -> None:
    search_space = NASBench201()
    skeleton = search_space.supernet_skeleton(10, 8, channels=2, cells=1)
    state = torch.random.get_rng_state()
    first = CellNetwork.initialised(search_space, skeleton, 3).state_dict()
    assert torch.equal(state, torch.random.get_rng_state())
    with torch.random.fork_rng():
        torch.manual_seed(99)
        second = CellNetwork.initialised(search_space, skeleton, 3).state_dict()
    with torch.device("meta"):
        third = CellNetwork.initialised(search_space, skeleton, 3).state_dict()
    other = CellNetwork.initialised(search_space, skeleton, 4).state_dict()
    assert all(torch.equal(tensor, third[name]) for name, tensor in first.items())
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert not torch.equal(first["stems.0.conv.weight"], other["stems.0.conv.weight"])


# ------------------------------------------------------------------------------------------------------- auxiliary head


@pytest.mark.parametrize(("kind", "size"), [("darts-cifar", 32), ("darts-imagenet", 224)])
def test_the_auxiliary_head_gives_logits_and_leaves_the_others_unchanged(
    kind, size, make_network, random_images
) -> None:
    network = make_network("darts", kind, size=size, cells=6, auxiliary=True).eval()
    images, path = random_images(2, size), network.path(network.space.parse("DARTS_V2"))
    logits, side = network.forward_with_auxiliary(images, path)
    assert logits.shape == side.shape == (2, 5)
    torch.testing.assert_close(network(images, path), logits, rtol=0, atol=0)
    assert (side - logits).abs().max() > 1e-3


def test_the_auxiliary_head_reads_the_cell_at_two_thirds(make_network, random_images) -> None:
    network = make_network("darts", "darts-cifar", size=32, cells=6, auxiliary=True).eval()
    outputs = []
    network.blocks[4].register_forward_hook(lambda *hooked: outputs.append(hooked[-1]))
    _, side = network.forward_with_auxiliary(random_images(2, 32), network.path(network.space.parse("DARTS_V1")))
    assert network.auxiliary is not None
    torch.testing.assert_close(side, network.auxiliary(outputs[0]), rtol=0, atol=0)


def test_auxiliary_logits_without_auxiliary_head_are_refused(make_network, random_images) -> None:
    network = make_network("darts", "darts-cifar")
    with pytest.raises(ValueError, match="must have an auxiliary head: build it with auxiliary=True"):
        network.forward_with_auxiliary(random_images(), network.path(network.space.parse("DARTS_V1")))


# ------------------------------------------------------------------------------------------------------------- messages


def test_wrong_choices_are_refused(make_network, random_images) -> None:
    network, images = make_network(), random_images(2)
    with pytest.raises(ValueError, match=r"one entry for each of the 3 cells, but has 2; network.path\(architecture\)"):
        network(images, network.path((3,) * 6)[:2])
    with pytest.raises(ValueError, match=r"several operations on an edge needs a choice: network.path\(architecture\)"):
        network(images)
    with pytest.raises(ValueError, match=r"operations of all 6 edges of nasbench201, but got 5"):
        make_network(candidates=[(3,)] * 5)
    with pytest.raises(ValueError, match=r"Gene 0 .* must be one of"):
        network.subnet((9,) * 6)


def test_a_path_through_an_operation_that_an_edge_does_not_hold_is_refused(make_network, random_images) -> None:
    network = make_network(candidates=[(0, 3)] * 6)
    with pytest.raises(
        ValueError, match=r"Edge 2 of this cell holds .*\['none', 'nor_conv_3x3'\].*index 4; choose one of \[0, 3\]"
    ):
        network(random_images(2), network.path((3, 3, 4, 3, 3, 3)))
