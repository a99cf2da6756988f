"""The direction of largest curvature of a subnet's loss, as weight noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, final

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from genas.choices import check_choices
from genas.metrics.images import validation_images
from genas.metrics.scope import NoiseScope, parameters_in_scope
from genas.seeding import derived_seed, generator
from genas.spaces import Architecture

if TYPE_CHECKING:
    from genas.metrics.context import Context

HessianLength = Literal["gaussian", "unit"]

TOLERANCE = 1e-2
"""Largest residual of the eigenvector equation, relative to the eigenvalue."""

MOST_PRODUCTS = 100
"""Number of Hessian-vector products after which the search for the eigenvector has failed."""


class Curvature(NamedTuple):
    """The top eigenpair of a Hessian.

    Args:
        eigenvalue: The largest eigenvalue.
        direction: Its eigenvector of length 1, in the shapes of the parameters; parameters that the loss does not
            depend on are left out.
    """

    eigenvalue: float
    direction: dict[str, Tensor]


def top_curvature(
    loss: Callable[[Mapping[str, Tensor]], Tensor],
    parameters: Mapping[str, Tensor],
    rng: np.random.Generator,
    *,
    tolerance: float = TOLERANCE,
) -> Curvature:
    """The largest eigenvalue of a loss' Hessian and its eigenvector, by Lanczos iteration on Hessian-vector products.

    Largest means most positive, not largest in magnitude. The sign of the eigenvector is that in which the loss grows:
    its inner product with the gradient is not negative.

    Args:
        loss: Maps parameters by name to a scalar.
        parameters: The point at which the Hessian is taken; not changed.
        rng: Source of the start vector.
        tolerance: Largest residual relative to the eigenvalue.

    Returns:
        The eigenpair; no direction and NaN where the loss depends on none of the parameters; NaN everywhere where the
        gradient or its product with the Hessian is not finite, or the iteration does not converge.
    """
    variables = {name: parameter.detach().clone().requires_grad_() for name, parameter in parameters.items()}
    value = loss(variables)
    if not value.requires_grad:
        return Curvature(math.nan, {})
    gradients = torch.autograd.grad(value, list(variables.values()), create_graph=True, allow_unused=True)
    # None: dead edges.
    live = {name: (variables[name], g) for name, g in zip(variables, gradients, strict=True) if g is not None}
    if not live:
        return Curvature(math.nan, {})
    inputs, slopes = zip(*live.values(), strict=True)
    gradient = _flat(slopes)
    flat = gradient.detach().cpu().double().numpy()
    if not np.isfinite(flat).all():
        failed = torch.full_like(gradient, math.nan).detach()
        return Curvature(math.nan, _like(failed, dict(zip(live, inputs, strict=True))))

    def product(vector: np.ndarray) -> np.ndarray:
        along = torch.from_numpy(vector).to(gradient)
        parts = torch.autograd.grad(gradient, inputs, along, retain_graph=True, materialize_grads=True)
        return _flat(parts).cpu().double().numpy()

    eigenvalue, vector = _lanczos(product, rng.standard_normal(len(flat)), tolerance)
    uphill = float(flat @ vector) or float(vector[np.abs(vector).argmax()])
    vector *= math.copysign(1, uphill)
    return Curvature(eigenvalue, _like(torch.from_numpy(vector).to(gradient), dict(zip(live, inputs, strict=True))))


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """One vector of all entries in logical (row-major) order, whatever the memory layout."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _like(vector: Tensor, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parts of a vector in the shapes of tensors: the inverse of :func:`_flat`."""
    ends = np.cumsum([tensor.numel() for tensor in tensors.values()])[:-1].tolist()
    parts = torch.tensor_split(vector, ends)
    return {name: part.view(tensor.shape) for (name, tensor), part in zip(tensors.items(), parts, strict=True)}


def _lanczos(
    product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, tolerance: float
) -> tuple[float, np.ndarray]:
    """Largest eigenvalue of a symmetric operator and its eigenvector of length 1; NaN where they are not found."""
    # ARPACK checks the residual only when its subspace is full; a product costs seconds, so here it is checked after
    # every one. A subspace this small is fully reorthogonalised.
    basis = start[None, :] / np.linalg.norm(start)
    diagonal, beside = np.zeros(0), np.zeros(0)
    while True:
        new = product(basis[-1])
        if not np.isfinite(new).all():
            return math.nan, np.full(len(start), math.nan)
        diagonal = np.append(diagonal, basis[-1] @ new)
        for _ in range(2):  # twice is enough
            new -= basis.T @ (basis @ new)
        length = float(np.linalg.norm(new))
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
        if length * abs(vectors[-1, -1]) <= tolerance * abs(values[-1]) or len(basis) == len(start):
            vector = vectors[:, -1] @ basis
            return float(values[-1]), vector / np.linalg.norm(vector)
        if len(basis) == MOST_PRODUCTS:
            return math.nan, np.full(len(start), math.nan)
        basis, beside = np.vstack([basis, new / length]), np.append(beside, length)


@final
@dataclass(frozen=True)
class HessianLevel:
    r"""One level of noise along the top eigenvector of the Hessian of a subnet's validation loss.

    ``gaussian``: :math:`\theta + \sigma \sqrt{d} \, v` with the eigenvector :math:`v`, of length 1, and the number
    :math:`d` of parameters in scope that the loss depends on: as long as Gaussian noise of the standard deviation
    :math:`\sigma` is in the root mean square. ``unit``: :math:`\theta + \sigma v`. GeNAS publishes neither length nor
    sign nor images. The direction belongs to one architecture: there are no common random numbers.

    Args:
        std: :math:`\sigma`.
        scope: As in :class:`genas.metrics.Noise`; the Hessian is that of the parameters in scope.
        images: Number of validation images in the loss.
        length: Length of the noise at :math:`\sigma = 1`.

    Reference:
        Jeong et al., GeNAS, IJCAI 2023, Table 7.
    """

    repeats: ClassVar[int] = 1

    std: float
    scope: NoiseScope
    images: int
    length: HessianLength

    def __post_init__(self) -> None:
        check_choices(self)

    def perturbed(self, context: Context, architecture: Architecture) -> list[dict[str, Tensor]]:
        """The perturbed parameters of one architecture; the direction is shared with its other levels.

        Args:
            context: The supernet and what belongs to it.
            architecture: A valid architecture.

        Returns:
            One dict of parameters by name; those that do not change are left out.
        """
        direction = context.latest(
            ("Hessian direction", self.scope, self.images), architecture, lambda: self.curvature(context, architecture)
        ).direction
        dimension = sum(each.numel() for each in direction.values())
        length = self.std * (math.sqrt(dimension) if self.length == "gaussian" else 1.0)
        weights = dict(context.supernet.named_parameters())
        return [{name: weights[name].detach() + length * each for name, each in direction.items()}]

    def curvature(self, context: Context, architecture: Architecture) -> Curvature:
        """The top eigenpair for one architecture.

        Args:
            context: The supernet and what belongs to it.
            architecture: A valid architecture.

        Returns:
            The eigenpair of the loss with calibrated BN statistics on a few validation images.
        """
        subnet = context.calibrated(architecture)
        subnet.seed_noise(derived_seed(context.seed, "noise operations"))
        weights = {name: each.detach() for name, each in context.supernet.named_parameters()}
        own = {name: weights[name] for name, _ in subnet.named_parameters()}
        dtype = next(iter(own.values())).dtype
        images, labels = context.once(
            ("Hessian images", self.images), lambda: validation_images(context.data, self.images, context.seed, dtype)
        )

        def loss(variables: Mapping[str, Tensor]) -> Tensor:
            return functional.cross_entropy(functional_call(subnet, {**own, **variables}, (images,)), labels)

        inside = {name: own[name] for name, _ in parameters_in_scope(subnet, self.scope)}
        return top_curvature(loss, inside, generator(context.seed, "Hessian start vector"))
