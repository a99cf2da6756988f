"""The supernets of the slow reference: every operation has its own ReLU, and every edge is run, even ``none``.

They share no code with genas. Their modules are in the same order, so that weights can be copied by position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Path = Sequence[Sequence[int]]
"""The genes of every cell."""

Weights = tuple[Tensor, Tensor | None]
"""Weights of the operations, shape ``(edges, operations)``, and of the edges of one cell."""

RunEdge = Callable[[int, Tensor], Tensor]
"""Function that applies the edge at a position to a node."""


class Zero(nn.Module):
    """The operation ``none``."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros of the strided shape."""
        return x[:, :, :: self.stride, :: self.stride] * 0


class FactorizedReduce(nn.Module):
    """Two 1x1 convolutions of stride 2, one of them a pixel further down and right."""

    def __init__(self, c_in: int, c_out: int, *, affine: bool = True) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(c_in, c_out // 2, 1, stride=2, bias=False)
        self.conv_2 = nn.Conv2d(c_in, c_out // 2, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(c_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Return half the size."""
        x = functional.relu(x)
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], dim=1))


def relu_conv_bn(c_in: int, c_out: int, kernel: int, stride: int = 1, *, affine: bool = True) -> nn.Sequential:
    """Return ReLU, convolution, BN."""
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(c_out, affine=affine))


def separable(c: int, kernel: int, stride: int, dilation: int, *, affine: bool = True) -> list[nn.Module]:
    """Return ReLU, depthwise convolution, pointwise convolution, BN."""
    padding = dilation * (kernel // 2)
    depthwise = nn.Conv2d(c, c, kernel, stride, padding, dilation, groups=c, bias=False)
    return [nn.ReLU(), depthwise, nn.Conv2d(c, c, 1, bias=False), nn.BatchNorm2d(c, affine=affine)]


def all_paths(edges: Sequence[tuple[int, int]], inputs: Sequence[int], outputs: Sequence[int]) -> list[tuple[int, ...]]:
    """Return every directed path from an input to an output, as positions of its edges."""

    def onward(node: int, path: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if node in outputs:
            yield path
        for position, (source, target) in enumerate(edges):
            if source == node:
                yield from onward(target, (*path, position))

    return [path for node in inputs for path in onward(node, ())]


def mixed_edge(operations: nn.ModuleList, x: Tensor, weights: Tensor, groups: int, stride: int) -> Tensor:
    """Return the output of a DARTS edge, or with more than one group of a PC-DARTS edge."""
    c = x.shape[1] // groups
    mixed = sum(weight * operation(x[:, :c]) for weight, operation in zip(weights, operations, strict=True))
    if groups == 1:
        return mixed
    rest = x[:, c:] if stride == 1 else functional.max_pool2d(x[:, c:], 2)
    n, channels, height, width = x.shape[0], x.shape[1], *mixed.shape[-2:]
    joined = torch.cat([mixed, rest], dim=1).view(n, groups, channels // groups, height, width)
    return joined.transpose(1, 2).reshape(n, channels, height, width)


class NASBench201Cell(nn.Module):
    """Four nodes; a node is the sum of its edges."""

    edges_of_cell = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    paths = all_paths(edges_of_cell, [0], [3])

    def __init__(self, c: int, *, groups: int = 1) -> None:
        super().__init__()
        self.channels, self.groups = c, groups
        self.edges = nn.ModuleList(nn.ModuleList(self.operations(c // groups)) for _ in self.edges_of_cell)

    @staticmethod
    def operations(c: int) -> list[nn.Module]:
        """Return all candidates of an edge."""
        convs = [relu_conv_bn(c, c, kernel, affine=False) for kernel in (1, 3)]
        return [Zero(1), nn.Identity(), *convs, nn.AvgPool2d(3, 1, 1, count_include_pad=False)]

    def forward(self, x: Tensor, genes: Sequence[int]) -> Tensor:
        """Return the output of the cell."""
        return self.run(x, lambda k, node: self.edges[k][genes[k]](node))

    def mix(self, x: Tensor, weights: Weights) -> Tensor:
        """Return the output of a mixture."""
        rows, edges = weights

        def edge(k: int, node: Tensor) -> Tensor:
            mixed = mixed_edge(self.edges[k], node, rows[k], self.groups, 1)
            return mixed if edges is None else edges[k] * mixed

        return self.run(x, edge)

    def run(self, x: Tensor, edge: RunEdge) -> Tensor:
        """Run every edge."""
        nodes = [x]
        for node in range(1, 4):
            incoming = [(k, source) for k, (source, target) in enumerate(self.edges_of_cell) if target == node]
            nodes.append(sum(edge(k, nodes[source]) for k, source in incoming))
        return nodes[-1]


class ResidualBlock(nn.Module):
    """NAS-Bench-201's reduction."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv_a = relu_conv_bn(c_in, c_out, 3, stride=2)
        self.conv_b = relu_conv_bn(c_out, c_out, 3)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(c_in, c_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return half the size, twice the channels."""
        return self.shortcut(x) + self.conv_b(self.conv_a(x))


class NASBench201Supernet(nn.Module):
    """Three stages of cells with residual blocks in between."""

    skip_is_identity_matrix = False
    """Whether the angle counts a skip connection as an identity matrix."""
    not_in_angle = ()

    def __init__(
        self, c: int, cells: int, classes: int, image_channels: int = 3, *, affine: bool = False, groups: int = 1
    ) -> None:
        super().__init__()
        if affine:
            raise ValueError("The reference of NAS-Bench-201 has no affine BN in its cells; set affine to false.")
        self.stem = nn.Sequential(nn.Conv2d(image_channels, c, 3, padding=1, bias=False), nn.BatchNorm2d(c))
        self.blocks = nn.ModuleList()
        for stage in range(3):
            if stage > 0:
                self.blocks.append(ResidualBlock(c, 2 * c))
                c *= 2
            self.blocks.extend(NASBench201Cell(c, groups=groups) for _ in range(cells))
        self.lastact = nn.Sequential(nn.BatchNorm2d(c), nn.ReLU())
        self.classifier = nn.Linear(c, classes)

    @property
    def cells(self) -> list[nn.Module]:
        """The searched cells."""
        return [block for block in self.blocks if isinstance(block, NASBench201Cell)]

    def path(self, genes: Sequence[int]) -> Path:
        """Return the same genes for every cell."""
        return [genes] * len(self.cells)

    def forward(self, x: Tensor, path: Path) -> Tensor:
        """Return the logits."""
        genes = iter(path)
        return self.run(x, lambda cell, x: cell(x, next(genes)))

    def mix(self, x: Tensor, weights: Sequence[Weights]) -> Tensor:
        """Return the logits of mixtures, one per cell."""
        each = iter(weights)
        return self.run(x, lambda cell, x: cell.mix(x, next(each)))

    def run(self, x: Tensor, run_cell: Callable[..., Tensor]) -> Tensor:
        """Run every block."""
        x = self.stem(x)
        for block in self.blocks:
            x = run_cell(block, x) if isinstance(block, NASBench201Cell) else block(x)
        return self.classifier(functional.adaptive_avg_pool2d(self.lastact(x), 1).flatten(1))


class DARTSCell(nn.Module):
    """Two inputs, four nodes; the output joins the nodes' channels."""

    edges_of_cell = tuple((source, target) for target in range(2, 6) for source in range(target))
    paths = all_paths(edges_of_cell, [0, 1], [2, 3, 4, 5])

    def __init__(
        self,
        c_before: int,
        c_in: int,
        c: int,
        *,
        reduction: bool,
        reduction_before: bool,
        affine: bool = True,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.channels, self.reduction, self.affine, self.groups = c, reduction, affine, groups
        self.preprocess0 = (
            FactorizedReduce(c_before, c, affine=affine)
            if reduction_before
            else relu_conv_bn(c_before, c, 1, affine=affine)
        )
        self.preprocess1 = relu_conv_bn(c_in, c, 1, affine=affine)
        self.strides = [2 if reduction and source < 2 else 1 for source, _ in self.edges_of_cell]
        self.edges = nn.ModuleList(nn.ModuleList(self.operations(c // groups, stride)) for stride in self.strides)

    def operations(self, c: int, stride: int) -> list[nn.Module]:
        """Return all candidates of an edge."""
        affine = self.affine
        separables = lambda kernel: (
            *separable(c, kernel, stride, 1, affine=affine),
            *separable(c, kernel, 1, 1, affine=affine),
        )
        return [
            Zero(stride),
            nn.Sequential(nn.MaxPool2d(3, stride, 1), nn.BatchNorm2d(c, affine=affine)),
            nn.Sequential(nn.AvgPool2d(3, stride, 1, count_include_pad=False), nn.BatchNorm2d(c, affine=affine)),
            nn.Identity() if stride == 1 else FactorizedReduce(c, c, affine=affine),
            *[nn.Sequential(*separables(kernel)) for kernel in (3, 5)],
            *[nn.Sequential(*separable(c, kernel, stride, 2, affine=affine)) for kernel in (3, 5)],
        ]

    def forward(self, before: Tensor, x: Tensor, genes: Sequence[int]) -> Tensor:
        """Return the output of the cell."""
        return self.run(before, x, lambda k, node: self.edges[k][genes[k]](node))

    def mix(self, before: Tensor, x: Tensor, weights: Weights) -> Tensor:
        """Return the output of a mixture."""
        rows, edges = weights

        def edge(k: int, node: Tensor) -> Tensor:
            mixed = mixed_edge(self.edges[k], node, rows[k], self.groups, self.strides[k])
            return mixed if edges is None else edges[k] * mixed

        return self.run(before, x, edge)

    def run(self, before: Tensor, x: Tensor, edge: RunEdge) -> Tensor:
        """Run every edge."""
        nodes = [self.preprocess0(before), self.preprocess1(x)]
        for node in range(2, 6):
            incoming = [(k, source) for k, (source, target) in enumerate(self.edges_of_cell) if target == node]
            nodes.append(sum(edge(k, nodes[source]) for k, source in incoming))
        return torch.cat(nodes[2:], dim=1)


class DARTSSupernet(nn.Module):
    """DARTS' search network."""

    skip_is_identity_matrix = True
    not_in_angle = ("classifier.bias",)

    def __init__(
        self, c: int, cells: int, classes: int, image_channels: int = 3, *, affine: bool = True, groups: int = 1
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(image_channels, 3 * c, 3, padding=1, bias=False), nn.BatchNorm2d(3 * c))
        self.cells = nn.ModuleList()
        c_before = c_in = 3 * c
        reduction_before = False
        for position in range(cells):
            reduction = position in (cells // 3, 2 * cells // 3)
            c *= 2 if reduction else 1
            self.cells.append(
                DARTSCell(
                    c_before,
                    c_in,
                    c,
                    reduction=reduction,
                    reduction_before=reduction_before,
                    affine=affine,
                    groups=groups,
                )
            )
            c_before, c_in, reduction_before = c_in, 4 * c, reduction
        self.classifier = nn.Linear(c_in, classes)

    def path(self, genes: Sequence[int]) -> Path:
        """Return the first half of the genes for normal cells, the second for reduction cells."""
        return [genes[14:] if cell.reduction else genes[:14] for cell in self.cells]

    def forward(self, x: Tensor, path: Path) -> Tensor:
        """Return the logits."""
        genes = iter(path)
        return self.run(x, lambda cell, before, x: cell(before, x, next(genes)))

    def mix(self, x: Tensor, weights: Sequence[Weights]) -> Tensor:
        """Return the logits of mixtures, one per cell."""
        each = iter(weights)
        return self.run(x, lambda cell, before, x: cell.mix(before, x, next(each)))

    def run(self, x: Tensor, run_cell: Callable[..., Tensor]) -> Tensor:
        """Run every cell."""
        before = x = self.stem(x)
        for cell in self.cells:
            before, x = x, run_cell(cell, before, x)
        return self.classifier(functional.adaptive_avg_pool2d(x, 1).flatten(1))
