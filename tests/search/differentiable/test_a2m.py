"""A²M against closed forms, its own definition, and the published variants."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from genas.search.differentiable.a2m import A2MGradient
from genas.search.differentiable.gradients import FirstOrder, Unrolled
from genas.search.differentiable.neighborhood_gradient import NeighborhoodGradient
from genas.search.differentiable.neighbors import AdditiveNeighbors
from genas.search.differentiable.parts import Alphas, ArchitectureGradient, Estimate, SearchStep
from genas.search.differentiable.regularizers import BetaDecay, LinearSchedule, Regularized
from genas.search.differentiable.relaxation import Softmax
from genas.search.differentiable.weight_steps import Plain
from genas.spaces import DARTS, NASBench201

F64 = torch.float64
MODES = ["exact", "central_fd", "relative_fd", "forward_fd"]


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=F64)


# --------------------------------------------------------------------------------------------------------- closed forms


@pytest.fixture
def quadratic(make_step):
    """L = a'Ha/2 with H = diag(2, 1/2), at a = (1, -2)."""
    hessian = torch.tensor([2.0, 0.5], dtype=F64)
    return make_step(lambda p, _: 0.5 * (hessian * p[0][0] ** 2).sum()), (row(1.0, -2.0),)


@pytest.mark.parametrize("centre", ["alpha", "alpha_tilde"])
@pytest.mark.parametrize("epsilon", [0.01, 3.0])
@pytest.mark.parametrize("curvature", MODES)
def test_quadratic(quadratic, curvature, epsilon, centre) -> None:
    """G = (I + rho H)^2 (Ha - b), whatever epsilon. Not (2.48, -1.0525), the formula of the authors' DARTS-PT."""
    method = A2MGradient(FirstOrder(), 0.1, curvature=curvature, epsilon=epsilon, centre=centre)
    torch.testing.assert_close(method.gradient(*quadratic)[0], row(2.88, -1.1025), rtol=1e-12, atol=0)


def test_quadratic_without_curvature(quadratic) -> None:
    method = A2MGradient(FirstOrder(), 0.1, curvature="none")
    torch.testing.assert_close(method.gradient(*quadratic)[0], row(2.4, -1.05), rtol=1e-14, atol=0)


def test_quadratic_with_a_linear_term_and_two_tensors(make_step, close) -> None:
    draws = torch.Generator().manual_seed(0)
    matrix, b, alpha = (torch.randn(*shape, generator=draws, dtype=F64) for shape in ((6, 6), (6,), (6,)))
    hessian = matrix + matrix.T
    step = make_step(
        lambda p, _: (lambda a: 0.5 * a @ hessian @ a - b @ a)(torch.cat([p[0][0], p[1][0]])), name="darts"
    )
    factor = torch.eye(6, dtype=F64) + 0.3 * hessian
    expected = factor @ factor @ (hessian @ alpha - b)
    for curvature in MODES:
        found = A2MGradient(FirstOrder(), 0.3, curvature=curvature).gradient(step, (alpha[None, :2], alpha[None, 2:]))
        close(found, (expected[None, :2], expected[None, 2:]), 1e-10)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"curvature": "exact"}, 0.454134),
        ({"curvature": "central_fd", "epsilon": 1e-5}, 0.454134),
        ({"curvature": "relative_fd", "epsilon": 1e-5}, 0.454134),
        ({"curvature": "exact", "centre": "alpha_tilde"}, 0.459978),
        ({"curvature": "central_fd", "centre": "alpha_tilde", "epsilon": 1e-5}, 0.459978),
    ],
)
def test_quartic_tells_the_centres_apart(make_step, options, expected) -> None:
    """L = a^4/4 at 0.7: the paper's equation (8) and the authors' code."""
    found = A2MGradient(FirstOrder(), 0.1, **options).gradient(
        make_step(lambda p, _: (p[0] ** 4).sum() / 4), (row(0.7),)
    )
    assert float(found[0]) == pytest.approx(expected, abs=6e-7)


def test_quartic_with_the_published_epsilon(make_step) -> None:
    """g~ + rho (3 a^2 g~ + eps^2 g~^3): the difference is not quite the derivative."""
    step = make_step(lambda p, _: (p[0] ** 4).sum() / 4)
    found = A2MGradient(FirstOrder(), 0.1, curvature="central_fd").gradient(step, (row(0.7),))
    above = (0.7 + 0.1 * 0.7**3) ** 3
    assert float(found[0]) == pytest.approx(above + 0.1 * (3 * 0.7**2 * above + 1e-4 * above**3), rel=1e-12)
    assert float(found[0]) == pytest.approx(0.4541346, abs=5e-8)
    relative = A2MGradient(FirstOrder(), 0.1, curvature="relative_fd").gradient(step, (row(0.7),))
    assert float(relative[0]) == pytest.approx(above + 0.1 * (3 * 0.7**2 * above + 1e-4 * above), rel=1e-12)
    for centre, point in (("alpha", 0.7), ("alpha_tilde", 0.7 + 0.1 * 0.7**3)):
        forward = A2MGradient(FirstOrder(), 0.1, curvature="forward_fd", centre=centre).gradient(step, (row(0.7),))
        slope = ((point + 0.01) ** 3 - point**3) / 0.01
        assert float(forward[0]) == pytest.approx(above + 0.1 * slope * above, rel=1e-11)


# ----------------------------------------------------------------------------------------------------------- properties


@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize("include", [False, True])
def test_it_is_the_gradient_of_the_loss_uphill(smooth_step, doubled, check_slope, close, edges, include) -> None:
    """The numeric derivative of a -> L(a + rho grad L(a)), with or without the edges' parameters in the step uphill."""
    relaxation = Softmax(DARTS("s3"), edge_normalization=edges)
    step = smooth_step(relaxation=relaxation)
    if edges:  # a loss that depends on the edges
        plain = step.objective.search_loss
        weights = torch.linspace(0.2, 1.5, 14, dtype=F64)

        def with_edges(mixtures, live=None):
            return plain(mixtures, live) * sum((mixture.edges**2 * weights).sum() for mixture in mixtures)

        step.objective.search_loss = with_edges
    alphas = doubled(relaxation)
    method = A2MGradient(FirstOrder(), 0.8, include_edge_logits=include)
    found = method.estimate(step, alphas)
    check_slope(found.gradient, lambda point: method.value(step, point), alphas, 1e-7)
    gradient = FirstOrder().gradient(step, alphas)
    if not include:
        gradient = (*gradient[:2], *(torch.zeros_like(part) for part in gradient[2:]))
    above = tuple(alpha + 0.8 * part for alpha, part in zip(alphas, gradient, strict=True))
    assert float(found.value) == pytest.approx(float(FirstOrder().value(step, above)), rel=1e-14)
    other = A2MGradient(FirstOrder(), 0.8, include_edge_logits=not include).gradient(step, alphas)
    differs = max(float((a - b).abs().max()) for a, b in zip(other, found.gradient, strict=True))
    assert differs > 1e-4 if edges else differs == 0
    for mode, tolerance in (("central_fd", 1e-4), ("relative_fd", 1e-4), ("forward_fd", 0.02)):
        close(
            A2MGradient(FirstOrder(), 0.8, curvature=mode, include_edge_logits=include).gradient(step, alphas),
            found.gradient,
            tolerance,
        )


def test_no_step_uphill_is_the_gradient_inside_bit_for_bit(smooth_step, doubled, bitwise) -> None:
    step = smooth_step("darts")
    alphas = doubled(step.relaxation)
    expected = FirstOrder().estimate(step, alphas)
    before = len(step.objective.searches)
    for mode in (*MODES, "none"):
        found = A2MGradient(FirstOrder(), 0.0, curvature=mode).estimate(step, alphas)
        bitwise((*found.gradient, found.value), (*expected.gradient, expected.value))
    bitwise([A2MGradient(FirstOrder(), 0.0).value(step, alphas)], [expected.value])
    assert len(step.objective.searches) == before + 6


@pytest.mark.parametrize("centre", ["alpha", "alpha_tilde"])
@pytest.mark.parametrize("mode", [*MODES, "none"])
def test_nothing_else_changes(smooth_step, doubled, bitwise, mode, centre) -> None:
    step = smooth_step()
    alphas = tuple(alpha.requires_grad_() for alpha in doubled(step.relaxation))
    kept = [tensor.detach().clone() for tensor in (*alphas, *step.objective.live.values())]
    method = A2MGradient(FirstOrder(), 0.1, curvature=mode, centre=centre)
    first, again = method.estimate(step, alphas), method.estimate(step, alphas)
    bitwise(first.gradient, again.gradient)
    bitwise((*alphas, *step.objective.live.values()), kept)
    assert all(tensor.grad is None for tensor in (*alphas, *step.objective.live.values()))
    assert not any(part.requires_grad for part in first.gradient)
    assert step.objective.statistics == []


@pytest.mark.parametrize("mode", [*MODES, "none"])
def test_softmax_rows_of_the_gradient(smooth_step, doubled, close, mode) -> None:
    """They sum to zero, and constants added to rows of the parameters change nothing."""
    step = smooth_step("darts")
    alphas = doubled(step.relaxation)
    method = A2MGradient(FirstOrder(), 0.5, curvature=mode)
    found = method.gradient(step, alphas)
    shifted = tuple(alpha + torch.arange(14.0, dtype=F64)[:, None] - 5 for alpha in alphas)
    close(method.gradient(step, shifted), found, 1e-9)
    for part in found:
        close([part.sum(dim=1)], [torch.zeros(14, dtype=F64)], 1e-10)
        assert float(part.abs().max()) > 1e-2


def test_rows_with_a_regularizer_inside(smooth_step, doubled) -> None:
    """With lambda times L_Beta inside, rows sum to the order of lambda / E; outside, exactly to that."""
    step = smooth_step(epoch=10)
    alphas = doubled(step.relaxation)
    decay = BetaDecay(LinearSchedule(slope=0.5))
    outside = Regularized(A2MGradient(FirstOrder(), 0.1), decay).gradient(step, alphas)[0].sum(dim=1)
    torch.testing.assert_close(outside, torch.full((6,), 5 / 6, dtype=F64), rtol=1e-9, atol=0)
    inside = A2MGradient(Regularized(FirstOrder(), decay), 0.1)
    sums = inside.gradient(step, alphas)[0].sum(dim=1)
    assert float((sums - 5 / 6).abs().max()) < 0.5
    assert not torch.allclose(
        inside.gradient(step, alphas)[0], Regularized(A2MGradient(FirstOrder(), 0.1), decay).gradient(step, alphas)[0]
    )


def test_a_regularizer_inside_takes_part_in_the_step_uphill(smooth_step, doubled, check_slope) -> None:
    step = smooth_step(epoch=10)
    alphas = doubled(step.relaxation)
    inside = A2MGradient(Regularized(FirstOrder(), BetaDecay(LinearSchedule(slope=0.5))), 0.3)
    check_slope(inside.gradient(step, alphas), lambda point: inside.value(step, point), alphas, 1e-7)


def test_the_weights_learn_as_without(smooth_step, doubled, bitwise) -> None:
    grads = []
    for method in (FirstOrder(), A2MGradient(FirstOrder(), 0.5)):
        step = smooth_step()
        alphas = doubled(step.relaxation)
        method.estimate(step, alphas)
        Plain().backward(step, alphas)
        grads.append([weight.grad for weight in step.objective.live.values()])
    bitwise(*grads)


def test_the_parameters_go_on_from_where_they_are(make_step) -> None:
    """Under a constant gradient n steps take them n steps away, as without A²M; the DARTS-PT fork stayed put."""
    for mode in MODES:
        alpha = row(1.0, -1.0)
        step = make_step(lambda p, _: (p[0] * row(2.0, -3.0)).sum())
        for _ in range(20):
            alpha -= 1e-3 * A2MGradient(FirstOrder(), 0.5, curvature=mode).gradient(step, (alpha,))[0]
        torch.testing.assert_close(alpha, row(1 - 20 * 2e-3, -1 + 20 * 3e-3), rtol=1e-12, atol=0)


def test_how_many_passes_it_takes(smooth_step, doubled) -> None:
    for mode, passes in (("exact", 2), ("central_fd", 4), ("relative_fd", 4), ("forward_fd", 3), ("none", 2)):
        step = smooth_step()
        A2MGradient(FirstOrder(), 0.1, curvature=mode).estimate(step, doubled(step.relaxation))
        assert len(step.objective.searches) == passes


# -------------------------------------------------------------------------------------------------------- for the log


def test_diagnostics(quadratic) -> None:
    found = A2MGradient(FirstOrder(), 0.1).estimate(*quadratic)
    difference = math.hypot(0.88, 0.1025)
    numbers = {name: float(number) for name, number in found.diagnostics.items()}
    assert numbers == pytest.approx(
        {
            "search_loss": 0.5 * (2 + 2),
            "a2m_relative_change": difference / math.sqrt(5),
            "a2m_cosine": (2 * 2.88 + 1.1025) / (math.sqrt(5) * math.hypot(2.88, 1.1025)),
            "a2m_step": 0.1 * math.sqrt(5),
            "alpha_std": 1.5,
        },
        rel=1e-12,
    )


@pytest.mark.parametrize("centre", ["alpha", "alpha_tilde"])
def test_the_distance_of_a_difference_is_logged_when_asked_for(make_step, centre) -> None:
    """Of a quartic the central difference of the gradient along v is 3 alpha^2 v + epsilon^2 v^3."""
    step, point = make_step(lambda p, _: p[0].pow(4).sum() / 4), (row(0.7),)
    found = A2MGradient(FirstOrder(), 0.1, curvature="central_fd", epsilon=0.1, centre=centre, compare_exact=True)
    uphill = 0.7 + 0.1 * 0.7**3
    where, slope = 0.7 if centre == "alpha" else uphill, uphill**3
    numbers = found.estimate(step, point).diagnostics
    assert float(numbers["a2m_difference_distance"]) == pytest.approx((0.1 * slope) ** 2 / (3 * where**2), rel=1e-9)
    plain = replace(found, compare_exact=False).estimate(step, point)
    assert "a2m_difference_distance" not in plain.diagnostics
    assert torch.equal(plain.gradient[0], found.gradient(step, point)[0])


@pytest.mark.parametrize("curvature", ["exact", "none"])
def test_without_a_difference_there_is_nothing_to_compare(curvature) -> None:
    with pytest.raises(ValueError, match="compare_exact needs a finite difference"):
        A2MGradient(FirstOrder(), 0.1, curvature=curvature, compare_exact=True)


def test_without_a_gradient_the_ratios_are_nan(make_step) -> None:
    step = make_step(lambda p, _: 0 * p[0].square().sum())
    for mode in (*MODES, "none"):
        found = A2MGradient(FirstOrder(), 0.1, curvature=mode).estimate(step, (row(1.0, 2.0),))
        assert found.gradient[0].tolist() == [[0, 0]]
        assert math.isnan(float(found.diagnostics["a2m_relative_change"]))
        assert math.isnan(float(found.diagnostics["a2m_cosine"]))
        assert float(found.diagnostics["a2m_step"]) == 0


# ------------------------------------------------------------------------------------------------- around a look-ahead


def test_unrolled_gradients_are_refused_unless_asked_for() -> None:
    neighborhood = NeighborhoodGradient(Unrolled(), AdditiveNeighbors(NASBench201(), 2))
    for inner in (Unrolled(), Regularized(Unrolled(), BetaDecay()), neighborhood):
        with pytest.raises(ValueError, match=r"first-order gradient, but got an unrolled one; set allow_unrolled"):
            A2MGradient(inner, 0.1, curvature="central_fd")
        with pytest.raises(ValueError, match=r"no exact curvature; choose central_fd, relative_fd, forward_fd or none"):
            A2MGradient(inner, 0.1, allow_unrolled=True)
        outer = A2MGradient(inner, 0.1, curvature="central_fd", allow_unrolled=True)
        assert outer.unrolls_weights
    assert not A2MGradient(FirstOrder(), 0.1).unrolls_weights


def test_around_a_look_ahead_there_is_no_exact_product_to_compare_with() -> None:
    with pytest.raises(ValueError, match="no exact curvature"):
        A2MGradient(Unrolled(), 0.1, curvature="central_fd", allow_unrolled=True, compare_exact=True)


def test_a_gradient_without_exact_curvature_is_refused_where_that_is_needed() -> None:
    class Own(ArchitectureGradient):
        def value(self, step: SearchStep, alphas: Alphas) -> torch.Tensor:
            return FirstOrder().value(step, alphas)

        def estimate(self, step: SearchStep, alphas: Alphas) -> Estimate:
            return FirstOrder().estimate(step, alphas)

    for inner in (Own(), Regularized(Own(), BetaDecay())):
        with pytest.raises(ValueError, match=f"{type(inner).__name__} has no exact curvature; choose central_fd"):
            A2MGradient(inner, 0.1)
        with pytest.raises(ValueError, match=f"{type(inner).__name__} has no exact curvature; .* leave compare_exact"):
            A2MGradient(inner, 0.1, curvature="central_fd", compare_exact=True)
        A2MGradient(inner, 0.1, curvature="central_fd")


def test_around_a_look_ahead_it_is_the_gradient_of_the_loss_uphill(smooth_step, doubled, check_slope) -> None:
    step = smooth_step(learning_rate=0.3)
    alphas = doubled(step.relaxation)
    method = A2MGradient(Unrolled(mixed="exact"), 0.2, curvature="relative_fd", epsilon=1e-4, allow_unrolled=True)
    check_slope(method.gradient(step, alphas), lambda point: method.value(step, point), alphas, 1e-6)


def test_wrong_arguments() -> None:
    for rho in (-0.1, math.inf, math.nan):
        with pytest.raises(ValueError, match="rho must be finite and not negative"):
            A2MGradient(FirstOrder(), rho)
    with pytest.raises(
        ValueError, match=r"curvature must be one of exact, central_fd, relative_fd, forward_fd, none, but got 'fd'"
    ):
        A2MGradient(FirstOrder(), 0.1, curvature="fd")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"centre must be one of alpha, alpha_tilde, but got 'w'"):
        A2MGradient(FirstOrder(), 0.1, centre="w")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"epsilon must be positive and finite, but got -1"):
        A2MGradient(FirstOrder(), 0.1, epsilon=-1)
