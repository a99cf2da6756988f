"""The softmax relaxation: initial values, rows that sum to one, edges per node, the schedule of the auxiliary skip."""

from __future__ import annotations

import math

import pytest
import torch

from genas.search.differentiable.relaxation import SkipSchedule, Softmax
from genas.spaces import DARTS, SPACES, NASBench201, space

INCOMING_DARTS = [(0, 2), (2, 5), (5, 9), (9, 14)]


@pytest.mark.parametrize("name", list(SPACES))
def test_one_matrix_per_cell_type(name) -> None:
    found = space(name)
    relaxation = Softmax(found)
    alphas = relaxation.initial(0)
    width = len(found.candidates[0])
    assert [tuple(alpha.shape) for alpha in alphas] == [(len(cell.edges), width) for cell in found.cell_types]
    for alpha in alphas:
        assert alpha.is_leaf
        assert alpha.requires_grad
        assert alpha.dtype == torch.float32
    for mixture, alpha in zip(relaxation.mixtures(alphas, 0.3), alphas, strict=True):
        exponentials = alpha.detach().double().exp()
        expected = exponentials / exponentials.sum(dim=1, keepdim=True)
        torch.testing.assert_close(mixture.operations.detach().double(), expected, rtol=1e-6, atol=0)
        assert mixture.edges is None
        assert mixture.skip == 0


def test_initial_values_are_small_normal_numbers_of_private_streams() -> None:
    plain = Softmax(DARTS()).initial(7)
    values = torch.cat([alpha.detach().flatten() for alpha in plain]).double()
    assert float(values.std()) == pytest.approx(1e-3, rel=0.12)
    assert abs(float(values.mean())) < 3e-4
    assert not torch.equal(plain[0], plain[1])
    with_edges = Softmax(DARTS(), edge_normalization=True).initial(7)
    assert all(torch.equal(a, b) for a, b in zip(plain, with_edges[:2], strict=True))
    assert [tuple(edges.shape) for edges in with_edges[2:]] == [(14,), (14,)]
    assert not torch.equal(with_edges[2], with_edges[3])
    assert not torch.equal(plain[0], Softmax(DARTS()).initial(8)[0])
    assert float(torch.cat(with_edges[2:]).detach().std()) == pytest.approx(1e-3, rel=0.4)


def test_initial_values_do_not_know_the_global_generator() -> None:
    first = Softmax(NASBench201()).initial(0)
    with torch.random.fork_rng(devices=[]):
        torch.rand(3)
        assert torch.equal(first[0], Softmax(NASBench201()).initial(0)[0])


def test_edge_weights_sum_to_one_at_every_node() -> None:
    relaxation = Softmax(DARTS(), edge_normalization=True)
    alphas = [alpha.detach() for alpha in relaxation.initial(0)]
    alphas[2:] = [torch.arange(14.0), -torch.arange(14.0)]
    for mixture, logits in zip(relaxation.mixtures(tuple(alphas), 0), alphas[2:], strict=True):
        assert mixture.edges is not None
        for first, last in INCOMING_DARTS:
            own = logits[first:last].exp()
            torch.testing.assert_close(mixture.edges[first:last], own / own.sum())
    relaxation = Softmax(NASBench201(), edge_normalization=True)
    (mixture,) = relaxation.mixtures((torch.zeros(6, 5), torch.zeros(6)), 0)
    assert mixture.edges is not None
    torch.testing.assert_close(mixture.edges, torch.tensor([1, 1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3]))


def test_the_parameters_of_another_relaxation_are_refused() -> None:
    plain, edges = Softmax(DARTS()), Softmax(DARTS(), edge_normalization=True)
    with pytest.raises(ValueError, match=r"alphas must have 2 tensors, 2 for the operations and 0 for the edges, but"):
        plain.mixtures(edges.initial(0), 0)
    with pytest.raises(ValueError, match=r"4 tensors, 2 for the operations and 2 for the edges, but got 2"):
        edges.mixtures(plain.initial(0), 0)


def test_edges_with_different_numbers_of_candidates_are_refused() -> None:
    uneven = NASBench201()
    object.__setattr__(uneven, "candidates", ((0, 1), *uneven.candidates[1:]))
    with pytest.raises(
        ValueError, match=r"equally many candidates for a softmax in one matrix, but they have \[2, 5\]"
    ):
        Softmax(uneven)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("linear", lambda e: (50 - e) / 50),
        ("cosine", lambda e: (1 + math.cos(math.pi * e / 50)) / 2),
        ("slow_cosine", lambda e: math.cos(math.pi * e / 100)),
    ],
)
def test_the_strength_of_the_auxiliary_skip(shape, expected) -> None:
    """Set at the start of an epoch: 1 in the first of 50, 0.02 in the last of the linear form, never 0."""
    for start in (1.0, 0.7):
        schedule = SkipSchedule(shape, start)
        for epoch in range(50):
            assert schedule.at(epoch / 50) == pytest.approx(start * expected(epoch), rel=1e-12)
            assert schedule.at(epoch / 50) > 0
    if shape == "linear":
        assert SkipSchedule().at(0) == 1
        assert SkipSchedule().at(49 / 50) == pytest.approx(0.02)


def test_mixtures_carry_the_strength_of_their_epoch() -> None:
    relaxation = Softmax(DARTS(), skip_schedule=SkipSchedule("linear", 0.5))
    alphas = relaxation.initial(0)
    assert [mixture.skip for mixture in relaxation.mixtures(alphas, 0.2)] == [0.4, 0.4]


def test_wrong_schedules() -> None:
    with pytest.raises(ValueError, match=r"shape must be one of linear, cosine, slow_cosine, but got 'step'"):
        SkipSchedule("step")  # type: ignore[arg-type]
    for start in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="start must be finite and not negative"):
            SkipSchedule("linear", start)
