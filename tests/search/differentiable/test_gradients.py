"""First-order and unrolled gradients against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from genas.search.differentiable.gradients import FirstOrder, Unrolled
from genas.search.differentiable.relaxation import Softmax
from genas.search.differentiable.weight_steps import Plain
from genas.spaces import DARTS

F64 = torch.float64


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=F64)


# --------------------------------------------------------------------------------------------------------- first order


def test_first_order_gradient_of_three_parameters(make_step) -> None:
    """L = w sin(a) + a b^2 + c: the gradient is (w cos a + b^2, 2ab, 1)."""
    step = make_step(
        lambda p, w: w["w"] * p[0][0, 0].sin() + p[0][0, 0] * p[0][0, 1] ** 2 + p[0][0, 2],
        weights={"w": torch.tensor(1.5, dtype=F64)},
    )
    found = FirstOrder().estimate(step, (row(0.3, -2.0, 5.0),))
    expected = row(1.5 * math.cos(0.3) + 4, -1.2, 1)
    torch.testing.assert_close(found.gradient[0], expected, rtol=1e-14, atol=0)
    value = 1.5 * math.sin(0.3) + 1.2 + 5
    assert float(found.value) == pytest.approx(value, rel=1e-14)
    assert float(found.diagnostics["search_loss"]) == pytest.approx(value, rel=1e-14)
    assert float(FirstOrder().value(step, (row(0.3, -2.0, 5.0),))) == float(found.value)


def test_permuting_the_operations_permutes_the_gradient(make_step) -> None:
    """Bilinear loss of a softmax, dL/dalpha_k = p_k (c_k - <c, p>); costs that move along with the logits."""
    costs = torch.randn(6, 5, dtype=F64, generator=torch.Generator().manual_seed(0))
    logits = torch.randn(6, 5, dtype=F64, generator=torch.Generator().manual_seed(1))
    order = torch.tensor([3, 0, 4, 1, 2])

    def gradient(own_costs: torch.Tensor, own_logits: torch.Tensor) -> torch.Tensor:
        softmax = Softmax(make_step().relaxation.space)
        step = make_step(lambda p, _: (own_costs * p[0]).sum(), relaxation=softmax)
        return FirstOrder().gradient(step, (own_logits,))[0]

    found = gradient(costs, logits)
    p = logits.softmax(dim=1)
    torch.testing.assert_close(found, p * (costs - (costs * p).sum(dim=1, keepdim=True)))
    torch.testing.assert_close(gradient(costs[:, order], logits[:, order]), found[:, order], rtol=1e-13, atol=1e-15)


def test_first_order_works_out_no_gradient_of_weights(smooth_step, doubled) -> None:
    """The loss sees constants in the place of weights: neither gradients nor what they need are kept."""
    step = smooth_step()
    alphas = doubled(step.relaxation)
    FirstOrder().estimate(step, alphas)
    FirstOrder().linearize(step, alphas)[1](alphas)
    FirstOrder().value(step, alphas)
    assert len(step.objective.searches) == 3
    for _, _, weights in step.objective.searches:
        assert not any(weight.requires_grad for weight in weights.values())
        assert all(weights[name].data_ptr() == live.data_ptr() for name, live in step.objective.live.items())
    assert [enabled for enabled, _, _ in step.objective.searches] == [True, True, False]
    assert all(weight.grad is None for weight in step.objective.live.values())


def test_parameters_get_no_gradient_and_results_no_graph(smooth_step, doubled) -> None:
    step = smooth_step("darts")
    alphas = tuple(alpha.requires_grad_() for alpha in doubled(step.relaxation))
    for method in (FirstOrder(), Unrolled(), Unrolled(mixed="exact")):
        estimate = method.estimate(step, alphas)
        assert all(alpha.grad is None for alpha in alphas)
        assert not any(part.requires_grad for part in (*estimate.gradient, estimate.value))
        assert not any(number.requires_grad for number in estimate.diagnostics.values())
        assert not method.value(step, alphas).requires_grad
    estimate, product = FirstOrder().linearize(step, alphas)
    assert not any(part.requires_grad for part in (*estimate.gradient, *product(estimate.gradient)))


@pytest.mark.parametrize("edges", [False, True])
def test_the_curvature_product_is_the_derivative_of_the_gradient(
    smooth_step, doubled, check_slope, close, edges
) -> None:
    relaxation = Softmax(DARTS("s3"), edge_normalization=edges)
    step = smooth_step(relaxation=relaxation)
    alphas = doubled(relaxation)
    direction = doubled(relaxation, seed=9)
    product = FirstOrder().curvature_product(step, alphas, direction)
    ends = [
        FirstOrder().gradient(step, tuple(a + sign * 1e-5 * d for a, d in zip(alphas, direction, strict=True)))
        for sign in (1, -1)
    ]
    close(product, tuple((plus - minus) / 2e-5 for plus, minus in zip(*ends, strict=True)), 1e-8)
    assert max(float(part.abs().max()) for part in product) > 1e-2
    check_slope(FirstOrder().gradient(step, alphas), lambda point: FirstOrder().value(step, point), alphas, 1e-8)


def test_one_graph_gives_many_curvature_products(smooth_step, doubled, close) -> None:
    step = smooth_step()
    alphas = doubled(step.relaxation)
    _, product = FirstOrder().linearize(step, alphas)
    first, second = doubled(step.relaxation, seed=1), doubled(step.relaxation, seed=2)
    both = product((first[0] - 2 * second[0],))
    close((product(first)[0] - 2 * product(second)[0],), both)
    assert len(step.objective.searches) == 1


def test_a_linear_loss_has_no_curvature(make_step) -> None:
    step = make_step(lambda p, _: (3 * p[0]).sum())
    estimate, product = FirstOrder().linearize(step, (row(1.0, 2.0),))
    assert estimate.gradient[0].tolist() == [[3, 3]]
    assert product((row(1.0, 1.0),))[0].tolist() == [[0, 0]]


# ------------------------------------------------------------------------------------------------------------- toy A


def toy_a(make_step, w: float, learning_rate: float):
    """L_val = aw - 2a + 1 and L_train = w^2 - 2aw + a^2 (Fig. 2 of the DARTS paper)."""
    return make_step(
        lambda p, v: (p[0] * v["w"] - 2 * p[0] + 1).sum(),
        lambda p, v: (v["w"] ** 2 - 2 * p[0] * v["w"] + p[0] ** 2).sum(),
        {"w": torch.tensor(w, dtype=F64)},
        learning_rate=learning_rate,
    )


@pytest.mark.parametrize("options", [{"epsilon": 0.01}, {"epsilon": 30.0}, {"epsilon": 1e-6}, {"mixed": "exact"}])
@pytest.mark.parametrize(("xi", "expected"), [(0.0, -4.0), (0.5, 2.0)])
def test_toy_a_at_the_published_point(make_step, xi, expected, options) -> None:
    method = Unrolled(**options)
    found = method.gradient(toy_a(make_step, -2, xi), (row(2.0),))
    assert float(found[0]) == pytest.approx(expected, abs=1e-8)
    forced = Unrolled(xi, **options).gradient(toy_a(make_step, -2, 99.0), (row(2.0),))
    assert float(forced[0]) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("xi", "alpha", "w"), [(0.3, 1.7, -0.4), (0.9, -2.0, 3.0)])
def test_toy_a_in_closed_form(make_step, xi, alpha, w) -> None:
    found = Unrolled(xi).gradient(toy_a(make_step, w, 0.1), (row(alpha),))
    assert float(found[0]) == pytest.approx(w - 2 * xi * (w - alpha) - 2 + 2 * xi * alpha, rel=1e-10)


@pytest.mark.parametrize(("xi", "optimum"), [(0.0, 2.0), (0.5, 1.0)])
def test_toy_a_descends_to_the_true_optimum_only_with_the_look_ahead(make_step, xi, optimum) -> None:
    alpha, w = 2.0, -2.0
    for _ in range(200):
        gradient = Unrolled(xi).gradient(toy_a(make_step, w, 0.1), (row(alpha),))
        alpha -= 0.2 * float(gradient[0])
        w -= 0.2 * 2 * (w - alpha)
    assert (alpha, w) == pytest.approx((optimum, optimum), abs=1e-6)


# ------------------------------------------------------------------------------------------------------------- toy B


@pytest.fixture
def toy_b(make_step):
    """L_train = w'Aw/2 - w'Ba and L_val = |w - t|^2/2 + c'a + a'Ca/2; weights in two tensors, momentum, decay."""
    draws = torch.Generator().manual_seed(2)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draws, dtype=F64)

    a, b, c, t = draw(5, 5), draw(5, 3), draw(3), draw(5)
    curved, w, v, alpha = draw(3, 3), draw(5), draw(5), draw(3)
    a, curved = a @ a.T, curved + curved.T

    def joined(weights):
        return torch.cat([weights["first"], weights["second"]])

    step = make_step(
        lambda p, x: 0.5 * (joined(x) - t).square().sum() + c @ p[0][0] + 0.5 * p[0][0] @ curved @ p[0][0],
        lambda p, x: 0.5 * joined(x) @ a @ joined(x) - joined(x) @ b @ p[0][0],
        {"first": w[:2], "second": w[2:]},
        learning_rate=0.2,
        momentum=0.9,
        weight_decay=0.03,
        momentum_buffers={"first": v[:2].clone(), "second": v[2:].clone()},
    )

    def closed_form(buffer: torch.Tensor, xi: float) -> tuple[torch.Tensor, torch.Tensor]:
        ahead = w - xi * (0.9 * buffer + a @ w - b @ alpha + 0.03 * w)
        value = 0.5 * (ahead - t).square().sum() + c @ alpha + 0.5 * alpha @ curved @ alpha
        return (c + curved @ alpha + xi * b.T @ (ahead - t))[None], value

    return step, alpha[None], v, closed_form


@pytest.mark.parametrize("options", [{}, {"epsilon": 5.0}, {"mixed": "exact"}])
def test_toy_b_with_momentum_and_weight_decay(toy_b, options) -> None:
    step, alpha, v, closed_form = toy_b
    expected, value = closed_form(v, 0.2)
    estimate = Unrolled(**options).estimate(step, (alpha,))
    torch.testing.assert_close(estimate.gradient[0], expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(estimate.value, value, rtol=1e-13, atol=0)
    torch.testing.assert_close(Unrolled(**options).value(step, (alpha,)), value, rtol=1e-13, atol=0)
    if options.get("mixed") == "exact":
        torch.testing.assert_close(estimate.gradient[0], expected, rtol=1e-14, atol=2e-14)


def test_before_the_first_step_there_is_no_momentum(toy_b) -> None:
    step, alpha, v, closed_form = toy_b
    step = type(step)(**{**vars(step), "momentum_buffers": {}})
    expected, _ = closed_form(torch.zeros_like(v), 0.7)
    found = Unrolled(0.7, mixed="exact").gradient(step, (alpha,))
    torch.testing.assert_close(found[0], expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("mixed", ["central_fd", "exact"])
def test_unrolling_changes_nothing(toy_b, mixed, bitwise) -> None:
    step, alpha, _, _ = toy_b
    kept = [weight.detach().clone() for weight in (*step.objective.live.values(), *step.momentum_buffers.values())]
    before = torch.get_rng_state()
    alphas = (alpha.clone().requires_grad_(),)
    Unrolled(mixed=mixed).estimate(step, alphas)
    Unrolled(mixed=mixed).value(step, alphas)
    bitwise([*step.objective.live.values(), *step.momentum_buffers.values()], kept)
    assert all(weight.grad is None for weight in step.objective.live.values())
    assert alphas[0].grad is None
    assert torch.equal(alphas[0], alpha)
    assert torch.equal(before, torch.get_rng_state())
    assert set(step.objective.statistics) == {"batch"}


# ---------------------------------------------------------------------------------------------------------- in general


def test_no_step_ahead_is_first_order_bit_for_bit(smooth_step, doubled, bitwise) -> None:
    step = smooth_step("darts", learning_rate=0.0)
    alphas = doubled(step.relaxation)
    expected = FirstOrder().estimate(step, alphas)
    for method in (Unrolled(0.0), Unrolled(), Unrolled(0.0, mixed="exact")):
        found = method.estimate(step, alphas)
        bitwise((*found.gradient, found.value), (*expected.gradient, expected.value))
        bitwise([method.value(step, alphas)], [expected.value])
    assert step.objective.statistics == []


def test_the_unrolled_gradient_is_the_derivative_of_the_loss_ahead(smooth_step, doubled, check_slope, close) -> None:
    buffers = {"a": torch.ones(4, dtype=F64), "b": torch.full((4,), -0.3, dtype=F64)}
    step = smooth_step("s3", momentum=0.9, weight_decay=0.1, momentum_buffers=buffers, learning_rate=0.3)
    alphas = doubled(step.relaxation)
    exact = Unrolled(mixed="exact")
    expected = exact.gradient(step, alphas)
    check_slope(expected, lambda point: exact.value(step, point), alphas, 1e-8)
    close(Unrolled(epsilon=1e-3).gradient(step, alphas), expected, 1e-5)
    plain = FirstOrder().gradient(step, alphas)
    assert float((plain[0] - expected[0]).abs().max()) > 1e-3  # there is something to get wrong


def test_the_difference_has_the_length_of_the_papers_code(toy_b) -> None:
    """Weights on both sides are ``epsilon`` away: 0.01 over the norm of the gradient of all weights together."""
    step, alpha, _, _ = toy_b
    seen: list[torch.Tensor] = []
    formula = step.objective.training

    def watching(p, weights):
        seen.append(torch.cat([weights["first"], weights["second"]]).detach())
        return formula(p, weights)

    step.objective.training = watching
    Unrolled().gradient(step, (alpha,))
    live = torch.cat(list(step.objective.live.values())).detach()
    assert torch.equal(seen[0], live)
    torch.testing.assert_close(seen[1] + seen[2], 2 * live)
    assert float((seen[1] - live).norm()) == pytest.approx(0.01)


def test_weights_without_a_slope(make_step, bitwise) -> None:
    """Where the search loss does not depend on the weights, the look-ahead adds nothing."""
    step = make_step(
        lambda p, _: p[0].square().sum(),
        lambda p, w: (p[0] * w["w"]).sum() + (w["w"] - 1) ** 2,
        {"w": torch.tensor(3.0, dtype=F64), "unused": torch.ones(2, dtype=F64)},
    )
    for mixed in ("central_fd", "exact"):
        bitwise(Unrolled(mixed=mixed).gradient(step, (row(1.0, -2.0),)), (row(2.0, -4.0),))


def test_clipping_the_weights_does_not_see_the_parameters(smooth_step, doubled) -> None:
    step = smooth_step()
    alphas = tuple(alpha.requires_grad_() for alpha in doubled(step.relaxation))
    Plain().backward(step, alphas)
    assert all(alpha.grad is None for alpha in alphas)
    assert not {id(alpha) for alpha in alphas} & {id(weight) for weight in step.objective.weights.values()}
    total = nn.utils.clip_grad_norm_(step.objective.weights.values(), 1e9)
    own = torch.cat([weight.grad.flatten() for weight in step.objective.weights.values()]).norm()
    assert float(total) == pytest.approx(float(own))


def test_an_unrolled_gradient_says_what_it_is() -> None:
    assert Unrolled().unrolls_weights
    assert not FirstOrder().unrolls_weights


def test_wrong_arguments(make_step) -> None:
    with pytest.raises(ValueError, match=r"xi must be finite and not negative, but got -0.1"):
        Unrolled(-0.1)
    with pytest.raises(ValueError, match=r"xi must be finite and not negative, but got nan"):
        Unrolled(math.nan)
    with pytest.raises(ValueError, match=r"mixed must be one of central_fd, exact, but got 'forward'"):
        Unrolled(mixed="forward")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"epsilon must be positive and finite, but got 0"):
        Unrolled(epsilon=0)
    with pytest.raises(ValueError, match=r"Unrolled has no exact curvature; choose finite differences"):
        Unrolled().curvature_product(make_step(), (row(1.0),), (row(1.0),))
