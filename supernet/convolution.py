"""Convolutions that autograd treats as linear where their weights are constants.

Torch keeps a convolution's input for the gradient of the weight, and computes that gradient's derivative when a
gradient is differentiated once more, even where the weight is a constant, as it is for the architecture's gradient.
"""

from __future__ import annotations

from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

_WIDEST_BLOCK = 16
"""Largest number of channels that oneDNN processes at once."""


class Geometry(NamedTuple):
    """Geometry of a convolution, in the order of the arguments of ``torch.nn.functional.conv2d``."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


def conv2d(node: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """``torch.nn.functional.conv2d``; with a constant weight it keeps no image for the backward passes.

    Args:
        node: Shape ``(n, C, H, W)``.
        weight: Shape ``(outputs, C / groups, K, K)``.
        bias: Shape ``(outputs,)``.
        geometry: Stride, padding, dilation and groups.

    Returns:
        Shape ``(n, outputs, H', W')``.
    """
    if _overruns(node, weight, geometry):
        down, right = geometry.stride
        node, geometry = node[:, :, ::down, ::right], geometry._replace(stride=(1, 1))
    if weight.requires_grad or not (node.requires_grad and torch.is_grad_enabled()):
        return functional.conv2d(node, weight, bias, *geometry)
    output: Tensor = _Convolution.apply(node, weight, geometry)
    return output if bias is None else output + bias.to(output.dtype).view(-1, 1, 1)


def _overruns(node: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Whether torch's gradient of the weight would write past its buffer: a crash, or wrong numbers."""
    # On a CPU a strided 1x1 convolution does if the node has fewer channels than a block of oneDNN: 8 with AVX2, where
    # it was seen, 16 with AVX-512 (issue 6035 of oneDNN). Subsampling the pixels first gives the same result.
    return (
        node.device.type == "cpu"
        and node.shape[1] < _WIDEST_BLOCK
        and tuple(weight.shape[2:]) == (1, 1)
        and max(geometry.stride) > 1
        and not any(geometry.padding)
    )


@final
class Convolution(nn.Conv2d):
    """``torch.nn.Conv2d`` that runs :func:`conv2d`."""

    def forward(self, node: Tensor) -> Tensor:
        """Convolved node."""
        return conv2d(node, self.weight, self.bias, geometry_of(self))


def geometry_of(layer: nn.Conv2d) -> Geometry:
    """Stride, padding, dilation and groups of a layer."""
    assert not isinstance(layer.padding, str)
    return Geometry(layer.stride, layer.padding, layer.dilation, layer.groups)


class _Convolution(torch.autograd.Function):
    """The convolution with a constant weight, without bias."""

    # Like all functions of this package without setup_context, for which torch would bind the signature in every call,
    # which takes longer than a small convolution. The price is that torch.func's transforms refuse them.
    @staticmethod
    def forward(ctx: Any, node: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.shape, ctx.geometry = node.shape, geometry
        ctx.save_for_backward(weight)
        return functional.conv2d(node, weight, None, *geometry)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        weight = ctx.saved_tensors[0].to(gradient.dtype)
        # If no second derivative can follow, the function object would only cost time.
        transposed = _Transposed.apply if torch.is_grad_enabled() else _transposed
        return transposed(gradient, weight, ctx.shape, ctx.geometry), None, None


class _Transposed(torch.autograd.Function):
    """The gradient of the input, linear in the gradient of the output: its derivative is the convolution."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        ctx.geometry = geometry
        ctx.save_for_backward(weight)
        return _transposed(gradient, weight, shape, geometry)

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        return conv2d(direction, weight, None, ctx.geometry), None, None, None


def _transposed(gradient: Tensor, weight: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
    # Only the shape and layout of the input matter.
    node = torch.empty(shape, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last)
    stride, padding, dilation, groups = geometry
    found: Tensor
    found, _, _ = torch.ops.aten.convolution_backward(
        gradient, node, weight, None, stride, padding, dilation, False, [0, 0], groups, [True, False, False]
    )
    return found
