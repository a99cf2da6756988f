"""The two gradients of DARTS: at the current weights, and at the weights one training step ahead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal, final

import torch
from torch import Tensor

from genas.choices import check_choices
from genas.search.differentiable.parts import (
    Alphas,
    ArchitectureGradient,
    CurvatureProduct,
    Estimate,
    SearchStep,
    Weights,
)
from genas.search.differentiable.vectors import check_length, detached, inner_product, moved, norm

MixedTerm = Literal["central_fd", "exact"]


def constant(weights: Weights) -> Weights:
    """The weights as constants, so that a loss keeps nothing in memory for their gradients."""
    return {name: weight.detach() for name, weight in weights.items()}


def leaves(alphas: Alphas) -> Alphas:
    """Copies of the parameters as leaves to differentiate with respect to; the given ones are never changed."""
    return tuple(alpha.detach().requires_grad_() for alpha in alphas)


def derivative_along(slopes: Sequence[Tensor], direction: Sequence[Tensor], points: Alphas) -> Alphas:
    """The gradient of the inner product of slopes and a direction: a product with a second derivative.

    Args:
        slopes: First derivatives with a graph, which is kept.
        direction: Constants of the same shapes.
        points: Variables of the differentiation.

    Returns:
        Tensors of the shapes of ``points``; zero where the slopes do not depend on them.
    """
    along = inner_product(slopes, direction)
    if not along.requires_grad:
        return tuple(torch.zeros_like(point) for point in points)
    return torch.autograd.grad(along, points, retain_graph=True, materialize_grads=True)


@final
@dataclass(frozen=True)
class FirstOrder(ArchitectureGradient):
    """The gradient of the search loss at the current weights; no gradients of weights are computed.

    Reference:
        Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, eq. (6) with xi = 0.
    """

    def value(self, step: SearchStep, alphas: Alphas) -> Tensor:
        """The search loss."""
        with torch.no_grad():
            return _search_loss(step, alphas)

    def estimate(self, step: SearchStep, alphas: Alphas) -> Estimate:
        """Search loss and gradient."""
        points = leaves(alphas)
        loss = _search_loss(step, points)
        return _estimate(loss, torch.autograd.grad(loss, points, materialize_grads=True))

    def linearize(self, step: SearchStep, alphas: Alphas) -> tuple[Estimate, CurvatureProduct]:
        """Estimate and Hessian-vector product by differentiating twice; the product keeps the graph of one pass."""
        points = leaves(alphas)
        loss = _search_loss(step, points)
        slopes = torch.autograd.grad(loss, points, create_graph=True, materialize_grads=True)

        def product(direction: Alphas) -> Alphas:
            return derivative_along(slopes, direction, points)

        return _estimate(loss, slopes), product


def _search_loss(step: SearchStep, alphas: Alphas) -> Tensor:
    return step.objective.search_loss(step.cell_mixtures(alphas), constant(step.objective.weights))


def _estimate(loss: Tensor, gradient: Alphas) -> Estimate:
    value = loss.detach()
    return Estimate(value, detached(gradient), {"search_loss": value})


@final
@dataclass(frozen=True)
class Unrolled(ArchitectureGradient):
    r"""The gradient of the search loss after one unrolled training step, which depends on the architecture parameters.

    With v the momentum buffer, mu and lambda momentum and weight decay (plain momentum, as in the authors' code, even
    if the training uses Nesterov's),

    .. math:: w' &= w - \xi (\mu v + \nabla_w L_{train}(w, \alpha) + \lambda w), \\
              \nabla_\alpha L_{search}(w', \alpha) &= \partial_\alpha L_{search}(w', \alpha)
              - \xi \nabla^2_{\alpha w} L_{train}(w, \alpha)\, u, \quad u = \nabla_{w'} L_{search}(w', \alpha).

    Args:
        xi: Length of the step ahead; ``None``: the current learning rate. Zero is :class:`FirstOrder`.
        mixed: How the product with the mixed second derivative is computed: ``central_fd``, as in the paper's code, by
            the difference of two gradients at ``w +- r u / |u|``, or ``exact`` by differentiating twice.
        epsilon: r, the length of the finite difference. The slopes of a network jump where a ReLU switches, and a
            shorter step divides these jumps by less: on NAS-Bench-201 1e-3 is farther from ``exact`` than 0.01, and 0.1
            is nearer.

    Raises:
        ValueError: If a number or a name is out of its range.

    Reference:
        Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, eqs. (6) to (8).
    """

    xi: float | None = None
    _: KW_ONLY
    mixed: MixedTerm = "central_fd"
    epsilon: float = 0.01

    def __post_init__(self) -> None:
        check_choices(self)
        check_length("epsilon", self.epsilon)
        if self.xi is not None and not 0 <= self.xi < math.inf:
            raise ValueError(f"xi must be finite and not negative, but got {self.xi}.")

    @property
    def unrolls_weights(self) -> bool:
        """Always true."""
        return True

    @property
    def small_difference(self) -> str | None:
        """The step ahead is short, unless there is none."""
        return None if self.xi == 0 else "The look-ahead of the second order"

    def value(self, step: SearchStep, alphas: Alphas) -> Tensor:
        """The search loss at the weights one step ahead."""
        if self._length(step) == 0:
            return FirstOrder().value(step, alphas)
        ahead = self._ahead(step, self._training_slopes(step, alphas))
        with torch.no_grad():
            return step.objective.search_loss(step.cell_mixtures(alphas), ahead)

    def estimate(self, step: SearchStep, alphas: Alphas) -> Estimate:
        """The loss one step ahead, and its gradient."""
        xi = self._length(step)
        if xi == 0:
            return FirstOrder().estimate(step, alphas)
        points = leaves(alphas)
        exact = self.mixed == "exact"
        slopes = self._training_slopes(step, points, create_graph=exact)
        ahead = {name: weight.requires_grad_() for name, weight in self._ahead(step, slopes).items()}
        loss = step.objective.search_loss(step.cell_mixtures(points), ahead)
        found = torch.autograd.grad(loss, (*points, *ahead.values()), materialize_grads=True)
        direct, uphill = found[: len(points)], dict(zip(ahead, found[len(points) :], strict=True))
        if exact:
            mixed = derivative_along(tuple(slopes.values()), tuple(uphill.values()), points)
        else:
            mixed = self._difference(step, points, uphill)
        value = loss.detach()
        gradient = detached(moved(direct, -xi, mixed))
        return Estimate(value, gradient, {"search_loss_ahead": value})

    def _length(self, step: SearchStep) -> float:
        return step.learning_rate if self.xi is None else self.xi

    def _training_slopes(self, step: SearchStep, alphas: Alphas, *, create_graph: bool = False) -> Weights:
        """The gradient of the training loss with respect to the weights; with a graph it depends on ``alphas``."""
        weights = {name: weight.detach().requires_grad_() for name, weight in step.objective.weights.items()}
        mixtures = step.cell_mixtures(alphas if create_graph else detached(alphas))
        loss = step.objective.training_loss(mixtures, weights)
        found = torch.autograd.grad(loss, tuple(weights.values()), create_graph=create_graph, materialize_grads=True)
        return dict(zip(weights, found, strict=True))

    def _ahead(self, step: SearchStep, slopes: Weights) -> Weights:
        xi, buffers, ahead = self._length(step), step.momentum_buffers, {}
        for name, weight in constant(step.objective.weights).items():
            move = slopes[name].detach() + step.weight_decay * weight
            if name in buffers:
                move = move + step.momentum * buffers[name].detach()
            ahead[name] = weight - xi * move
        return ahead

    def _difference(self, step: SearchStep, points: Alphas, uphill: Weights) -> Alphas:
        """The product with the mixed derivative from two gradients at weights to both sides."""
        length = norm(tuple(uphill.values()))
        if length == 0:
            return tuple(torch.zeros_like(point) for point in points)
        radius = self.epsilon / length
        sides = []
        for sign in (1, -1):
            weights = {
                name: weight + sign * radius * uphill[name] for name, weight in constant(step.objective.weights).items()
            }
            loss = step.objective.training_loss(step.cell_mixtures(points), weights)
            sides.append(torch.autograd.grad(loss, points, materialize_grads=True))
        return tuple((plus - minus) / (2 * radius) for plus, minus in zip(*sides, strict=True))
