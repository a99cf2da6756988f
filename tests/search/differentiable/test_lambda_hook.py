"""Λ-DARTS: the alignment of the cells' gradients, its derivatives, and what it adds to the weights' gradient."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from genas.search.differentiable.lambda_hook import LambdaHook, alignment
from genas.search.differentiable.weight_steps import Plain
from genas.spaces import DARTS

from .conftest import seen_mixtures

F64 = torch.float64


def gradients(count: int, seed: int = 0) -> list[torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return [torch.randn(6, 5, generator=draws, dtype=F64) + 0.3 for _ in range(count)]


@pytest.mark.parametrize("form", ["corr", "signcorr"])
def test_the_alignment_pair_by_pair(form) -> None:
    found = gradients(4)
    pairs = []
    for a, b in itertools.combinations(found, 2):
        if form == "corr":
            pairs.append(float(torch.cosine_similarity(a.flatten(), b.flatten(), dim=0)))
        else:
            pairs.append(float((a * b).sum() / (a.abs() * b.abs()).sum()))
    assert float(alignment(found, form)) == pytest.approx(sum(pairs) / 6, rel=1e-13)


@pytest.mark.parametrize("form", ["corr", "signcorr"])
def test_the_scale_of_a_gradient_does_not_matter_and_equal_ones_agree(form) -> None:
    found = gradients(3)
    expected = float(alignment(found, form))
    assert float(alignment([1e-3 * part for part in found], form)) == pytest.approx(expected, rel=1e-12)
    if form == "corr":
        assert float(alignment([found[0] * 7, *found[1:]], form)) == pytest.approx(expected, rel=1e-12)
    assert float(alignment([found[0]] * 3, form)) == pytest.approx(1, rel=1e-14)
    assert float(alignment([found[0], -found[0]], form)) == pytest.approx(-1, rel=1e-14)


@pytest.mark.parametrize("form", ["corr", "signcorr"])
def test_derivatives_of_the_alignment(check_slope, close, form) -> None:
    """Against the closed forms of the paper and against differences."""
    points = [part.requires_grad_() for part in gradients(4)]
    found = torch.autograd.grad(alignment(points, form), points)
    with torch.no_grad():
        closed = []
        for i, g in enumerate(points):
            others = [other for j, other in enumerate(points) if j != i]
            if form == "corr":
                unit = g / g.norm()
                total = sum(other / other.norm() for other in others)
                closed.append(2 / 12 / g.norm() * (total - unit * (unit * total).sum()))
            else:
                terms = []
                for other in others:
                    weight = (g.abs() * other.abs()).sum()
                    terms.append((1 - (g * other).sum() / weight * g.sign() * other.sign()) * other / weight)
                closed.append(2 / 12 * sum(terms))
        close(found, closed, 1e-13)
        check_slope(found, lambda moved: alignment(moved, form), points, 1e-8)


# ------------------------------------------------------------------------------------------------------------ the step


@pytest.fixture
def bilinear(make_step):
    """L = sum_l <p_l, M_l w>: g_l = M_l w exactly, whatever p."""
    draws = torch.Generator().manual_seed(1)
    maps = [torch.randn(2, 3, 4, generator=draws, dtype=F64) + 0.5 for _ in range(3)]
    start = torch.randn(4, generator=draws, dtype=F64)

    def loss(p, w):
        joined = torch.cat([w["first"], w["second"]])
        return sum((own * (matrix @ joined)).sum() for own, matrix in zip(p, maps, strict=True)) + joined.square().sum()

    def make(**fields):
        weights = {"first": start[:1], "second": start[1:]}
        return make_step(training=loss, weights=weights, cells=(0, 0, 0), **fields)

    def aligned(w: torch.Tensor, form: str) -> torch.Tensor:
        return alignment([matrix @ w for matrix in maps], form)

    p = (torch.rand(2, 3, generator=draws, dtype=F64),)
    return make, p, start, aligned


def own_gradients(step) -> torch.Tensor:
    return torch.cat([weight.grad for weight in step.objective.live.values()])


@pytest.mark.parametrize("form", ["corr", "signcorr"])
@pytest.mark.parametrize(("epoch", "share"), [(49, 1.0), (7, 1 / 7)])
def test_the_term_is_the_gradient_of_minus_the_alignment(bilinear, form, epoch, share) -> None:
    make, p, start, aligned = bilinear
    plain, step = make(epoch=epoch), make(epoch=epoch)
    Plain().backward(plain, p)
    report = LambdaHook(0.25, form=form).backward(step, p)
    leaf = start.clone().requires_grad_()
    value = aligned(leaf, form)
    (uphill,) = torch.autograd.grad(value, leaf)
    assert float(uphill.norm()) > 1e-2
    torch.testing.assert_close(
        own_gradients(step) - own_gradients(plain), -0.25 * share * uphill, rtol=1e-8, atol=1e-10
    )
    assert float(report.diagnostics["lambda_alignment"]) == pytest.approx(float(value.detach()), rel=1e-13)
    change = float((0.25 * share * uphill).norm() / own_gradients(plain).norm())
    assert float(report.diagnostics["lambda_relative_change"]) == pytest.approx(change, rel=1e-8)
    assert float(report.loss) == float(Plain().backward(make(), p).loss)
    assert step.objective.statistics == ["recorded", "batch", "batch"]


def test_going_down_the_term_aligns_the_cells(bilinear) -> None:
    make, p, start, aligned = bilinear
    plain, step = make(epoch=49), make(epoch=49)
    Plain().backward(plain, p)
    LambdaHook(1.0).backward(step, p)
    moved = start - 1e-3 * (own_gradients(step) - own_gradients(plain))
    assert float(aligned(moved, "corr")) > float(aligned(start, "corr"))


def test_curved_losses(smooth_step, doubled, close) -> None:
    """The term against the alignment differentiated through the double backward pass, normal cells only."""
    step, plain = (smooth_step("darts", cells=(0, 1, 0, 0), epoch=49) for _ in range(2))
    alphas = doubled(step.relaxation)
    Plain().backward(plain, alphas)
    LambdaHook(0.5, epsilon=1e-4).backward(step, alphas)
    p = [alpha.softmax(dim=1) for alpha in alphas]
    leaves = [p[kind].clone().requires_grad_() for kind in (0, 1, 0, 0)]
    live = tuple(step.objective.live.values())
    loss = step.objective.training(leaves, step.objective.live)
    slopes = torch.autograd.grad(loss, [leaves[0], leaves[2], leaves[3]], create_graph=True)
    uphill = torch.autograd.grad(alignment(slopes), live)
    assert max(float(part.norm()) for part in uphill) > 1e-2
    found = [weight.grad - other.grad for weight, other in zip(live, plain.objective.live.values(), strict=True)]
    close(found, [-0.5 * part for part in uphill], 1e-7)


def test_which_cells_and_how_far(smooth_step, doubled) -> None:
    """Only cells of the type move, each for itself, together by epsilon, to both sides of p."""
    step = smooth_step("darts", cells=(0, 1, 0), epoch=49)
    alphas = doubled(step.relaxation)
    seen = seen_mixtures(step)
    LambdaHook(0.5, epsilon=1e-3).backward(step, alphas)
    centre, plus, minus = seen
    assert torch.equal(centre[1], plus[1])
    assert torch.equal(centre[1], minus[1])
    moves = [plus[cell] - centre[cell] for cell in (0, 2)]
    assert float(torch.cat(moves).norm()) == pytest.approx(1e-3, rel=1e-9)
    assert not torch.allclose(moves[0], moves[1])
    for cell in (0, 2):
        torch.testing.assert_close(plus[cell] + minus[cell], 2 * centre[cell], rtol=1e-12, atol=0)
    LambdaHook(0.5, cell_type=1).backward(smooth_step("darts", cells=(1, 0, 1), epoch=49), alphas)


def test_no_strength_is_plain_bit_for_bit(smooth_step, doubled, bitwise) -> None:
    grads = []
    for method, epoch, epochs in (
        (Plain(), 0, 50),
        (LambdaHook(0.0), 30, 50),
        (LambdaHook(0.25), 0, 50),
        (LambdaHook(0.25), 0, 1),
    ):
        step = smooth_step(cells=(0, 0), epoch=epoch, epochs=epochs)
        method.backward(step, doubled(step.relaxation))
        grads.append([weight.grad for weight in step.objective.live.values()])
        assert step.objective.statistics == ["recorded"]
    for own in grads[1:]:
        bitwise(own, grads[0])


def test_the_strength_grows_to_its_end() -> None:
    hook = LambdaHook(0.25)
    assert [hook.strength_at(epoch, 50) for epoch in (0, 7, 49)] == pytest.approx([0, 0.25 / 7, 0.25])


@pytest.mark.parametrize("form", ["corr", "signcorr"])
def test_a_zero_gradient_or_full_agreement_is_plain(make_step, bitwise, form) -> None:
    p = (torch.full((2, 2), 0.5, dtype=F64),)
    weights = {"w": torch.tensor(2.0, dtype=F64)}

    def only_first(q, w):
        return (q[0] * w["w"]).sum() + 0 * q[1].sum()

    def agreeing(q, w):
        return ((q[0] + q[1]) * w["w"]).sum()

    def absent(q, w):
        return (q[0] * w["w"]).sum()

    for loss in (only_first, agreeing, absent):
        step = make_step(training=loss, weights=weights, cells=(0, 0), epoch=49)
        report = LambdaHook(0.25, form=form).backward(step, p)
        plain = make_step(training=loss, weights=weights, cells=(0, 0), epoch=49)
        Plain().backward(plain, p)
        torch.testing.assert_close(step.objective.live["w"].grad, plain.objective.live["w"].grad, rtol=1e-14, atol=0)
        aligned = float(report.diagnostics["lambda_alignment"])
        assert aligned == pytest.approx(1) if loss is agreeing else math.isnan(aligned)


def test_weights_that_the_loss_does_not_use_stay_without_gradient(make_step) -> None:
    step = make_step(
        training=lambda p, w: (p[0] * torch.tensor([[1.0, 2.0]]) * w["w"] + p[1] ** 2 * w["w"]).sum(),
        weights={"w": torch.tensor(2.0, dtype=F64), "unused": torch.tensor(1.0, dtype=F64)},
        cells=(0, 0),
        epoch=49,
    )
    LambdaHook(0.25).backward(step, (torch.tensor([[0.3, 0.7]], dtype=F64),))
    assert step.objective.live["unused"].grad is None
    assert step.objective.live["w"].grad is not None


def test_parameters_stay_out_of_it(smooth_step, doubled) -> None:
    step = smooth_step(cells=(0, 0), epoch=49)
    alphas = tuple(alpha.requires_grad_() for alpha in doubled(step.relaxation))
    kept = [alpha.detach().clone() for alpha in alphas]
    report = LambdaHook(0.25).backward(step, alphas)
    assert all(alpha.grad is None for alpha in alphas)
    assert all(torch.equal(a, b) for a, b in zip(alphas, kept, strict=True))
    assert not report.loss.requires_grad
    assert not report.diagnostics["lambda_alignment"].requires_grad


def test_wrong_arguments(smooth_step, doubled) -> None:
    step = smooth_step("darts", cells=(0, 1, 0), epoch=49)
    with pytest.raises(ValueError, match=r"at least two cells of type 1, but the network has 1; give it more cells"):
        LambdaHook(0.25, cell_type=1).backward(step, doubled(step.relaxation))
    with pytest.raises(ValueError, match=r"strength must be finite and not negative, but got -1"):
        LambdaHook(-1)
    with pytest.raises(ValueError, match=r"form must be one of corr, signcorr, but got 'cos'"):
        LambdaHook(0.1, form="cos")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"epsilon must be positive and finite"):
        LambdaHook(0.1, epsilon=0)
    assert DARTS.cell_types[0].name == "normal"
