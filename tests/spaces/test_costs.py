from __future__ import annotations

import csv
import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pytest

from genas.spaces import DARTS, Architecture, Cost, NASBench201, Skeleton, cost, space
from genas.spaces.nasbench201_cell import CELL

NB201 = NASBench201()
DARTS8 = DARTS()
ONE_BY_ONE, THREE_BY_THREE = 2, 3

# Index: (params, macs) with 10 classes at 32 x 32, with 100 classes, and with 120 classes at 16 x 16 pixels.
NASBENCH201_COSTS = {
    0: ((129_306, 15_647_370), (135_156, 15_653_220), (136_456, 3_919_480)),
    11: ((802_426, 113_951_370), (808_276, 113_957_220), (809_576, 28_495_480)),
    284: ((101_306, 11_715_210), (107_156, 11_721_060), (108_456, 2_936_440)),
    1462: ((1_531_546, 220_119_690), (1_537_396, 220_125_540), (1_538_696, 55_037_560)),
    4317: ((241_306, 31_376_010), (247_156, 31_381_860), (248_456, 7_851_640)),
    1651: ((73_306, 7_783_050), (79_156, 7_788_900), (80_456, 1_953_400)),
    11472: ((559_386, 78_561_930), (565_236, 78_567_780), (566_536, 19_648_120)),
}


@pytest.mark.parametrize(("index", "costs"), NASBENCH201_COSTS.items())
def test_nasbench201_golden_values(index: int, costs: tuple[tuple[int, int], ...]) -> None:
    architecture = NB201.from_index(index)
    for (classes, size), (params, macs) in zip(((10, 32), (100, 32), (120, 16)), costs, strict=True):
        assert cost(NB201, NB201.standalone_skeleton(classes, size), architecture) == Cost(params, macs)


def level(genes: tuple[int, ...]) -> tuple[int, int]:
    """Numbers of 1x1 and 3x3 convolutions: all that the cost depends on."""
    return genes.count(ONE_BY_ONE), genes.count(THREE_BY_THREE)


def with_convolutions(ones: int, threes: int) -> Architecture:
    return (ONE_BY_ONE,) * ones + (THREE_BY_THREE,) * threes + (1,) * (6 - ones - threes)


@pytest.fixture(scope="module")
def levels() -> dict[tuple[int, int], Cost]:
    """The 28 levels of cost with 10 classes at 32 x 32 pixels."""
    skeleton = NB201.standalone_skeleton(10, 32)
    counts = [(ones, threes) for ones in range(7) for threes in range(7 - ones)]
    return {count: cost(NB201, skeleton, with_convolutions(*count)) for count in counts}


def test_nasbench201_is_linear_in_its_convolutions(levels: dict[tuple[int, int], Cost]) -> None:
    assert len(set(levels.values())) == 28
    for (ones, threes), value in levels.items():
        assert value.params == 73_306 + 28_000 * ones + 243_040 * threes
        assert value.macs == 7_783_050 + 3_932_160 * ones + 35_389_440 * threes


def test_only_the_counts_matter(levels: dict[tuple[int, int], Cost], rng: np.random.Generator) -> None:
    skeleton = NB201.standalone_skeleton(10, 32)
    for _ in range(60):
        architecture = NB201.sample(rng)
        assert cost(NB201, skeleton, architecture) == levels[level(architecture)]
        live = CELL.live_edges(architecture)
        assert (
            cost(NB201, skeleton, architecture, live_only=True) == levels[level(tuple(architecture[e] for e in live))]
        )


def test_means_over_nasbench201(levels: dict[tuple[int, int], Cost], all_nasbench201: list[Architecture]) -> None:
    every = [levels[level(architecture)] for architecture in all_nasbench201]
    assert np.mean([value.params for value in every]) == 398_554
    assert np.mean([value.macs for value in every]) == 54_968_970
    live = [levels[level(tuple(a[edge] for edge in CELL.live_edges(a)))].macs for a in all_nasbench201]
    assert round(np.mean(live)) == 47_859_625


def test_costs_of_the_whole_table(shared_data: Path) -> None:
    networks = {"c10": (10, 32), "c100": (100, 32), "in16": (120, 16)}
    with gzip.open(shared_data / "nasbench201.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    for name, network in networks.items():
        skeleton = NB201.standalone_skeleton(*network)
        seen: dict[tuple[int, int], Cost] = {}
        for row in rows:
            architecture = NB201.from_index(int(row["index"]))
            if level(architecture) not in seen:
                seen[level(architecture)] = cost(NB201, skeleton, architecture)
            value = seen[level(architecture)]
            assert value.params == pytest.approx(float(row[f"{name}_params_M"]) * 1e6, abs=4)
            assert value.macs == pytest.approx(float(row[f"{name}_flops_M"]) * 1e6, abs=4)


def test_supernets() -> None:
    assert cost(NB201, NB201.supernet_skeleton(10, 32)).params == 1_686_106
    assert cost(DARTS8, DARTS8.supernet_skeleton(10, 32)).params == 2_005_114
    assert cost(DARTS8, DARTS8.supernet_skeleton(100, 32)).params == 2_028_244


def test_a_subnet_has_the_supernets_weights_on_its_edges() -> None:
    skeleton = NB201.supernet_skeleton(10, 32)
    fixed = cost(NB201, skeleton, (0,) * 6)
    parts = [cost(NB201, skeleton, (operation,) * 6) for operation in range(5)]
    whole = cost(NB201, skeleton)
    assert whole.params - fixed.params == sum(part.params - fixed.params for part in parts)
    assert whole.macs - fixed.macs == sum(part.macs - fixed.macs for part in parts)


def test_convolutions_with_a_bias() -> None:
    plain = NB201.supernet_skeleton(10, 32)
    biased = dataclasses.replace(plain, conv_bias=True)
    # One bias per channel of 5 cells in each stage, for 6 edges; counted at every pixel.
    channels, pixels = (16, 32, 64), (32, 16, 8)
    assert cost(NB201, biased, (3,) * 6).params - cost(NB201, plain, (3,) * 6).params == 30 * sum(channels)
    extra_macs = 30 * sum(c * p**2 for c, p in zip(channels, pixels, strict=True))
    assert cost(NB201, biased, (3,) * 6).macs - cost(NB201, plain, (3,) * 6).macs == extra_macs
    assert cost(NB201, biased, (4,) * 6) == cost(NB201, plain, (4,) * 6)


def only(operation: int) -> Architecture:
    """Every node reads nodes 0 and 1 through one operation."""
    return tuple(operation if source < 2 else 0 for cell in DARTS8.cell_types for source, _ in cell.edges)


@pytest.mark.parametrize(
    ("operation", "params", "macs"), [("sep_conv_5x5", 492_922, 81_873_408), ("skip_connect", 143_226, 24_660_480)]
)
def test_darts_search_subnets(operation: str, params: int, macs: int) -> None:
    architecture = only(DARTS8.operations.index(operation))
    assert cost(DARTS8, DARTS8.supernet_skeleton(10, 32), architecture) == Cost(params, macs)


@pytest.mark.parametrize(
    ("name", "channels", "params", "macs"),
    [
        ("GENAS_FLATNESS_C10", 52, 5_564_090, 610_058_800),
        ("GENAS_ANGLE_FLATNESS_C10", 44, 5_344_118, 592_905_456),
        ("GENAS_FLATNESS_C100", 46, 5_195_205, 579_473_040),
        ("GENAS_ANGLE_FLATNESS_C100", 48, 5_413_696, 602_400_192),
        ("DARTS_V2", 48, 4_718_752, 529_911_552),
    ],
)
def test_imagenet_networks(name: str, channels: int, params: int, macs: int) -> None:
    skeleton = DARTS8.standalone_skeleton(1000, 224, channels=channels)
    assert cost(DARTS8, skeleton, DARTS8.parse(name)) == Cost(params, macs)


def test_cifar_network() -> None:
    assert cost(DARTS8, DARTS8.standalone_skeleton(10, 32), DARTS8.parse("DARTS_V2")).params == 3_349_342


@pytest.mark.parametrize(
    ("classes", "size", "features", "norms"), [(10, 32, 4 * 36 * 4, 128 + 768), (1000, 224, 4 * 48 * 4, 128)]
)
def test_auxiliary_head_adds_params_only(classes: int, size: int, features: int, norms: int) -> None:
    plain = DARTS8.standalone_skeleton(classes, size)
    architecture = DARTS8.parse("DARTS_V2")
    without, with_head = (
        cost(DARTS8, skeleton, architecture) for skeleton in (plain, dataclasses.replace(plain, auxiliary=True))
    )
    head = features * 128 + 128 * 768 * 2 * 2 + 2 * norms + (768 + 1) * classes
    assert with_head.params - without.params == head
    assert with_head.macs == without.macs


def test_batch_norm_follows_its_flags() -> None:
    pools = only(DARTS8.operations.index("max_pool_3x3"))
    search = DARTS8.supernet_skeleton(10, 32)
    plain = dataclasses.replace(search, affine=False)
    cells = [16, 16, 32, 32, 32, 64, 64, 64]
    # Without weight and bias: two preprocessings and eight pools less per cell.
    assert cost(DARTS8, search, pools).params - cost(DARTS8, plain, pools).params == sum(2 * c * (2 + 8) for c in cells)
    alone = Skeleton("darts-cifar", 16, 8, 10, 32)
    assert cost(DARTS8, search, pools).params - cost(DARTS8, alone, pools).params == sum(2 * c * 8 for c in cells)
    assert cost(DARTS8, search, pools).macs == cost(DARTS8, alone, pools).macs


def test_noise_is_free() -> None:
    s4 = space("s4")
    noise = tuple(8 if source < 2 else 0 for cell in s4.cell_types for source, _ in cell.edges)
    pools = Skeleton("darts-cifar", 16, 8, 10, 32)
    assert cost(s4, pools, noise) == cost(DARTS8, pools, only(1))


def test_live_only_is_the_same_for_darts(rng: np.random.Generator) -> None:
    skeleton = DARTS8.supernet_skeleton(10, 32)
    architecture = DARTS8.sample(rng)
    assert cost(DARTS8, skeleton, architecture) == cost(DARTS8, skeleton, architecture, live_only=True)
    assert DARTS8.without_dead_edges(architecture) == architecture


@pytest.mark.parametrize("cells", [1, 2])
def test_networks_of_reduction_cells_alone_are_refused(cells: int) -> None:
    with pytest.raises(ValueError, match=f"cells of a DARTS network must be at least 3, .* but got {cells}"):
        DARTS8.supernet_skeleton(10, 16, 1, channels=4, cells=cells)


def test_costs_add_up() -> None:
    assert Cost(1, 2) + Cost(10, 20) == Cost(11, 22)
    assert Cost() == Cost(0, 0)


def test_space_and_skeleton_must_fit() -> None:
    with pytest.raises(ValueError, match="as the skeleton feeds, 2 in darts-search, but those of nasbench201 have 1"):
        cost(NB201, DARTS8.supernet_skeleton(10, 32), (3,) * 6)
    with pytest.raises(ValueError, match="as the skeleton feeds, 1 in nasbench201, but those of darts have 2"):
        cost(DARTS8, NB201.supernet_skeleton(10, 32))


def test_invalid_architecture() -> None:
    with pytest.raises(ValueError, match="must have 6 genes, but got 5"):
        cost(NB201, NB201.supernet_skeleton(10, 32), (3,) * 5)


def test_unknown_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        NASBench201, "operations", ("none", "skip_connect", "nor_conv_1x1", "attention", "avg_pool_3x3")
    )
    with pytest.raises(
        ValueError, match=r"must be known here, but 'attention' is not\. Compute it from the built network"
    ):
        cost(NB201, NB201.supernet_skeleton(10, 32))
