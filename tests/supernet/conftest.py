"""Tiny float64 networks, synthetic images, and a slow reference that takes only the weights from the library's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from genas.data import ImageData, Split
from genas.seeding import derived_seed
from genas.spaces import SearchSpace, Skeleton, space
from genas.supernet import CellNetwork
from genas.supernet.mixtures import Mixture, MixtureOptions
from genas.supernet.operations import Noise

MakeNetwork = Callable[..., CellNetwork]
Naive = Callable[..., Tensor]
Noises = Mapping[nn.Module, torch.Generator]


# ------------------------------------------------------------------------------------------------------------- networks


def _skeleton(
    search_space: SearchSpace, kind: str, channels: int, cells: int | None, size: int, classes: int
) -> Skeleton:
    if kind == "supernet":
        depth = {"nasbench201": 1}.get(search_space.name, 3) if cells is None else cells
        return search_space.supernet_skeleton(classes, size, channels=channels, cells=depth)
    if kind == "nasbench201":
        return Skeleton("nasbench201", channels, 1 if cells is None else cells, classes, size)
    return Skeleton(kind, channels, 4 if cells is None else cells, classes, size)  # type: ignore[arg-type]


def _randomise(network: CellNetwork, seed: int) -> None:
    """Give every BN layer weights and statistics that are not its initial ones, so that a lost one is noticed."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                if module.affine:
                    module.weight.uniform_(0.5, 1.5, generator=generator)
                    module.bias.normal_(generator=generator)
                module.running_mean.normal_(generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)


def _make(
    name: str = "nasbench201",
    kind: str = "supernet",
    *,
    channels: int = 2,
    cells: int | None = None,
    size: int = 8,
    classes: int = 5,
    seed: int = 0,
    candidates: Sequence[Sequence[int]] | None = None,
    mixture: MixtureOptions = MixtureOptions(),  # noqa: B008 (frozen)
    **options: Any,
) -> CellNetwork:
    search_space = space(name)
    skeleton = replace(_skeleton(search_space, kind, channels, cells, size, classes), **options)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = CellNetwork(search_space, skeleton, candidates, mixture).double()
    _randomise(network, seed)
    network.seed_noise(seed)
    return network


@pytest.fixture
def make_network() -> MakeNetwork:
    """Builds a float64 network of a named space with random BN weights and statistics, in training mode."""
    return _make


@pytest.fixture(scope="session")
def shared_network() -> MakeNetwork:
    """As ``make_network``, but built once for all tests: for those that change no weight. It comes in training mode."""
    built = functools.cache(_make)
    return lambda *names, **options: built(*names, **options).train()


@pytest.fixture
def random_images() -> Callable[..., Tensor]:
    """Float64 images from a seed."""

    def images(count: int = 6, size: int = 8, seed: int = 0, channels: int = 3) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count, channels, size, size, generator=generator, dtype=torch.float64)

    return images


@pytest.fixture
def architectures() -> Callable[..., list[tuple[int, ...]]]:
    """Random architectures of a space from a seed."""

    def draw(search_space: SearchSpace, count: int, seed: int = 0) -> list[tuple[int, ...]]:
        rng = np.random.default_rng(seed)
        return [search_space.sample(rng) for _ in range(count)]

    return draw


# ----------------------------------------------------------------------------------------------------------------- data


@pytest.fixture
def make_data() -> Callable[..., ImageData]:
    """Synthetic images whose class is their colour, plus noise: learnable in a few steps."""

    def make(
        train: int = 20, valid: int = 12, classes: int = 4, size: int = 8, seed: int = 0, **options: Any
    ) -> ImageData:
        rng = np.random.default_rng(seed)
        colours = rng.integers(40, 216, size=(classes, 1, 1, 3))

        def split(count: int) -> Split:
            labels = rng.permutation(np.arange(count) % classes)
            pixels = colours[labels] + rng.integers(-40, 40, size=(count, size, size, 3))
            return Split.from_arrays(pixels.clip(0, 255).astype(np.uint8), labels.astype(np.int64))

        names = tuple(f"class {k}" for k in range(classes))
        settings = {"flip": True, "crop_padding": 1, "split_source": "synthetic", **options}
        return ImageData(
            "colours", names, (0.5, 0.4, 0.6), (0.25, 0.2, 0.3), split(train), split(valid), None, **settings
        )

    return make


# ------------------------------------------------------------------------------------------------------- slow reference


def _bn(layer: nn.BatchNorm2d, values: Tensor) -> Tensor:
    """BN by its definition; batch statistics in training mode, running ones else. Changes nothing."""
    if layer.training:
        mean, variance = values.mean((0, 2, 3)), values.var((0, 2, 3), unbiased=False)
    else:
        mean, variance = layer.running_mean, layer.running_var
    column = (1, -1, 1, 1)
    values = (values - mean.view(column)) / (variance.view(column) + layer.eps).sqrt()
    return values if layer.weight is None else values * layer.weight.view(column) + layer.bias.view(column)


def _conv(layer: nn.Conv2d, values: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    kernel = layer.weight.shape[-1]
    groups = values.shape[1] // layer.weight.shape[1]
    padding = dilation * (kernel // 2)
    return functional.conv2d(values, layer.weight, layer.bias, stride, padding, dilation, groups)


def _factorised(module: Any, values: Tensor) -> Tensor:
    """Two 1x1 convolutions of stride 2: one on the pixels of even rows and columns, one on those of odd ones."""
    height, width = values.shape[-2:]
    values = functional.pad(values.relu(), (0, width % 2, 0, height % 2))
    even, odd = values[:, :, 0::2, 0::2], values[:, :, 1::2, 1::2]
    return _bn(module.bn, torch.cat([_conv(module.conv_even, even), _conv(module.conv_odd, odd)], dim=1))


def _windows(values: Tensor, stride: int, fill: float) -> Tensor:
    """All 3x3 windows around pixels, shape (n, C, H', W', 3, 3)."""
    return functional.pad(values, (1, 1, 1, 1), value=fill).unfold(2, 3, stride).unfold(3, 3, stride)


def _operation(name: str, module: Any, values: Tensor, stride: int, noise: Noises) -> Tensor:
    if name == "none":
        return torch.zeros_like(values[:, :, ::stride, ::stride])
    if name == "noise":
        shape = values[:, :, ::stride, ::stride].shape
        return torch.randn(shape, generator=noise[module], dtype=torch.float32).to(values.dtype)
    if name == "skip_connect":
        return values if stride == 1 else _factorised(module, values)
    if name.endswith("pool_3x3"):
        if name.startswith("max"):
            pooled = _windows(values, stride, -float("inf")).amax((-2, -1))
        else:
            inside = _windows(torch.ones_like(values), stride, 0.0).sum((-2, -1))
            pooled = _windows(values, stride, 0.0).sum((-2, -1)) / inside
        return pooled if module.bn is None else _bn(module.bn, pooled)
    values = values.relu()
    if name.startswith("nor_conv"):
        return _bn(module.bn, _conv(module.conv, values, stride))
    if name.startswith("dil_conv"):
        return _bn(module.bn, _conv(module.conv, _conv(module.depthwise, values, stride, dilation=2)))
    first, second = module.first, module.second
    middle = _bn(first.bn, _conv(first.conv, _conv(first.depthwise, values, stride)))
    return _bn(second.bn, _conv(second.conv, _conv(second.depthwise, middle.relu())))


def _cell(cell: Any, states: list[Tensor], choice: Any, reduction: bool, shrunk: bool, noise: Noises) -> Tensor:
    """Every edge is run, dead ones too; sums are new tensors; each edge rectifies its source for itself."""
    inputs = [states[-1]]
    if cell.cell_type.num_inputs == 2:
        old, new = cell.preprocess
        older = _factorised(old, states[0]) if shrunk else _bn(old.bn, _conv(old.conv, states[0].relu()))
        inputs = [older, _bn(new.bn, _conv(new.conv, states[1].relu()))]
    groups, whole = cell.options.partial_channels, cell.options.partial_scope == "cell"
    if whole:
        inputs, around = [inputs[0][:, : inputs[0].shape[1] // groups]], inputs[0][:, inputs[0].shape[1] // groups :]
    nodes: list[Any] = [*inputs, *[0.0] * (cell.cell_type.num_nodes - len(inputs))]
    for edge, (source, target) in enumerate(cell.cell_type.edges):
        stride = 2 if reduction and source < len(inputs) else 1
        value = nodes[source]
        if isinstance(choice, Mixture):
            term = _mixed_edge(cell, edge, value, choice, stride, 1 if whole else groups, noise)
        else:
            name = cell.operations[choice[edge]]
            term = _operation(name, cell.edges[edge][name] if name != "none" else None, value, stride, noise)
        nodes[target] = nodes[target] + term
    output = nodes[-1] if cell.cell_type.output == "last" else torch.cat(nodes[len(inputs) :], dim=1)
    return _shuffled([output, around], groups) if whole else output


def _mixed_edge(
    cell: Any, edge: int, node: Tensor, mixture: Mixture, stride: int, groups: int, noise: Noises
) -> Tensor:
    """One edge by itself: candidates, auxiliary skip, what goes around them, shuffle, edge weight."""
    value, rest = node[:, : node.shape[1] // groups], node[:, node.shape[1] // groups :]
    total = torch.zeros_like(value[:, :, ::stride, ::stride])
    for weight, index in zip(mixture.operations[edge], cell.candidates[edge], strict=False):
        name = cell.operations[index]
        module = cell.edges[edge][name] if name != "none" else None
        total = total + weight * _operation(name, module, value, stride, noise)
    if mixture.skip:
        plain = value if stride == 1 else _factorised(cell.auxiliary_skips[str(edge)], value)
        total = total + mixture.skip * plain
    if groups > 1:
        total = _shuffled([total, rest if stride == 1 else functional.max_pool2d(rest, 2)], groups)
    return total if mixture.edges is None else mixture.edges[edge] * total


def _shuffled(parts: list[Tensor], groups: int) -> Tensor:
    """Channel by channel, the first of each of the groups, then the second of each, and so on."""
    values = torch.cat(parts, dim=1)
    size = values.shape[1] // groups
    return values[:, [group * size + position for position in range(size) for group in range(groups)]]


def _residual(block: Any, values: Tensor) -> Tensor:
    middle = _bn(block.conv_a.bn, _conv(block.conv_a.conv, values.relu(), stride=2))
    middle = _bn(block.conv_b.bn, _conv(block.conv_b.conv, middle.relu()))
    return middle + _conv(block.shortcut[1], functional.avg_pool2d(values, 2))


def _naive_logits(network: CellNetwork, images: Tensor, choice: Sequence[Any], noise_seed: int = 0) -> Tensor:
    noise = {
        module: torch.Generator().manual_seed(derived_seed(noise_seed, name))
        for name, module in network.named_modules()
        if isinstance(module, Noise)
    }
    kind, depth = network.skeleton.kind, network.skeleton.cells
    stems: Any = network.stems
    if kind == "darts-imagenet":
        first = _bn(stems[0][0].bn, _conv(stems[0][0].conv, images, stride=2))
        first = _bn(stems[0][2].bn, _conv(stems[0][2].conv, first.relu(), stride=2))
        states = [first, _bn(stems[1][1].bn, _conv(stems[1][1].conv, first.relu(), stride=2))]
    else:
        states = [_bn(stems[0].bn, _conv(stems[0].conv, images))] * 2
    blocks: Any = network.blocks
    if kind == "nasbench201":
        per_cell = iter(choice)
        for position, block in enumerate(blocks):
            if position in (depth, 2 * depth + 1):
                states = [states[1], _residual(block, states[1])]
            else:
                states = [states[1], _cell(block, states, next(per_cell), False, False, noise)]
    else:
        reductions, shrunk = (depth // 3, 2 * depth // 3), kind == "darts-imagenet"
        for position, (block, chosen) in enumerate(zip(blocks, choice, strict=True)):
            states = [states[1], _cell(block, states, chosen, position in reductions, shrunk, noise)]
            shrunk = position in reductions
    features = states[1]
    if kind == "nasbench201":
        assert network.head.bn is not None
        features = _bn(network.head.bn, features).relu()
    return functional.linear(features.mean((2, 3)), network.head.classifier.weight, network.head.classifier.bias)


@pytest.fixture
def naive_logits() -> Naive:
    """The reference: ``naive_logits(network, images, choice, noise_seed=0)``, from the network's weights and mode."""
    return _naive_logits
