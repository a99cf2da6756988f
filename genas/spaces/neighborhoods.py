r"""Neighbourhoods of architectures, and aggregation of scores over them: one by one, or over a whole space at once.

After Wang et al., Neighborhood-Aware Neural Architecture Search, BMVC 2021, who minimise errors: their ``max`` is
``worst`` here, their variance-based :math:`f + \lambda \sigma` is ``penalized``.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np

from genas.spaces.base import Architecture, SearchSpace
from genas.spaces.listing import LISTABLE

Aggregate = Literal["mean", "median", "worst", "penalized"]
"""Aggregation of a neighbourhood's scores to one: their mean, their median, the lowest of them, or the architecture's
own score minus a penalty times their standard deviation."""

AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)

_CHUNK = 2**22

_MISSES = 1_000
"""Consecutive walks that may end at known architectures before the rest of a neighbourhood is listed."""


def neighborhood(space: SearchSpace, architecture: Architecture, distance: int = 1) -> list[Architecture]:
    r"""All architectures within a distance, :math:`N(a) = \{a' : \text{dist}(a, a') \le d\}`.

    Args:
        space: Space that defines the distance.
        architecture: The centre, a valid architecture.
        distance: From 1 to the number of genes.

    Returns:
        The architecture itself, then the others, nearest first.

    Raises:
        ValueError: If ``distance`` is out of range, or there are more than :data:`LISTABLE`.

    Example:
        >>> from genas.spaces import NASBench201
        >>> [len(neighborhood(NASBench201(), (0, 1, 2, 3, 4, 0), distance)) for distance in (1, 2)]
        [25, 265]
    """
    _check(distance, space.num_genes)
    found = [architecture, *itertools.islice(space.neighbors(architecture, distance), LISTABLE)]
    if len(found) > LISTABLE:
        raise ValueError(
            f"At most {LISTABLE:,} architectures can be listed, but a neighbourhood of distance {distance} in "
            f"{space.name} has more; take a smaller distance, or samples of it."
        )
    return found


def sampled_neighborhood(
    space: SearchSpace, architecture: Architecture, samples: int, rng: np.random.Generator, distance: int = 1
) -> list[Architecture]:
    """An architecture and random others of its neighbourhood, all different.

    The others are a uniform draw without replacement where the neighbourhood can be listed: at distance 1, and in
    spaces that have every combination of genes. Elsewhere each is the end of a walk of ``distance`` moves, each to a
    uniform neighbour at distance 1; when these find no more, the rest is listed and drawn from.

    Args:
        space: Space that defines the distance.
        architecture: The centre, a valid architecture.
        samples: Number of architectures, the centre included; if there are fewer, all of them.
        rng: Source of randomness.
        distance: From 1 to the number of genes.

    Returns:
        The architecture itself, then the others.

    Raises:
        ValueError: If ``samples`` is not positive or ``distance`` out of range.
    """
    _check(distance, space.num_genes)
    if samples < 1:
        raise ValueError(f"samples counts the architecture itself, so it must be at least 1, but got {samples}.")
    others = list(itertools.islice(space.neighbors(architecture, distance), samples))
    if len(others) < samples:
        return [architecture, *others]
    sizes = tuple(map(len, space.choices))
    if space.is_product and neighborhood_size(sizes, distance) <= LISTABLE:
        moves = _moves(sizes, distance)
        picks = 1 + rng.choice(len(moves) - 1, samples - 1, replace=False)
        return [architecture, *_moved(space, architecture, moves[picks])]
    if distance == 1:
        others = list(space.neighbors(architecture))
        return [architecture, *(others[pick] for pick in rng.choice(len(others), samples - 1, replace=False))]
    found, misses = dict.fromkeys([architecture]), 0
    while len(found) < samples and misses < _MISSES:
        walked = _walk(space, architecture, distance, rng)
        misses = misses + 1 if walked in found else 0
        found[walked] = None
    if len(found) < samples:  # walks of this length end in few places, and never in some that lie nearer
        rest = [each for each in space.neighbors(architecture, distance) if each not in found]
        picks = rng.choice(len(rest), samples - len(found), replace=False)
        found.update(dict.fromkeys(rest[pick] for pick in picks))
    return list(found)


def neighborhood_size(choices: Sequence[int], distance: int = 1) -> int:
    """The number of architectures within a distance, the centre included, in a space of every combination of genes.

    Args:
        choices: The number of operations of each gene.
        distance: From 1 to the number of genes.

    Returns:
        The number.

    Raises:
        ValueError: If ``distance`` is out of range.

    Example:
        >>> [neighborhood_size([5] * 6, distance) for distance in (1, 2, 6)]
        [25, 265, 15625]
    """
    _check(distance, len(choices))
    shells = [1] + [0] * distance
    for number in choices:
        shells = [here + (number - 1) * before for here, before in zip(shells, [0, *shells], strict=False)]
    return sum(shells)


def aggregated(scores: np.ndarray, aggregate: Aggregate = "mean", *, penalty: float = 1.0) -> np.ndarray:
    r"""The aggregated score of each neighbourhood.

    Args:
        scores: Scores of each neighbourhood, the centre's own first, shape ``(..., members)``; higher is better.
        aggregate: Rule, see :data:`Aggregate`.
        penalty: :math:`\lambda` of ``penalized``, :math:`f - \lambda \sigma` with the standard deviation of the
            population; the others ignore it.

    Returns:
        Float64 array of shape ``(...)``; NaN where a member's score is NaN.

    Raises:
        ValueError: If ``aggregate`` is unknown.

    Example:
        >>> scores = np.array([3.0, 1.0, 5.0])
        >>> {how: float(aggregated(scores, how, penalty=0.0)) for how in AGGREGATES}
        {'mean': 3.0, 'median': 3.0, 'worst': 1.0, 'penalized': 3.0}
    """
    if aggregate not in AGGREGATES:
        raise ValueError(f"aggregate must be one of {', '.join(AGGREGATES)}, but got {aggregate!r}.")
    scores = np.asarray(scores, dtype=np.float64)
    if aggregate == "mean":
        return np.asarray(scores.mean(axis=-1))
    if aggregate == "median":
        return np.asarray(np.median(scores, axis=-1))
    if aggregate == "worst":
        return np.asarray(scores.min(axis=-1))
    return np.asarray(scores[..., 0] - penalty * scores.std(axis=-1))


def aggregated_everywhere(
    scores: np.ndarray, aggregate: Aggregate = "mean", *, distance: int = 1, penalty: float = 1.0
) -> np.ndarray:
    """The aggregated scores of all neighbourhoods of a space that has every combination of genes.

    Args:
        scores: Scores of all architectures, one axis per gene.
        aggregate: As for :func:`aggregated`; the mean is computed by :func:`mean_everywhere`.
        distance: From 1 to the number of genes.
        penalty: As for :func:`aggregated`.

    Returns:
        Float64 array in the shape of ``scores``.
    """
    if aggregate == "mean":
        return mean_everywhere(scores, distance)
    parts = [aggregated(part, aggregate, penalty=penalty) for part in gathered(scores, distance)]
    return np.concatenate(parts).reshape(np.shape(scores))


def variance_everywhere(scores: np.ndarray, distance: int = 1) -> np.ndarray:
    """The variance of the scores in each neighbourhood: the local sharpness of the landscape.

    Args:
        scores: Scores of all architectures, one axis per gene.
        distance: From 1 to the number of genes.

    Returns:
        Float64 array in the shape of ``scores``; the variance of the population.
    """
    return np.concatenate([part.var(axis=-1) for part in gathered(scores, distance)]).reshape(np.shape(scores))


def mean_everywhere(scores: np.ndarray, distance: int = 1) -> np.ndarray:
    r"""The mean score of each neighbourhood, in closed form.

    With :math:`T_e` the sum along axis e, the scores at distance k sum up to the elementary symmetric polynomial of
    degree k in the commuting operators :math:`T_e - 1`, which one sweep over the axes computes:

    .. math:: \sum_k t^k \sum_{\text{dist}(a, b) = k} S(b) = \prod_e \bigl(1 + t (T_e - 1)\bigr) S

    For distance 1 and n axes of m operations that is
    :math:`\bigl(\sum_e T_e S - (n - 1) S\bigr) / (1 + n (m - 1))`.

    Args:
        scores: Scores of all architectures, one axis per gene.
        distance: From 1 to the number of genes.

    Returns:
        Float64 array in the shape of ``scores``; NaN where a member's score is NaN.

    Example:
        >>> mean_everywhere(np.array([[0.0, 3.0], [6.0, 9.0]]))
        array([[3., 4.],
               [5., 6.]])
    """
    tensor = np.asarray(scores, dtype=np.float64)
    members = neighborhood_size(tensor.shape, distance)
    shells = np.zeros((distance + 1, *tensor.shape))
    shells[0] = tensor
    for axis in range(1, tensor.ndim + 1):
        shells[1:] += shells[:-1].sum(axis=axis, keepdims=True) - shells[:-1]
    return np.asarray(shells.sum(axis=0) / members)


def gathered(scores: np.ndarray, distance: int = 1) -> Iterator[np.ndarray]:
    """Yield the scores of all neighbourhoods, a few million at a time.

    Args:
        scores: Scores of all architectures, one axis per gene.
        distance: From 1 to the number of genes.

    Yields:
        Arrays of shape ``(architectures, members)``, the architecture's own score first; architectures in the order of
        the flattened tensor.

    Raises:
        ValueError: If ``distance`` is out of range.
    """
    tensor = np.asarray(scores, dtype=np.float64)
    _check(distance, tensor.ndim)
    moves = _moves(tensor.shape, distance)
    centres = np.stack(np.unravel_index(np.arange(tensor.size), tensor.shape), axis=-1)
    step = max(_CHUNK // len(moves), 1)
    for start in range(0, tensor.size, step):
        members = (centres[start : start + step, None] + moves) % tensor.shape
        yield tensor[tuple(np.moveaxis(members, -1, 0))]


def _check(distance: int, genes: int) -> None:
    if not 1 <= distance <= genes:
        raise ValueError(f"distance must lie in 1 .. {genes}, the number of genes, but got {distance}.")


@functools.cache
def _moves(sizes: tuple[int, ...], distance: int) -> np.ndarray:
    """Return cyclic shifts of genes: none, then all of at most ``distance`` genes; shape ``(members, genes)``."""
    moves = [np.zeros((1, len(sizes)), dtype=np.int64)]
    for changes in range(1, min(distance, len(sizes)) + 1):
        for places in itertools.combinations(range(len(sizes)), changes):
            shifts = list(itertools.product(*(range(1, sizes[place]) for place in places)))
            shell = np.zeros((len(shifts), len(sizes)), dtype=np.int64)
            shell[:, places] = np.array(shifts, dtype=np.int64).reshape(len(shifts), changes)
            moves.append(shell)
    return np.concatenate(moves)


def _moved(space: SearchSpace, architecture: Architecture, moves: np.ndarray) -> Iterator[Architecture]:
    for move in moves.tolist():
        shifts = zip(space.choices, architecture, move, strict=True)
        yield tuple(choices[(choices.index(gene) + shift) % len(choices)] for choices, gene, shift in shifts)


def _walk(space: SearchSpace, start: Architecture, moves: int, rng: np.random.Generator) -> Architecture:
    here = start
    for _ in range(moves):
        neighbors = list(space.neighbors(here))
        here = neighbors[rng.integers(len(neighbors))]
    return here
