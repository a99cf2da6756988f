"""Depthwise convolutions with fast backward passes against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from genas.supernet.depthwise import DepthwiseConv, depthwise_conv


def _convolution(kernel: int, stride: int, dilation: int) -> DepthwiseConv:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DepthwiseConv(3, kernel, stride, dilation).double()


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_output_and_gradients_equal_torchs(kernel, stride, dilation, size) -> None:
    layer = _convolution(kernel, stride, dilation)
    generator = torch.Generator().manual_seed(1)
    node = torch.randn(2, 3, *size, generator=generator, dtype=torch.float64, requires_grad=True)
    output = layer(node)
    padding = dilation * (kernel // 2)
    expected = functional.conv2d(node, layer.weight, None, stride, padding, dilation, groups=3)
    direction = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    fast = torch.autograd.grad(output, (node, layer.weight), direction)
    slow = torch.autograd.grad(expected, (node, layer.weight), direction)
    for left, right in zip((output, *fast), (expected, *slow), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(layer(node), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dilation", [1, 2])
def test_second_derivatives_are_exact(dilation) -> None:
    generator = torch.Generator().manual_seed(0)
    node = torch.randn(1, 2, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 5, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    function = lambda node, weight: depthwise_conv(node, weight, dilation).sin()
    assert torch.autograd.gradcheck(function, (node, weight), fast_mode=True)
    assert torch.autograd.gradgradcheck(function, (node, weight), fast_mode=True)


def test_autocast_computes_in_the_narrow_type() -> None:
    layer = _convolution(5, 1, 1).float()
    node = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(node)
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    assert node.grad is not None
    assert node.grad.dtype == torch.float32
    expected = torch.autograd.grad(layer(node).sum(), layer.weight)[0]
    torch.testing.assert_close(layer.weight.grad, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("learns", "images"), [(True, 1), (False, 0)])
def test_a_constant_weight_keeps_no_image_for_the_backward_pass(learns: bool, images: int) -> None:
    node = torch.randn(2, 4, 8, 8, requires_grad=True)
    weight = torch.randn(4, 1, 5, 5, requires_grad=learns)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        depthwise_conv(node, weight, 2).sum().backward()
    assert sum(tensor.shape == node.shape for tensor in kept) == images
    assert (weight.grad is not None) == learns
