"""The candidate operations of the cells.

Every operation maps a node of ``C`` channels to ``C`` channels at stride 1 or 2. Operations that start with a ReLU do
not apply it themselves: they declare ``rectified = True`` and receive the rectified node, so that a cell rectifies each
node once for all of its readers.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from genas.spaces.skeleton import Skeleton
from genas.supernet.batch_norm import BatchNorm2d, weighted_norm
from genas.supernet.convolution import Convolution, Geometry, conv2d
from genas.supernet.depthwise import DepthwiseConv


class Operation(nn.Module):
    """Interface of an operation to its cell."""

    rectified: ClassVar[bool] = False
    """Whether the operation reads the rectified node."""

    output_is_free: ClassVar[bool] = False
    """Whether the output is a new tensor that nothing needs later, such as the backward pass: it becomes a sum."""

    def weighted(self, node: Tensor, weight: Tensor) -> Tensor:
        """The output times a weight, as a new tensor.

        Args:
            node: The input.
            weight: A scalar.

        Returns:
            A tensor of the shape of the operation's output.
        """
        output: Tensor = weight * self(node)
        return output


class NormalizedOperation(Operation, abc.ABC):
    """An operation that ends with BN, which absorbs the weight for free."""

    output_is_free: ClassVar[bool] = True
    bn: nn.BatchNorm2d

    @abc.abstractmethod
    def features(self, node: Tensor) -> Tensor:
        """The values that are normalised."""

    def forward(self, node: Tensor) -> Tensor:
        """The output of the operation."""
        output: Tensor = self.bn(self.features(node))
        return output

    def weighted(self, node: Tensor, weight: Tensor) -> Tensor:
        """The output times a weight; see :meth:`Operation.weighted`."""
        return weighted_norm(self.bn, self.features(node), weight)


class Skip(Operation):
    """The identity: a skip connection at stride 1."""

    def forward(self, node: Tensor) -> Tensor:
        """The node itself."""
        return node


class AveragePool(nn.Module):
    """3x3 average pooling with padding 1 that leaves the padding out of the mean.

    On a CPU in float32 it runs as a depthwise convolution with a constant kernel, whose border is then corrected:
    torch's average pooling of channels-last images takes two to four times as long.

    Args:
        stride: 1 or 2.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, node: Tensor) -> Tensor:
        """Pooled node, shape ``(n, C, ceil(H / stride), ceil(W / stride))``."""
        # A tracer (torch.export, torch.compile) would leave its own tensors in the caches below.
        if node.device.type != "cpu" or node.dtype != torch.float32 or torch.compiler.is_compiling():
            return functional.avg_pool2d(node, 3, self.stride, padding=1, count_include_pad=False)
        channels, height, width = node.shape[1:]
        pooled = conv2d(node, _ninths(channels), None, Geometry((self.stride,) * 2, (1, 1), (1, 1), channels))
        if torch.is_grad_enabled():  # one product is cheaper to differentiate than four small ones in place
            return pooled.mul_(_correction(channels, height, width, self.stride))
        for row, factor in _border(height, self.stride).items():
            pooled[:, :, row].mul_(factor)
        for column, factor in _border(width, self.stride).items():
            pooled[:, :, :, column].mul_(factor)
        return pooled


@functools.lru_cache(maxsize=64)
def _ninths(channels: int) -> Tensor:
    """The averaging kernel."""
    with torch.inference_mode(False):
        return torch.full((channels, 1, 3, 3), 1 / 9, device="cpu", dtype=torch.float32)


@functools.lru_cache(maxsize=64)
def _border(size: int, stride: int) -> dict[int, float]:
    """Factors of the outputs, along one dimension, whose kernel reaches into the padding."""
    inside = {out: min(at + 2, size) - max(at - 1, 0) for out, at in enumerate(range(0, size, stride))}
    return {out: 3 / count for out, count in inside.items() if count < 3}


@functools.lru_cache(maxsize=64)
def _correction(channels: int, height: int, width: int, stride: int) -> Tensor:
    """The factors of all outputs, shape ``(1, channels, ceil(height / stride), ceil(width / stride))``."""
    with torch.inference_mode(False), torch.no_grad():
        shape = (1, channels, -(-height // stride), -(-width // stride))
        factors = torch.ones(shape, device="cpu", dtype=torch.float32)
        for row, factor in _border(height, stride).items():
            factors[:, :, row] *= factor
        for column, factor in _border(width, stride).items():
            factors[:, :, :, column] *= factor
        return factors.contiguous(memory_format=torch.channels_last)


class Pool(Operation):
    """3x3 maximum or average pooling with padding 1; averages leave the padding out. DARTS' search network adds BN."""

    output_is_free: ClassVar[bool] = True

    def __init__(self, kind: str, channels: int, stride: int, skeleton: Skeleton) -> None:
        super().__init__()
        self.pool: nn.Module = nn.MaxPool2d(3, stride, padding=1) if kind == "max" else AveragePool(stride)
        self.bn = BatchNorm2d(channels, affine=skeleton.affine) if skeleton.pool_bn else None

    def forward(self, node: Tensor) -> Tensor:
        """Pooled node, shape ``(n, C, ceil(H / stride), ceil(W / stride))``."""
        pooled: Tensor = self.pool(node)
        return pooled if self.bn is None else self.bn(pooled)


class ConvBN(NormalizedOperation):
    """Convolution and BN; with the cell's ReLU before it, NAS-Bench-201's ReLU-Conv-BN and DARTS' preprocessing.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Side of the kernel in pixels; the padding keeps the size.
        stride: Stride of the convolution.
        affine: Whether the BN has a weight and a bias.
        bias: Whether the convolution has a bias.
    """

    rectified: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        affine: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.conv = Convolution(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=bias)
        self.bn = BatchNorm2d(out_channels, affine=affine)

    def features(self, node: Tensor) -> Tensor:
        """Convolution of the input."""
        output: Tensor = self.conv(node)
        return output


class DilConv(NormalizedOperation):
    """DARTS' dilated separable convolution: depthwise with dilation 2, pointwise, BN."""

    rectified: ClassVar[bool] = True

    def __init__(self, channels: int, kernel: int, stride: int, *, dilation: int = 2, affine: bool = True) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv(channels, kernel, stride, dilation)
        self.conv = Convolution(channels, channels, 1, bias=False)
        self.bn = BatchNorm2d(channels, affine=affine)

    def features(self, node: Tensor) -> Tensor:
        """Separable convolution of the input."""
        output: Tensor = self.conv(self.depthwise(node))
        return output


class SepConv(Operation):
    """DARTS' separable convolution: (ReLU, depthwise, pointwise, BN) twice; the first depthwise carries the stride."""

    rectified: ClassVar[bool] = True
    output_is_free: ClassVar[bool] = True

    def __init__(self, channels: int, kernel: int, stride: int, *, affine: bool = True) -> None:
        super().__init__()
        self.first = DilConv(channels, kernel, stride, dilation=1, affine=affine)
        self.second = DilConv(channels, kernel, 1, dilation=1, affine=affine)

    def forward(self, node: Tensor) -> Tensor:
        """Twice-applied separable convolution of the input."""
        output: Tensor = self.second(functional.relu(self.first(node), inplace=True))
        return output

    def weighted(self, node: Tensor, weight: Tensor) -> Tensor:
        """The output times a weight; see :meth:`Operation.weighted`."""
        return self.second.weighted(functional.relu(self.first(node), inplace=True), weight)


class FactorizedReduce(NormalizedOperation):
    """Halves the size without losing pixels: two strided 1x1 convolutions, one shifted by a pixel down and right.

    An odd image is padded with one row and one column of zeros for the second convolution.
    """

    rectified: ClassVar[bool] = True

    def __init__(self, in_channels: int, out_channels: int, *, affine: bool = True) -> None:
        super().__init__()
        self.conv_even = Convolution(in_channels, out_channels // 2, 1, stride=2, bias=False)
        self.conv_odd = Convolution(in_channels, out_channels - out_channels // 2, 1, stride=2, bias=False)
        self.bn = BatchNorm2d(out_channels, affine=affine)

    def features(self, node: Tensor) -> Tensor:
        """Reduced node before BN, shape ``(n, out_channels, ceil(H / 2), ceil(W / 2))``."""
        height, width = node.shape[-2:]
        shifted = functional.pad(node, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else node
        return torch.cat([self.conv_even(node), self.conv_odd(shifted[:, :, 1:, 1:])], dim=1)


class Noise(Operation):
    """S4's operation without information: standard normal noise of the node's shape (Zela et al., ICLR 2020).

    Draws from ``generator``, which the caller of the network seeds through
    :meth:`genas.supernet.CellNetwork.seed_noise`.
    """

    output_is_free: ClassVar[bool] = True
    generator: torch.Generator | None = None

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, node: Tensor) -> Tensor:
        """Standard normal noise.

        Returns:
            Noise of the shape of the strided node.

        Raises:
            RuntimeError: If the network's noise was not seeded.
        """
        if self.generator is None:
            raise RuntimeError(
                "A network with noise operations must be seeded before it runs: call network.seed_noise(seed)."
            )
        shape = node[:, :, :: self.stride, :: self.stride].shape
        noise = torch.randn(shape, generator=self.generator, device=self.generator.device, dtype=torch.float32)
        return noise.to(node.device, node.dtype)


Builder = Callable[[int, int, Skeleton], Operation]

BUILDERS: dict[str, Builder] = {
    "skip_connect": lambda channels, stride, skeleton: (
        Skip() if stride == 1 else FactorizedReduce(channels, channels, affine=skeleton.affine)
    ),
    "nor_conv_1x1": lambda channels, stride, skeleton: ConvBN(
        channels, channels, 1, stride=stride, affine=skeleton.affine, bias=skeleton.conv_bias
    ),
    "nor_conv_3x3": lambda channels, stride, skeleton: ConvBN(
        channels, channels, 3, stride=stride, affine=skeleton.affine, bias=skeleton.conv_bias
    ),
    "avg_pool_3x3": lambda channels, stride, skeleton: Pool("avg", channels, stride, skeleton),
    "max_pool_3x3": lambda channels, stride, skeleton: Pool("max", channels, stride, skeleton),
    "sep_conv_3x3": lambda channels, stride, skeleton: SepConv(channels, 3, stride, affine=skeleton.affine),
    "sep_conv_5x5": lambda channels, stride, skeleton: SepConv(channels, 5, stride, affine=skeleton.affine),
    "dil_conv_3x3": lambda channels, stride, skeleton: DilConv(channels, 3, stride, affine=skeleton.affine),
    "dil_conv_5x5": lambda channels, stride, skeleton: DilConv(channels, 5, stride, affine=skeleton.affine),
    "noise": lambda channels, stride, skeleton: Noise(stride),  # noqa: ARG005 (one signature for all builders)
}
"""Operation name to constructor ``(channels, stride, skeleton)``; ``none`` has no module: it is not run."""


def build_operation(name: str, channels: int, stride: int, skeleton: Skeleton) -> Operation:
    """Make one operation of a cell.

    Args:
        name: Operation name as in ``space.operations``, not ``none``.
        channels: Channels of input and output.
        stride: 1 or 2.
        skeleton: Determines whether BN is affine, pools have BN and convolutions a bias.

    Returns:
        The operation with torch's default initialisation.

    Raises:
        ValueError: If no operation has this name.
    """
    if name not in BUILDERS:
        raise ValueError(
            f"An operation must be one of {', '.join(BUILDERS)}, but got {name!r}; add its builder to BUILDERS."
        )
    return BUILDERS[name](channels, stride, skeleton)
