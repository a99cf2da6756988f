"""Experiments of the NA paper on a table of ground truth: how well neighbourhoods predict good architectures.

Errors, not scores: everything here is in percent and lower is better, as in the paper. torch is not imported.

Reference:
    Wang et al., Neighborhood-Aware Neural Architecture Search, BMVC 2021, sections 3.3 and 5.1, appendices B and C.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from genas.search import NeighborhoodRandomSearch, RandomSearch
from genas.seeding import derived_seed, generator
from genas.spaces import Architecture, SearchSpace
from genas.spaces.listing import all_architectures, positions
from genas.spaces.neighborhoods import AGGREGATES, Aggregate, aggregated_everywhere, variance_everywhere
from genas.tables import Column, Table

Sample = np.ndarray
"""The outcomes of all repeats, shape ``(repeats,)``; a single number has shape ``(1,)``."""

Rows = dict[str, dict[str, Sample]]
"""A table of results: row, column, outcomes."""

BASELINE = "baseline"
"""The criterion that uses the architecture alone."""


@final
@dataclass(frozen=True, eq=False)
class Landscape:
    """The errors of all architectures of a space.

    Args:
        space: Has every combination of genes; their errors are tensors with one axis per gene.
        search: Errors that a search sees, in percent.
        truths: Errors that it is judged by, in percent, by name.
        distance: Radius of a neighbourhood.
        penalty: The paper's lambda.
    """

    space: SearchSpace
    search: np.ndarray
    truths: Mapping[str, np.ndarray]
    distance: int = 1
    penalty: float = 1.0

    @classmethod
    def of(cls, table: Table, search: Column, truths: Mapping[str, Column], distance: int, penalty: float) -> Landscape:
        """Read the accuracies of a table.

        Args:
            table: Must have all architectures of its space.
            search: The column that a search sees.
            truths: The columns that it is judged by, by name.
            distance: As for the class.
            penalty: As for the class.

        Returns:
            The landscape.

        Raises:
            ValueError: If the space lacks combinations of genes or is too large to be listed, or if an accuracy is
                missing.
        """
        space = table.space
        cells, sizes = all_architectures(space), tuple(map(len, space.choices))

        def errors(column: Column) -> np.ndarray:
            values = table.values(column, cells, missing="nan")
            if missing := int(np.isnan(values).sum()):
                raise ValueError(
                    f"Neighbourhoods need a table of all {len(cells):,} architectures, but {column} of {table.name} "
                    f"lacks {missing:,}; give a complete one."
                )
            return 100 - values.reshape(sizes)

        judged = {name: errors(column) for name, column in truths.items()}
        return cls(space, errors(search), judged, distance, penalty)

    @cached_property
    def criteria(self) -> dict[str, np.ndarray]:
        """The quantity that the baseline and each aggregate minimise, in the shape of ``search``."""
        criteria = {BASELINE: self.search}
        for how in AGGREGATES:
            scores = aggregated_everywhere(-self.search, how, distance=self.distance, penalty=self.penalty)
            criteria[how] = -scores
        return criteria

    @cached_property
    def variance(self) -> np.ndarray:
        """The variance of ``search`` in each neighbourhood, in the shape of ``search``."""
        return variance_everywhere(self.search, self.distance)

    def means(self, chosen: np.ndarray) -> dict[str, Sample]:
        """Means over some architectures, given by their positions in the flattened tensors.

        Args:
            chosen: The positions.

        Returns:
            Search-time error, variance and standard deviation in the neighbourhood, and the true errors.
        """
        variance = self.variance.flat[chosen]
        numbers = {"search": self.search.flat[chosen], "variance": variance, "std": np.sqrt(variance)}
        numbers |= {name: truth.flat[chosen] for name, truth in self.truths.items()}
        return {name: np.array([each.mean()]) for name, each in numbers.items()}


def flat_and_sharp(landscape: Landscape, best: int = 100) -> Rows:
    """Tables 1a and A: the best architectures by the search-time error, halved by the variance around them.

    Args:
        landscape: The errors.
        best: Number of architectures, even.

    Returns:
        The means of ``flat`` and of ``sharp``.

    Raises:
        ValueError: If ``best`` is odd or not positive.
    """
    if best < 2 or best % 2:
        raise ValueError(f"best must be an even number, to be halved into flat and sharp, but got {best}.")
    chosen = _lowest(landscape.search, best)
    by_variance = chosen[np.argsort(landscape.variance.flat[chosen], kind="stable")]
    halves = {"flat": by_variance[: best // 2], "sharp": by_variance[best // 2 :]}
    return {name: landscape.means(half) for name, half in halves.items()}


def rankings(landscape: Landscape, seed: int, architectures: int = 100, repeats: int = 10) -> Rows:
    """Tables 1b and B: Kendall's tau-b of each criterion with each truth over random architectures.

    Args:
        landscape: The errors.
        seed: Root seed of the samples; all criteria see the same.
        architectures: Number of distinct ones in each sample.
        repeats: Number of samples.

    Returns:
        One tau for each repeat.

    Raises:
        ValueError: If ``architectures`` is not between 2 and the size of the space.
    """
    from scipy.stats import kendalltau  # a second to import

    size = landscape.search.size
    if not 2 <= architectures <= size:
        raise ValueError(f"architectures must lie in 2 .. {size}, but got {architectures}.")
    rng = generator(seed, "na-tables", "rankings")
    samples = [rng.choice(size, architectures, replace=False) for _ in range(repeats)]
    return {
        criterion: {
            name: np.array([kendalltau(errors.flat[each], truth.flat[each]).statistic for each in samples])
            for name, truth in landscape.truths.items()
        }
        for criterion, errors in landscape.criteria.items()
    }


def best_by_criterion(landscape: Landscape, best: int = 100) -> Rows:
    """Table C: the best architectures under each criterion, their flatness and their errors.

    Args:
        landscape: The errors.
        best: Number of architectures.

    Returns:
        The means for each criterion.
    """
    return {criterion: landscape.means(_lowest(errors, best)) for criterion, errors in landscape.criteria.items()}


def random_searches(landscape: Landscape, seed: int, evaluations: int, repeats: int) -> dict[str, Sample]:
    """The row of random search in Table 2: true errors of the architecture with the lowest search-time error.

    Args:
        landscape: The errors.
        seed: Root seed; repeats have seeds derived from it.
        evaluations: Number of distinct architectures that a search sees.
        repeats: Number of searches.

    Returns:
        One error for each repeat, and the number of evaluations.
    """
    found, made = [], []
    for repeat in range(repeats):
        searcher = RandomSearch(
            landscape.space,
            seed=derived_seed(seed, "na-tables", "searches", repeat),
            evaluations=evaluations,
            batch=evaluations,
        )
        asked = searcher.ask()
        errors = landscape.search[positions(landscape.space, asked)]
        found.append(asked[int(errors.argmin())])
        made.append(len(asked))
    return _found(landscape, found, made)


def neighborhood_searches(
    landscape: Landscape, seed: int, steps: int, samples: int, aggregate: Aggregate, repeats: int
) -> dict[str, Sample]:
    """A row of Tables 2, D and E: true errors of the architecture with the best neighbourhood.

    Args:
        landscape: The errors.
        seed: Root seed; repeats have seeds derived from it, and all aggregates draw the same neighbourhoods.
        steps: T in the paper.
        samples: n_nbr in the paper.
        aggregate: How the errors of a neighbourhood are aggregated.
        repeats: Number of searches.

    Returns:
        One error for each repeat, and the number of different architectures that were asked: neighbourhoods overlap.
    """
    found, made = [], []
    for repeat in range(repeats):
        searcher = NeighborhoodRandomSearch(
            landscape.space,
            seed=derived_seed(seed, "na-tables", "searches", repeat),
            steps=steps,
            samples=samples,
            distance=landscape.distance,
            aggregate=aggregate,
            penalty=landscape.penalty if aggregate == "penalized" else 1.0,
        )
        asked = 0
        while batch := searcher.ask():
            searcher.tell(batch, -landscape.search[positions(landscape.space, batch)])
            asked += len(batch)
        found.append(searcher.ranking[0][0])
        made.append(asked)
    return _found(landscape, found, made)


def _found(landscape: Landscape, found: Sequence[Architecture], made: Sequence[int]) -> dict[str, Sample]:
    places = positions(landscape.space, found)
    errors = {name: truth[places] for name, truth in landscape.truths.items()}
    return {"evaluations": np.array(made, dtype=np.float64), **errors}


def _lowest(errors: np.ndarray, count: int) -> np.ndarray:
    """Positions in the flattened tensor of the lowest errors; the first ones among ties."""
    if not 1 <= count <= errors.size:
        raise ValueError(f"best must lie in 1 .. {errors.size}, but got {count}.")
    return np.argsort(errors, axis=None, kind="stable")[:count]
