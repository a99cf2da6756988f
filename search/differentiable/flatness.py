"""The plug-ins for flat minima by name, with the numbers that suit a space: A²M and NA."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from genas.choices import check_choices
from genas.search.differentiable.a2m import A2M, Centre, Curvature
from genas.search.differentiable.neighborhood_gradient import Aggregate, NeighborhoodGradient
from genas.search.differentiable.neighbors import (
    EPSILON,
    AdditiveNeighbors,
    EdgeScope,
    MultiplicativeNeighbors,
    Neighbors,
)
from genas.search.differentiable.parts import ArchitectureGradient, Regularizer
from genas.search.differentiable.regularizers import Regularized
from genas.spaces import SearchSpace

FlatnessName = Literal["none", "a2m", "na"]


@dataclass(frozen=True)
class A2MOptions:
    """Options of A²M, which are described at :class:`A2M`.

    Args:
        rho: Length of the step uphill; by default 0.01 on NAS-Bench-201, 0.1 on DARTS.
        curvature: How the product of Hessian and gradient is worked out.
        epsilon: Length of its finite difference.
        centre: Where the Hessian is taken.
        include_edge_logits: Whether the step uphill also moves the weights of edges.
        perturb_regularizer: Whether the step uphill also climbs the regulariser, as in the authors' code.
        allow_unrolled: Whether a second-order gradient may be wrapped, which nobody has run.
        compare_exact: Whether a finite difference is compared with the exact product for the log.
    """

    rho: float | None = None
    curvature: Curvature = A2M.curvature
    epsilon: float = A2M.epsilon
    centre: Centre = A2M.centre
    include_edge_logits: bool = A2M.include_edge_logits
    perturb_regularizer: bool = False
    allow_unrolled: bool = False
    compare_exact: bool = False

    def __post_init__(self) -> None:
        check_choices(self)

    def rho_on(self, space: SearchSpace) -> float:
        """The length on a space."""
        return (1e-2 if space.is_product else 1e-1) if self.rho is None else self.rho

    def resolved(self, space: SearchSpace) -> A2MOptions:
        """The same with the default of the space written out, for a record."""
        return replace(self, rho=self.rho_on(space))


A2M_CODE = A2MOptions(curvature="central_fd", centre="alpha_tilde", perturb_regularizer=True)
"""A²M as its authors' code computes it."""


@dataclass(frozen=True)
class NAOptions:
    """Options of NA, which are described at :class:`NeighborhoodGradient` and :class:`Neighbors`.

    Args:
        neighbors: How an edge of a neighbour differs.
        aggregate: What becomes of the losses.
        count: Number of losses, the architecture's own among them.
        distance: On how many edges a neighbour differs; by default 6 on DARTS, 2 on NAS-Bench-201.
        epsilon: Largest change of a weight by additive neighbours.
        scope: Where these edges are.
        deviation_weight: Weight of the standard deviation, with ``variance``.
    """

    neighbors: Literal["additive", "multiplicative"] = "additive"
    aggregate: Aggregate = NeighborhoodGradient.aggregate
    count: int = NeighborhoodGradient.count
    distance: int | None = None
    epsilon: float = EPSILON
    scope: EdgeScope = "each"
    deviation_weight: float = NeighborhoodGradient.deviation_weight

    def __post_init__(self) -> None:
        check_choices(self)
        given = [
            each.name for each in fields(self) if getattr(self, each.name) != each.default and each.name != "count"
        ]
        if self.count == 1 and given:
            raise ValueError(
                f"With a count of 1 there are no neighbours, so {given[0]} would do nothing; leave it out."
            )
        if self.neighbors == "multiplicative" and self.epsilon != NAOptions.epsilon:
            raise ValueError("epsilon is a size of additive neighbours, but neighbors is multiplicative; leave it out.")
        if self.aggregate != "variance" and self.deviation_weight != NAOptions.deviation_weight:
            raise ValueError(
                f"deviation_weight belongs to the aggregate variance, but aggregate is {self.aggregate}; leave it out."
            )

    def distance_in(self, space: SearchSpace) -> int:
        """The distance in a space."""
        return (2 if space.is_product else 6) if self.distance is None else self.distance

    def resolved(self, space: SearchSpace) -> NAOptions:
        """The same with the default of the space written out, for a record."""
        return self if self.count == 1 else replace(self, distance=self.distance_in(space))

    def neighbors_in(self, space: SearchSpace) -> Neighbors:
        """The neighbours in a space."""
        distance = self.distance_in(space)
        if self.neighbors == "multiplicative":
            return MultiplicativeNeighbors(space, distance, scope=self.scope)
        return AdditiveNeighbors(space, distance, epsilon=self.epsilon, scope=self.scope)


def flat_gradient(
    plain: ArchitectureGradient,
    regularizer: Regularizer | None,
    space: SearchSpace,
    flatness: FlatnessName,
    a2m: A2MOptions = A2MOptions(),
    na: NAOptions = NAOptions(),
) -> ArchitectureGradient:
    """A gradient with its regulariser and one of the plug-ins.

    Args:
        plain: The gradient.
        regularizer: Its regulariser, which stays outside of the plug-in unless A²M's options say otherwise.
        space: The search space.
        flatness: Which plug-in.
        a2m: Options of A²M, read only if it is the plug-in.
        na: Options of NA, likewise.

    Returns:
        The gradient to descend.

    Raises:
        ValueError: If the plug-in is unknown or the combination impossible.
    """
    if flatness not in ("none", "a2m", "na"):
        raise ValueError(f"flatness must be none, a2m or na, but got {flatness!r}.")
    gradient, outside = plain, regularizer
    if flatness == "a2m":
        if a2m.perturb_regularizer and regularizer is not None:
            gradient, outside = Regularized(gradient, regularizer), None
        gradient = A2M(
            gradient,
            a2m.rho_on(space),
            curvature=a2m.curvature,
            epsilon=a2m.epsilon,
            centre=a2m.centre,
            include_edge_logits=a2m.include_edge_logits,
            allow_unrolled=a2m.allow_unrolled,
            compare_exact=a2m.compare_exact,
        )
    elif flatness == "na":
        gradient = NeighborhoodGradient(
            gradient,
            na.neighbors_in(space),
            count=na.count,
            aggregate=na.aggregate,
            deviation_weight=na.deviation_weight,
        )
    return gradient if outside is None else Regularized(gradient, outside)
