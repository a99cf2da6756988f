"""Gradients for training the weights: at the mixtures of the architecture, or at mixtures nearby (SDARTS)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import final

import torch
from torch import Tensor

from genas.devices import sent
from genas.search.differentiable.gradients import constant
from genas.search.differentiable.parts import Alphas, SearchStep, WeightReport, WeightStep
from genas.seeding import generator
from genas.supernet.mixtures import Mixture


@final
@dataclass(frozen=True)
class Plain(WeightStep):
    """The gradient of the training loss at the current mixtures."""

    def backward(self, step: SearchStep, alphas: Alphas) -> WeightReport:
        """One pass."""
        with torch.no_grad():
            mixtures = step.relaxation.mixtures(alphas, step.progress)
        return WeightReport(_backward(step, mixtures))


def _backward(step: SearchStep, mixtures: Sequence[Mixture]) -> Tensor:
    loss = step.objective.training_loss(step.objective.spread(mixtures), statistics="recorded")
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


@final
@dataclass(frozen=True)
class SmoothingRadius:
    """Radius of SDARTS' perturbation of the operation weights: from start to end in equal steps, excluding the end.

    Args:
        start: Radius in the first epoch.
        end: Radius after the last epoch.

    Raises:
        ValueError: If one is negative or not finite.

    Example:
        >>> round(SmoothingRadius().at(49 / 50), 4)
        0.2946
    """

    start: float = 0.03
    end: float = 0.3

    def __post_init__(self) -> None:
        if not (0 <= self.start < math.inf and 0 <= self.end < math.inf):
            raise ValueError(f"Radii must be finite and not negative, but got {self.start} and {self.end}.")

    def at(self, progress: float) -> float:
        """The radius at a time in [0, 1]: epoch over number of epochs."""
        return self.start + (self.end - self.start) * progress


def onto_simplex(operations: Tensor) -> Tensor:
    """Rows with entries clamped to [0, 1] and divided by their sum.

    Args:
        operations: Any numbers, shape ``(edges, candidates)``.

    Returns:
        Rows that sum to one. A row without positive entries becomes one-hot at its largest entry.
    """
    clamped = operations.clamp(0, 1)
    largest = torch.nn.functional.one_hot(operations.argmax(dim=1), operations.shape[1]).to(operations)
    kept = torch.where(clamped.sum(dim=1, keepdim=True) > 0, clamped, largest)
    return kept / kept.sum(dim=1, keepdim=True)


def _shifted(step: SearchStep, mixtures: Sequence[Mixture], radius: float, stream: str) -> tuple[Mixture, ...]:
    """Uniform noise on every weight of every cell type, then back onto the simplex."""
    rng = generator(step.seed, stream, step.number)
    found = []
    for mixture in mixtures:
        draws = torch.from_numpy(rng.uniform(-1, 1, tuple(mixture.operations.shape)))
        noise = sent(draws.to(mixture.operations.dtype), mixture.operations.device)
        found.append(dataclasses.replace(mixture, operations=onto_simplex(mixture.operations + radius * noise)))
    return tuple(found)


@final
@dataclass(frozen=True)
class RandomSmoothing(WeightStep):
    """SDARTS-RS: the gradient of the training loss at mixtures with uniform noise, redrawn in every step.

    Args:
        radius: Largest noise as a function of time.

    Reference:
        Chen and Hsieh, Stabilizing Differentiable Architecture Search via Perturbation-based Regularization, ICML 2020.
    """

    radius: SmoothingRadius = SmoothingRadius()

    def backward(self, step: SearchStep, alphas: Alphas) -> WeightReport:
        """One pass."""
        with torch.no_grad():
            mixtures = step.relaxation.mixtures(alphas, step.progress)
        radius = self.radius.at(step.progress)
        return WeightReport(_backward(step, _shifted(step, mixtures, radius, "random smoothing")))


@final
@dataclass(frozen=True)
class AdversarialSmoothing(WeightStep):
    """SDARTS-ADV: the gradient of the training loss at the worst mixtures nearby that projected ascent finds.

    The ascent starts at random and runs on the training batch with the network in evaluation mode. It takes the sign of
    the gradient, ``2 radius / steps`` at a time, and stays within ``radius`` of every weight before each row is brought
    back onto the simplex. If it ends with a lower loss than at the current mixtures, these are used instead.

    Args:
        radius: Largest change of a weight as a function of time.
        steps: Steps of the ascent.

    Raises:
        ValueError: If ``steps`` is not positive.

    Reference:
        Chen and Hsieh, Stabilizing Differentiable Architecture Search via Perturbation-based Regularization, ICML 2020.
    """

    radius: SmoothingRadius = SmoothingRadius()
    _: KW_ONLY
    steps: int = 7

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, but got {self.steps}.")

    def backward(self, step: SearchStep, alphas: Alphas) -> WeightReport:
        """The ascent, then one pass."""
        with torch.no_grad():
            mixtures = step.relaxation.mixtures(alphas, step.progress)
        worst = self._worst(step, mixtures)
        return WeightReport(_backward(step, worst))

    def _worst(self, step: SearchStep, mixtures: tuple[Mixture, ...]) -> tuple[Mixture, ...]:
        radius = self.radius.at(step.progress)
        length = 2 * radius / self.steps
        found = _shifted(step, mixtures, radius, "adversarial smoothing")
        for _ in range(self.steps):
            points = [mixture.operations.requires_grad_() for mixture in found]
            slopes = torch.autograd.grad(_evaluation_loss(step, found), points, materialize_grads=True)
            found = tuple(
                dataclasses.replace(
                    mixture, operations=_ascended(point.detach(), mixture.operations, slope, length, radius)
                )
                for mixture, point, slope in zip(mixtures, points, slopes, strict=True)
            )
        with torch.no_grad():
            fell = bool(_evaluation_loss(step, found) < _evaluation_loss(step, mixtures))
        return mixtures if fell else found


def _ascended(point: Tensor, centre: Tensor, slope: Tensor, length: float, radius: float) -> Tensor:
    moved = point + length * slope.sign()
    return onto_simplex(torch.clamp(moved, centre - radius, centre + radius))


def _evaluation_loss(step: SearchStep, mixtures: Sequence[Mixture]) -> Tensor:
    objective = step.objective
    return objective.training_loss(objective.spread(mixtures), constant(objective.weights), statistics="running")
