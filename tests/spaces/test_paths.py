from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from genas.spaces import DARTS, Architecture, CellType, path_multiplicities
from genas.spaces.darts_cell import CELLS
from genas.spaces.nasbench201_cell import CELL
from genas.spaces.nasbench201_keys import angle_key


def paths(cell: CellType, genes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Oracle: every directed path without ``none`` from an input to an output node, as positions of its edges."""

    def onward(node: int, walked: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if node in cell.output_nodes:
            yield walked
        for edge, (source, target) in enumerate(cell.edges):
            if source == node and genes[edge] != 0:
                yield from onward(target, (*walked, edge))

    for node in range(cell.num_inputs):
        yield from onward(node, ())


def counted(cell: CellType, genes: Sequence[int]) -> tuple[int, ...]:
    uses = Counter(edge for path in paths(cell, genes) for edge in path)
    return tuple(uses[edge] for edge in range(len(cell.edges)))


def test_all_live_nasbench201_cell() -> None:
    assert path_multiplicities(CELL, (3,) * 6) == (2, 1, 1, 1, 1, 2)
    assert path_multiplicities(CELL, (0, 3, 3, 3, 3, 3)) == (0, 1, 0, 1, 0, 1)
    assert path_multiplicities(CELL, (0,) * 6) == (0,) * 6


def test_every_nasbench201_cell_against_enumerated_paths(all_nasbench201: list[Architecture]) -> None:
    for architecture in all_nasbench201[::7]:
        assert path_multiplicities(CELL, architecture) == counted(CELL, architecture)


def test_darts_cells_against_enumerated_paths(rng: np.random.Generator) -> None:
    space = DARTS()
    for _ in range(150):
        for cell, genes in zip(space.cell_types, space.split(space.sample(rng)), strict=True):
            assert path_multiplicities(cell, genes) == counted(cell, genes)


def test_a_full_darts_cell_has_thirty_paths() -> None:
    cell = CELLS[0]
    ends = Counter(cell.edges[path[-1]][1] for path in paths(cell, (3,) * 14))
    assert ends == {2: 2, 3: 4, 4: 8, 5: 16}
    assert path_multiplicities(cell, (3,) * 14) == counted(cell, (3,) * 14)
    assert sum(path_multiplicities(cell, (3,) * 14)[-5:]) == 16


def test_live_edges_are_those_on_a_path(all_nasbench201: list[Architecture], rng: np.random.Generator) -> None:
    random_cells = rng.integers(2, size=(300, 14)).tolist()
    for cell, cases in ((CELL, all_nasbench201[::7]), (CELLS[0], random_cells)):
        for genes in cases:
            assert cell.live_edges(genes) == tuple(np.flatnonzero(counted(cell, genes)))


def test_valid_darts_cells_are_all_live(rng: np.random.Generator) -> None:
    space = DARTS()
    for _ in range(100):
        for cell, genes in zip(space.cell_types, space.split(space.sample(rng)), strict=True):
            assert cell.live_edges(genes) == tuple(np.flatnonzero(genes))


def test_angle_key_counts_learned_edges_over_paths(all_nasbench201: list[Architecture]) -> None:
    for architecture in all_nasbench201[::11]:
        uses = Counter(edge for path in paths(CELL, architecture) for edge in path if architecture[edge] != 1)
        assert angle_key(architecture) == tuple((edge, architecture[edge], uses[edge]) for edge in sorted(uses))
