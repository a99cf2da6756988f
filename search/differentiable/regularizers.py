"""Terms of the architecture's loss that need no network, and a gradient that adds them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from genas.search.differentiable.gradients import derivative_along, leaves
from genas.search.differentiable.parts import (
    Alphas,
    ArchitectureGradient,
    CurvatureProduct,
    Estimate,
    Regularizer,
    SearchStep,
)
from genas.search.differentiable.vectors import detached, moved
from genas.spaces import SearchSpace


@final
@dataclass(frozen=True)
class LinearSchedule:
    """A number that grows linearly, in steps per epoch, from zero in the first epoch, such as half the epoch.

    Args:
        slope: Growth in one epoch.
        end: The value towards which it grows over a whole search instead: ``end * epoch / epochs``.

    Raises:
        ValueError: If not exactly one of the two is given, or it is negative or not finite.

    Example:
        >>> LinearSchedule(slope=0.5).at(10, 50), LinearSchedule(end=50.0).at(10, 50)
        (5.0, 10.0)
    """

    slope: float | None = None
    end: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.slope, self.end) if value is not None]
        if len(given) != 1 or not 0 <= given[0] < math.inf:
            raise ValueError(
                "Exactly one of slope and end must be given, finite and not negative, but got "
                f"slope={self.slope} and end={self.end}."
            )

    def at(self, epoch: int, epochs: int) -> float:
        """The number in an epoch, counted from 0."""
        if self.slope is not None:
            return self.slope * epoch
        assert self.end is not None
        return self.end * epoch / epochs


@final
@dataclass(frozen=True)
class BetaDecay(Regularizer):
    r"""A penalty that keeps the operations' logits close to each other.

    .. math:: \lambda(e) \sum_{type} w_{type} \frac{1}{E} \sum_{edges} \log \sum_k \exp \alpha_{edge, k}

    so that the gradient of a row is its softmax, over the number of edges of the cell.

    Args:
        strength: Lambda by epoch. The published code's, half the epoch, reaches 50 in its 100 epochs and 24.5 in 50.
        weights: w of each cell type; ``None``: all one. For the DARTS space the weights of A²M's variants sum to 2:
            (1.6, 0.4) and (0.4, 1.6).

    Raises:
        ValueError: If a weight is negative or not finite.

    Reference:
        Ye et al., beta-DARTS: Beta-Decay Regularization for Differentiable Architecture Search, CVPR 2022.
    """

    strength: LinearSchedule = LinearSchedule(slope=0.5)
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.weights is not None and not all(0 <= weight < math.inf for weight in self.weights):
            raise ValueError(f"weights must be finite and not negative, but got {self.weights}.")

    def check(self, space: SearchSpace) -> None:
        """Refuse weights that are not one for each cell type of the space.

        Raises:
            ValueError: If they are not.
        """
        self._check_types(len(space.cell_types))

    def loss(self, alphas: Alphas, epoch: int, epochs: int) -> Tensor:
        """The term. Parameters of edges, which are vectors, are not included."""
        matrices = [alpha for alpha in alphas if alpha.dim() == 2]
        self._check_types(len(matrices))
        weights = (1.0,) * len(matrices) if self.weights is None else self.weights
        terms = [
            weight * torch.logsumexp(matrix, dim=1).mean() for weight, matrix in zip(weights, matrices, strict=True)
        ]
        return self.strength_at(epoch, epochs) * torch.stack(terms).sum()

    def strength_at(self, epoch: int, epochs: int) -> float:
        """Lambda in an epoch."""
        return self.strength.at(epoch, epochs)

    def _check_types(self, types: int) -> None:
        if self.weights is not None and len(self.weights) != types:
            raise ValueError(
                f"The weights of β-decay must be one number for each of the {types} cell types, but got {self.weights}."
            )


@final
@dataclass(frozen=True)
class Regularized(ArchitectureGradient):
    """A gradient with the exact gradient of a regulariser added.

    Args:
        inner: The gradient.
        regularizer: The term.
    """

    inner: ArchitectureGradient
    regularizer: Regularizer

    @property
    def unrolls_weights(self) -> bool:
        """Whether the inner gradient looks ahead at the weights."""
        return self.inner.unrolls_weights

    @property
    def has_exact_curvature(self) -> bool:
        """Whether the gradient inside has."""
        return self.inner.has_exact_curvature

    @property
    def small_difference(self) -> str | None:
        """That of the gradient inside."""
        return self.inner.small_difference

    def value(self, step: SearchStep, alphas: Alphas) -> Tensor:
        """The sum of both."""
        return self.inner.value(step, alphas) + self._loss(step, alphas).detach()

    def estimate(self, step: SearchStep, alphas: Alphas) -> Estimate:
        """The sums of values and gradients."""
        points = leaves(alphas)
        loss = self._loss(step, points)
        gradient = torch.autograd.grad(loss, points, materialize_grads=True)
        return self._sum(step, self.inner.estimate(step, alphas), loss, gradient)

    def linearize(self, step: SearchStep, alphas: Alphas) -> tuple[Estimate, CurvatureProduct]:
        """The sums of estimates and products."""
        estimate, inner_curvature = self.inner.linearize(step, alphas)
        points = leaves(alphas)
        loss = self._loss(step, points)
        slopes = torch.autograd.grad(loss, points, create_graph=True, materialize_grads=True)

        def product(direction: Alphas) -> Alphas:
            return moved(inner_curvature(direction), 1, derivative_along(slopes, direction, points))

        return self._sum(step, estimate, loss, slopes), product

    def _loss(self, step: SearchStep, alphas: Alphas) -> Tensor:
        return self.regularizer.loss(alphas, step.epoch, step.epochs)

    def _sum(self, step: SearchStep, estimate: Estimate, loss: Tensor, gradient: Alphas) -> Estimate:
        term = loss.detach()
        total = moved(estimate.gradient, 1, detached(gradient))
        strength = term.new_tensor(self.regularizer.strength_at(step.epoch, step.epochs))
        numbers = {"regularizer": term, "regularizer_strength": strength}
        return Estimate(estimate.value + term, total, {**estimate.diagnostics, **numbers})


def regularized(gradient: ArchitectureGradient, regularizer: Regularizer | None) -> ArchitectureGradient:
    """A gradient with a regulariser added, if there is one."""
    return gradient if regularizer is None else Regularized(gradient, regularizer)
