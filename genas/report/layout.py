"""Layout of a small directed graph from left to right: positions of its nodes, curves and labels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.optimize import lsq_linear

Size = tuple[float, float]
"""Width and height in inches."""

Point = tuple[float, float]
"""x to the right and y upwards, in inches."""

Link = tuple[int, int]
"""Two items in adjacent columns, the left one first."""

_VERTICAL_GAP = 0.09
_CURVE = 0.3
"""Least horizontal room for a curve between two columns, in inches."""
_NO_LABEL: Size = (0.0, 0.1)


@final
@dataclass(frozen=True)
class Layout:
    """A drawn graph, its lower left corner at (0, 0).

    Args:
        nodes: Centre of every node.
        routes: For every edge the points that its curve passes horizontally, from the source's centre to the target's.
            It bends between columns only; a label lies between the last two points before the target.
        labels: For every edge the centre of its label.
        size: Total width and height.
    """

    nodes: tuple[Point, ...]
    routes: tuple[tuple[Point, ...], ...]
    labels: tuple[Point, ...]
    size: Size


def layered_layout(
    depths: Sequence[int],
    edges: Sequence[tuple[int, int]],
    node_sizes: Sequence[Size],
    label_sizes: Sequence[Size | None],
) -> Layout:
    """Place a graph in columns: nodes by depth, and between two depths the labels of the edges that end in the second.

    Labels and nodes never overlap: those of one column are stacked, with room between them for the edges that pass. The
    order in a column has few crossings; the heights keep connected items level (least squares).

    Args:
        depths: Column of every node, from 0.
        edges: Source and target of every edge; a target is deeper than its source.
        node_sizes: Size of every node.
        label_sizes: Size of every edge's label, ``None`` for no label.

    Returns:
        The layout.

    Raises:
        ValueError: If an edge does not lead to a deeper node.

    Reference:
        After Sugiyama, Tagawa & Toda, Methods for Visual Understanding of Hierarchical System
        Structures, IEEE Transactions on Systems, Man, and Cybernetics, 1981.

    Example:
        >>> layout = layered_layout([0, 1], [(0, 1)], [(0.4, 0.4), (0.4, 0.4)], [(1.0, 0.2)])
        >>> layout.size[1], [y for _, y in layout.routes[0]]
        (0.4, [0.2, 0.2, 0.2, 0.2])
    """
    sizes = list(node_sizes)
    columns: list[list[int]] = [[] for _ in range(2 * max(depths) + 1)]
    for node, depth in enumerate(depths):
        columns[2 * depth].append(node)
    chains = []
    for (source, target), label in zip(edges, label_sizes, strict=True):
        if depths[source] >= depths[target]:
            raise ValueError(
                f"An edge must lead to a deeper node, but {source} -> {target} does not; check the depths."
            )
        passed = range(2 * depths[source] + 1, 2 * depths[target])
        chains.append([source, *range(len(sizes), len(sizes) + len(passed)), target])
        for number in passed:
            columns[number].append(len(sizes))
            sizes.append(label if label and number == passed[-1] else _NO_LABEL)
    links = [pair for chain in chains for pair in itertools.pairwise(chain)]
    columns = _ordered(columns, links)
    for column in columns:  # edges pass a column on a straight line, clear of what is above and below
        width = max((sizes[thing][0] for thing in column), default=0.0)
        for thing in column:
            if sizes[thing] == _NO_LABEL:
                sizes[thing] = (width, _NO_LABEL[1])
    ys = _heights(columns, links, sizes, len(node_sizes))
    xs = _centres(columns, links, sizes, ys)
    points = [(round(x, 4), round(y, 4)) for x, y in zip(xs, ys, strict=True)]
    return Layout(
        nodes=tuple(points[: len(node_sizes)]),
        routes=tuple(_route(chain, points, sizes) for chain in chains),
        labels=tuple(points[chain[-2]] for chain in chains),
        size=(
            round(max(x + w / 2 for x, (w, _) in zip(xs, sizes, strict=True)), 4),
            round(max(y + h / 2 for y, (_, h) in zip(ys, sizes, strict=True)), 4),
        ),
    )


def _route(chain: list[int], points: list[Point], sizes: list[Size]) -> tuple[Point, ...]:
    source, *passed, target = chain
    sides = [(points[thing][0] + side * sizes[thing][0] / 2, points[thing][1]) for thing in passed for side in (-1, 1)]
    return (points[source], *sides, points[target])


def _ordered(columns: list[list[int]], links: list[Link]) -> list[list[int]]:
    """Return the columns, from top to bottom, with few crossings: sweeps by barycentre, then swaps of neighbours."""
    column_of = {thing: number for number, column in enumerate(columns) for thing in column}
    rivals = [(a, b) for a, b in itertools.combinations(links, 2) if column_of[a[0]] == column_of[b[0]]]
    candidates = []
    for start in (columns, [column[::-1] for column in columns]):
        order = [list(column) for column in start]
        for sweep in range(12):
            forward = sweep % 2 == 0
            for column in order if forward else order[::-1]:
                place = _places(order)
                ends = [(b, a) if forward else (a, b) for a, b in links]
                means = {
                    thing: float(np.mean([place[far] for near, far in ends if near == thing] or [place[thing]]))
                    for thing in column
                }
                column.sort(key=means.__getitem__)
            candidates.append([list(column) for column in order])
    best = min(candidates, key=lambda order: _tangle(order, links, rivals))
    return _untangled(best, links, rivals)


def _untangled(order: list[list[int]], links: list[Link], rivals: list[tuple[Link, Link]]) -> list[list[int]]:
    """Return the order after swaps of neighbours in a column, as long as they help."""
    least, improved = _tangle(order, links, rivals), True
    while improved:
        improved = False
        for column in order:
            for upper in range(len(column) - 1):
                column[upper : upper + 2] = column[upper + 1], column[upper]
                if (tangle := _tangle(order, links, rivals)) < least:
                    least, improved = tangle, True
                else:
                    column[upper : upper + 2] = column[upper + 1], column[upper]
    return order


def _places(order: list[list[int]]) -> dict[int, float]:
    """Return the place of every item in its column, counted downwards with the column's centre at 0."""
    return {thing: row - (len(column) - 1) / 2 for column in order for row, thing in enumerate(column)}


def _tangle(order: list[list[int]], links: list[Link], rivals: list[tuple[Link, Link]]) -> tuple[int, float]:
    """Return the number of crossings, then the sum of the height differences of all links."""
    place = _places(order)
    crossings = sum((place[a] - place[c]) * (place[b] - place[d]) < 0 for (a, b), (c, d) in rivals)
    return crossings, sum(abs(place[a] - place[b]) for a, b in links)


def _heights(columns: list[list[int]], links: list[Link], sizes: list[Size], num_nodes: int) -> list[float]:
    """Return the y of every item: links as level as possible (least squares), items at least the gap apart."""
    # The unknowns of a column are the height of its lowest item and the distances above, which have a lower bound.
    rows = np.zeros((len(sizes), len(sizes)))
    lower = np.full(len(sizes), -np.inf)
    for column in columns:
        below: list[int] = []
        for thing in column[::-1]:
            if below:
                lower[thing] = (sizes[thing][1] + sizes[below[-1]][1]) / 2 + _VERTICAL_GAP
            below.append(thing)
            rows[thing, below] = 1
    # An edge that passes several columns should be straight there; its ends may bend.
    weights = [12.0 if min(a, b) >= num_nodes else 1.0 for a, b in links]
    level = np.array([weight * (rows[a] - rows[b]) for weight, (a, b) in zip(weights, links, strict=True)])
    centred = 0.05 * rows
    matrix = np.concatenate([level.reshape(-1, len(sizes)), centred])
    solution = lsq_linear(matrix, np.zeros(len(matrix)), (lower, np.inf), method="bvls", tol=1e-12)
    ys = rows @ solution.x
    return [float(y) for y in ys - min(y - h / 2 for y, (_, h) in zip(ys, sizes, strict=True))]


def _centres(columns: list[list[int]], links: list[Link], sizes: list[Size], ys: list[float]) -> list[float]:
    """Return the x of every item: each column centred, with more room between columns where a curve is steep."""
    xs = [0.0] * len(sizes)
    right = 0.0
    for number, column in enumerate(columns):
        if number:
            steepest = max((abs(ys[a] - ys[b]) for a, b in links if b in column), default=0.0)
            right += _CURVE + 0.2 * steepest
        width = max((sizes[thing][0] for thing in column), default=0.0)
        for thing in column:
            xs[thing] = right + width / 2
        right += width
    return xs
