"""Plain and smoothed weight steps (SDARTS) against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from genas.search.differentiable.relaxation import Softmax
from genas.search.differentiable.weight_steps import (
    AdversarialSmoothing,
    Plain,
    RandomSmoothing,
    SmoothingRadius,
    onto_simplex,
)
from genas.spaces import DARTS, NASBench201

from .conftest import seen_mixtures

F64 = torch.float64
NOTHING = SmoothingRadius(0.0, 0.0)


def weight_gradients(step) -> list[torch.Tensor]:
    return [weight.grad for weight in step.objective.live.values()]


def test_plain_is_autograd_of_the_training_loss(smooth_step, doubled, close) -> None:
    step = smooth_step("darts", cells=(0, 1, 0))
    alphas = tuple(alpha.requires_grad_() for alpha in doubled(step.relaxation))
    report = Plain().backward(step, alphas)
    p = [alpha.detach().softmax(dim=1) for alpha in alphas]
    loss = step.objective.training([p[0], p[1], p[0]], step.objective.live)
    close(weight_gradients(step), torch.autograd.grad(loss, tuple(step.objective.live.values())))
    assert float(report.loss) == float(loss.detach())
    assert not report.loss.requires_grad
    assert all(alpha.grad is None for alpha in alphas)
    assert step.objective.statistics == ["recorded"]


@pytest.mark.parametrize("method", [RandomSmoothing(), AdversarialSmoothing(), Plain()])
def test_only_the_gradients_of_the_weights_change(smooth_step, doubled, bitwise, method) -> None:
    step = smooth_step("darts", epoch=20)
    alphas = tuple(alpha.requires_grad_() for alpha in doubled(step.relaxation))
    kept = [tensor.detach().clone() for tensor in (*alphas, *step.objective.live.values())]
    report = method.backward(step, alphas)
    bitwise((*alphas, *step.objective.live.values()), kept)
    assert all(alpha.grad is None for alpha in alphas)
    assert all(gradient is not None for gradient in weight_gradients(step))
    assert not report.loss.requires_grad
    assert step.objective.statistics.count("recorded") == 1
    assert step.objective.statistics[-1] == "recorded"


# ----------------------------------------------------------------------------------------------------------- the pieces


def test_the_radius_grows_as_published() -> None:
    radius = SmoothingRadius()
    assert [radius.at(epoch / 50) for epoch in (0, 25, 49)] == pytest.approx([0.03, 0.165, 0.2946])
    for wrong in ({"start": -0.1}, {"end": math.inf}):
        with pytest.raises(ValueError, match="Radii must be finite and not negative"):
            SmoothingRadius(**wrong)


def test_rows_go_onto_the_simplex() -> None:
    rows = torch.tensor(
        [[0.5, -0.2, 0.7], [1.5, 0.5, -1.0], [-0.3, -0.1, -0.2], [0.2, 0.3, 0.5], [0, -1, 0]], dtype=F64
    )
    expected = torch.tensor([[5 / 12, 0, 7 / 12], [2 / 3, 1 / 3, 0], [0, 1, 0], [0.2, 0.3, 0.5], [1, 0, 0]], dtype=F64)
    torch.testing.assert_close(onto_simplex(rows), expected, rtol=1e-14, atol=0)


# -------------------------------------------------------------------------------------------------------------- SDARTS


@pytest.mark.parametrize("method", [RandomSmoothing(NOTHING), AdversarialSmoothing(NOTHING)])
def test_no_noise_is_plain(smooth_step, doubled, close, method) -> None:
    grads = []
    for own in (Plain(), method):
        step = smooth_step("darts")
        own.backward(step, doubled(step.relaxation))
        grads.append(weight_gradients(step))
    close(*grads, 1e-6)


def test_random_smoothing_is_uniform_noise_within_the_radius(smooth_step) -> None:
    """At uniform weights of 1/5 and a radius of 0.165 in the middle nothing is clamped: look at quotients and means."""
    noise = []
    for number in range(60):
        step = smooth_step(epoch=25, number=number)
        seen = seen_mixtures(step)
        RandomSmoothing().backward(step, (torch.zeros(6, 5, dtype=F64),))
        assert len(seen) == 1
        torch.testing.assert_close(seen[0][0].sum(dim=1), torch.ones(6, dtype=F64))
        noise.append(seen[0][0])
    drawn = torch.stack(noise)
    assert len({tuple(part.flatten().tolist()) for part in noise}) == 60
    quotients = drawn[..., 0] / drawn[..., 1]
    assert float(quotients.max()) <= 0.365 / 0.035
    assert float(quotients.max()) > 4
    expected = 0.2 / 0.33 * math.log(0.365 / 0.035)  # E[x] E[1/y] of two uniform numbers in [0.035, 0.365]
    assert float(quotients.mean()) == pytest.approx(expected, rel=0.15)
    torch.testing.assert_close(drawn.mean(dim=(0, 1)), torch.full((5,), 0.2, dtype=F64), rtol=0, atol=0.02)


@pytest.mark.parametrize("method", [RandomSmoothing(), AdversarialSmoothing(steps=1)])
def test_noise_is_of_the_step_and_for_every_cell_type(smooth_step, doubled, method) -> None:
    def run(**fields) -> list[list[torch.Tensor]]:
        step = smooth_step("darts", cells=(0, 1, 0), **fields)
        seen = seen_mixtures(step)
        method.backward(step, doubled(step.relaxation))
        return seen

    first = run(number=3)
    p = [alpha.softmax(dim=1) for alpha in doubled(Softmax(DARTS()))]
    assert torch.equal(first[-1][0], first[-1][2])
    assert (first[0][0] != p[0]).any(dim=1).all()
    assert (first[0][1] != p[1]).any(dim=1).all()
    assert not torch.equal(first[0][0] - p[0], first[0][1] - p[1])
    assert all(torch.equal(a, b) for a, b in zip(first[-1], run(number=3)[-1], strict=True))
    assert not torch.equal(first[-1][0], run(number=4)[-1][0])
    assert not torch.equal(first[-1][0], run(number=3, seed=1)[-1][0])


def linear_step(make_step, costs: torch.Tensor, **fields):
    return make_step(
        training=lambda p, w: (costs * p[0]).sum() * w["w"].exp(), relaxation=Softmax(NASBench201()), **fields
    )


def test_the_attack_on_a_linear_loss(make_step) -> None:
    """Large costs go up and negative ones down, to the walls of the ball; every step ends with rows that sum to one."""
    costs = torch.tensor([[3.0, 1.0, -1.0, -2.0, 0.5]] * 6, dtype=F64)
    step = linear_step(make_step, costs)
    seen = seen_mixtures(step)
    report = AdversarialSmoothing(SmoothingRadius(0.03, 0.03)).backward(step, (torch.zeros(6, 5, dtype=F64),))
    assert step.objective.statistics == ["running"] * 9 + ["recorded"]
    learning = [any(weight.requires_grad for weight in weights.values()) for weights in step.objective.trainings]
    assert learning == [False] * 9 + [True]
    moving = seen[0][0]
    assert float((moving - 0.2).abs().max()) > 0.015
    for number in range(7):
        before = (moving + 2 * 0.03 / 7 * costs.sign()).clamp(0.17, 0.23)
        moving = onto_simplex(before)
        torch.testing.assert_close(seen[number + 1][0], moving, rtol=1e-12, atol=0)
    torch.testing.assert_close(before[:, [0, 1, 4]], torch.full((6, 3), 0.23, dtype=F64), rtol=0, atol=1e-2)
    torch.testing.assert_close(before[:, [2, 3]], torch.full((6, 2), 0.17, dtype=F64), rtol=0, atol=1e-2)
    torch.testing.assert_close(seen[8][0], torch.full((6, 5), 0.2, dtype=F64))
    assert torch.equal(seen[9][0], seen[7][0])
    assert float(report.loss) > float((costs * 0.2).sum())


def test_an_attack_that_fails_is_taken_back(make_step) -> None:
    """A loss whose peak is at p itself: every way leads down, so the weights are trained at p."""
    p = torch.full((6, 5), 0.2, dtype=F64)
    step = make_step(training=lambda q, w: -(q[0] - p).square().sum() * w["w"].exp(), relaxation=Softmax(NASBench201()))
    seen = seen_mixtures(step)
    AdversarialSmoothing().backward(step, (torch.zeros(6, 5, dtype=F64),))
    torch.testing.assert_close(seen[-1][0], p, rtol=1e-15, atol=0)
    assert not torch.equal(seen[-3][0], p)
    assert torch.equal(seen[-1][0], seen[-2][0])


def test_the_attack_starts_at_random_within_the_ball(make_step) -> None:
    starts = []
    for number in range(5):
        step = linear_step(make_step, torch.zeros(6, 5, dtype=F64), epoch=25, number=number)
        seen = seen_mixtures(step)
        AdversarialSmoothing().backward(step, (torch.zeros(6, 5, dtype=F64),))
        starts.append(seen[0][0])
    assert len({tuple(start.flatten().tolist()) for start in starts}) == 5
    assert float((torch.stack(starts) - 0.2).abs().max()) > 0.1


def test_a_fixed_number_of_passes(smooth_step, doubled) -> None:
    for method, passes in ((RandomSmoothing(), 1), (AdversarialSmoothing(), 10), (AdversarialSmoothing(steps=2), 5)):
        step = smooth_step()
        method.backward(step, doubled(step.relaxation))
        assert len(step.objective.statistics) == passes
    with pytest.raises(ValueError, match=r"steps must be at least 1, but got 0"):
        AdversarialSmoothing(steps=0)
