"""One cell: sums that never change what others read, exact gradients, preprocessing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from genas.spaces import DARTS, NASBench201, Skeleton
from genas.supernet.cells import Cell, Nodes
from genas.supernet.mixtures import Mixture
from genas.supernet.operations import ConvBN, FactorizedReduce

SPACE_201 = NASBench201()


def cell_201(channels: int = 2, size: int = 4, *, affine: bool = True) -> Cell:
    skeleton = Skeleton("nasbench201", channels, 1, 5, size, affine=affine)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Cell(
            SPACE_201.cell_types[0], skeleton.blocks[0], skeleton, SPACE_201.operations, SPACE_201.candidates
        ).double()


def cell_darts(position: int, *, kind: str = "darts-search", channels: int = 2, size: int = 4) -> Cell:
    space = DARTS()
    skeleton = Skeleton(kind, channels, 3, 5, size)  # type: ignore[arg-type]
    block = skeleton.blocks[position]
    start = 14 * block.cell_type
    with torch.random.fork_rng():
        torch.manual_seed(0)
        types, candidates = space.cell_types[block.cell_type], space.candidates[start : start + 14]
        return Cell(types, block, skeleton, space.operations, candidates).double()


def states_of(cell: Cell, count: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = zip(cell.block.in_channels, cell.block.in_sizes, strict=True)
    return [torch.randn(count, c, s, s, generator=generator, dtype=torch.float64) for c, s in shapes]


# ---------------------------------------------------------------------------------------------------------------- nodes


@pytest.mark.parametrize("owned", list(itertools.product([True, False], repeat=3)))
def test_a_node_is_the_sum_of_its_terms_and_foreign_terms_are_not_changed(owned) -> None:
    terms = [torch.tensor([float(10**k)]) for k in range(3)]
    nodes = Nodes([torch.zeros(1)], 2, inputs_owned=False, read_plain={1})
    for term, mine in zip(terms, owned, strict=True):
        nodes.add(1, term, owned=mine)
    assert nodes.read(1, rectified=False) == 111.0
    for k, (term, mine) in enumerate(zip(terms, owned, strict=True)):
        assert mine or term == 10.0**k, "a tensor that others hold"


def test_a_node_is_rectified_once_and_the_plain_value_stays() -> None:
    nodes = Nodes([torch.tensor([-1.0, 2.0])], 2, inputs_owned=True, read_plain={0})
    first = nodes.read(0, rectified=True)
    assert first is not None
    assert first.tolist() == [0.0, 2.0]
    assert nodes.read(0, rectified=True) is first
    plain = nodes.read(0, rectified=False)
    assert plain is not None
    assert plain.tolist() == [-1.0, 2.0]
    assert nodes.read(1, rectified=True) is nodes.read(1, rectified=False) is None


@pytest.mark.parametrize(("owned", "plain"), [(True, set()), (True, {0}), (False, set())])
def test_only_an_owned_node_that_no_one_reads_plain_is_rectified_in_place(owned, plain) -> None:
    value = torch.tensor([-1.0, 2.0])
    nodes = Nodes([value], 2, inputs_owned=owned, read_plain=plain)
    assert nodes.read(0, rectified=True).tolist() == [0.0, 2.0]
    assert value.tolist() == ([0.0, 2.0] if owned and not plain else [-1.0, 2.0])


# --------------------------------------------------------------------------------------------------------------- states


@pytest.mark.parametrize("seed", range(12))
def test_running_a_cell_changes_none_of_its_inputs(seed) -> None:
    """Skips hand on the very tensor of a node; every later sum must notice."""
    rng = np.random.default_rng(seed)
    cell = cell_201()
    genes = tuple(rng.choice([0, 1, 1, 3, 4], size=6).tolist())
    states = states_of(cell)
    before = [state.clone() for state in states]
    with torch.no_grad():
        first = cell(states, genes).clone()
        torch.testing.assert_close(cell(states, genes), first, rtol=0, atol=0)
    assert all(torch.equal(state, old) for state, old in zip(states, before, strict=True))


def test_all_skips_sum_the_input_four_times() -> None:
    """Node 1 = x, node 2 = 2x, node 3 = x + x + 2x."""
    cell = cell_201()
    (state,) = states_of(cell)
    torch.testing.assert_close(cell([state], (1,) * 6), 4 * state)
    assert cell([state], (0, 0, 0, 1, 0, 0)) is state, "a lone skip copies nothing"


def test_a_cell_without_live_edges_is_zero() -> None:
    cell = cell_201()
    (state,) = states_of(cell)
    output = cell([state], (3, 3, 3, 0, 0, 0))
    assert output.shape == state.shape
    assert output.dtype == state.dtype
    assert output.abs().max() == 0.0


# ------------------------------------------------------------------------------------------------------------ gradients


@pytest.mark.parametrize("genes", [(3, 1, 2, 4, 1, 3), (1, 1, 1, 4, 4, 1), (2, 3, 1, 1, 1, 1), (4, 3, 4, 2, 1, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_gradcheck_of_a_path(genes, training) -> None:
    cell = cell_201().train(training)
    (state,) = states_of(cell, 2)
    live = [cell.operation(edge, gene) for edge, gene in enumerate(genes)]
    weights = [parameter for operation in live for parameter in operation.parameters()]
    function = lambda state, *_: cell([state], genes)
    assert torch.autograd.gradcheck(function, [state.requires_grad_(), *weights], fast_mode=True)


@pytest.mark.parametrize("position", [0, 1])
def test_gradcheck_of_a_darts_mixture(position) -> None:
    cell = cell_darts(position, channels=2).eval()
    weights = torch.rand(14, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    states = [state.requires_grad_() for state in states_of(cell, 1)]
    function = lambda older, newer, weights: cell([older, newer], Mixture(weights))
    assert torch.autograd.gradcheck(function, [*states, weights], fast_mode=True)


def test_second_derivatives_of_a_path_exist() -> None:
    """Hessians and unrolled steps differentiate twice, through the in-place sums."""
    cell = cell_201().eval()
    (state,) = states_of(cell, 1)
    assert torch.autograd.gradgradcheck(
        lambda state: cell([state], (2, 1, 3, 4, 1, 2)).sin(), [state.requires_grad_()], fast_mode=True
    )


# -------------------------------------------------------------------------------------------------------- preprocessing


def test_preprocessing_shrinks_the_older_state_exactly_after_a_reduction() -> None:
    expected = [(ConvBN, ConvBN), (ConvBN, ConvBN), (FactorizedReduce, ConvBN)]
    for position, kinds in enumerate(expected):  # three cells: reductions at 1 and 2
        assert tuple(type(layer) for layer in cell_darts(position).preprocess) == kinds
    imagenet = cell_darts(0, kind="darts-imagenet", size=32)
    assert tuple(type(layer) for layer in imagenet.preprocess) == (FactorizedReduce, ConvBN)


def test_nasbench201_reads_its_input_as_it_is() -> None:
    assert not hasattr(cell_201(), "preprocess")


def test_a_reduction_cell_strides_only_the_edges_from_its_inputs() -> None:
    cell = cell_darts(1)
    for edge, (source, _) in enumerate(cell.cell_type.edges):
        pool = cell.operation(edge, 1)
        assert pool.pool.stride == (2 if source < 2 else 1)  # type: ignore[union-attr]
    states = states_of(cell)
    genes = DARTS().parse("DARTS_V1")[14:]
    assert cell(states, genes).shape == (3, 4 * cell.block.channels, 2, 2)


def test_concatenation_is_in_node_order() -> None:
    """A cell of skips, whose nodes are sums of its preprocessed inputs."""
    cell = cell_darts(0).eval()
    genes = (3, 3, 0, 3, 3, 0, 0, 3, 3, 0, 0, 0, 3, 3)
    states = states_of(cell)
    zero, one = (layer(state.relu()) for layer, state in zip(cell.preprocess, states, strict=True))
    two = zero + one
    three = one + two
    output = cell(states, genes).split(cell.block.channels, dim=1)
    torch.testing.assert_close(output[0], two)
    torch.testing.assert_close(output[1], three)
    torch.testing.assert_close(output[2], two + three)
    torch.testing.assert_close(output[3], three + two + three)


# ------------------------------------------------------------------------------------------------------------- messages


def test_paths_that_do_not_fit_are_refused() -> None:
    cell = cell_201()
    states = states_of(cell)
    with pytest.raises(ValueError, match="path of a cell must have 6 genes, one per edge, but got 5"):
        cell(states, (3,) * 5)
    with pytest.raises(
        ValueError,
        match=r"Edge 5 of this cell holds the operations \['none', .*index 7; choose one of \[0, 1, 2, 3, 4\]",
    ):
        cell(states, (3, 3, 3, 3, 3, 7))
