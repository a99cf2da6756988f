"""Noise on a supernet's weights: Gaussian draws for all its subnets, or each one's direction of largest curvature."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

import torch
from torch import Tensor

from genas.choices import check_choices
from genas.metrics.hessian import HessianLength, HessianLevel
from genas.metrics.scope import NoiseScope, parameters_in_scope
from genas.seeding import torch_generator
from genas.spaces import Architecture
from genas.supernet import CellNetwork

if TYPE_CHECKING:
    from genas.metrics.context import Context

DrawnKind = Literal["independent", "shared", "cumulative"]
NoiseKind = Literal[DrawnKind, "hessian"]


@final
@dataclass(frozen=True)
class NoiseLevel:
    r"""One level of Gaussian weight noise.

    Args:
        chain: The levels :math:`\sigma_1 < \dots < \sigma_i` that lead to this one; only ``cumulative`` noise has more
            than one.
        kind: As in :class:`Noise`, but for ``hessian``.
        scope: As in :class:`Noise`.
        repeats: Number of draws.

    Raises:
        ValueError: If an option is unknown, or the chain too long or too short for the kind.
    """

    chain: tuple[float, ...]
    kind: DrawnKind
    scope: NoiseScope
    repeats: int

    def __post_init__(self) -> None:
        check_choices(self)
        if not self.chain or (len(self.chain) > 1 and self.kind != "cumulative"):
            raise ValueError(
                f"chain must be one level, or for cumulative noise all up to it, but got {list(self.chain)} for "
                f"{self.kind} noise."
            )

    def perturbed(self, context: Context, architecture: Architecture) -> list[dict[str, Tensor]]:  # noqa: ARG002
        """The perturbed parameters, the same for every architecture.

        Args:
            context: The supernet and what belongs to it.
            architecture: Not used.

        Returns:
            The parameters by name for each repeat; those that do not change are left out.
        """
        return context.once(self, lambda: list(perturbed_parameters(context.supernet, self, context.seed)))


@dataclass(frozen=True)
class Noise:
    r"""Levels and kind of the weight noise.

    Args:
        stds: Standard deviations :math:`\sigma_1 < \dots < \sigma_t`, absolute, in units of the weights.
        kind: ``independent``: a new direction per level, :math:`\theta_i = \theta + \sigma_i \xi_i` (GeNAS Eq. 4 as
            printed); ``shared``: one direction :math:`\xi` for all levels, so that slopes along the levels are
            directional differences; ``cumulative``: :math:`\theta_i = \theta_{i-1} + (\sigma_i - \sigma_{i-1})
            \xi_i` (GeNAS' code), whose actual standard deviations are smaller than :math:`\sigma_i`, see
            :attr:`effective_stds`; ``hessian``: along each subnet's direction of largest curvature instead of a random
            one, see :class:`genas.metrics.hessian.HessianLevel`, at many times the cost.
        scope: ``all`` parameters, BN and classifier included, or those inside the ``cells`` only.
        repeats: Number of draws per level.
        hessian_images: Number of validation images in the loss whose Hessian ``hessian`` takes. Its memory grows with
            them.
        hessian_length: Length of the noise along the eigenvector: ``unit``: :math:`\sigma`, as is usual for plots of
            the loss along it; ``gaussian``: as long as Gaussian noise of the same standard deviation, which is far
            outside the region where the curvature describes the loss. The paper does not say.

    Raises:
        ValueError: If the levels do not increase from above zero, a number is not positive, or an option is set that
            does nothing for this kind.

    Reference:
        Jeong et al., GeNAS: Neural Architecture Search with Better Generalization, IJCAI 2023, Eq. 4 and Table 7.
    """

    stds: tuple[float, ...] = (2e-3, 1e-2, 2e-2)
    kind: NoiseKind = "independent"
    scope: NoiseScope = "all"
    repeats: int = 1
    hessian_images: int = 64
    hessian_length: HessianLength = "unit"

    def __post_init__(self) -> None:
        check_choices(self)
        # Draws and store keys depend on the text of a number, which is different for NumPy's numbers.
        object.__setattr__(self, "stds", tuple(float(std) for std in self.stds))
        if not self.stds or not all(0 < step < math.inf for step in self.steps):
            raise ValueError(f"stds must be positive and strictly increasing, but got {list(self.stds)}.")
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, but got {self.repeats}.")
        if self.hessian_images < 1:
            raise ValueError(f"hessian_images must be at least 1, but got {self.hessian_images}.")
        if self.kind == "hessian" and self.repeats > 1:
            raise ValueError(f"The Hessian direction is not drawn: repeats must be 1, but got {self.repeats}.")
        for option in ("hessian_images", "hessian_length"):
            if self.kind != "hessian" and getattr(self, option) != getattr(Noise, option):
                raise ValueError(f"{option} is an option of hessian noise, but kind is {self.kind!r}; leave it out.")

    @property
    def steps(self) -> tuple[float, ...]:
        """Differences of successive levels, the first from zero."""
        return tuple(b - a for a, b in zip((0.0, *self.stds), self.stds, strict=False))

    @property
    def levels(self) -> tuple[NoiseLevel | HessianLevel, ...]:
        """The levels one by one. Except for ``cumulative`` noise, a level does not depend on the other levels."""
        if self.kind == "hessian":
            return tuple(HessianLevel(std, self.scope, self.hessian_images, self.hessian_length) for std in self.stds)
        chains = [
            self.stds[: level + 1] if self.kind == "cumulative" else (std,) for level, std in enumerate(self.stds)
        ]
        return tuple(NoiseLevel(chain, self.kind, self.scope, self.repeats) for chain in chains)

    @property
    def effective_stds(self) -> tuple[float, ...]:
        """The actual standard deviations of the noise at each level.

        Example:
            >>> [round(std, 6) for std in Noise((2e-3, 1e-2, 2e-2), kind="cumulative").effective_stds]
            [0.002, 0.008246, 0.012961]
        """
        if self.kind != "cumulative":
            return self.stds
        return tuple(math.hypot(*self.steps[: level + 1]) for level in range(len(self.stds)))


@torch.no_grad()
def perturbed_parameters(network: CellNetwork, level: NoiseLevel, seed: int) -> Iterator[dict[str, Tensor]]:
    """The parameters of a network under each repeat of a noise level.

    A draw is a function of (seed, repeat, level, name of the parameter), made on the CPU: it depends neither on the
    device nor on other parameters, and every architecture of a supernet sees the same (common random numbers).

    Args:
        network: The supernet; not changed.
        level: The level and kind of the noise.
        seed: Root seed.

    Yields:
        Perturbed parameters by name; parameters outside the scope are left out.
    """
    for repeat in range(level.repeats):
        yield {
            name: parameter + _offset(name, parameter, level, repeat, seed)
            for name, parameter in parameters_in_scope(network, level.scope)
        }


def _offset(name: str, parameter: Tensor, level: NoiseLevel, repeat: int, seed: int) -> Tensor:
    """The noise of one parameter: a sum over the chain, each term with a direction of its own."""
    total = torch.zeros(parameter.shape, dtype=torch.float64)
    before = 0.0
    for std in level.chain:
        direction = "" if level.kind == "shared" else repr(std)
        rng = torch_generator(seed, "weight noise", name, repeat, direction)
        total += (std - before) * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
        before = std
    return total.to(parameter)
