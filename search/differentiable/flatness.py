"""The plug-ins that make a search prefer flat minima of the architecture, around any gradient: A²M and NA."""

from __future__ import annotations

import abc
from dataclasses import dataclass, fields, replace
from typing import Literal, final

from genas.choices import check_choices
from genas.search.differentiable.a2m import A2MGradient, Centre, Curvature
from genas.search.differentiable.neighborhood_gradient import Aggregate, NeighborhoodGradient
from genas.search.differentiable.neighbors import (
    EPSILON,
    AdditiveNeighbors,
    EdgeScope,
    MultiplicativeNeighbors,
    Neighbors,
)
from genas.search.differentiable.parts import ArchitectureGradient, Regularizer, has_nasbench201_numbers
from genas.search.differentiable.regularizers import regularized
from genas.spaces import SearchSpace


class FlatMinima(abc.ABC):
    """A plug-in that wraps the architecture's gradient so that the search prefers flat minima."""

    def resolved(self, space: SearchSpace) -> FlatMinima:  # noqa: ARG002 (most have none)
        """The same with the defaults for a space written out, for a record; here there are none."""
        return self

    @abc.abstractmethod
    def wrap(
        self, gradient: ArchitectureGradient, regularizer: Regularizer | None, space: SearchSpace
    ) -> ArchitectureGradient:
        """The gradient that the search descends.

        Args:
            gradient: The method's gradient.
            regularizer: The method's regulariser; the result must include it, inside or outside of the plug-in
                (:func:`genas.search.differentiable.regularized`).
            space: The search space.

        Returns:
            The wrapped gradient.

        Raises:
            ValueError: If the plug-in does not work on this gradient or space.
        """


@final
@dataclass(frozen=True)
class A2M(FlatMinima):
    """A²M: descends the loss one step uphill, see :class:`A2MGradient`.

    Args:
        rho: Length of the step uphill; ``None``: 0.01 on NAS-Bench-201, 0.1 on DARTS.
        curvature: As for :class:`A2MGradient`, like all that follows but ``perturb_regularizer``.
        epsilon: Length of the finite difference.
        centre: Where the Hessian is taken.
        include_edge_logits: Whether the step uphill also moves the weights of edges.
        perturb_regularizer: Whether the step uphill also climbs the regulariser, as in the authors' code.
        allow_unrolled: Whether a second-order gradient may be wrapped, which nobody has run.
        compare_exact: Whether a finite difference is compared with the exact product for the log.

    Raises:
        ValueError: If ``curvature`` or ``centre`` is unknown; the numbers are checked when a gradient is wrapped.
    """

    rho: float | None = None
    curvature: Curvature = A2MGradient.curvature
    epsilon: float = A2MGradient.epsilon
    centre: Centre = A2MGradient.centre
    include_edge_logits: bool = A2MGradient.include_edge_logits
    perturb_regularizer: bool = False
    allow_unrolled: bool = False
    compare_exact: bool = False

    def __post_init__(self) -> None:
        check_choices(self)

    def rho_on(self, space: SearchSpace) -> float:
        """The length of the step uphill on a space."""
        return (1e-2 if has_nasbench201_numbers(space) else 1e-1) if self.rho is None else self.rho

    def resolved(self, space: SearchSpace) -> A2M:
        """The same with the length for the space."""
        return replace(self, rho=self.rho_on(space))

    def wrap(
        self, gradient: ArchitectureGradient, regularizer: Regularizer | None, space: SearchSpace
    ) -> ArchitectureGradient:
        """The gradient after the step uphill; the regulariser is outside unless it is perturbed."""
        inside, outside = (regularizer, None) if self.perturb_regularizer else (None, regularizer)
        flat = A2MGradient(
            regularized(gradient, inside),
            self.rho_on(space),
            curvature=self.curvature,
            epsilon=self.epsilon,
            centre=self.centre,
            include_edge_logits=self.include_edge_logits,
            allow_unrolled=self.allow_unrolled,
            compare_exact=self.compare_exact,
        )
        return regularized(flat, outside)


A2M_CODE = A2M(curvature="central_fd", centre="alpha_tilde", perturb_regularizer=True)
"""A²M as its authors' code computes it."""


@final
@dataclass(frozen=True)
class NA(FlatMinima):
    """NA: descends an aggregate of the losses in a neighbourhood, see :class:`NeighborhoodGradient`.

    Args:
        neighbors: Kind of change of an edge in a neighbour.
        aggregate: Aggregation of the losses.
        count: Number of losses, the architecture's own among them.
        distance: Number of edges on which a neighbour differs; by default 6 on DARTS, 2 on NAS-Bench-201.
        epsilon: Largest change of a weight by additive neighbours.
        scope: Cells in which these edges lie.
        deviation_weight: Weight of the standard deviation, with ``variance``.

    Raises:
        ValueError: If a word is unknown, or something is set that nothing reads.
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
        if self.distance == 0 or self.epsilon == 0:
            raise ValueError(
                "Neighbours must differ, but distance or epsilon is 0, so that all are the architecture itself; set a "
                "larger one, or count=1."
            )
        if self.neighbors == "multiplicative" and self.epsilon != NA.epsilon:
            raise ValueError("epsilon is a size of additive neighbours, but neighbors is multiplicative; leave it out.")
        if self.aggregate != "variance" and self.deviation_weight != NA.deviation_weight:
            raise ValueError(
                f"deviation_weight belongs to the aggregate variance, but aggregate is {self.aggregate}; leave it out."
            )

    def distance_in(self, space: SearchSpace) -> int:
        """The distance in a space."""
        return (2 if has_nasbench201_numbers(space) else 6) if self.distance is None else self.distance

    def resolved(self, space: SearchSpace) -> NA:
        """The same with the distance for the space, unless there are no neighbours."""
        return self if self.count == 1 else replace(self, distance=self.distance_in(space))

    def neighbors_in(self, space: SearchSpace) -> Neighbors:
        """The neighbours in a space."""
        distance = self.distance_in(space)
        if self.neighbors == "multiplicative":
            return MultiplicativeNeighbors(space, distance, scope=self.scope)
        return AdditiveNeighbors(space, distance, epsilon=self.epsilon, scope=self.scope)

    def wrap(
        self, gradient: ArchitectureGradient, regularizer: Regularizer | None, space: SearchSpace
    ) -> ArchitectureGradient:
        """The gradient of the neighbourhood, the regulariser outside."""
        near = NeighborhoodGradient(
            gradient,
            self.neighbors_in(space),
            count=self.count,
            aggregate=self.aggregate,
            deviation_weight=self.deviation_weight,
        )
        return regularized(near, regularizer)
