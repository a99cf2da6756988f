"""Batch normalisation that absorbs an operation's weight, and that several edges can share."""

from __future__ import annotations

from typing import NamedTuple, final

from torch import Tensor, nn
from torch.nn import functional

from genas.supernet.batch_norm_function import batch_norm, check_batch


@final
class BatchNorm2d(nn.BatchNorm2d):
    """``torch.nn.BatchNorm2d`` with cheap second derivatives while it records no statistics."""

    def forward(self, values: Tensor) -> Tensor:
        """Normalised values."""
        if uses_batch_statistics(self) and not records(self):
            return batch_norm(values, self.weight, self.bias, self.eps)[0]
        if uses_batch_statistics(self):
            check_batch(values)
        output: Tensor = super().forward(values)
        return output


def weighted_norm(bn: nn.Module, values: Tensor, weight: Tensor) -> Tensor:
    """``weight * bn(values)`` with the weight inside the BN: no further pass, and no output kept for the backward pass.

    Args:
        bn: The BN layer, or what replaced it when it was folded.
        values: Its input, shape ``(n, C, H, W)``.
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
        return batch_norm(values, scale, shift, bn.eps)[0]
    check_batch(values)
    return functional.batch_norm(
        values, bn.running_mean, bn.running_var, scale, shift, True, _next_momentum(bn), bn.eps
    )


def uses_batch_statistics(bn: nn.BatchNorm2d) -> bool:
    """Whether the layer, in its current mode, normalises by the statistics of the batch."""
    return bn.training or bn.running_mean is None


def records(bn: nn.BatchNorm2d) -> bool:
    """Whether the layer, in its current mode, updates its running statistics."""
    return bn.training and bn.track_running_stats and bn.running_mean is not None


class Normalized(NamedTuple):
    """Values normalised by their own statistics, shared by several BN layers that read them.

    Args:
        values: Values with mean 0 and variance 1 in each channel.
        mean: Mean of each channel before normalisation, shape ``(C,)``.
        variance: Unbiased variance of each channel before normalisation, shape ``(C,)``.
    """

    values: Tensor
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, values: Tensor, eps: float) -> Normalized:
        """Normalise values of shape ``(n, C, H, W)``."""
        normalized, mean, inverse = batch_norm(values, None, None, eps)
        pixels = values.numel() // values.shape[1]
        return cls(normalized, mean, (inverse**-2 - eps) * (pixels / (pixels - 1)))

    def record(self, bn: nn.BatchNorm2d) -> None:
        """Update the running statistics of a layer as if it had normalised the values itself."""
        assert bn.running_mean is not None
        assert bn.running_var is not None
        momentum = _next_momentum(bn)
        bn.running_mean.lerp_(self.mean.to(bn.running_mean.dtype), momentum)
        bn.running_var.lerp_(self.variance.to(bn.running_var.dtype), momentum)


def _next_momentum(bn: nn.BatchNorm2d) -> float:
    """Count a batch and return its weight in the running statistics."""
    assert bn.num_batches_tracked is not None
    assert bn.momentum is not None
    bn.num_batches_tracked.add_(1)
    return bn.momentum
