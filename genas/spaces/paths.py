"""Paths through a cell: their number over each edge."""

from __future__ import annotations

from collections.abc import Sequence

from genas.spaces.base import CellType


def path_multiplicities(cell: CellType, genes: Sequence[int]) -> tuple[int, ...]:
    r"""Return, for every edge, the number of live paths from any input to any output node that use it.

    .. math:: m_{k \to j} = P(k)\, S(j), \qquad P(j) = \sum_{k \to j} P(k),
        \qquad S(j) = [j \in \text{outputs}] + \sum_{j \to l} S(l)

    with :math:`P = 1` at the inputs, over the edges that are not ``none``. The angle metric concatenates the weights of
    every path, so an edge counts once per path over it.

    Args:
        cell: The graph.
        genes: Operation index per edge, shape ``(len(cell.edges),)``.

    Returns:
        Non-negative integers, shape ``(len(cell.edges),)``.

    Reference:
        The paths are those of Hu et al., Angle-based Search Space Shrinking for NAS, ECCV 2020.

    Example:
        >>> from genas.spaces.nasbench201_cell import CELL
        >>> path_multiplicities(CELL, (3, 3, 3, 3, 3, 3))
        (2, 1, 1, 1, 1, 2)
    """
    live = cell.live_edges(genes)
    prefixes = [int(node < cell.num_inputs) for node in range(cell.num_nodes)]
    suffixes = [int(node in cell.output_nodes) for node in range(cell.num_nodes)]
    for edge in live:
        source, target = cell.edges[edge]
        prefixes[target] += prefixes[source]
    for edge in reversed(live):
        source, target = cell.edges[edge]
        suffixes[source] += suffixes[target]
    multiplicities = [0] * len(cell.edges)
    for edge in live:
        source, target = cell.edges[edge]
        multiplicities[edge] = prefixes[source] * suffixes[target]
    return tuple(multiplicities)
