"""Batch normalisation by the statistics of the batch, whose second derivatives cost about as much as its first ones.

Exact Hessian-vector products differentiate a gradient once more. For that torch makes some thirty passes over memory;
the closed form needs seven.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def batch_norm(values: Tensor, scale: Tensor | None, shift: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each channel by its own statistics; differentiable twice.

    Args:
        values: Shape ``(n, C, H, W)``.
        scale: Shape ``(C,)``; ``None``: one.
        shift: Shape ``(C,)``; ``None``: zero.
        eps: Added to the variance.

    Returns:
        The values less their mean, over their standard deviation, times scale, plus shift; the mean; and one over the
        standard deviation. The latter two have shape ``(C,)`` and carry no gradient.

    Raises:
        ValueError: If a channel has a single value.
    """
    check_batch(values)
    if scale is None:
        # Without a scale torch rounds the statistics of a narrow type to that type, and computes no sums on CUDA.
        wide = torch.promote_types(values.dtype, torch.float32)
        scale = torch.ones(values.shape[1], device=values.device, dtype=wide)
    output: tuple[Tensor, Tensor, Tensor] = _BatchNorm.apply(values, scale, shift, eps)
    return output


def check_batch(values: Tensor) -> None:
    """Refuse a batch that has no variance.

    Args:
        values: Shape ``(n, C, H, W)``.

    Raises:
        ValueError: If a channel has a single value.
    """
    if values.numel() == values.shape[1]:
        raise ValueError(
            f"Batch statistics need more than one value per channel, but the shape is {tuple(values.shape)}; take a "
            "larger batch, one that leaves no single image at the end, or larger images."
        )


class _BatchNorm(torch.autograd.Function):
    """The values normalised by their mean and standard deviation, times scale, plus shift."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, scale: Tensor, shift: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        output, mean, inverse = torch.native_batch_norm(values, scale, shift, None, None, True, 0.0, eps)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, inverse)
        ctx.save_for_backward(values, scale, mean, inverse)
        return output, mean, inverse

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        needs = ctx.needs_input_grad[:3]
        found = _BatchNormGradient.apply(gradient, *ctx.saved_tensors, ctx.eps)
        return *(part if need else None for part, need in zip(found, needs, strict=True)), None


class _BatchNormGradient(torch.autograd.Function):
    r"""The gradient of batch normalisation, with its own gradient in closed form.

    Per channel, with x the values, r = 1 / sigma, h = (x - mean) r, s the scale, g the gradient of the output, M the
    number of pixels and all sums over these,

    .. math:: d_x = s r \bigl(g - \tfrac1M \textstyle\sum g - \tfrac{h}{M} \sum g h\bigr), \quad
              d_s = \sum g h, \quad d_{shift} = \sum g.

    The backward pass receives a, b and c, and differentiates :math:`\langle a, d_x \rangle + b\, d_s + c\, d_{shift}`;
    h and r depend on x as h' = r (1 - 1/M - h h/M) and r' = -r r h / M.
    """

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, values: Tensor, scale: Tensor, mean: Tensor, inverse: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        found = _gradients(gradient, values, scale, mean, inverse, eps, [True, True, True])
        ctx.eps = eps
        ctx.save_for_backward(gradient, values, scale, mean, inverse, *found[1:])
        ctx.set_materialize_grads(False)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, a: Tensor | None, b: Tensor | None, c: Tensor | None) -> tuple[Tensor | None, ...]:
        g, x, scale, mean, r, sum_gh, sum_g = ctx.saved_tensors
        pixels = x.numel() // x.shape[1]
        zero, one = torch.zeros_like(r), torch.ones_like(r)
        b, c = (zero if part is None else part for part in (b, c))
        factor = scale * r
        if a is None:  # any image can replace it, with a factor of zero
            a, factor, sum_ah, sum_a, inner = x, zero, zero, zero, zero
        else:
            _, sum_ah, sum_a = _gradients(a, x, one, mean, r, ctx.eps, [False, True, True])
            # The sum of products in one pass, as the gradient of the scale of values that are normalised already.
            _, sum_ag, _ = _gradients(a, g, one, zero, one, ctx.eps, [False, True, True])
            inner = sum_ag - (sum_a * sum_g + sum_ah * sum_gh) / pixels
        on_a, on_g = -factor * sum_gh / pixels, b - factor * sum_ah / pixels
        on_h = (on_a * sum_ah + on_g * sum_gh + factor * inner) / pixels
        of_g = _combined(c - factor * sum_a / pixels - mean * r * on_g, (factor, a), (r * on_g, x))
        of_x = _combined(
            r * (mean * r * on_h - (on_a * sum_a + on_g * sum_g) / pixels),
            (r * on_a, a),
            (r * on_g, g),
            (-r * r * on_h, x),
        )
        return of_g, of_x, r * inner, None, None, None


def _gradients(
    gradient: Tensor, values: Tensor, scale: Tensor, mean: Tensor, inverse: Tensor, eps: float, mask: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Torch's own gradients of values, scale and shift, as selected by the mask."""
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.native_batch_norm_backward(
        gradient, values, scale, None, None, mean, inverse, True, eps, mask
    )
    return found


def _combined(constant: Tensor, *terms: tuple[Tensor, Tensor]) -> Tensor:
    """The sum of images, each times a factor per channel, and of a constant per channel."""
    (factor, image), *others = terms
    total = torch.addcmul(constant.view(-1, 1, 1), image, factor.view(-1, 1, 1))
    for factor, other in others:
        total.addcmul_(other, factor.view(-1, 1, 1))
    return total.to(image.dtype)
