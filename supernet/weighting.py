"""Sums of weighted outputs with as few passes over memory as torch allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def weighted_sum(weights: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
    """``sum_i weights[i] * values[i]`` as a new tensor; saves only the values, and only if the weights need gradients.

    Args:
        weights: Scalars.
        values: As many tensors, all of one shape.

    Returns:
        A tensor of that shape.
    """
    output: Tensor = _WeightedSum.apply(torch.stack(list(weights)), *values)
    return output


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, *values: Tensor) -> Tensor:
        ctx.save_for_backward(weights, *(values if ctx.needs_input_grad[0] else ()))
        return _sum(weights, values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weights, *values = ctx.saved_tensors
        needs = ctx.needs_input_grad
        if not needs[0]:
            return None, *_products(gradient, weights, needs[1:])
        found: tuple[Tensor | None, ...] = _WeightedSumGradient.apply(gradient, needs, weights, *values)
        return found


class _WeightedSumGradient(torch.autograd.Function):
    """Inner products of a gradient with the values, and its products with the weights: linear in each of them."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, needs: tuple[bool, ...], weights: Tensor, *values: Tensor
    ) -> tuple[Tensor | None, ...]:
        ctx.save_for_backward(gradient, weights, *values)
        ctx.set_materialize_grads(False)
        of_weights = torch.stack([_inner(gradient, value) for value in values]).to(weights.dtype) if needs[0] else None
        return of_weights, *_products(gradient, weights, needs[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, on_weights: Tensor | None, *on_values: Tensor | None) -> tuple[Tensor | None, ...]:
        gradient, weights, *values = ctx.saved_tensors
        terms = [
            (weight, image) for weight, image in zip(weights.unbind(), on_values, strict=True) if image is not None
        ]
        of_values: list[Tensor | None] = [None] * len(values)
        if on_weights is not None:
            factors = on_weights.unbind()
            terms += zip(factors, values, strict=True)
            needs = ctx.needs_input_grad[3:]
            of_values = [gradient * factor if need else None for need, factor in zip(needs, factors, strict=True)]
        of_gradient = of_weights = None
        if terms:
            chosen, images = zip(*terms, strict=True)
            of_gradient = _sum(torch.stack(chosen), images)
        if ctx.needs_input_grad[2]:
            zero = weights.new_zeros(())
            products = [zero if image is None else _inner(image, gradient) for image in on_values]
            of_weights = torch.stack(products).to(weights.dtype)
        return of_gradient, None, of_weights, *of_values


def _products(gradient: Tensor, weights: Tensor, needs: Sequence[bool]) -> list[Tensor | None]:
    return [gradient * factor if need else None for need, factor in zip(needs, weights.unbind(), strict=True)]


def _sum(weights: Tensor, values: Sequence[Tensor]) -> Tensor:
    # Numbers, not tensors, so that the product is rounded once, even in a narrow type. A GPU would have to wait for
    # them.
    factors = weights.tolist() if weights.device.type == "cpu" else weights.to(values[0].dtype).unbind()
    total = values[0] * factors[0]
    for factor, value in zip(factors[1:], values[1:], strict=True):
        if isinstance(factor, float):
            total.add_(value, alpha=factor)
        else:
            total.addcmul_(value, factor)
    return total


def _inner(first: Tensor, second: Tensor) -> Tensor:
    """The inner product of two image tensors."""
    if first.dtype == second.dtype and first.dtype in (torch.float32, torch.float64):
        return torch.dot(*(values.permute(0, 2, 3, 1).reshape(-1) for values in (first, second)))
    return (first * second).sum(dtype=torch.float32)


def concatenate(values: Sequence[Tensor]) -> Tensor:
    """Join channels, as torch.cat, but with gradients that are dense in memory.

    Torch's are strided views, which every reader copies: a BN layer takes four times as long.

    Args:
        values: Shape ``(n, C_i, H, W)`` each.

    Returns:
        Shape ``(n, sum_i C_i, H, W)``.
    """
    output: Tensor = _Concatenation.apply(*values)
    return output


class _Concatenation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *values: Tensor) -> Tensor:
        ctx.channels = [value.shape[1] for value in values]
        return torch.cat(values, dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        parts = torch.split(gradient, ctx.channels, dim=1)
        return tuple(part.contiguous(memory_format=torch.channels_last) for part in parts)
