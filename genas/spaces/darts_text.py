"""DARTS architectures as text: the genotype of the published code, 28 genes, or a published name."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from genas.choices import did_you_mean
from genas.spaces.base import NONE, Architecture, CellType, SearchSpace
from genas.spaces.darts_cell import CELLS, EDGES
from genas.spaces.genes import integers_in, operation_index
from genas.spaces.genotypes import GENOTYPES

_FIELDS = ("normal", "reduce")
"""Field of the genotype that holds each cell."""

_EXAMPLE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=[2, 3, 4, 5], reduce=[...], reduce_concat=[2, 3, 4, 5])"
)


def parse(space: SearchSpace, text: str) -> Architecture:
    """Return the genes that a text stands for. Their number and the rules of the variant are not checked.

    Raises:
        ValueError: If the text cannot be read; the message names the place.
    """
    if re.match(r"\s*Genotype\s*\(", text):
        return _parse_genotype(space, text)
    name = text.strip().upper().replace("-", "_")
    numbers = integers_in(GENOTYPES.get(name, text))
    if numbers is None:
        raise ValueError(
            f"A DARTS architecture must be a genotype like {_EXAMPLE}, 28 comma-separated genes, or one of "
            f"{', '.join(GENOTYPES)}, but got {text!r}.{did_you_mean(name, GENOTYPES)}"
        )
    halves = [len(re.findall(r"\d+", half)) for half in text.split("/")]
    if len(halves) > 1 and halves != [len(EDGES)] * len(CELLS):
        raise ValueError(
            f"A slash must separate 14 genes of the normal cell from 14 of the reduction cell, but separates {halves}."
        )
    return numbers


def format_genotype(space: SearchSpace, architecture: Architecture) -> str:
    """Return the genotype of a valid architecture, the inputs of a node in increasing order."""
    parts = []
    for field, cell, genes in zip(_FIELDS, CELLS, space.split(architecture), strict=True):
        inputs = [
            (space.operations[gene], source) for (source, _), gene in zip(EDGES, genes, strict=True) if gene != NONE
        ]
        parts.append(f"{field}={inputs}, {field}_concat={list(cell.output_nodes)}")
    return f"Genotype({', '.join(parts)})"


def _parse_genotype(space: SearchSpace, text: str) -> tuple[int, ...]:
    fields = _genotype_fields(text)
    genes: list[int] = []
    for field, cell in zip(_FIELDS, CELLS, strict=True):
        concat = fields[f"{field}_concat"]
        if sorted(concat, key=repr) != list(cell.output_nodes):
            raise ValueError(
                f"{field}_concat must be {list(cell.output_nodes)} (all nodes that are not inputs), but got {concat}."
            )
        genes += _cell_genes(space, cell, fields[field])
    return tuple(genes)


def _genotype_fields(text: str) -> dict[str, Any]:
    """Return the keyword arguments of the call, read as literals; nothing is evaluated."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"A genotype must look like {_EXAMPLE}, but {text!r} is not well formed: {error}.") from None
    names = ("normal", "normal_concat", "reduce", "reduce_concat")
    given = [keyword.arg for keyword in call.keywords] if isinstance(call, ast.Call) else []
    if not isinstance(call, ast.Call) or call.args or sorted(map(str, given)) != sorted(names):
        raise ValueError(f"A genotype must have the fields {', '.join(names)}, each as name=value, but got {text!r}.")
    try:
        return {str(keyword.arg): _literal(str(keyword.arg), keyword.value) for keyword in call.keywords}
    except RecursionError:
        raise ValueError(f"A genotype must look like {_EXAMPLE}, but one of its fields is nested too deeply.") from None


def _literal(field: str, node: ast.expr) -> list[Any]:
    """Return a list; ``range(a, b)`` stands for one."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range" and not node.keywords:
        limits = [_value(field, argument) for argument in node.args]
        if 1 <= len(limits) <= 2 and all(type(limit) is int and abs(limit) < 100 for limit in limits):
            return list(range(*limits))
    value = _value(field, node)
    if isinstance(value, list | tuple):
        return list(value)
    raise ValueError(f"The genotype's field {field} must be a list, but got {ast.unparse(node)}.")


def _value(field: str, node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise ValueError(
            f"The genotype's field {field} must hold plain names and numbers only, but got {ast.unparse(node)}."
        ) from None


def _cell_genes(space: SearchSpace, cell: CellType, pairs: Sequence[Any]) -> list[int]:
    """Return the genes of one cell from its ``(operation, source)`` pairs, two per node."""
    expected = 2 * (cell.num_nodes - cell.num_inputs)
    if len(pairs) != expected:
        raise ValueError(
            f"The {cell.name} cell must have {expected} (operation, source) pairs, two for each of its "
            f"nodes, but got {len(pairs)}."
        )
    genes = [NONE] * len(cell.edges)
    for position, pair in enumerate(pairs):
        target = cell.num_inputs + position // 2
        place = f"node {target} of the {cell.name} cell"
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and type(pair[1]) is int):
            raise ValueError(f"Every input must be a pair (operation, source), but got {pair!r} at {place}.")
        name, source = pair
        if not 0 <= source < target:
            raise ValueError(
                f"The source of an edge must be an earlier node (0 .. {target - 1}), but got {pair!r} at {place}."
            )
        gene = operation_index(space, name, place)
        if gene == NONE:
            raise ValueError(
                f"A genotype must list live inputs only, but got {pair!r} at {place}; leave out what is not an edge."
            )
        edge = cell.edges.index((source, target))
        if genes[edge] != NONE:
            raise ValueError(f"A node must read two different earlier nodes, but {place} reads node {source} twice.")
        genes[edge] = gene
    return genes
