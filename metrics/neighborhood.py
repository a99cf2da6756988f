"""The score of an architecture's neighbourhood: flat minima in the space of architectures (NA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from genas.choices import check_choices
from genas.metrics.base import Measurement, Metric, Needs
from genas.metrics.combination import belongs_to_pool
from genas.metrics.context import Context
from genas.metrics.table_accuracy import TableAccuracy
from genas.seeding import generator
from genas.spaces import Architecture
from genas.spaces.listing import all_architectures, is_listable, positions
from genas.spaces.neighborhoods import Aggregate, aggregated, aggregated_everywhere, neighborhood, sampled_neighborhood


@final
@dataclass(frozen=True)
class Neighborhood(Metric):
    r"""The aggregated scores of a metric in the neighbourhood of an architecture, the architecture included.

    The paper minimises errors; scores are higher-is-better, so its aggregates have other names here:

    =============  ====================  ==========================================
    aggregate      paper                 here
    =============  ====================  ==========================================
    ``mean``       mean of the errors    mean of the scores
    ``median``     median of the errors  median of the scores
    ``worst``      max of the errors     lowest score
    ``penalized``  "variance",           :math:`f - \lambda\,\sigma`, :math:`\sigma` the standard
                   :math:`f+\lambda\sigma`   deviation of the population
    =============  ====================  ==========================================

    Values are scores of the base metric: higher is better whatever its orientation. Each architecture is measured once,
    however many neighbourhoods it is in. Where the space has every combination of genes, and the base metric runs no
    network or all architectures are scored, all neighbourhoods are computed at once, the mean in closed form
    (:func:`genas.spaces.neighborhoods.mean_everywhere`). Aggregates that add up (``mean``, ``penalized``) are given to
    twelve significant digits, in which both ways agree.

    Args:
        base: The metric, or combination of metrics; not one of ranks, which belong to a pool of architectures.
        aggregate: How the scores are aggregated.
        distance: Radius of the neighbourhood, d in the paper.
        samples: Size of a random subset of the neighbourhood, the architecture itself included, n_nbr in the paper;
            ``None``: the whole neighbourhood. A draw depends on the architecture and the seeds alone.
        penalty: The paper's :math:`\lambda`, for ``penalized`` only.
        seed: Seed of the draw of ``samples``, besides the root seed of the context.

    Raises:
        ValueError: If a number is out of range, if an option would do nothing, or if the base metric is made of ranks.

    Reference:
        Wang et al., Neighborhood-Aware Neural Architecture Search, BMVC 2021, Eq. 1 and 3 and appendix A.1.
    """

    name: ClassVar[str] = "neighborhood"

    base: Metric
    aggregate: Aggregate = "mean"
    distance: int = 1
    samples: int | None = None
    penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        if self.distance < 1 or (self.samples is not None and self.samples < 1):
            raise ValueError(f"distance and samples must be at least 1, but got {self.distance} and {self.samples}.")
        if not 0 <= self.penalty < np.inf:
            raise ValueError(f"penalty must be a non-negative number, but got {self.penalty}.")
        if self.penalty != 1 and self.aggregate != "penalized":
            raise ValueError(f"penalty is a setting of aggregate=penalized, but aggregate is {self.aggregate}.")
        if self.seed and self.samples is None:
            raise ValueError("seed chooses the samples of a neighbourhood, but samples is None, which means all of it.")
        if belongs_to_pool(self.base):
            raise ValueError(
                "The scores in a neighbourhood must belong to the architectures alone, but a rank depends on the pool; "
                "join the terms of its base by sum or standardized."
            )

    @property
    def unit(self) -> str:
        """As for the base metric."""
        return self.base.unit

    @property
    def scale(self) -> float:
        """As for the base metric."""
        return self.base.scale

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The measurements of the base metric."""
        return self.base.measurements

    @property
    def parts(self) -> tuple[Metric, ...]:
        """The base metric."""
        return (self.base,)

    def needs(self, context: Context, architectures: Sequence[Architecture]) -> Needs:
        """Measurements that the base metric needs for all members of the neighbourhoods.

        Args:
            context: The supernet and what belongs to it.
            architectures: Valid architectures.

        Returns:
            The measurements of each architecture.
        """
        if not self.measurements:
            return {}
        if self._at_once(context, architectures):
            return self.base.needs(context, all_architectures(context.space))
        members = dict.fromkeys(each for centre in architectures for each in self.members(context, centre))
        return self.base.needs(context, list(members))

    def members(self, context: Context, architecture: Architecture) -> list[Architecture]:
        """The neighbourhood whose scores are aggregated.

        Args:
            context: Provides the space and the root seed.
            architecture: The centre, a valid architecture.

        Returns:
            The architecture itself, then the others.
        """
        if self.samples is None:
            return neighborhood(context.space, architecture, self.distance)
        rng = generator(context.seed, "neighborhood", self.seed, *architecture)
        return sampled_neighborhood(context.space, architecture, self.samples, rng, self.distance)

    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """The aggregated score of each architecture."""
        if self._at_once(context, architectures):
            everywhere = context.once(("neighborhoods", self), lambda: self._everywhere(context))
            return np.asarray(everywhere[positions(context.space, architectures)])
        groups = [self.members(context, architecture) for architecture in architectures]
        rows = {architecture: row for row, architecture in enumerate(dict.fromkeys(each for g in groups for each in g))}
        scores = self.base.score(context, list(rows))
        parts = [scores[[rows[each] for each in group]] for group in groups]
        return self._rounded([float(aggregated(part, self.aggregate, penalty=self.penalty)) for part in parts])

    def _at_once(self, context: Context, architectures: Sequence[Architecture]) -> bool:
        """Return whether to score the whole space: if that is free, or requested anyway."""
        if self.samples is not None or not is_listable(context.space):
            return False
        return _is_cheap(self.base) or len(set(architectures)) == context.space.size

    def _everywhere(self, context: Context) -> np.ndarray:
        """The aggregated scores of the whole space, one axis per gene."""
        space = context.space
        scores = self.base.score(context, all_architectures(space)).reshape(tuple(map(len, space.choices)))
        found = aggregated_everywhere(scores, self.aggregate, distance=self.distance, penalty=self.penalty)
        return self._rounded(found.ravel().tolist()).reshape(found.shape)

    def _rounded(self, values: Sequence[float]) -> np.ndarray:
        """The values, without the digits that come from rounding errors."""
        if self.aggregate in ("mean", "penalized"):
            # The last digits depend on the order of summation: with them equal neighbourhoods would not tie, and a
            # score would depend on whether the whole space is scored at once. Other aggregates add nothing up.
            values = [float(f"{value:.12g}") for value in values]
        return np.array(values, dtype=np.float64)


def _is_cheap(metric: Metric) -> bool:
    """Return whether a whole space can be scored without running a network."""
    if metric.measurements:
        return False
    if metric.parts:
        return all(_is_cheap(part) for part in metric.parts)
    return metric.is_total if isinstance(metric, TableAccuracy) else metric.cost_hint != "forward"
