from __future__ import annotations

import csv
import gzip
import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from genas.spaces import Architecture, NASBench201

SPACE = NASBench201()
ALL_3X3 = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"

# Read off the benchmark's own list of architectures.
ANCHORS = {
    0: (4, 2, 1, 2, 1, 1),
    1: (3, 3, 4, 1, 3, 1),
    9: (4, 0, 0, 1, 0, 3),
    11: (3, 3, 4, 0, 3, 4),
    123: (4, 4, 2, 0, 4, 3),
    284: (1, 1, 1, 0, 2, 0),
    1462: (3, 3, 3, 3, 3, 3),
    1651: (0, 0, 0, 0, 0, 0),
    1835: (1, 1, 1, 1, 1, 1),
    4317: (2, 2, 2, 2, 2, 2),
    7581: (4, 4, 4, 4, 4, 4),
    9930: (3, 3, 3, 1, 3, 3),
    11472: (3, 0, 3, 1, 0, 1),
    15624: (2, 0, 2, 0, 2, 2),
}


@pytest.mark.parametrize(("index", "architecture"), ANCHORS.items())
def test_official_order_at_its_anchors(index: int, architecture: Architecture) -> None:
    assert SPACE.from_index(index) == architecture
    assert SPACE.index(architecture) == index
    assert SPACE.parse(str(index)) == architecture


def test_round_trip_of_all_architectures(all_nasbench201: list[Architecture]) -> None:
    assert len(all_nasbench201) == SPACE.size == 15_625
    assert all_nasbench201 == sorted(all_nasbench201)
    assert sorted(map(SPACE.index, all_nasbench201)) == list(range(15_625))
    for architecture in all_nasbench201:
        assert SPACE.from_index(SPACE.index(architecture)) == architecture
        assert SPACE.parse(SPACE.format(architecture)) == architecture


def test_official_order_is_the_one_of_the_table(shared_data: Path) -> None:
    with gzip.open(shared_data / "nasbench201.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15_625
    for row in rows:
        assert SPACE.format(SPACE.from_index(int(row["index"]))) == row["arch_str"]


def test_published_notation() -> None:
    assert SPACE.format((3, 3, 3, 3, 3, 3)) == ALL_3X3
    assert SPACE.parse(ALL_3X3) == SPACE.parse(" 3, 3,3,3,3,3 ") == SPACE.parse("1462") == (3,) * 6
    text = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    assert SPACE.parse(text) == (4, 2, 1, 2, 1, 1)
    reordered = "|avg_pool_3x3~0|+|skip_connect~1|nor_conv_1x1~0|+|skip_connect~2|nor_conv_1x1~0|skip_connect~1|"
    assert SPACE.parse(reordered) == (4, 2, 1, 2, 1, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", r"must be a string like .*, an index 0 \.\. 15624 or six comma-separated genes, but got 'hello'"),
        ("", r"must be a string like .* but got ''"),
        ("15625", r"must lie in 0 \.\. 15624, but got 15625"),
        ("-1", r"must lie in 0 \.\. 15624, but got -1"),
        ("1,2,3", r"must have 6 genes, but got 3"),
        (
            "3,3,5,3,3,3",
            r"Gene 2 \(edge 1 -> 2 of the cell\) .* must be one of 0 \(none\), 1 \(skip_connect\), .* got 5",
        ),
        (ALL_3X3.replace("3x3~1|+", "3x3~1"), r"must have 3 nodes joined by '\+', but got 2"),
        (
            ALL_3X3.replace("3x3~1|+", "3x3~2|+"),
            r"Node 2 must read earlier nodes \(0 \.\. 1\), but 'nor_conv_3x3~2' reads node 2",
        ),
        (ALL_3X3.replace("3x3~1|+", "3x3~0|+"), r"Node 2 must read each source once, but reads source 0 twice"),
        (ALL_3X3.replace("|nor_conv_3x3~1|+", "|+"), r"Node 2 must have 2 edges, .* lacks source 1; write 'none~1'"),
        (ALL_3X3.replace("3x3~1|+", "3x33~1|+"), r"'nor_conv_3x33' at edge 1 -> 2\. Did you mean 'nor_conv_3x3'\?"),
        (
            ALL_3X3.replace("nor_conv_3x3~1|+", "qqqqqq~1|+"),
            r"one of none, skip_connect, .* but got 'qqqqqq' at edge 1 -> 2\.$",
        ),
        (ALL_3X3.replace("3x3~1|+", "3x3|+"), r"must look like 'operation~source', but node 2 has 'nor_conv_3x3'"),
        ("|||", r"must have 3 nodes joined by '\+', but got 1"),
        ("||+||+||", r"must look like 'operation~source', but node 1 has ''"),
    ],
)
def test_bad_texts(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SPACE.parse(text)


def test_samples_are_uniform(rng: np.random.Generator) -> None:
    # 125 outcomes of the first three edges and of the last three, and no correlation between the halves.
    samples = np.array([SPACE.sample(rng) for _ in range(20_000)])
    codes = samples.reshape(-1, 2, 3) @ [25, 5, 1]
    for half in codes.T:
        assert stats.chisquare(np.bincount(half, minlength=125)).pvalue > 1e-3
    assert stats.chi2_contingency(np.histogram2d(codes[:, 0] // 25, codes[:, 1] // 25, bins=5)[0]).pvalue > 1e-3


def test_mutation_histogram(rng: np.random.Generator) -> None:
    parent, rate, draws = (0, 1, 2, 3, 4, 0), 0.1, 20_000
    children = np.array([SPACE.mutate(parent, rng, rate) for _ in range(draws)])
    changed = children != np.array(parent)
    # Binomial number of changes, the empty case moved to one.
    expected = stats.binom(6, rate).pmf(range(7))
    expected[1] += expected[0]
    counts = np.bincount(changed.sum(axis=1), minlength=7)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:4], expected[1:4] / expected[1:4].sum() * counts[1:4].sum()).pvalue > 1e-3
    assert changed.sum() / draws == pytest.approx(6 * rate + (1 - rate) ** 6, abs=0.02)
    assert stats.chisquare(changed.sum(axis=0)).pvalue > 1e-3
    for gene, column in zip(parent, children.T, strict=True):
        others = np.delete(np.bincount(column, minlength=5), gene)
        assert stats.chisquare(others).pvalue > 1e-3


def test_crossover_takes_each_gene_from_a_parent(rng: np.random.Generator) -> None:
    first, second = (0, 1, 2, 3, 4, 0), (1, 2, 3, 4, 0, 1)
    children = Counter(SPACE.crossover(first, second, rng) for _ in range(6_400))
    assert set(children) == set(itertools.product(*zip(first, second, strict=True)))
    assert stats.chisquare(list(children.values())).pvalue > 1e-3


def test_neighbors_against_enumeration(all_nasbench201: list[Architecture], rng: np.random.Generator) -> None:
    centre = SPACE.sample(rng)
    for radius in (1, 2, 3):
        near = list(SPACE.neighbors(centre, radius))
        expected = {a for a in all_nasbench201 if 0 < sum(x != y for x, y in zip(a, centre, strict=True)) <= radius}
        assert set(near) == expected
        assert len(near) == len(expected)
    everything = [SPACE.distance(centre, neighbor) for neighbor in SPACE.neighbors(centre, 99)]
    assert everything == sorted(everything)
    assert Counter(everything) == {1: 24, 2: 240, 3: 1280, 4: 3840, 5: 6144, 6: 4096}
    assert all(math.comb(6, radius) * 4**radius == count for radius, count in Counter(everything).items())


def test_skeletons() -> None:
    supernet, alone = SPACE.supernet_skeleton(10, 32), SPACE.standalone_skeleton(10, 32)
    assert (supernet.channels, supernet.cells, supernet.affine) == (16, 5, False)
    assert (alone.channels, alone.cells, alone.affine) == (16, 5, True)
    small = SPACE.standalone_skeleton(3, 16, 1, channels=4, cells=1)
    assert (small.channels, small.cells, small.num_classes, small.image_size, small.image_channels) == (4, 1, 3, 16, 1)
    with pytest.raises(ValueError, match="cells must be at least 1, but got 0"):
        SPACE.supernet_skeleton(10, 32, cells=0)


def test_without_dead_edges_every_function_remains_and_nothing_dead() -> None:
    (cell,) = SPACE.cell_types
    changed = 0
    for index in range(0, SPACE.size, 7):
        architecture = SPACE.from_index(index)
        pruned = SPACE.without_dead_edges(architecture)
        changed += pruned != architecture
        assert SPACE.supernet_key(pruned) == SPACE.supernet_key(architecture)
        assert cell.live_edges(pruned) == cell.live_edges(architecture)
        assert [edge for edge, gene in enumerate(pruned) if gene] == sorted(cell.live_edges(pruned))
    assert 0.2 < changed / len(range(0, SPACE.size, 7)) < 0.6
    assert SPACE.without_dead_edges((3, 3, 3, 0, 0, 0)) == (0,) * 6
    assert SPACE.without_dead_edges((0, 3, 3, 1, 2, 1)) == (0, 3, 0, 1, 0, 1)
