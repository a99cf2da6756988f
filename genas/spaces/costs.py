"""Parameters and multiply-accumulates of a network by arithmetic, without building it.

Convolutions and linear layers count one multiply-accumulate per weight and output pixel; BN, ReLU, pools and sums count
nothing. A bias counts one per output element in NAS-Bench-201 networks and nothing in DARTS networks, as in the
published numbers of each. Papers call them "FLOPs"; general profilers report larger numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from genas.spaces.base import Architecture, SearchSpace
from genas.spaces.skeleton import Block, Skeleton

_AUXILIARY_CHANNELS = (128, 768)


@final
@dataclass(frozen=True)
class Cost:
    """Cost of a network or of a part of it. Costs can be added.

    Args:
        params: Number of trainable weights.
        macs: Multiply-accumulates of the forward pass of one image.
    """

    params: int = 0
    macs: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.macs + other.macs)


def cost(
    space: SearchSpace, skeleton: Skeleton, architecture: Architecture | None = None, *, live_only: bool = False
) -> Cost:
    """Return the exact cost of the network that a skeleton and an architecture describe.

    The auxiliary head, where the skeleton has one, adds parameters but no multiply-accumulates, as it runs in training
    only.

    Args:
        space: Space of the architecture.
        skeleton: The network around the cells.
        architecture: The operations in the cells. ``None``: all candidates on every edge, the whole supernet.
        live_only: Whether to count only edges on a path from input to output, those that are run. By default dead edges
            of a NAS-Bench-201 cell count too, as in the benchmark. Valid DARTS cells have none.

    Returns:
        Number of parameters and of multiply-accumulates per image.

    Raises:
        ValueError: If the architecture is not valid, or the cells do not fit the skeleton, or an operation is unknown
            here.

    Example:
        >>> from genas.spaces.nasbench201 import NASBench201
        >>> space = NASBench201()
        >>> cost(space, space.standalone_skeleton(num_classes=10, image_size=32), (3, 3, 3, 3, 3, 3))
        Cost(params=1531546, macs=220119690)
    """
    inputs = len(skeleton.stem_channels)
    if any(cell.num_inputs != inputs for cell in space.cell_types):
        raise ValueError(
            f"The cells must have as many inputs as the skeleton feeds, {inputs} in {skeleton.kind}, but those of "
            f"{space.name} have {space.cell_types[0].num_inputs}. Use one of the space's own skeletons."
        )
    total = _around_edges(skeleton)
    for position, held in enumerate(_edge_operations(space, architecture, live_only=live_only)):
        cell = space.cell_types[position]
        for (source, _), names in zip(cell.edges, held, strict=True):
            for name in names:
                total += _on_edge(skeleton, position, name, from_input=source < cell.num_inputs)
    return total


# A search with a limit asks for the cost of every candidate, and of thousands that it rejects.
@functools.lru_cache(maxsize=64)
def _around_edges(skeleton: Skeleton) -> Cost:
    """Return the cost of the parts that all architectures share."""
    total = _total(_stem(skeleton)) + _total(_head(skeleton))
    for block in skeleton.blocks:
        total += _total(_residual(block) if block.kind == "residual" else _preprocessing(skeleton, block))
    return total + (_auxiliary_head(skeleton) if skeleton.auxiliary else Cost())


@functools.lru_cache(maxsize=4096)
def _on_edge(skeleton: Skeleton, cell_type: int, operation: str, *, from_input: bool) -> Cost:
    """Return the cost of an operation on an edge, in all cells of a type."""
    return _total(
        _operation(skeleton, operation, block.channels, block.stride if from_input else 1, block.node_size)
        for block in skeleton.blocks
        if block.kind == "cell" and block.cell_type == cell_type
    )


def _total(parts: Iterator[Cost]) -> Cost:
    return sum(parts, Cost())


def _edge_operations(
    space: SearchSpace, architecture: Architecture | None, *, live_only: bool
) -> list[list[tuple[str, ...]]]:
    """Return the names of the operations on each edge of each cell type."""
    if architecture is None:
        held = iter(space.candidates)
        return [[_names(space, next(held)) for _ in cell.edges] for cell in space.cell_types]
    genes = space.check(architecture)
    counted = space.without_dead_edges(genes) if live_only else genes
    return [[_names(space, [gene]) for gene in own] for own in space.split(counted)]


def _names(space: SearchSpace, genes: Sequence[int]) -> tuple[str, ...]:
    return tuple(space.operations[gene] for gene in genes)


def _operation(skeleton: Skeleton, name: str, channels: int, stride: int, size: int) -> Cost:
    """Return the cost of one operation with ``channels`` in and out and an output of ``size`` x ``size`` pixels."""
    norm = _batch_norm(channels, affine=skeleton.affine)
    match name.rpartition("_"):
        case _, _, "none" | "noise":
            return Cost()
        case "max_pool" | "avg_pool", _, _:
            return norm if skeleton.pool_bn else Cost()
        case "skip", _, "connect":
            return _factorised_reduction(skeleton, channels, channels, size) if stride > 1 else Cost()
        case "nor_conv", _, kernel:
            return _convolution(channels, channels, int(kernel[0]), size, bias=skeleton.conv_bias) + norm
        case "dil_conv", _, kernel:
            return _separable(channels, int(kernel[0]), size) + norm
        case "sep_conv", _, kernel:
            once = _separable(channels, int(kernel[0]), size) + norm
            return once + once
    raise ValueError(
        f"The cost of an operation must be known here, but {name!r} is not. Compute it from the built network."
    )


def _convolution(inputs: int, outputs: int, kernel: int, size: int, *, bias: bool = False) -> Cost:
    """Return the cost of a convolution with an output of ``size`` x ``size`` pixels."""
    params = inputs * outputs * kernel**2 + (outputs if bias else 0)
    return Cost(params, params * size**2)


def _separable(channels: int, kernel: int, size: int) -> Cost:
    """Return the cost of a depthwise convolution followed by a pointwise (1x1) one."""
    return _convolution(1, channels, kernel, size) + _convolution(channels, channels, 1, size)


def _factorised_reduction(skeleton: Skeleton, inputs: int, outputs: int, size: int) -> Cost:
    """Return the cost of two 1x1 convolutions of stride 2, each to half the channels, on even and on odd pixels."""
    return _convolution(inputs, outputs, 1, size) + _batch_norm(outputs, affine=skeleton.affine)


def _batch_norm(channels: int, *, affine: bool = True) -> Cost:
    return Cost(params=2 * channels if affine else 0)


def _stem(skeleton: Skeleton) -> Iterator[Cost]:
    channels, images = skeleton.stem_channels[-1], skeleton.image_channels
    if skeleton.kind != "darts-imagenet":
        yield _convolution(images, channels, 3, skeleton.image_size)
        yield _batch_norm(channels)
        return
    quarter, eighth = skeleton.stem_sizes
    yield _convolution(images, channels // 2, 3, -(-skeleton.image_size // 2))
    yield _batch_norm(channels // 2)
    yield _convolution(channels // 2, channels, 3, quarter)
    yield _batch_norm(channels)
    yield _convolution(channels, channels, 3, eighth)
    yield _batch_norm(channels)


def _preprocessing(skeleton: Skeleton, block: Block) -> Iterator[Cost]:
    """Yield the cost of bringing a DARTS cell's inputs to its channels and one size; NAS-Bench-201 has none."""
    if skeleton.kind == "nasbench201":
        return
    for channels, size in zip(block.in_channels, block.in_sizes, strict=True):
        if size != block.in_sizes[-1]:
            yield _factorised_reduction(skeleton, channels, block.channels, block.in_sizes[-1])
        else:
            yield _convolution(channels, block.channels, 1, size)
            yield _batch_norm(block.channels, affine=skeleton.affine)


def _residual(block: Block) -> Iterator[Cost]:
    """Yield the cost of NAS-Bench-201's reduction: two 3x3 convolutions with BN beside a 1x1 convolution without."""
    (inputs,), outputs, size = block.in_channels, block.out_channels, block.node_size
    yield _convolution(inputs, outputs, 3, size)
    yield _batch_norm(outputs)
    yield _convolution(outputs, outputs, 3, size)
    yield _batch_norm(outputs)
    yield _convolution(inputs, outputs, 1, size)


def _head(skeleton: Skeleton) -> Iterator[Cost]:
    features, classes = skeleton.blocks[-1].out_channels, skeleton.num_classes
    if skeleton.kind == "nasbench201":
        yield _batch_norm(features, affine=skeleton.head_affine)
        yield _convolution(features, classes, 1, 1, bias=True)
    else:
        yield _convolution(features, classes, 1, 1)
        yield Cost(params=classes)


def _auxiliary_head(skeleton: Skeleton) -> Cost:
    """Return the parameters only, as a cost. The ImageNet network lacks the second BN."""
    narrow, wide = _AUXILIARY_CHANNELS
    features = skeleton.blocks[skeleton.auxiliary_position].out_channels
    head = _convolution(features, narrow, 1, 1) + _batch_norm(narrow) + _convolution(narrow, wide, 2, 1)
    head += _batch_norm(wide) if skeleton.kind == "darts-cifar" else Cost()
    return Cost(params=head.params + (wide + 1) * skeleton.num_classes)
