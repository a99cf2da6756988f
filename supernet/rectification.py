"""A ReLU that saves its input instead of its output for the backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def relu_keeping_input(values: Tensor) -> Tensor:
    """ReLU for values that stay in memory anyway; differentiable any number of times.

    Torch's ReLU saves its output for the gradient: where nothing else needs it, one image more than necessary.

    Args:
        values: Any shape.

    Returns:
        The values, zero where they are negative.
    """
    output: Tensor = _ReLU.apply(values)
    return output


class _ReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return functional.relu(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        found: Tensor = torch.ops.aten.threshold_backward(gradient, values, 0)
        return found
