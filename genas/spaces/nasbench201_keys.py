"""Equivalence keys of NAS-Bench-201 cells: for several notions of equality, keys that are equal for equal cells.

The first three read the cell as an expression: a node is the sum of its edges, ``none`` is zero, ``skip_connect`` is
its source. They differ in what they simplify. All but :func:`angle_key` are texts. Classes over all 15,625 cells:

==================================================  ======
:func:`benchmark_key` without / with ``none`` as 0  12,751 / 6,466
:func:`algebraic_key`                               4,930
:func:`supernet_key`                                7,810
:func:`angle_key`                                   6,604
==================================================  ======

Reference:
    Dong & Yang, NAS-Bench-201, ICLR 2020 (6,466 unique cells); the other counts by enumeration.
"""

from __future__ import annotations

from genas.spaces.base import NONE, Architecture
from genas.spaces.nasbench201_cell import CELL, OPERATIONS
from genas.spaces.paths import path_multiplicities

_SKIP = OPERATIONS.index("skip_connect")


def benchmark_key(architecture: Architecture, *, consider_zero: bool) -> str:
    """Return the isomorphism class that the benchmark and the literature report.

    It over-counts deliberately, to be faithful: a sum of zeros is not zero, zeros stay in a sum, a skipped sum keeps
    its brackets.

    Args:
        architecture: Six genes.
        consider_zero: Whether ``none``, and any operation on a node that is nothing but one zero, becomes ``#``.
            Without it ``none`` is an operation like any other.
    """
    nodes = ["0"]
    for target in range(1, CELL.num_nodes):
        terms = []
        for (source, end), gene in zip(CELL.edges, architecture, strict=True):
            if end != target:
                continue
            if consider_zero and (gene == NONE or nodes[source] == "#"):
                terms.append("#")
            elif gene == _SKIP:
                terms.append(nodes[source])
            else:
                terms.append(f"({nodes[source]})@{OPERATIONS[gene]}")
        nodes.append("+".join(sorted(terms)))
    return nodes[-1]


def algebraic_key(architecture: Architecture) -> str:
    """Return the cell as an expression in which zeros are dropped and skipped sums spliced into sums.

    Equal for cells that are the same function once both are trained from scratch.

    Example:
        >>> algebraic_key((1, 3, 0, 0, 1, 2))
        'nor_conv_1x1(nor_conv_3x3(x))+x'
    """
    return _expression(architecture, weights_by_edge=False)


def supernet_key(architecture: Architecture) -> str:
    """Return the cell as an expression in which a convolution is identified by its edge.

    Equal for cells that are the same function of a supernet's shared weights. That holds when a convolution of zero is
    zero, that is, when edges without a live source are not run.

    Example:
        >>> supernet_key((1, 3, 0, 0, 1, 2))
        'nor_conv_1x1[2->3](nor_conv_3x3[0->2](x))+x'
    """
    return _expression(architecture, weights_by_edge=True)


def angle_key(architecture: Architecture) -> tuple[tuple[int, int, int], ...]:
    """Return ``(edge, operation, live paths over it)`` of every live edge that adds to the angle's weight vector.

    Skips add nothing. So the disconnected cells share the empty key with the cells that only skip: their vectors are
    equal, but by convention the angle of a disconnected cell is zero. Code that shares angles by key must set those 341
    apart.
    """
    multiplicities = path_multiplicities(CELL, architecture)
    return tuple(
        (edge, gene, paths)
        for edge, (gene, paths) in enumerate(zip(architecture, multiplicities, strict=True))
        if paths and gene != _SKIP
    )


def _expression(architecture: Architecture, *, weights_by_edge: bool) -> str:
    """Return the output node as a sum of terms in canonical order; ``0`` if nothing is left."""
    sums: list[list[str]] = [["x"]] + [[] for _ in range(CELL.num_nodes - 1)]
    for (source, target), gene in zip(CELL.edges, architecture, strict=True):
        if gene == NONE or not sums[source]:
            continue
        if gene == _SKIP:
            sums[target] += sums[source]
        else:
            where = f"[{source}->{target}]" if weights_by_edge and OPERATIONS[gene].startswith("nor_conv") else ""
            sums[target].append(f"{OPERATIONS[gene]}{where}({_total(sums[source])})")
    return _total(sums[-1])


def _total(terms: list[str]) -> str:
    return "+".join(sorted(terms)) or "0"
