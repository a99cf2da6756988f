"""The direction of largest curvature against dense Hessians, and as noise."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from genas.metrics import Context, Flatness, HessianLevel, Loss, Noise, NoisyLosses, ScoringSettings, top_curvature
from genas.supernet import Calibration

ONES = (0, 2, 0, 2, 0, 2)
"""1x1 convolutions only: few parameters inside the cells."""


def quadratic(matrix: np.ndarray, slope: np.ndarray, start: np.ndarray | None = None, tolerance: float = 1e-10):
    """Top curvature of x'Ax / 2 + b'x, in two parameters and one that is not used."""
    curvature, linear = torch.from_numpy(matrix), torch.from_numpy(slope)

    def loss(parameters):
        x = torch.cat([parameters["a"].flatten(), parameters["b"]])
        return x @ curvature @ x / 2 + linear @ x

    x = torch.from_numpy(np.zeros(len(slope)) if start is None else start)
    parameters = {"a": x[:4].view(2, 2), "unused": torch.ones(3, dtype=torch.float64), "b": x[4:]}
    return top_curvature(loss, parameters, np.random.default_rng(0), tolerance=tolerance)


def joined(direction: dict[str, Tensor]) -> np.ndarray:
    return np.concatenate([each.numpy().ravel() for each in direction.values()])


@pytest.fixture
def symmetric() -> np.ndarray:
    """Eigenvalues -9, -1, 0, 1, 2, 3, 5."""
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((7, 7)))[0]
    return np.asarray(rotation @ np.diag([-9.0, -1, 0, 1, 2, 3, 5]) @ rotation.T)


def test_the_most_positive_eigenvalue_of_a_quadratic(symmetric) -> None:
    eigenvalue, direction = quadratic(symmetric, np.zeros(7))
    expected = np.linalg.eigh(symmetric)[1][:, -1]
    assert eigenvalue == pytest.approx(5, rel=1e-9)
    assert list(direction) == ["a", "b"]
    assert direction["a"].shape == (2, 2)
    assert abs(joined(direction) @ expected) == pytest.approx(1, rel=1e-9)


def test_the_sign_is_uphill(symmetric) -> None:
    slope = np.random.default_rng(2).standard_normal(7)
    up, down = (joined(quadratic(symmetric, sign * slope).direction) for sign in (1, -1))
    assert up @ slope > 0 > down @ slope
    np.testing.assert_allclose(up, -down, atol=1e-8)
    flat = joined(quadratic(symmetric, np.zeros(7)).direction)
    assert flat[np.abs(flat).argmax()] > 0, "without a slope the largest entry is positive"


def test_a_coarse_tolerance_bounds_the_residual(symmetric) -> None:
    eigenvalue, direction = quadratic(symmetric, np.zeros(7), tolerance=0.05)
    vector = joined(direction)
    assert np.linalg.norm(symmetric @ vector - eigenvalue * vector) <= 0.05 * eigenvalue * (1 + 1e-9)


def test_degenerate_losses() -> None:
    eigenvalue, direction = quadratic(np.zeros((7, 7)), np.ones(7))
    assert eigenvalue == 0.0
    assert np.linalg.norm(joined(direction)) == pytest.approx(1)
    eigenvalue, direction = quadratic(np.full((7, 7), math.nan), np.ones(7))
    assert math.isnan(eigenvalue)
    assert np.isnan(joined(direction)).all()
    constant = torch.zeros((), requires_grad=True)
    eigenvalue, direction = top_curvature(lambda _: constant * 2, {"a": torch.ones(2)}, np.random.default_rng(0))
    assert math.isnan(eigenvalue)
    assert direction == {}


def test_a_hessian_that_is_not_finite_is_nan() -> None:
    """The slope of the 3/2th power is 0 at 0, its curvature infinite."""
    eigenvalue, direction = top_curvature(
        lambda point: (point["a"].abs() ** 1.5).sum(), {"a": torch.zeros(30)}, np.random.default_rng(0)
    )
    assert math.isnan(eigenvalue)
    assert np.isnan(joined(direction)).all()


def test_no_convergence_is_nan(symmetric, monkeypatch) -> None:
    monkeypatch.setattr("genas.metrics.hessian.MOST_PRODUCTS", 3)
    eigenvalue, direction = quadratic(symmetric, np.zeros(7))
    assert math.isnan(eigenvalue)
    assert np.isnan(joined(direction)).all()


# ------------------------------------------------------------------------------------------------------------- networks


def loss_and_parameters(context: Context, genes, scope: str):
    """The loss on all validation images as a function of the parameters in scope, as one vector."""
    subnet = copy.deepcopy(context.calibrated(genes))
    weights = dict(context.supernet.named_parameters())
    names = [name for name, _ in subnet.named_parameters() if scope == "all" or ".edges." in name]
    with torch.no_grad():
        for name, parameter in subnet.named_parameters():
            parameter.copy_(weights[name])
    shapes = [weights[name].shape for name in names]
    images = context.data.normalize(context.data.valid.images, weights[names[0]].dtype)

    def loss(vector: Tensor) -> Tensor:
        parts = vector.split([shape.numel() for shape in shapes])
        changed = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return functional.cross_entropy(functional_call(subnet, changed, (images,)), context.data.valid.labels)

    return loss, torch.cat([weights[name].detach().flatten() for name in names]), names


def test_the_direction_is_the_top_eigenvector_of_the_dense_hessian(context, monkeypatch) -> None:
    monkeypatch.setitem(top_curvature.__kwdefaults__, "tolerance", 1e-8)
    loss, vector, names = loss_and_parameters(context, ONES, "cells")
    dense = torch.autograd.functional.hessian(loss, vector)
    values, vectors = np.linalg.eigh(dense.numpy())
    eigenvalue, direction = HessianLevel(0.1, "cells", 999, "gaussian").curvature(context, ONES)
    assert values[-1] > 1.01 * values[-2] > 0
    assert eigenvalue == pytest.approx(values[-1], rel=1e-7)
    assert list(direction) == names
    assert abs(joined(direction) @ vectors[:, -1]) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_hessian_times_direction_is_parallel_to_it(name, shared_trained, make_context, draw) -> None:
    """By differences of gradients; all operations are twice differentiable."""
    context = make_context(shared_trained(name))
    genes = (3, 4, 2, 4, 3, 1) if name == "nasbench201" else draw(context.space, 1)[0]
    loss, vector, _ = loss_and_parameters(context, genes, "all")

    def gradient(at: torch.Tensor) -> torch.Tensor:
        point = at.detach().requires_grad_()
        return torch.autograd.grad(loss(point), point)[0]

    eigenvalue, direction = HessianLevel(0.1, "all", 999, "gaussian").curvature(context, genes)
    found = torch.from_numpy(joined(direction))
    product = (gradient(vector + 1e-9 * found) - gradient(vector - 1e-9 * found)) / 2e-9
    assert float(found @ found) == pytest.approx(1)
    assert float(torch.linalg.norm(product - eigenvalue * found)) < 0.015 * eigenvalue
    assert float(gradient(vector) @ found) >= 0
    for seed in range(3):
        other = torch.randn(len(vector), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        other /= torch.linalg.norm(other)
        assert eigenvalue > float(other @ (gradient(vector + 1e-9 * other) - gradient(vector - 1e-9 * other))) / 2e-9


def test_float32_pooling_is_twice_differentiable(shared_trained, make_context) -> None:
    """On a CPU it runs as a depthwise convolution."""
    genes, trained = (4, 3, 0, 4, 4, 2), shared_trained()
    single = replace(trained, network=copy.deepcopy(trained.network).float(), precision=torch.float32)
    curvatures = [
        HessianLevel(0.1, "all", 999, "gaussian").curvature(make_context(each), genes) for each in (single, trained)
    ]
    assert curvatures[0].eigenvalue == pytest.approx(curvatures[1].eigenvalue, rel=1e-3)
    assert abs(joined(curvatures[0].direction) @ joined(curvatures[1].direction)) > 0.999


# ---------------------------------------------------------------------------------------------------------------- noise


@pytest.mark.parametrize("length", ["gaussian", "unit"])
@pytest.mark.parametrize("scope", ["all", "cells"])
def test_losses_are_those_along_the_direction(scope, length, context) -> None:
    loss, vector, names = loss_and_parameters(context, ONES, scope)
    level = HessianLevel(0.02, scope, 999, length)
    ((changed,), (found,)) = level.perturbed(context, ONES), context.evaluate(ONES, level)
    assert list(changed) == names
    weights = dict(context.supernet.named_parameters())
    moved = torch.cat([(changed[name] - weights[name].detach()).flatten() for name in names])
    expected = 0.02 * (math.sqrt(len(vector)) if length == "gaussian" else 1)
    assert float(torch.linalg.norm(moved)) == pytest.approx(expected)
    assert found.loss == pytest.approx(float(loss(vector + moved).detach()), rel=1e-9)


def test_all_levels_share_one_direction(context, monkeypatch) -> None:
    calls = []
    original = HessianLevel.curvature
    monkeypatch.setattr(HessianLevel, "curvature", lambda *given: (calls.append(given), original(*given))[1])
    metric = Flatness(Noise((1e-3, 2e-3, 3e-3), "hessian"))
    scores = metric.score(context, [ONES, (3,) * 6, ONES])
    assert len(calls) == 2
    assert np.isfinite(scores).all()
    first, second = (level.perturbed(context, ONES)[0] for level in metric.noise.levels[:2])
    for name, parameter in context.supernet.named_parameters():
        if name in first:
            torch.testing.assert_close(second[name] - parameter, 2 * (first[name] - parameter))


@pytest.mark.parametrize("scope", ["all", "cells"])
def test_what_was_evaluated_before_does_not_matter(scope, make_context) -> None:
    """The subnet keeps the weights of its last evaluation, which may have been noisy."""
    level = HessianLevel(0.01, scope, 999, "unit")
    fresh = level.curvature(make_context(), ONES)
    context = make_context()
    context.evaluate(ONES, Noise((0.5,)).levels[0])
    before = {name: parameter.clone() for name, parameter in context.supernet.named_parameters()}
    again = level.curvature(context, ONES)
    assert again.eigenvalue == fresh.eigenvalue
    assert all(torch.equal(again.direction[name], fresh.direction[name]) for name in fresh.direction)
    assert all(torch.equal(parameter, before[name]) for name, parameter in context.supernet.named_parameters())


def test_noise_operations_are_drawn_alike_for_every_hessian(shared_trained, make_context, genes_with_noise) -> None:
    """S4: the subnet keeps its generator as well as its weights."""
    level, trained = HessianLevel(0.01, "cells", 6, "unit"), shared_trained("s4")
    fresh = level.curvature(make_context(trained), genes_with_noise)
    context = make_context(trained)
    context.evaluate(genes_with_noise)
    again = level.curvature(context, genes_with_noise)
    assert again.eigenvalue == fresh.eigenvalue
    assert all(torch.equal(again.direction[name], fresh.direction[name]) for name in fresh.direction)


def test_dead_edges_and_disconnected_cells(context) -> None:
    live = HessianLevel(0.1, "cells", 999, "gaussian").curvature(context, (0, 0, 2, 2, 0, 0)).direction
    assert {name.split(".edges.")[1][0] for name in live} == {"3"}
    dead = (2, 0, 0, 0, 0, 0)
    losses = [
        context.evaluate(dead, HessianLevel(0.1, "cells", 999, "gaussian"))[0].loss,
        -Loss().score(context, [dead])[0],
    ]
    assert losses[0] == losses[1]
    assert context.evaluate(dead, HessianLevel(0.1, "all", 999, "gaussian"))[0].loss != losses[0]


def test_levels_of_other_images_do_not_share_their_direction(make_context) -> None:
    """In one context as in two: neither images nor directions are taken over."""
    levels = [HessianLevel(0.1, "all", images, "gaussian") for images in (6, 12)]
    together = make_context()
    shared = [together.evaluate((3, 1, 2, 4, 3, 2), level)[0].loss for level in levels]
    assert shared == [make_context().evaluate((3, 1, 2, 4, 3, 2), level)[0].loss for level in levels]
    assert shared[0] != shared[1]


def test_fewer_images_give_another_direction(make_context) -> None:
    settings = ScoringSettings(None, Calibration(images=40), batch_size=16)
    few, all_images = (
        HessianLevel(0.1, "all", count, "unit").curvature(make_context(settings=settings), ONES) for count in (12, 30)
    )
    assert few.eigenvalue != all_images.eigenvalue


def test_levels_and_keys(context) -> None:
    noise = Noise((0.1, 0.2), "hessian", "cells", hessian_images=32, hessian_length="gaussian")
    assert noise.levels == (HessianLevel(0.1, "cells", 32, "gaussian"), HessianLevel(0.2, "cells", 32, "gaussian"))
    assert noise.effective_stds == noise.stds
    assert Noise(kind="hessian").levels[0] == HessianLevel(2e-3, "all", 64, "unit")
    assert NoisyLosses(noise.levels[0]).columns == ("loss_0",)
    others = [Noise((0.1,)), Noise((0.1,), "hessian"), Noise((0.1,), "hessian", "cells"), noise]
    assert len({context.key(NoisyLosses(each.levels[0])) for each in others}) == len(others)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "hessian", "repeats": 2}, "Hessian direction is not drawn: repeats must be 1, but got 2"),
        ({"kind": "hessian", "hessian_images": 0}, "hessian_images must be at least 1, but got 0"),
        ({"hessian_images": 32}, "hessian_images is an option of hessian noise, but kind is 'independent'; leave"),
        ({"hessian_length": "gaussian"}, "hessian_length is an option of hessian noise, but kind is 'independent'"),
        ({"kind": "hesian"}, "Did you mean 'hessian'"),
        ({"kind": "hessian", "hessian_length": "units"}, "Did you mean 'unit'"),
    ],
)
def test_options_that_do_nothing_or_are_wrong_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        Noise(**options)
