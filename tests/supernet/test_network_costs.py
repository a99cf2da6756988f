"""Weights and multiply-accumulates of built networks against ``genas.spaces.costs``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import nn

from genas.spaces import GENOTYPES, NONE, Cost, NASBench201, Skeleton, cost, space
from genas.supernet import CellNetwork


@pytest.fixture(autouse=True)
def _shapes_alone() -> Iterator[None]:
    """Weights and images without values: nothing is computed, so that networks of full size take no time."""
    with torch.device("meta"):
        yield


def alone(architecture: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The candidates of a stand-alone network."""
    return tuple((gene,) if gene != NONE else () for gene in architecture)


def count_params(network: CellNetwork) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def count_macs(network: CellNetwork) -> tuple[int, int]:
    """Multiply-accumulates of one image, seen by hooks: as the network runs, and with the edges that it leaves out."""
    total = 0

    def add(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Linear):
            # NAS-Bench-201's published numbers count the classifier's bias, DARTS' do not.
            total += module.weight.numel() + (module.out_features if network.skeleton.kind == "nasbench201" else 0)
        elif isinstance(module, nn.Conv2d):
            total += (module.weight[0].numel() + (module.bias is not None)) * output[0].numel()

    network.eval()
    for module in network.modules():
        module.register_forward_hook(add)
    skeleton = network.skeleton
    network(torch.zeros(1, skeleton.image_channels, skeleton.image_size, skeleton.image_size))
    live = total
    for cell in network.cells:
        genes = [edge[0] if edge else NONE for edge in cell.candidates]
        node = torch.zeros(1, cell.block.channels, cell.block.node_size, cell.block.node_size)
        for edge in set(range(len(genes))) - set(cell.cell_type.live_edges(genes)):
            if genes[edge] != NONE:
                cell.operation(edge, genes[edge])(node)
    return live, total


# -------------------------------------------------------------------------------------------------------- NAS-Bench-201


@pytest.mark.parametrize(
    ("cells", "options"),
    [(50, {}), (10, {"affine": False}), (10, {"affine": False, "conv_bias": True, "head_affine": False})],
)
def test_random_nasbench201_cells_cost_what_the_closed_form_says(cells, options) -> None:
    search_space, rng = NASBench201(), np.random.default_rng(0)
    skeleton = Skeleton("nasbench201", 4, 1, 10, 8, image_channels=1, **options)
    for _ in range(cells):
        architecture = search_space.sample(rng)
        network = CellNetwork(search_space, skeleton, alone(architecture))
        expected, live = (cost(search_space, skeleton, architecture, live_only=live) for live in (False, True))
        assert count_params(network) == expected.params
        assert count_macs(network) == (live.macs, expected.macs)
        pruned = CellNetwork(search_space, skeleton, alone(search_space.without_dead_edges(architecture)))
        assert (count_params(pruned), count_macs(pruned)) == (live.params, (live.macs, live.macs))


@pytest.mark.parametrize(
    ("index", "classes", "size"),
    [(0, 10, 32), (11, 10, 32), (284, 100, 32), (1462, 10, 32), (1651, 10, 32), (4317, 120, 16), (11472, 100, 32)],
)
def test_nasbench201_networks_at_full_size(index: int, classes: int, size: int) -> None:
    search_space = NASBench201()
    architecture, skeleton = search_space.from_index(index), search_space.standalone_skeleton(classes, size)
    network = CellNetwork(search_space, skeleton, alone(architecture))
    assert Cost(count_params(network), count_macs(network)[1]) == cost(search_space, skeleton, architecture)


def test_odd_images_cost_what_the_closed_form_says() -> None:
    search_space = NASBench201()
    skeleton = search_space.standalone_skeleton(10, 13, channels=2, cells=2)
    network = CellNetwork(search_space, skeleton, alone((3, 2, 1, 4, 3, 2)))
    assert count_macs(network)[0] == cost(search_space, skeleton, (3, 2, 1, 4, 3, 2)).macs


# ------------------------------------------------------------------------------------------------------------ supernets


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("name", ["nasbench201", "darts", "s1", "s3", "s4"])
def test_supernets_have_the_weights_of_the_closed_form(name: str, classes: int) -> None:
    search_space = space(name)
    skeleton = search_space.supernet_skeleton(classes, 32)
    assert count_params(CellNetwork(search_space, skeleton)) == cost(search_space, skeleton).params


# ---------------------------------------------------------------------------------------------------------------- DARTS


@pytest.mark.parametrize(
    ("genotype", "classes", "size", "channels"),
    [
        ("GENAS_FLATNESS_C10", 1000, 224, 52),
        ("GENAS_ANGLE_FLATNESS_C10", 1000, 224, 44),
        ("GENAS_FLATNESS_C100", 1000, 224, 46),
        ("GENAS_ANGLE_FLATNESS_C100", 1000, 224, 48),
        ("DARTS_V2", 1000, 224, 48),
        ("DARTS_V2", 10, 32, 36),
    ],
)
def test_darts_networks_at_full_size(genotype: str, classes: int, size: int, channels: int) -> None:
    search_space = space("darts")
    architecture = search_space.parse(GENOTYPES[genotype])
    skeleton = search_space.standalone_skeleton(classes, size, channels=channels)
    network = CellNetwork(search_space, skeleton, alone(architecture))
    assert Cost(count_params(network), count_macs(network)[0]) == cost(search_space, skeleton, architecture)


@pytest.mark.parametrize(
    ("kind", "size"), [("darts-search", 8), ("darts-search", 9), ("darts-cifar", 11), ("darts-imagenet", 45)]
)
def test_random_darts_cells_cost_what_the_closed_form_says(kind, size) -> None:
    search_space, rng = space("darts"), np.random.default_rng(1)
    for affine in (True, False):
        skeleton = Skeleton(kind, 4, 3, 10, size, affine=affine)
        for _ in range(4):
            architecture = search_space.sample(rng)
            network = CellNetwork(search_space, skeleton, alone(architecture))
            expected = cost(search_space, skeleton, architecture)
            assert (count_params(network), count_macs(network)[0]) == (expected.params, expected.macs)


@pytest.mark.parametrize(("kind", "size"), [("darts-cifar", 32), ("darts-imagenet", 224)])
def test_the_auxiliary_head_adds_the_weights_of_the_closed_form(kind, size) -> None:
    search_space = space("darts")
    skeleton = Skeleton(kind, 4, 6, 10, size, auxiliary=True)
    genes = search_space.parse("PC_DARTS_CIFAR")
    network = CellNetwork(search_space, skeleton, alone(genes))
    assert count_params(network) == cost(search_space, skeleton, genes).params
    assert count_macs(network)[0] == cost(search_space, skeleton, genes).macs, "it does not run in evaluation"
