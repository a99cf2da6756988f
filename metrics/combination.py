"""Metrics joined into one: weighted sums as in GeNAS, standardised sums, sums of ranks or of their logarithms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np

from genas.choices import check_choices
from genas.metrics.base import Measurement, Metric, Needs, needs_of, within
from genas.metrics.context import Context
from genas.seeding import generator
from genas.spaces import Architecture

Join = Literal["sum", "standardized", "rank", "log_rank"]

POOL_JOINS: frozenset[Join] = frozenset({"rank", "log_rank"})
"""The joins whose scores belong to the architectures that are scored together, not to each alone."""


def belongs_to_pool(metric: Metric) -> bool:
    """Whether a score depends on the architectures that are scored together, as ranks do.

    Args:
        metric: The metric.

    Returns:
        Whether it, or a metric that it is made of, is joined by ranks.
    """
    return any(isinstance(each, Combined) and each.join in POOL_JOINS for each in within(metric))


@final
@dataclass(frozen=True)
class Term:
    """One metric of a combination.

    Args:
        metric: The metric.
        gamma: Its weight.

    Raises:
        ValueError: If ``gamma`` is negative or not finite.
    """

    metric: Metric
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < np.inf:
            raise ValueError(f"The weight of {self.metric.name} must be a non-negative number, but got {self.gamma}.")


@final
@dataclass(frozen=True)
class Combined(Metric):
    r"""Several metrics as one.

    ``sum`` is GeNAS' :math:`\sum_k \gamma_k s_k` with comparable scores :math:`s_k`: accuracy unchanged, angle over
    :math:`\pi`, flatness times :math:`\beta = 1/\sigma_1`.

    Args:
        terms: Metrics and their weights; at least one.
        join: ``sum``; ``standardized``: each score minus the mean, over the standard deviation, of ``reference`` random
            architectures, so that weights need no tuning and a score still belongs to an architecture alone; ``rank``:
            weighted sum of the ranks among the architectures that are scored together, 0 for the worst to 1 for the
            best, ties sharing their mean rank: for a fixed pool, not for a search; ``log_rank``: weighted sum of
            :math:`\log(r / m)` with the rank :math:`r`, 1 for the worst of :math:`m`, which favours architectures that
            no metric ranks low, for a fixed pool too.
        reference: Number of random architectures that ``standardized`` measures first.

    Raises:
        ValueError: If there is no term or all have weight 0, if ``reference`` is less than 2, or if a term of
            ``standardized`` is made of ranks.

    Reference:
        Jeong et al., GeNAS, IJCAI 2023, Eq. 6 and Tables 8-10. ``log_rank``: the non-linear ranking aggregation of Lee
        & Ham, AZ-NAS, CVPR 2024.
    """

    name: ClassVar[str] = "combined"

    terms: tuple[Term, ...]
    join: Join = "sum"
    reference: int = 50

    def __post_init__(self) -> None:
        check_choices(self)
        if not self.terms:
            raise ValueError("A combination needs at least one metric, but got none.")
        if not self._weighed:
            raise ValueError(
                "A combination needs a metric with a weight above 0, but all weights are 0: every score would be 0."
            )
        if self.reference < 2:
            raise ValueError(f"reference must be at least 2, but got {self.reference}.")
        if self.join == "standardized" and any(map(belongs_to_pool, self.parts)):
            raise ValueError(
                "The scores that are standardized must belong to the architectures alone, but a rank depends on the "
                "pool; join the terms of the inner combination by sum or standardized."
            )

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """All measurements of the terms with a weight, each once."""
        return tuple(dict.fromkeys(each for part in self.parts for each in part.measurements))

    @property
    def parts(self) -> tuple[Metric, ...]:
        """The metrics of the terms with a weight."""
        return tuple(term.metric for term in self._weighed)

    @property
    def _weighed(self) -> tuple[Term, ...]:
        """The terms that count: one of weight 0 is not measured, and its failure is not one of the sum."""
        return tuple(term for term in self.terms if term.gamma > 0)

    def needs(self, context: Context, architectures: Sequence[Architecture]) -> Needs:
        """Measurements that the terms with a weight need, including those of the reference of ``standardized``.

        Args:
            context: The supernet and what belongs to it.
            architectures: Valid architectures.

        Returns:
            The measurements of each architecture, each once.
        """
        scored = list(architectures)
        if self.join == "standardized":
            scored = [*self.reference_architectures(context), *scored]
        return needs_of(self.parts, context, scored)

    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """The joined score of each architecture."""
        total = np.zeros(len(architectures))
        for term in self._weighed:
            total += term.gamma * self.comparable(term.metric, context, architectures)
        return total

    def comparable(self, metric: Metric, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """The score of one term in the units in which the terms are added.

        Args:
            metric: The metric of a term.
            context: The supernet and what belongs to it.
            architectures: Valid architectures.

        Returns:
            Float64 array of shape ``(len(architectures),)``.
        """
        scores = metric.score(context, architectures)
        if self.join == "sum":
            return metric.scale * scores
        if self.join in POOL_JOINS:
            from scipy.stats import rankdata  # a second to import, for every worker process too

            ranks = rankdata(scores, nan_policy="omit") if len(scores) else scores
            number = np.count_nonzero(~np.isnan(scores))
            if self.join == "log_rank":
                return np.asarray(np.log(ranks / max(number, 1)))
            return np.asarray((ranks - 1) / max(number - 1, 1))
        mean, std = context.once(
            ("reference scores", metric, self.reference), lambda: self._reference_scores(metric, context)
        )
        return (scores - mean) / std

    def reference_architectures(self, context: Context) -> list[Architecture]:
        """The random architectures whose scores are the reference of ``standardized``.

        Args:
            context: Provides the space and the seed.

        Returns:
            Independent uniform draws.
        """
        rng = generator(context.seed, "reference architectures")
        return [context.space.sample(rng) for _ in range(self.reference)]

    def _reference_scores(self, metric: Metric, context: Context) -> tuple[float, float]:
        scores = metric.score(context, self.reference_architectures(context))
        known = scores[~np.isnan(scores)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (np.nan, np.nan)
        if not -np.inf < low < high < np.inf:  # rounding gives equal scores a standard deviation above zero
            raise ValueError(
                f"{metric.name} must be finite and differ between architectures to be standardised, but "
                f"{self.reference} random ones score from {low} to {high}; leave it out or use join='sum'."
            )
        return float(known.mean()), float(known.std())
