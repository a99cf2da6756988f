"""The layout of small graphs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from genas.report.layout import Layout, Size, layered_layout

NODE: Size = (0.4, 0.4)
LABEL: Size = (1.0, 0.25)


def boxes(layout: Layout, labels: list[Size | None]) -> list[tuple[float, float, float, float]]:
    sized = [(point, NODE) for point in layout.nodes]
    sized += [(point, size) for point, size in zip(layout.labels, labels, strict=True) if size]
    return [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in sized]


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_have_no_overlaps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    depths = [0, 0, *sorted(rng.integers(1, 5, size=5).tolist())]
    edges = [(a, b) for a in range(7) for b in range(7) if depths[a] < depths[b] and rng.random() < 0.5]
    labels: list[Size | None] = [None if rng.random() < 0.2 else LABEL for _ in edges]
    layout = layered_layout(depths, edges, [NODE] * 7, labels)
    drawn = boxes(layout, labels)
    assert not any(overlap(a, b) for a, b in itertools.combinations(drawn, 2))
    assert all(round(a, 3) >= 0 and round(c, 3) <= layout.size[0] + 1e-3 for a, _, c, _ in drawn)
    assert all(round(b, 3) >= 0 and round(d, 3) <= layout.size[1] + 1e-3 for _, b, _, d in drawn)


@pytest.mark.parametrize("seed", range(20))
def test_edges_meet_no_foreign_box(seed: int) -> None:
    """Inside a column an edge is level; it must be clear of everything there that is not its own."""
    rng = np.random.default_rng(seed)
    depths = [0, 0, 1, 2, 2, 3]
    edges = [(a, b) for a in range(6) for b in range(6) if depths[a] < depths[b] and rng.random() < 0.6]
    labels: list[Size | None] = [LABEL] * len(edges)
    layout = layered_layout(depths, edges, [NODE] * 6, labels)
    drawn = boxes(layout, labels)
    for number, route in enumerate(layout.routes):
        own = {*edges[number], len(depths) + number}
        for left, right in zip(route[1:-1:2], route[2:-1:2], strict=True):
            assert left[1] == right[1]
            strip = (left[0], left[1] - 0.01, right[0], left[1] + 0.01)
            assert not any(overlap(strip, box) for thing, box in enumerate(drawn) if thing not in own)


def test_curves_go_from_left_to_right() -> None:
    layout = layered_layout([0, 1, 2], [(0, 1), (1, 2), (0, 2)], [NODE] * 3, [LABEL] * 3)
    for route in layout.routes:
        assert list(route) == sorted(route, key=lambda point: point[0])
    assert [x for x, _ in layout.nodes] == sorted(x for x, _ in layout.nodes)


def test_a_ladder_has_no_crossing() -> None:
    """Two separate chains, whose nodes are given in an order that crosses them."""
    layout = layered_layout([0, 0, 1, 1], [(0, 3), (1, 2)], [NODE] * 4, [LABEL] * 2)
    first, second, third, fourth = (y for _, y in layout.nodes)
    assert (first - second) * (fourth - third) > 0
    assert first == pytest.approx(fourth)


def test_a_chain_is_straight() -> None:
    layout = layered_layout([0, 1, 2], [(0, 1), (1, 2)], [NODE] * 3, [LABEL, None])
    assert {y for _, y in layout.nodes} == {0.2}


def test_an_edge_must_lead_deeper() -> None:
    with pytest.raises(ValueError, match="must lead to a deeper node, but 1 -> 0 does not; check the depths"):
        layered_layout([0, 1], [(1, 0)], [NODE] * 2, [LABEL])
