"""Sums of weighted outputs with as few passes over memory as torch allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


def weighted_norm(bn: nn.Module, values: Tensor, weight: Tensor) -> Tensor:
    """``weight * bn(values)`` with the weight inside the BN: no further pass, and no output kept for its gradient.

    Args:
        bn: The BN layer; one that was folded away is run as it is.
        values: What it normalises, shape ``(n, C, H, W)``.
        weight: A scalar.

    Returns:
        A new tensor of the shape of ``values``.
    """
    if not isinstance(bn, nn.BatchNorm2d):
        output: Tensor = weight * bn(values)
        return output
    scale = weight.expand(values.shape[1]).contiguous() if bn.weight is None else weight * bn.weight
    shift = None if bn.bias is None else weight * bn.bias
    if not uses_batch_statistics(bn):
        return functional.batch_norm(values, bn.running_mean, bn.running_var, scale, shift, False, 0.0, bn.eps)
    if not records(bn):
        return functional.batch_norm(values, None, None, scale, shift, True, 0.0, bn.eps)
    return functional.batch_norm(
        values, bn.running_mean, bn.running_var, scale, shift, True, _next_momentum(bn), bn.eps
    )


def uses_batch_statistics(bn: nn.BatchNorm2d) -> bool:
    """Whether the layer, as it is set now, normalises by the statistics of the batch."""
    return bn.training or bn.running_mean is None


def records(bn: nn.BatchNorm2d) -> bool:
    """Whether the layer, as it is set now, moves its running statistics."""
    return bn.training and bn.track_running_stats and bn.running_mean is not None


class Normalized(NamedTuple):
    """Values by their own statistics, for several BN layers that read the same ones.

    Args:
        values: With mean 0 and variance 1 in each channel.
        mean: Of each channel before, shape ``(C,)``.
        variance: Unbiased, of each channel before, shape ``(C,)``.
    """

    values: Tensor
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, values: Tensor, eps: float) -> Normalized:
        """Normalise values of shape ``(n, C, H, W)``."""
        statistics = torch.promote_types(values.dtype, torch.float32)
        mean, variance = torch.zeros(2, values.shape[1], dtype=statistics, device=values.device)
        return cls(functional.batch_norm(values, mean, variance, None, None, True, 1.0, eps), mean, variance)

    def record(self, bn: nn.BatchNorm2d) -> None:
        """Move the running statistics of a layer as if it had normalised the values itself."""
        assert bn.running_mean is not None
        assert bn.running_var is not None
        momentum = _next_momentum(bn)
        bn.running_mean.lerp_(self.mean.to(bn.running_mean.dtype), momentum)
        bn.running_var.lerp_(self.variance.to(bn.running_var.dtype), momentum)


def _next_momentum(bn: nn.BatchNorm2d) -> float:
    """Count a batch, and return the share that it gets in the running statistics."""
    if bn.num_batches_tracked is not None:
        bn.num_batches_tracked.add_(1)
        if bn.momentum is None:
            return 1 / float(bn.num_batches_tracked)
    return 0.0 if bn.momentum is None else bn.momentum


def weighted_sum(weights: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
    """``sum_i weights[i] * values[i]`` as a new tensor, without keeping anything but the values.

    Args:
        weights: Scalars.
        values: Tensors of one shape, as many.

    Returns:
        A tensor of that shape.
    """
    output: Tensor = _WeightedSum.apply(torch.stack(list(weights)), *values)
    return output


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(weights: Tensor, *values: Tensor) -> Tensor:
        # Numbers, not tensors: so the product is rounded once, in a narrow type too. A GPU would have to wait for them.
        factors = weights.tolist() if weights.device.type == "cpu" else weights.to(values[0].dtype).unbind()
        total = values[0] * factors[0]
        for factor, value in zip(factors[1:], values[1:], strict=True):
            if isinstance(factor, float):
                total.add_(value, alpha=factor)
            else:
                total.addcmul_(value, factor)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weights, *values = ctx.saved_tensors
        needs_weights, *needs = ctx.needs_input_grad
        of_weights = None
        if needs_weights:
            of_weights = torch.stack([_inner(gradient, value) for value in values]).to(weights.dtype)
        factors = weights.unbind()
        of_values = [gradient * factor if need else None for need, factor in zip(needs, factors, strict=True)]
        return of_weights, *of_values


def _inner(first: Tensor, second: Tensor) -> Tensor:
    """The inner product of two images' pixels."""
    if first.dtype == second.dtype and first.dtype in (torch.float32, torch.float64):
        return torch.dot(*(values.permute(0, 2, 3, 1).reshape(-1) for values in (first, second)))
    return (first * second).sum(dtype=torch.float32)


def concatenate(values: Sequence[Tensor]) -> Tensor:
    """Join channels, as torch.cat, but with gradients that lie densely in memory.

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
    def forward(*values: Tensor) -> Tensor:
        return torch.cat(values, dim=1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        ctx.channels = [value.shape[1] for value in inputs]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        parts = torch.split(gradient, ctx.channels, dim=1)
        return tuple(part.contiguous(memory_format=torch.channels_last) for part in parts)
