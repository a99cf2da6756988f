"""β-decay in closed form, and a regulariser around any gradient."""

from __future__ import annotations

import math

import pytest
import torch

from genas.search.differentiable.gradients import FirstOrder, Unrolled
from genas.search.differentiable.regularizers import BetaDecay, LinearSchedule, Regularized
from genas.search.differentiable.relaxation import Softmax
from genas.spaces import DARTS

F64 = torch.float64


def parameters(*types: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    draws = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(edges, 5, generator=draws, dtype=F64).requires_grad_() for edges in types)


def test_the_schedule_of_the_code() -> None:
    schedule = BetaDecay().strength
    assert [schedule.at(epoch, 100) for epoch in (0, 10, 99)] == [0, 5, 49.5]
    assert schedule.at(49, 50) == 24.5
    reaching = LinearSchedule(end=50.0)
    assert [reaching.at(epoch, 50) for epoch in (0, 10, 25)] == [0, 10, 25]


@pytest.mark.parametrize("weights", [None, (1.6, 0.4), (0.4, 1.6)])
def test_the_gradient_is_the_softmax_over_the_number_of_edges(close, weights) -> None:
    alphas = parameters(14, 14)
    loss = BetaDecay(weights=weights).loss(alphas, 10, 50)
    expected = sum(
        5 * w * torch.logsumexp(alpha.detach(), dim=1).sum() / 14
        for w, alpha in zip(weights or (1, 1), alphas, strict=True)
    )
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-13)
    close(
        torch.autograd.grad(loss, alphas),
        [5 * w * alpha.detach().softmax(dim=1) / 14 for w, alpha in zip(weights or (1, 1), alphas, strict=True)],
        1e-13,
    )


def test_a_constant_on_a_row_adds_itself_over_the_number_of_edges() -> None:
    (alpha,) = parameters(6)
    alpha = alpha.detach()
    decay = BetaDecay(LinearSchedule(slope=1.0))
    moved = alpha.clone()
    moved[2] += 3
    found = decay.loss((moved,), 1, 50) - decay.loss((alpha,), 1, 50)
    assert float(found) == pytest.approx(3 / 6, rel=1e-12)
    assert float(decay.loss((alpha + 7,), 1, 50) - decay.loss((alpha,), 1, 50)) == pytest.approx(7, rel=1e-12)


def test_parameters_of_edges_take_no_part(close) -> None:
    alphas = (*parameters(14, 14), torch.ones(14, dtype=F64, requires_grad=True))
    loss = BetaDecay().loss(alphas, 10, 50)
    assert float(loss.detach()) == pytest.approx(float(BetaDecay().loss(alphas[:2], 10, 50).detach()))
    close(torch.autograd.grad(loss, alphas[2:], materialize_grads=True), [torch.zeros(14, dtype=F64)])


def test_no_strength_is_the_gradient_inside_bit_for_bit(smooth_step, doubled, bitwise) -> None:
    step = smooth_step("darts")  # epoch 0
    alphas = doubled(step.relaxation)
    for inner in (FirstOrder(), Unrolled()):
        expected, found = inner.estimate(step, alphas), Regularized(inner, BetaDecay()).estimate(step, alphas)
        bitwise((*found.gradient, found.value), (*expected.gradient, expected.value))


def test_a_regularizer_adds_value_gradient_and_curvature(smooth_step, doubled, check_slope, close) -> None:
    relaxation = Softmax(DARTS("s3"), edge_normalization=True)
    step = smooth_step(relaxation=relaxation, epoch=4)
    alphas, direction = doubled(relaxation), doubled(relaxation, seed=8)
    method = Regularized(FirstOrder(), BetaDecay(weights=(1.6, 0.4)))
    found = method.estimate(step, alphas)
    assert float(found.value) == float(method.value(step, alphas))
    check_slope(found.gradient, lambda point: method.value(step, point), alphas, 1e-8)
    own = float(BetaDecay(weights=(1.6, 0.4)).loss(alphas, 4, 50))
    assert float(found.diagnostics["regularizer"]) == pytest.approx(own)
    assert float(found.diagnostics["search_loss"]) == pytest.approx(float(found.value) - own)
    linearized, product = method.linearize(step, alphas)
    close(linearized.gradient, found.gradient)
    radius = 1e-5
    ends = [
        method.gradient(step, tuple(a + sign * radius * d for a, d in zip(alphas, direction, strict=True)))
        for sign in (1, -1)
    ]
    close(product(direction), tuple((a - b) / (2 * radius) for a, b in zip(*ends, strict=True)), 1e-8)
    close(product(direction), product(direction))  # the graph stays
    assert not any(
        part.requires_grad for part in (*found.gradient, *linearized.gradient, *product(direction), found.value)
    )
    assert all(alpha.grad is None for alpha in alphas)


def test_it_unrolls_what_its_gradient_unrolls() -> None:
    assert Regularized(Unrolled(), BetaDecay()).unrolls_weights
    assert not Regularized(FirstOrder(), BetaDecay()).unrolls_weights


def test_wrong_arguments() -> None:
    for given in ({}, {"slope": 1.0, "end": 1.0}, {"slope": -1.0}, {"end": math.inf}, {"slope": math.nan}):
        with pytest.raises(ValueError, match=r"Exactly one of slope and end must be given, finite and not negative"):
            LinearSchedule(**given)
    with pytest.raises(ValueError, match=r"weights must be finite and not negative, but got \(1.0, -1.0\)"):
        BetaDecay(weights=(1.0, -1.0))
    with pytest.raises(ValueError, match=r"one number for each of the 1 cell types, but got \(1.6, 0.4\)"):
        BetaDecay(weights=(1.6, 0.4)).loss(parameters(6), 1, 50)
