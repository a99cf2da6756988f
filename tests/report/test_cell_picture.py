"""Pictures of cells, measured on the drawn figure."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.transforms import Bbox, BboxBase

from genas.report import architecture_figure, draw_architecture
from genas.spaces import GENOTYPES, Architecture, SearchSpace, space


def cases() -> list[tuple[SearchSpace, Architecture]]:
    rng = np.random.default_rng(0)
    benchmark, darts = space("nasbench201"), space("darts")
    chosen: list[tuple[SearchSpace, Architecture]] = [
        (benchmark, genes) for genes in ((3,) * 6, (0,) * 6, (1, 2, 4, 3, 0, 2), (3, 0, 0, 1, 3, 2))
    ]
    chosen += [(darts, darts.parse(name)) for name in GENOTYPES]
    for name in ("nasbench201", "darts", "darts7", "s1", "s2", "s3", "s4"):
        chosen += [(space(name), space(name).sample(rng)) for _ in range(2)]
    return chosen


def extents(figure: Figure) -> tuple[dict[str, list[Bbox]], BboxBase]:
    """What the renderer fills: pills, nodes and texts in pixels, and the whole."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    (axes,) = figure.axes
    kinds: dict[str, list[Bbox]] = {"pill": [], "node": [], "text": []}
    for patch in axes.patches:
        if isinstance(patch, FancyBboxPatch | Circle):
            kind = "pill" if isinstance(patch, FancyBboxPatch) else "node"
            kinds[kind].append(patch.get_path().get_extents(patch.get_transform()))
    kinds["text"] = [text.get_window_extent(renderer) for text in axes.texts if text.get_text()]
    return kinds, figure.bbox


def test_a_title_is_no_formula() -> None:
    """Titles hold metrics, and these the names of files."""
    title = r"table(path='$\foo$ $5.npz')"
    figure = architecture_figure(space("nasbench201"), (3,) * 6, title=title)
    kinds, whole = extents(figure)
    assert title in [text.get_text() for text in figure.axes[0].texts]
    assert max(box.x1 for box in kinds["text"]) <= whole.x1


@pytest.mark.parametrize(("where", "architecture"), cases())
def test_nothing_overlaps_or_leaves_the_figure(where: SearchSpace, architecture: Architecture) -> None:
    kinds, whole = extents(architecture_figure(where, architecture, title="A title"))
    for first, second in itertools.combinations([*kinds["pill"], *kinds["node"]], 2):
        assert Bbox.intersection(first, second) is None
    for first, second in itertools.combinations(kinds["text"], 2):
        assert Bbox.intersection(first, second) is None
    for box in itertools.chain(*kinds.values()):
        assert whole.x0 <= box.x0
        assert box.x1 <= whole.x1
        assert whole.y0 <= box.y0
        assert box.y1 <= whole.y1
    # Every label is inside its pill.
    for pill in kinds["pill"]:
        assert (
            sum(
                pill.x0 < text.x0 and text.x1 < pill.x1 and pill.y0 < text.y0 and text.y1 < pill.y1
                for text in kinds["text"]
            )
            == 1
        )


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_every_live_operation_is_drawn_once() -> None:
    darts = space("darts")
    architecture = darts.parse("DARTS_V2")
    drawn = texts(architecture_figure(darts, architecture))
    for gene, operation in enumerate(darts.operations[1:], start=1):
        label = operation.replace("_", " ").replace("3x3", "3×3").replace("5x5", "5×5")
        assert drawn.count(label) == architecture.count(gene)
    assert [name for name in drawn if name in ("normal", "reduction")] == ["normal", "reduction"]
    for name in ("$c_{k-2}$", "$c_{k-1}$", "2", "3", "4", "5", "$c_k$"):
        assert drawn.count(name) == 2


def test_dead_operations_are_faint_and_missing_ones_left_out() -> None:
    """Node 2 has no input: its edge to the output is drawn, but not like the live ones."""
    figure = architecture_figure(space("nasbench201"), (3, 0, 0, 1, 3, 2))
    arrows = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 4
    assert [arrow.get_linestyle() != "-" for arrow in arrows] == [False, False, False, True]
    assert len({arrow.get_edgecolor() for arrow in arrows}) == 3  # two 3x3 convolutions share a colour


def test_arrows_end_at_their_nodes() -> None:
    figure = architecture_figure(space("nasbench201"), (3,) * 6)
    nodes = [patch for patch in figure.axes[0].patches if isinstance(patch, Circle)]
    centres = [np.array(node.center) for node in nodes]
    edges = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    arrows = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    for (source, target), arrow in zip(edges, arrows, strict=True):
        points = (
            figure.axes[0].transData.inverted().transform(arrow.get_path().transformed(arrow.get_transform()).vertices)
        )
        assert np.abs(points[0] - centres[source]).max() < 0.05
        assert np.linalg.norm(points - centres[target], axis=1).min() == pytest.approx(nodes[target].radius, abs=0.05)


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_the_same_picture_is_the_same_file(suffix: str, tmp_path: Path) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    for path in (first, second):
        draw_architecture(space("s3"), space("s3").sample(np.random.default_rng(1)), path, "S3")
    assert first.read_bytes() == second.read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [first.name, second.name]


def test_svg_is_xml_without_a_date(tmp_path: Path) -> None:
    draw_architecture(space("nasbench201"), (3,) * 6, tmp_path / "cell.svg")
    text = (tmp_path / "cell.svg").read_text(encoding="utf-8")
    assert xml.etree.ElementTree.fromstring(text).tag.endswith("svg")
    assert "dc:date" not in text


def test_the_settings_of_matplotlib_stay_and_do_not_matter(tmp_path: Path) -> None:
    draw_architecture(space("nasbench201"), (3,) * 6, tmp_path / "a.svg")
    with matplotlib.rc_context(
        {"font.family": "monospace", "svg.hashsalt": None, "savefig.bbox": "tight", "lines.linewidth": 9}
    ):
        before = dict(matplotlib.rcParams)
        draw_architecture(space("nasbench201"), (3,) * 6, tmp_path / "b.svg")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in one of \.svg, \.png, \.pdf, but got 'cell\.gif'; rename it"):
        draw_architecture(space("nasbench201"), (3,) * 6, tmp_path / "cell.gif")


def test_invalid_architectures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="6"):
        draw_architecture(space("nasbench201"), (3,) * 5, tmp_path / "cell.svg")
