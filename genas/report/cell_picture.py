"""Pictures of cells: the operations of an architecture as labelled edges between nodes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve
from matplotlib.textpath import TextPath

from genas.report.figure_files import figure_style, save_figure, shortened
from genas.report.layout import Layout, Point, Size, layered_layout
from genas.spaces import NONE, Architecture, CellType, SearchSpace

_COLORS = {
    "skip_connect": "#6b7280",
    "nor_conv_1x1": "#0e8a8a",
    "nor_conv_3x3": "#2563c9",
    "max_pool_3x3": "#b7791f",
    "avg_pool_3x3": "#4d8a2b",
    "sep_conv_3x3": "#2563c9",
    "sep_conv_5x5": "#1e3a8a",
    "dil_conv_3x3": "#b8399a",
    "dil_conv_5x5": "#7a2f9e",
    "noise": "#c2452d",
}
_OTHER_COLORS = ("#0e8a8a", "#2563c9", "#b7791f", "#4d8a2b", "#b8399a", "#7a2f9e", "#c2452d")
_INK, _PLAIN, _FAINT, _ENDS = "#1f2937", "#7b8494", "#b6bcc6", "#edf1f6"
_FONT_SIZE, _TITLE_SIZE, _TITLE_LENGTH = 9.0, 11.0, 64
_MARGIN, _CELL_GAP, _LINE = 0.15, 0.3, 0.32
_NODE: Size = (0.4, 0.4)
_PADDING: Size = (0.16, 0.1)


def draw_architecture(
    space: SearchSpace, architecture: Architecture, path: str | os.PathLike[str], title: str = ""
) -> None:
    """Draw the cells of an architecture, one above the other, into a file.

    Edges without an operation are left out. Operations that are not run, because no path from an input to the output
    leads through them, are faint.

    Args:
        space: Space of the architecture.
        architecture: Valid in ``space``.
        path: The file; ``.svg``, ``.png`` (200 dots per inch) or ``.pdf`` choose the format.
        title: One line above the picture, shortened where it is long.

    Raises:
        ValueError: If the suffix is not one of these or the architecture is not valid.
    """
    save_figure(lambda: architecture_figure(space, architecture, title), path)


def architecture_figure(space: SearchSpace, architecture: Architecture, title: str = "") -> Figure:
    """Return the picture of :func:`draw_architecture` as a figure of its own, for reports that arrange several.

    Args:
        space: Space of the architecture.
        architecture: Valid in ``space``.
        title: One line above the picture, shortened where it is long.

    Returns:
        A figure that pyplot does not manage, as large as the cells need.
    """
    title = shortened(title, _TITLE_LENGTH)
    genes = space.split(space.check(architecture))
    graphs = [_Graph.of(space, cell, part) for cell, part in zip(space.cell_types, genes, strict=True)]
    layouts = [graph.layout() for graph in graphs]
    captions = [cell.name if len(space.cell_types) > 1 else "" for cell in space.cell_types]
    above = [_LINE if caption else 0.0 for caption in captions]
    width = max(_text_size(title, _TITLE_SIZE)[0], *(layout.size[0] for layout in layouts)) + 2 * _MARGIN
    top = (_LINE if title else 0.0) + 2 * _MARGIN + _CELL_GAP * (len(layouts) - 1)
    height = top + sum(above) + sum(layout.size[1] for layout in layouts)
    with figure_style():
        figure = Figure(figsize=(width, height), facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
        axes.set_axis_off()
        y = height - _MARGIN
        if title:
            axes.text(
                _MARGIN, y, title, size=_TITLE_SIZE, weight="bold", color=_INK, ha="left", va="top", parse_math=False
            )
            y -= _LINE
        for graph, layout, caption, room in zip(graphs, layouts, captions, above, strict=True):
            axes.text(_MARGIN, y, caption, size=_FONT_SIZE, style="italic", color=_INK, ha="left", va="top")
            y -= room + layout.size[1]
            _draw(axes, graph, layout, (_MARGIN, y))
            y -= _CELL_GAP
    return figure


@final
@dataclass(frozen=True)
class _Edge:
    source: int
    target: int
    label: str
    color: str
    is_live: bool


@final
@dataclass(frozen=True)
class _Graph:
    """A cell with its operations, as it is drawn: a concatenated output is a node of its own."""

    names: tuple[str, ...]
    depths: tuple[int, ...]
    edges: tuple[_Edge, ...]

    @classmethod
    def of(cls, space: SearchSpace, cell: CellType, genes: Sequence[int]) -> _Graph:
        live = cell.live_edges(genes)
        edges = [
            _Edge(*cell.edges[position], _label(space.operations[gene]), _color(space, gene), position in live)
            for position, gene in enumerate(genes)
            if gene != NONE
        ]
        # Nodes in a fixed order where a cell is a chain anyway; else as near to the inputs as their edges allow.
        shown = cell.edges if cell.output == "last" else [(edge.source, edge.target) for edge in edges]
        depths = [0] * cell.num_nodes
        for source, target in sorted(shown, key=lambda edge: edge[1]):
            depths[target] = max(depths[target], depths[source] + 1)
        names = [str(node) for node in range(cell.num_nodes)]
        names[: cell.num_inputs] = [f"$c_{{k-{cell.num_inputs - node}}}$" for node in range(cell.num_inputs)]
        if cell.output == "last":
            names[-1] = "$c_k$"
        else:
            names.append("$c_k$")
            depths.append(max(depths) + 1)
            edges += [_Edge(node, cell.num_nodes, "", _PLAIN, is_live=True) for node in cell.output_nodes]
        return cls(tuple(names), tuple(depths), tuple(edges))

    def layout(self) -> Layout:
        labels = [_pill_size(edge.label) if edge.label else None for edge in self.edges]
        pairs = [(edge.source, edge.target) for edge in self.edges]
        return layered_layout(self.depths, pairs, [_NODE] * len(self.depths), labels)


def _draw(axes: Axes, graph: _Graph, layout: Layout, corner: Point) -> None:
    """Draw a cell with its lower left corner at a point: curves, then labels and nodes upon them."""

    def moved(point: Point) -> Point:
        return point[0] + corner[0], point[1] + corner[1]

    for edge, route, label in zip(graph.edges, layout.routes, layout.labels, strict=True):
        color = edge.color if edge.is_live else _FAINT
        _draw_curve(axes, [moved(point) for point in route], color, is_live=edge.is_live, is_bold=bool(edge.label))
        if edge.label:
            _draw_label(axes, edge.label, moved(label), color)
    live = {node for edge in graph.edges if edge.is_live for node in (edge.source, edge.target)}
    for node, (name, point) in enumerate(zip(graph.names, layout.nodes, strict=True)):
        color = _INK if node in live else _FAINT
        fill = _ENDS if name.startswith("$") else "white"
        x, y = moved(point)
        axes.add_patch(Circle((x, y), _NODE[0] / 2, facecolor=fill, edgecolor=color, linewidth=1.2, zorder=3))
        axes.text(x, y, name, size=_FONT_SIZE, color=color, ha="center", va="center_baseline", zorder=4)


def _draw_curve(axes: Axes, route: Sequence[Point], color: str, *, is_live: bool, is_bold: bool) -> None:
    """Draw an arrow that passes every point of a route horizontally."""
    tip = (route[-1][0] - _NODE[0] / 2, route[-1][1])
    vertices, codes = [route[0]], [Curve.MOVETO]
    for end in [*route[1:-1], tip]:
        start = vertices[-1]
        middle = (start[0] + end[0]) / 2
        vertices += [(middle, start[1]), (middle, end[1]), end]
        codes += [Curve.CURVE4] * 3
    axes.add_patch(
        FancyArrowPatch(
            path=Curve(vertices, codes),
            arrowstyle="-|>,head_length=4.5,head_width=2.2",
            mutation_scale=1,
            color=color,
            linewidth=1.5 if is_bold else 0.9,
            linestyle="-" if is_live else (0, (3, 2)),
            zorder=1 if is_live else 0,
        )
    )


def _draw_label(axes: Axes, text: str, centre: Point, color: str) -> None:
    width, height = _pill_size(text)
    box = f"round,pad=0,rounding_size={height / 2}"
    axes.add_patch(
        FancyBboxPatch(
            (centre[0] - width / 2, centre[1] - height / 2),
            width,
            height,
            boxstyle=box,
            facecolor="white",
            edgecolor=color,
            linewidth=1.0,
            zorder=2,
        )
    )
    axes.text(*centre, text, size=_FONT_SIZE, color=color, ha="center", va="center_baseline", zorder=4)


def _label(operation: str) -> str:
    """Return an operation as people write it: ``sep conv 3×3``."""
    words = operation.split("_")
    return " ".join(word.replace("x", "×") if word[:1].isdigit() else word for word in words)


def _color(space: SearchSpace, gene: int) -> str:
    return _COLORS.get(space.operations[gene], _OTHER_COLORS[gene % len(_OTHER_COLORS)])


def _pill_size(text: str) -> Size:
    width, height = _text_size(text, _FONT_SIZE)
    return width + _PADDING[0], height + _PADDING[1]


@cache
def _text_size(text: str, size: float) -> Size:
    """Return the width of a text and the height of a line, in inches."""
    if not text:
        return 0.0, 0.0
    weight = "bold" if size == _TITLE_SIZE else "normal"
    with figure_style():
        path = TextPath((0, 0), text.replace("$", r"\$"), size=size, prop=FontProperties(weight=weight))
    return path.get_extents().width / 72, size / 72
