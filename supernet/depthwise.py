"""Depthwise convolutions with backward passes that are fast on a CPU, too."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from genas.supernet.convolution import conv2d, geometry_of


@final
class DepthwiseConv(nn.Conv2d):
    """A depthwise convolution with an odd kernel, without bias, whose padding keeps the size at stride 1.

    On a CPU torch has no fast backward pass for kernels above 3x3 and for dilated ones: it takes ten to forty times as
    long as the forward pass. There it is composed of fast ones: the gradient of the input as a forward pass with the
    mirrored kernel, that of the weight three columns at a time, of every ``dilation``-th row and column.

    Args:
        channels: Channels of input and output.
        kernel: Side of the kernel in pixels.
        stride: Stride.
        dilation: Dilation.
    """

    def __init__(self, channels: int, kernel: int, stride: int, dilation: int) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)

    def forward(self, node: Tensor) -> Tensor:
        """Convolved node, shape ``(n, C, ceil(H / stride), ceil(W / stride))``."""
        kernel, stride, dilation = self.kernel_size[0], self.stride[0], self.dilation[0]
        native_is_fast = dilation == 1 and (kernel == 3 or stride > 1)
        if native_is_fast or node.device.type != "cpu" or not torch.is_grad_enabled() or stride not in (1, dilation):
            return conv2d(node, self.weight, None, geometry_of(self))
        if stride > 1:  # it reads only every second pixel: the same as stride 1 without dilation on these
            node, dilation = node[:, :, ::stride, ::stride], 1
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):
            precision = torch.get_autocast_dtype("cpu")
            node, weight = node.to(precision), weight.to(precision)
        return depthwise_conv(node, weight, dilation)


def depthwise_conv(node: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """The convolution of :class:`DepthwiseConv` at stride 1, differentiable any number of times.

    Args:
        node: Shape ``(n, C, H, W)``.
        weight: Shape ``(C, 1, K, K)`` with odd ``K``.
        dilation: Dilation.

    Returns:
        Shape ``(n, C, H, W)``.
    """
    output: Tensor = _Convolution.apply(node, weight, dilation)
    return output


class _Convolution(torch.autograd.Function):
    """``y[h] = sum_k w[k] x[h + dilation * (k - K // 2)]``, in both dimensions."""

    @staticmethod
    def forward(ctx: Any, node: Tensor, weight: Tensor, dilation: int) -> Tensor:
        ctx.dilation = dilation
        ctx.save_for_backward(node if ctx.needs_input_grad[1] else None, weight)
        padding = dilation * (weight.shape[-1] // 2)
        return functional.conv2d(node, weight, None, 1, padding, dilation, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        node, weight = ctx.saved_tensors
        of_node = of_weight = None
        if ctx.needs_input_grad[0]:
            of_node = depthwise_conv(gradient, weight.flip(2, 3), ctx.dilation)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(node, gradient, weight.shape[-1], ctx.dilation)
        return of_node, of_weight, None


class _WeightGradient(torch.autograd.Function):
    """``v[k] = sum_h g[h] x[h + dilation * (k - K // 2)]``, in both dimensions: bilinear in ``x`` and ``g``."""

    @staticmethod
    def forward(ctx: Any, node: Tensor, gradient: Tensor, kernel: int, dilation: int) -> Tensor:
        ctx.dilation = dilation
        ctx.save_for_backward(node, gradient)
        if dilation > 1:
            node, gradient = _phases(node, dilation), _phases(gradient, dilation)
        if kernel == 3:
            return _native(node, gradient, (3, 3), (1, 1))
        width, half = gradient.shape[-1], kernel // 2
        node = functional.pad(node, (half, half))
        parts = []
        for start in range(0, kernel, 3):
            columns = min(3, kernel - start)
            window = node[..., start : start + width + columns - 1]
            parts.append(_native(window, gradient, (kernel, columns), (half, 0)))
        return torch.cat(parts, dim=3)

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        node, gradient = ctx.saved_tensors
        of_node = of_gradient = None
        if ctx.needs_input_grad[0]:
            of_node = depthwise_conv(gradient, direction.flip(2, 3), ctx.dilation)
        if ctx.needs_input_grad[1]:
            of_gradient = depthwise_conv(node, direction, ctx.dilation)
        return of_node, of_gradient, None, None


def _weight_gradient(node: Tensor, gradient: Tensor, kernel: int, dilation: int) -> Tensor:
    result: Tensor = _WeightGradient.apply(node, gradient, kernel, dilation)
    return result


def _phases(values: Tensor, dilation: int) -> Tensor:
    """Every ``dilation``-th row and column as an image of its own, shape ``(dilation ** 2 * n, C, H', W')``."""
    height, width = values.shape[-2:]
    if height % dilation or width % dilation:
        values = functional.pad(values, (0, -width % dilation, 0, -height % dilation))
    count, channels, height, width = values.shape
    split = values.view(count, channels, height // dilation, dilation, width // dilation, dilation)
    rows = split.permute(3, 5, 0, 2, 4, 1).reshape(-1, height // dilation, width // dilation, channels)
    return rows.permute(0, 3, 1, 2)


def _native(node: Tensor, gradient: Tensor, kernel: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """Torch's own gradient of a weight, which is fast up to three columns."""
    channels = node.shape[1]
    weight = node.new_empty(channels, 1, *kernel)
    one, none = [1, 1], [0, 0]
    result: Tensor
    _, result, _ = torch.ops.aten.convolution_backward(
        gradient, node, weight, None, one, padding, one, False, none, channels, [False, True, False]
    )
    return result
