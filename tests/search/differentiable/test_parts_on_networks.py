"""Gradients and weight steps on tiny supernets in float64: right with real cells, BN statistics as agreed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from genas.search.differentiable.a2m import A2MGradient
from genas.search.differentiable.gradients import FirstOrder, Unrolled
from genas.search.differentiable.lambda_hook import LambdaHook, alignment
from genas.search.differentiable.neighborhood_gradient import NeighborhoodGradient
from genas.search.differentiable.neighbors import AdditiveNeighbors
from genas.search.differentiable.objective import NetworkObjective
from genas.search.differentiable.parts import Alphas, SearchStep
from genas.search.differentiable.regularizers import BetaDecay, Regularized
from genas.search.differentiable.relaxation import SkipSchedule, Softmax
from genas.search.differentiable.vectors import norm
from genas.search.differentiable.weight_steps import AdversarialSmoothing, Plain, RandomSmoothing
from genas.spaces import space
from genas.supernet import CellNetwork
from genas.supernet.mixtures import MixtureOptions

Setting = tuple[CellNetwork, SearchStep, Alphas]

VARIANTS: dict[str, dict[str, Any]] = {
    "nasbench201": {},
    "s3": {},
    "s3 with partial channels": {"edge_normalization": True, "options": MixtureOptions(partial_channels=2)},
    "nasbench201 with skips": {"skip_schedule": SkipSchedule(), "options": MixtureOptions(auxiliary_skip=True)},
}


@pytest.fixture(params=list(VARIANTS))
def setting(request: pytest.FixtureRequest, doubled: Callable[..., Alphas]) -> Setting:
    variant = dict(VARIANTS[request.param])
    found = space(request.param.split()[0])
    options = variant.pop("options", MixtureOptions())
    skeleton = found.supernet_skeleton(4, 8, channels=4, cells=1 if found.name == "nasbench201" else 3)
    network = CellNetwork.initialised(found, skeleton, 1, options).double()
    draws = torch.Generator().manual_seed(2)
    batches = [
        (torch.randn(4, 3, 8, 8, generator=draws, dtype=torch.float64), torch.arange(4).roll(k)) for k in range(2)
    ]
    relaxation = Softmax(found, **variant)
    objective = NetworkObjective(network, *batches)
    step = SearchStep(
        objective,
        relaxation,
        epoch=10,
        epochs=50,
        number=3,
        seed=0,
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=3e-4,
        momentum_buffers={},
    )
    return network, step, doubled(relaxation, scale=200.0)


GRADIENTS: dict[str, Callable[[Any], Any]] = {
    "first order": lambda _: FirstOrder(),
    "unrolled": lambda _: Unrolled(mixed="exact"),
    "a2m": lambda _: A2MGradient(FirstOrder(), 0.5),
    "regularized": lambda _: Regularized(FirstOrder(), BetaDecay()),
    "na": lambda own: NeighborhoodGradient(FirstOrder(), AdditiveNeighbors(own, 3), count=3, aggregate="variance"),
}


@pytest.mark.parametrize("name", list(GRADIENTS))
def test_gradients_of_networks(setting, check_slope, bitwise, name) -> None:
    network, step, alphas = setting
    method = GRADIENTS[name](step.relaxation.space)
    before = [tensor.clone() for tensor in network.state_dict().values()]
    found = method.estimate(step, alphas)
    bitwise(network.state_dict().values(), before)
    assert all(weight.grad is None for weight in network.parameters())
    check_slope(
        found.gradient, lambda point: method.value(step, point), alphas, 1e-6, radius=1e-7
    )  # kinks of ReLUs are near
    bitwise(network.state_dict().values(), before)
    assert all(float(part.abs().max()) > 1e-6 for part in found.gradient)


def test_differences_in_place_of_exact_curvature(setting, close) -> None:
    _, step, alphas = setting
    exact = A2MGradient(FirstOrder(), 0.5).gradient(step, alphas)
    for curvature in ("central_fd", "relative_fd", "forward_fd"):
        close(A2MGradient(FirstOrder(), 0.5, curvature=curvature, epsilon=1e-6).gradient(step, alphas), exact, 1e-5)


def test_the_alignment_of_cells_of_networks(setting, close) -> None:
    """A short step in float64 is the derivative through two backward passes; the default one raises the alignment."""
    network, step, alphas = setting
    step = replace(step, epoch=49)
    kinds, weights = step.objective.cell_types, step.objective.weights
    cells = [cell for cell, kind in enumerate(kinds) if kind == 0]
    if len(cells) < 2:
        pytest.skip("one normal cell agrees with itself")

    def aligned() -> torch.Tensor:
        mixtures = [replace(each, operations=each.operations.detach()) for each in step.cell_mixtures(alphas)]
        points = [mixtures[cell].operations.requires_grad_() for cell in cells]
        loss = step.objective.training_loss(mixtures)
        return alignment(torch.autograd.grad(loss, points, create_graph=True))

    def term(epsilon: float) -> list[torch.Tensor]:
        found = []
        for hook in (Plain(), LambdaHook(0.25, epsilon=epsilon)):
            network.zero_grad()
            hook.backward(step, alphas)
            slopes = [weight.grad for weight in weights.values()]
            found.append(
                [torch.zeros_like(w) if g is None else g for w, g in zip(weights.values(), slopes, strict=True)]
            )
        return [there - own for own, there in zip(*found, strict=True)]

    before = aligned()
    uphill = torch.autograd.grad(before, list(weights.values()), materialize_grads=True)
    assert max(float(part.abs().max()) for part in uphill) > 1e-3
    close(term(1e-7), [-0.25 * part for part in uphill], 1e-4)
    found = term(LambdaHook.epsilon)
    with torch.no_grad():
        for weight, part in zip(weights.values(), found, strict=True):
            weight.sub_(0.01 / norm(found) * part)
    assert float((aligned() - before).detach()) > 0.01


def test_weight_steps_move_running_statistics_once(setting, bitwise) -> None:
    network, step, alphas = setting
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    buffers = [name for name, _ in network.named_buffers()]
    counts = [name for name in buffers if name.endswith("num_batches_tracked")]
    after = {}
    several = step.objective.cell_types.count(0) > 1
    steps = [Plain(), RandomSmoothing(), AdversarialSmoothing(steps=2), *([LambdaHook(0.25)] if several else [])]
    for method in steps:
        network.load_state_dict(start)
        network.zero_grad()
        report = method.backward(step, alphas)
        assert torch.isfinite(report.loss)
        state = network.state_dict()
        assert all(int(state[name] - start[name]) == 1 for name in counts)
        bitwise(
            [state[name] for name in start if name not in buffers],
            [start[name] for name in start if name not in buffers],
        )
        after[type(method)] = [state[name].clone() for name in buffers]
        assert any(float(weight.grad.abs().max()) > 0 for weight in network.parameters() if weight.grad is not None)
    assert counts
    if several:
        bitwise(after[LambdaHook], after[Plain])
    assert not torch.equal(after[RandomSmoothing][-2], after[Plain][-2])
