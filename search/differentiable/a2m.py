"""A²M: flat minima in the space of architecture parameters, for any gradient."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal, final

import torch
from torch import Tensor

from genas.choices import check_choices
from genas.search.differentiable.parts import Alphas, ArchitectureGradient, CurvatureProduct, Estimate, SearchStep
from genas.search.differentiable.vectors import check_length, detached, inner_product, moved, norm

Curvature = Literal["exact", "central_fd", "relative_fd", "forward_fd", "none"]
Centre = Literal["alpha", "alpha_tilde"]


@final
@dataclass(frozen=True)
class A2MGradient(ArchitectureGradient):
    r"""The gradient of the loss after one step uphill.

    With L the function of the inner gradient, g its gradient, H its Hessian and alpha~ = alpha + rho g(alpha),

    .. math:: G = \nabla_\alpha L(\alpha + \rho\, g(\alpha)) = (I + \rho H(\alpha))\, g(\tilde\alpha).

    The step uphill is not normalised. The optimiser starts from alpha, not from alpha~.

    On a network of ReLUs and maxima the modes of ``curvature`` are different quantities, not one number with errors:
    the exact product does not see the gradient's jumps where a ReLU switches, of which a difference crosses many. Their
    relative distance was above one for displacements of 0.001 to 0.1 in alpha.

    Args:
        inner: The inner gradient. To keep a regulariser out of the step uphill, wrap the regulariser around A²M; to
            include it, as the authors' code does, put it inside.
        rho: Length of the step uphill, as a multiple of the gradient; 0 gives the inner gradient.
        curvature: How the product of Hessian and gradient is computed. ``exact`` differentiates twice; differences
            ``(g(c + e v) - g(c - e v)) / 2e`` with v = g(alpha~) have e = ``epsilon`` (``central_fd``, the paper) or e
            = ``epsilon / |v|`` (``relative_fd``); ``forward_fd`` is one-sided, ``(g(c + e v) - g(c)) / e`` with the
            latter e, and saves a pass because g(c) is known; ``none`` leaves the product out.
        epsilon: See ``curvature``.
        centre: Point c at which the Hessian is taken: at alpha as in the paper, or at alpha~ as in the authors' code.
        include_edge_logits: Whether the step uphill also moves the parameters of the edges (PC-DARTS).
        allow_unrolled: Whether ``inner`` may unroll a step of the weights. The paper's experiments never do; it costs
            four unrolled gradients and works with differences only.
        compare_exact: Whether to log the relative distance of the finite difference from the exact product, at the cost
            of the latter.

    Raises:
        ValueError: If a number or a name is out of its range, if ``inner`` unrolls without ``allow_unrolled`` or with
            an exact curvature, or if there is no difference to compare.

    Reference:
        Gambella et al., Architecture-Aware Minimization (A²M): How to Find Flat Minima in Neural Architecture Search,
        2025, eq. (8).
    """

    inner: ArchitectureGradient
    rho: float
    _: KW_ONLY
    curvature: Curvature = "exact"
    epsilon: float = 0.01
    centre: Centre = "alpha"
    include_edge_logits: bool = True
    allow_unrolled: bool = False
    compare_exact: bool = False

    def __post_init__(self) -> None:
        check_choices(self)
        check_length("epsilon", self.epsilon)
        if not 0 <= self.rho < math.inf:
            raise ValueError(f"rho must be finite and not negative, but got {self.rho}.")
        if self.inner.unrolls_weights and not self.allow_unrolled:
            raise ValueError(
                "A2M must wrap a first-order gradient, but got an unrolled one; set allow_unrolled to do it, with a "
                "finite difference for the curvature."
            )
        if self.compare_exact and self.curvature in ("exact", "none"):
            raise ValueError(
                f"compare_exact needs a finite difference, but curvature is {self.curvature}; choose central_fd, "
                "relative_fd or forward_fd, or leave it out."
            )
        if (self.curvature == "exact" or self.compare_exact) and not self.inner.has_exact_curvature:
            raise ValueError(
                f"{type(self.inner).__name__} has no exact curvature; choose central_fd, relative_fd, forward_fd or "
                "none, and leave compare_exact out."
            )

    @property
    def unrolls_weights(self) -> bool:
        """Whether the inner gradient looks ahead at the weights."""
        return self.inner.unrolls_weights

    @property
    def small_difference(self) -> str | None:
        """The step uphill is short; without one, what the inner gradient has."""
        return "What A²M adds to the gradient" if self.rho > 0 else self.inner.small_difference

    def value(self, step: SearchStep, alphas: Alphas) -> Tensor:
        """The loss after the step uphill."""
        if self.rho == 0:
            return self.inner.value(step, alphas)
        uphill = self._perturbed_part(step, self.inner.gradient(step, alphas))
        return self.inner.value(step, moved(detached(alphas), self.rho, uphill))

    def estimate(self, step: SearchStep, alphas: Alphas) -> Estimate:
        """The loss after the step uphill, its gradient, and diagnostics of its distance from the plain one."""
        if self.rho == 0:
            return self.inner.estimate(step, alphas)
        here = detached(alphas)
        plain, product_here = self._look(step, here, "alpha")
        uphill = self._perturbed_part(step, plain.gradient)
        there = moved(here, self.rho, uphill)
        above, product_there = self._look(step, there, "alpha_tilde")
        gradient, numbers = above.gradient, dict(plain.diagnostics)
        if self.curvature != "none":
            direction = self._perturbed_part(step, gradient)
            centre, found = (here, plain) if self.centre == "alpha" else (there, above)
            exact_product = product_here if self.centre == "alpha" else product_there
            curvature = exact_product or self._differences(step, centre, found.gradient)
            product = curvature(direction)
            if self.compare_exact:
                exact = self.inner.curvature_product(step, centre, direction)
                numbers["a2m_difference_distance"] = norm(moved(product, -1, exact)) / norm(exact)
            gradient = moved(gradient, self.rho, product)
        numbers["a2m_step"] = self.rho * norm(uphill)
        return Estimate(above.value, gradient, {**numbers, **_diagnostics(here, plain, gradient)})

    def _look(self, step: SearchStep, point: Alphas, name: Centre) -> tuple[Estimate, CurvatureProduct | None]:
        """The inner estimate, with its exact curvature where that is needed."""
        if self.curvature == "exact" and self.centre == name:
            return self.inner.linearize(step, point)
        return self.inner.estimate(step, point), None

    def _perturbed_part(self, step: SearchStep, vector: Alphas) -> Alphas:
        """The vector with zeros for the parameters that the step uphill does not move."""
        if self.include_edge_logits:
            return vector
        types = len(step.relaxation.space.cell_types)
        return (*vector[:types], *(torch.zeros_like(part) for part in vector[types:]))

    def _differences(self, step: SearchStep, centre: Alphas, gradient: Alphas) -> CurvatureProduct:
        """Difference quotients of the inner gradient, whose value at the centre is known."""

        def product(direction: Alphas) -> Alphas:
            radius: float | Tensor = self.epsilon
            if self.curvature != "central_fd":
                length = norm(direction)
                if length == 0:
                    return direction
                radius = self.epsilon / length
            plus = self.inner.gradient(step, moved(centre, radius, direction))
            if self.curvature == "forward_fd":
                return tuple((a - b) / radius for a, b in zip(plus, gradient, strict=True))
            minus = self.inner.gradient(step, moved(centre, -radius, direction))
            return tuple((a - b) / (2 * radius) for a, b in zip(plus, minus, strict=True))

        return product


def _diagnostics(alphas: Alphas, plain: Estimate, gradient: Alphas) -> dict[str, Tensor]:
    """Distance of the gradient from the plain one; ratios are NaN where the plain one is zero."""
    length = norm(plain.gradient)
    return {
        "a2m_relative_change": norm(moved(gradient, -1, plain.gradient)) / length,
        "a2m_cosine": inner_product(gradient, plain.gradient) / (norm(gradient) * length),
        "alpha_std": torch.cat([alpha.flatten() for alpha in alphas]).std(correction=0),
    }
