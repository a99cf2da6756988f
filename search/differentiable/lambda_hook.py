"""Λ-DARTS: weights trained so that the cells agree on their preferred operations."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal, final

import torch
from torch import Tensor

from genas.choices import check_choices
from genas.search.differentiable.parts import Alphas, SearchStep, WeightReport, WeightStep
from genas.search.differentiable.vectors import check_length, detached, moved, norm
from genas.search.differentiable.weight_steps import Plain
from genas.supernet.mixtures import Mixture

AlignmentForm = Literal["corr", "signcorr"]


def alignment(gradients: Sequence[Tensor], form: AlignmentForm = "corr") -> Tensor:
    r"""Alignment of the cells' gradients: the mean of their pairwise correlations.

    .. math:: \text{corr: } \frac{\langle g_i, g_j \rangle}{\lVert g_i \rVert \lVert g_j \rVert}, \qquad
              \text{signcorr: } \frac{\langle g_i, g_j \rangle}{\langle |g_i|, |g_j| \rangle}.

    Args:
        gradients: At least two tensors of one shape.
        form: The correlation.

    Returns:
        A scalar in [-1, 1], differentiable; NaN where a denominator is zero.
    """
    pairs = [
        (first * second).sum() / (norm([first]) * norm([second]) if form == "corr" else (first * second).abs().sum())
        for first, second in itertools.combinations(gradients, 2)
    ]
    return torch.stack(pairs).mean()


@final
@dataclass(frozen=True)
class LambdaHook(WeightStep):
    r"""The gradient of the training loss minus the alignment of the cells' gradients, times a strength.

    With g_l the gradient of the training loss with respect to the operation weights of cell l and d_l the derivative of
    their alignment by g_l, the gradient of the alignment with respect to the weights is a central difference,

    .. math:: \nabla_w \Lambda \approx \frac{\nabla_w L(p + r d) - \nabla_w L(p - r d)}{2 r}, \quad
              r = \epsilon / \lVert d \rVert,

    which takes two more passes. The strength grows by equal steps from zero in the first epoch to ``strength`` in the
    last. The step is plain where it is zero, where a cell's gradient is zero, and where all cells agree.

    Args:
        strength: Lambda, in the last epoch.
        form: The correlation. The published settings are 0.25 for ``corr`` and 0.125 for ``signcorr``.
        epsilon: Length of the step in the operation weights. In a network the slopes jump where a ReLU switches, and a
            short step divides these jumps by little: at 1e-4, which the authors' code takes, they are nearly all of the
            difference, which is dozens of times as long as the loss gradient and does not raise the alignment.
        cell_type: Position in ``space.cell_types`` of the cells that are to agree; the first one, the normal cell.

    Raises:
        ValueError: If a number or a name is out of its range.

    Reference:
        Movahedi et al., Λ-DARTS: Mitigating Performance Collapse by Harmonizing Operation Selection among Cells, ICLR
        2023.
    """

    strength: float
    _: KW_ONLY
    form: AlignmentForm = "corr"
    epsilon: float = 0.1
    cell_type: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        check_length("epsilon", self.epsilon)
        if not 0 <= self.strength < math.inf:
            raise ValueError(f"The alignment's strength must be finite and not negative, but got {self.strength}.")

    @property
    def small_difference(self) -> str | None:
        """The alignment's gradient, a quotient of differences."""
        return "The gradient of Λ-DARTS' alignment" if self.strength > 0 else None

    def strength_at(self, epoch: int, epochs: int) -> float:
        """The strength in an epoch, counted from 0; zero in a search of one epoch."""
        return self.strength * epoch / max(epochs - 1, 1)

    def check(self, cell_types: Sequence[int]) -> None:
        """Refuse a network without two cells of the type.

        Raises:
            ValueError: If it has fewer.
        """
        cells = cell_types.count(self.cell_type)
        if cells < 2:
            raise ValueError(
                f"The alignment of cells needs at least two cells of type {self.cell_type}, but the network has "
                f"{cells}; give it more cells or choose another method."
            )

    def backward(self, step: SearchStep, alphas: Alphas) -> WeightReport:
        """One pass, and two more unless the strength or the gradient of the alignment is zero."""
        self.check(step.objective.cell_types)
        cells = [position for position, kind in enumerate(step.objective.cell_types) if kind == self.cell_type]
        strength = self.strength_at(step.epoch, step.epochs)
        if strength == 0:
            return Plain().backward(step, alphas)
        with torch.no_grad():
            mixtures = list(step.cell_mixtures(alphas))
        points = tuple(mixtures[cell].operations.clone().requires_grad_() for cell in cells)
        loss = step.objective.training_loss(_replaced(mixtures, cells, points), statistics="recorded")
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [
            torch.zeros_like(p).requires_grad_() if p.grad is None else p.grad.requires_grad_() for p in points
        ]
        aligned = alignment(gradients, self.form)
        directions = torch.autograd.grad(aligned, gradients)
        length, share = norm(directions), loss.new_zeros(())
        if length > 0:  # not NaN either
            radius = self.epsilon / length
            sides = [
                self._weight_slopes(
                    step, _replaced(mixtures, cells, moved(detached(points), sign * radius, directions))
                )
                for sign in (1, -1)
            ]
            used = [
                (weight.grad, strength * (plus - minus) / (2 * radius))
                for weight, plus, minus in zip(step.objective.weights.values(), *sides, strict=True)
                if weight.grad is not None
            ]
            share = norm([term for _, term in used]) / norm([slope for slope, _ in used])
            for slope, term in used:
                slope.sub_(term)
        return WeightReport(
            loss.detach(),
            {
                "lambda_alignment": aligned.detach(),
                "lambda_relative_change": share,
                "lambda_strength": loss.new_tensor(strength),
            },
        )

    @staticmethod
    def _weight_slopes(step: SearchStep, mixtures: Sequence[Mixture]) -> tuple[Tensor, ...]:
        weights = tuple(step.objective.weights.values())
        loss = step.objective.training_loss(mixtures)
        return torch.autograd.grad(loss, weights, materialize_grads=True)


def _replaced(mixtures: Sequence[Mixture], cells: Sequence[int], operations: Sequence[Tensor]) -> list[Mixture]:
    """The mixtures with other operation weights in some cells."""
    found = list(mixtures)
    for cell, own in zip(cells, operations, strict=True):
        found[cell] = dataclasses.replace(found[cell], operations=own)
    return found
