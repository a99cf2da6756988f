"""Flatness of a subnet's loss under growing weight noise (GeNAS)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, final

import numpy as np

from genas.metrics.base import Measurement, Metric
from genas.metrics.context import Context
from genas.metrics.hessian import HessianLevel
from genas.metrics.noise import Noise, NoiseLevel
from genas.spaces import Architecture


@final
@dataclass(frozen=True)
class NoisyLosses(Measurement):
    """Validation losses of a subnet whose weights carry one level of noise.

    Args:
        level: The noise.
    """

    level: NoiseLevel | HessianLevel

    @property
    def columns(self) -> tuple[str, ...]:
        """One loss per repeat."""
        return tuple(f"loss_{repeat}" for repeat in range(self.level.repeats))

    def run(self, context: Context, architecture: Architecture) -> Sequence[float]:
        """Evaluate the subnet once per repeat."""
        return [evaluation.loss for evaluation in context.evaluate(architecture, self.level)]


def flatness(losses: np.ndarray, stds: Sequence[float], *, alpha: float = 1.0, epsilon: float = 0.0) -> np.ndarray:
    r"""Inverse of the summed slopes of the loss along growing noise; larger means flatter.

    .. math:: F = \Bigl( \sum_{i=1}^{t-1} \Bigl| \frac{L_{i+1} - L_i}{\sigma_{i+1} - \sigma_i} \Bigr|
        + \alpha \Bigl| \frac{L_1}{\sigma_1} \Bigr| + \epsilon \Bigr)^{-1}

    For small :math:`\sigma_1` the last term dominates and :math:`F / \sigma_1` is the inverse loss: compare with the
    metric ``loss``.

    Args:
        losses: Mean losses in nats, shape ``(..., t)``.
        stds: Standard deviations of the noise, shape ``(t,)``, positive, strictly increasing.
        alpha: Weight of the loss at the first level.
        epsilon: Added to the denominator; the authors' code adds 1e-5, the paper nothing.

    Returns:
        Flatness in units of noise per nat, shape ``(...)``; infinite where the denominator is zero, NaN where a loss is
        NaN.

    Raises:
        ValueError: If the shapes disagree, the levels do not increase, or ``alpha`` or ``epsilon`` is negative or not
            finite.

    Reference:
        Jeong et al., GeNAS, IJCAI 2023, Eq. 4.

    Example:
        >>> float(flatness(np.array([1.0, 1.5, 2.5]), [0.25, 0.75, 1.75]))
        0.16666666666666666
    """
    losses = np.asarray(losses, dtype=np.float64)
    levels = np.asarray(stds, dtype=np.float64)
    if losses.shape[-1:] != levels.shape:
        raise ValueError(f"losses must end in the {levels.size} levels of stds, but have shape {losses.shape}.")
    if levels.size == 0 or not np.all(np.diff(levels, prepend=0.0) > 0):
        raise ValueError(f"stds must be positive and strictly increasing, but got {levels.tolist()}.")
    if not (0 <= alpha < np.inf and 0 <= epsilon < np.inf):
        raise ValueError(f"alpha and epsilon must be finite and not negative, but got {alpha} and {epsilon}.")
    with np.errstate(divide="ignore", invalid="ignore"):  # the losses of a failed network may be infinite
        slopes = np.abs(np.diff(losses, axis=-1) / np.diff(levels)).sum(axis=-1)
        steepness = slopes + alpha * np.abs(losses[..., 0] / levels[0]) + epsilon
        return np.asarray(1 / steepness)


@final
@dataclass(frozen=True)
class Flatness(Metric):
    r"""Flatness of the validation loss under weight noise; see :func:`flatness` for the formula.

    Args:
        noise: Levels and kind of the noise; by default the best levels of GeNAS' Table 5 on NAS-Bench-201. The losses
            of repeated draws are averaged before the slopes are taken.
        alpha: Weight of the loss at the first level.
        epsilon: Added to the denominator; the authors' code adds 1e-5. With 0, a subnet whose denominator is zero, as
            of images that are fitted to the last digit, has no score.

    Reference:
        Jeong et al., GeNAS: Neural Architecture Search with Better Generalization, IJCAI 2023, Eq. 4.
    """

    name: ClassVar[str] = "flatness"
    unit: ClassVar[str] = "std/nat"

    noise: Noise = field(default_factory=Noise)
    alpha: float = 1.0
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        flatness(
            np.zeros(len(self.noise.stds)), self.noise.stds, alpha=self.alpha, epsilon=self.epsilon
        )  # checks the numbers
        if self.alpha == 0 and len(self.noise.stds) == 1:
            raise ValueError(
                "alpha=0 leaves only the slopes between levels, so that stds must have at least two, but got "
                f"{list(self.noise.stds)}; give more, or another alpha."
            )

    @property
    def scale(self) -> float:
        r"""GeNAS' :math:`\beta = 1 / \sigma_1`."""
        return 1 / self.noise.stds[0]

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The losses at each level."""
        return tuple(NoisyLosses(level) for level in self.noise.levels)

    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """Flatness of each architecture."""
        losses = [context.measure(measurement, architectures).mean(axis=1) for measurement in self.measurements]
        return flatness(np.stack(losses, axis=-1), self.noise.stds, alpha=self.alpha, epsilon=self.epsilon)
