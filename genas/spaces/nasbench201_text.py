"""The architecture string of NAS-Bench-201: nodes joined by ``+``, each a list of ``|operation~source|``."""

from __future__ import annotations

import re

from genas.spaces.base import Architecture, SearchSpace
from genas.spaces.genes import operation_index
from genas.spaces.nasbench201_cell import CELL


def parse_string(space: SearchSpace, text: str) -> Architecture:
    """Return the genes of an architecture string; the edges of a node may be in any order.

    Raises:
        ValueError: If the text is not an architecture string; the message names the place.
    """
    nodes = text.strip().split("+")
    if len(nodes) != CELL.num_nodes - 1:
        raise ValueError(
            f"The string must have {CELL.num_nodes - 1} nodes joined by '+', but got {len(nodes)} in {text!r}."
        )
    genes: dict[tuple[int, int], int] = {}
    for target, node in enumerate(nodes, start=1):
        for edge in node.strip().strip("|").split("|"):
            source, gene = _edge(space, edge, target)
            if (source, target) in genes:
                raise ValueError(
                    f"Node {target} must read each source once, but reads source {source} twice in {node!r}."
                )
            genes[source, target] = gene
        missing = [str(source) for source in range(target) if (source, target) not in genes]
        if missing:
            raise ValueError(
                f"Node {target} must have {target} edges, one from each earlier node, but {node!r} lacks source "
                f"{', '.join(missing)}; write 'none~{missing[0]}' for no edge."
            )
    return tuple(genes[edge] for edge in CELL.edges)


def format_string(space: SearchSpace, architecture: Architecture) -> str:
    """Return the architecture string of six valid genes."""
    nodes = ["|"] * (CELL.num_nodes - 1)
    for (source, target), gene in zip(CELL.edges, architecture, strict=True):
        nodes[target - 1] += f"{space.operations[gene]}~{source}|"
    return "+".join(nodes)


def _edge(space: SearchSpace, edge: str, target: int) -> tuple[int, int]:
    """Return the source and the operation index of ``operation~source``."""
    match = re.fullmatch(r"\s*(\w*)\s*~\s*([0-9]{1,9})\s*", edge)
    if match is None:
        raise ValueError(f"Every edge must look like 'operation~source', but node {target} has {edge!r}.")
    source = int(match[2])
    if source >= target:
        raise ValueError(
            f"Node {target} must read earlier nodes (0 .. {target - 1}), but {edge!r} reads node {source}."
        )
    return source, operation_index(space, match[1], f"edge {source} -> {target}")
