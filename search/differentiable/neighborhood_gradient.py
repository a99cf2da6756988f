"""NA: the gradient of a whole neighbourhood's loss, for any gradient."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal, final

import torch
from torch import Tensor

from genas.choices import check_choices
from genas.search.differentiable.neighbors import Neighbors
from genas.search.differentiable.parts import (
    Alphas,
    ArchitectureGradient,
    CurvatureProduct,
    Estimate,
    Relaxation,
    SearchStep,
)
from genas.search.differentiable.vectors import inner_product, moved
from genas.seeding import generator
from genas.supernet.mixtures import Mixture

Aggregate = Literal["mean", "max", "variance"]

_SMALLEST_VARIANCE = 1e-12
"""Added to a variance, so that division by its root is defined if all losses are equal."""


@final
class _Neighbor(Relaxation):
    """A relaxation followed by a change to a neighbour, the same one at every call of a step."""

    def __init__(self, inner: Relaxation, neighbors: Neighbors, seed: int, number: int, index: int) -> None:
        self.space, self._inner, self._neighbors = inner.space, inner, neighbors
        self._stream = seed, number, index

    def initial(self, seed: int) -> Alphas:
        return self._inner.initial(seed)

    def mixtures(self, alphas: Alphas, progress: float) -> tuple[Mixture, ...]:
        seed, number, index = self._stream
        rng = generator(seed, "neighbors", number, index)
        return self._neighbors.draw(self._inner.mixtures(alphas, progress), rng)


@final
@dataclass(frozen=True)
class NeighborhoodGradient(ArchitectureGradient):
    r"""The gradient of an aggregate of the losses of an architecture and of its neighbours, redrawn in every step.

    With f_0 the loss of the architecture itself, f_1, f_2, ... those of the neighbours and sigma the standard deviation
    of all of them (of the population), the function is their mean, their maximum (differentiated as the worst loss), or
    :math:`f_0 + \lambda \sigma` (``variance``). One graph is in memory at a time.

    Args:
        inner: The gradient whose function is the loss. It sees a neighbour as another relaxation, so any gradient
            works: an unrolled one looks ahead at the neighbour's weights.
        neighbors: Distribution of the neighbours.
        count: Number of losses, including the architecture's own; 1 is ``inner``.
        aggregate: Aggregate of the losses.
        deviation_weight: Lambda.

    Raises:
        ValueError: If ``count`` is not positive, ``aggregate`` unknown or ``deviation_weight`` negative or not finite.

    Reference:
        Wang et al., Neighborhood-Aware Neural Architecture Search, BMVC 2021, algorithm 1.
    """

    inner: ArchitectureGradient
    neighbors: Neighbors
    _: KW_ONLY
    count: int = 10
    aggregate: Aggregate = "mean"
    deviation_weight: float = 1.0

    def __post_init__(self) -> None:
        check_choices(self)
        if self.count < 1:
            raise ValueError(f"count must be at least 1, the architecture itself, but got {self.count}.")
        if not 0 <= self.deviation_weight < math.inf:
            raise ValueError(f"deviation_weight must be finite and not negative, but got {self.deviation_weight}.")

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
        """The aggregate of the losses."""
        if self.count == 1:
            return self.inner.value(step, alphas)
        return self._aggregated(self._values(step, alphas))

    def estimate(self, step: SearchStep, alphas: Alphas) -> Estimate:
        """The aggregate and its gradient; the numbers for the log are those of the architecture itself."""
        if self.count == 1:
            return self.inner.estimate(step, alphas)
        return self._combined(alphas, *self._parts(step, alphas))

    def _combined(
        self, alphas: Alphas, values: Tensor, estimates: Mapping[int, Estimate], coefficients: Tensor
    ) -> Estimate:
        gradient = tuple(torch.zeros_like(alpha) for alpha in alphas)
        for index, estimate in estimates.items():
            gradient = moved(gradient, coefficients[index], estimate.gradient)
        # Of the maximum, the architecture's own estimate is made only where it is the worst: its value stands for it.
        name = "search_loss_ahead" if self.unrolls_weights else "search_loss"
        own = {name: values[0]} if self.aggregate == "max" else estimates[0].diagnostics
        value = self._aggregated(values)
        return Estimate(value, gradient, {**own, "neighborhood": value})

    def linearize(self, step: SearchStep, alphas: Alphas) -> tuple[Estimate, CurvatureProduct]:
        """The estimate and its exact derivative; each product differentiates the losses again, one graph at a time."""
        if self.count == 1:
            return self.inner.linearize(step, alphas)
        values, estimates, coefficients = self._parts(step, alphas)

        def product(direction: Alphas) -> Alphas:
            slopes = torch.zeros_like(values)
            for index, estimate in estimates.items():
                slopes[index] = inner_product(estimate.gradient, direction)
            changes = self._changes(values, slopes)
            total = tuple(torch.zeros_like(alpha) for alpha in alphas)
            for index, estimate in estimates.items():
                own = self.inner.curvature_product(self._at(step, index), alphas, direction)
                total = moved(moved(total, coefficients[index], own), changes[index], estimate.gradient)
            return total

        return self._combined(alphas, values, estimates, coefficients), product

    def _at(self, step: SearchStep, index: int) -> SearchStep:
        """The step of one of the neighbours; number 0 is the architecture itself."""
        if index == 0:
            return step
        relaxation = _Neighbor(step.relaxation, self.neighbors, step.seed, step.number, index)
        return dataclasses.replace(step, relaxation=relaxation)

    def _values(self, step: SearchStep, alphas: Alphas) -> Tensor:
        return torch.stack([self.inner.value(self._at(step, index), alphas) for index in range(self.count)])

    def _parts(self, step: SearchStep, alphas: Alphas) -> tuple[Tensor, dict[int, Estimate], Tensor]:
        """All losses, the estimates of those that have a weight in the gradient by number, and the weights of all."""
        if self.aggregate == "max":
            values = self._values(step, alphas)
            worst = int(values.argmax())
            estimates = {worst: self.inner.estimate(self._at(step, worst), alphas)}
        else:
            estimates = {index: self.inner.estimate(self._at(step, index), alphas) for index in range(self.count)}
            values = torch.stack([estimate.value for estimate in estimates.values()])
        return values, estimates, self._coefficients(values)

    def _aggregated(self, values: Tensor) -> Tensor:
        if self.aggregate == "mean":
            return values.mean()
        if self.aggregate == "max":
            return values.max()
        return values[0] + self.deviation_weight * _deviation(values)

    def _coefficients(self, values: Tensor) -> Tensor:
        """The derivative of the aggregate by each loss."""
        found = torch.zeros_like(values)
        if self.aggregate == "mean":
            return found + 1 / self.count
        if self.aggregate == "max":
            found[values.argmax()] = 1
            return found
        found[0] = 1
        return found + self.deviation_weight * (values - values.mean()) / (self.count * _deviation(values))

    def _changes(self, values: Tensor, slopes: Tensor) -> Tensor:
        """Derivatives of the coefficients when the losses change with these slopes."""
        if self.aggregate != "variance":
            return torch.zeros_like(values)
        deviation, centred = _deviation(values), values - values.mean()
        growth = (centred * slopes).sum() / (self.count * deviation)
        own = slopes - slopes.mean() - centred * growth / deviation
        return self.deviation_weight * own / (self.count * deviation)


def _deviation(values: Tensor) -> Tensor:
    return (values.var(correction=0) + _SMALLEST_VARIANCE).sqrt()
