"""The losses of a network: they change nothing, and are what a plain forward pass gives."""

from __future__ import annotations

import gc
import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from genas.search.differentiable.objective import Batch, NetworkObjective
from genas.spaces import space
from genas.supernet import CellNetwork
from genas.supernet.mixtures import Mixture


def _network(name: str = "nasbench201", *, dtype: torch.dtype = torch.float64) -> CellNetwork:
    search_space = space(name)
    cells = 1 if name == "nasbench201" else 3
    skeleton = search_space.supernet_skeleton(3, 8, channels=4, cells=cells)
    network = CellNetwork.initialised(search_space, skeleton, seed=0).to(dtype)
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network


def _batch(seed: int, dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 3, 8, 8, generator=generator, dtype=dtype), torch.tensor([0, 1, 2, seed % 3])


def _objective(network: CellNetwork, **options: object) -> NetworkObjective:
    dtype = next(network.parameters()).dtype
    return NetworkObjective(network, search_batch=_batch(0, dtype), training_batch=_batch(1, dtype), **options)  # type: ignore[arg-type]


def _alphas(network: CellNetwork) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    parts = network.space.split(network.space.candidates)
    shapes = [(len(rows), max(map(len, rows))) for rows in parts]
    return [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]


def _mixtures(objective: NetworkObjective, alphas: list[Tensor]) -> tuple[Mixture, ...]:
    return objective.spread([Mixture(rows.softmax(dim=1)) for rows in alphas])


def _state(network: CellNetwork) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("name", ["nasbench201", "s1", "s3"])
@pytest.mark.parametrize("training", [True, False])
def test_losses_are_those_of_a_plain_forward_pass_and_change_nothing(name, training) -> None:
    network = _network(name).train(training)
    objective, alphas = _objective(network), _alphas(network)
    mixtures, before, global_state = _mixtures(objective, alphas), _state(network), torch.get_rng_state()
    search, train = objective.search_loss(mixtures), objective.training_loss(mixtures)
    running = objective.training_loss(mixtures, statistics="running")
    torch.autograd.grad(search + train + running, alphas)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert all(module.training == training for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(global_state, torch.get_rng_state())
    for loss, (images, labels), mode in zip(
        (running, search, train), (_batch(1), _batch(0), _batch(1)), (False, True, True), strict=True
    ):
        expected = functional.cross_entropy(network.train(mode)(images, mixtures), labels)
        torch.testing.assert_close(loss, expected, rtol=0, atol=0)
    assert not torch.equal(train, running)


def test_recorded_statistics_move_once_as_in_a_training_pass() -> None:
    network, other = _network("s3"), _network("s3").train()
    objective, alphas = _objective(network.eval()), _alphas(network)
    mixtures = _mixtures(objective, alphas)
    recorded = objective.training_loss(mixtures, statistics="recorded")
    assert torch.equal(recorded, objective.training_loss(mixtures))
    other(_batch(1)[0], mixtures)
    expected, before = other.state_dict(), _network("s3").state_dict()
    assert all(torch.equal(expected[key], value) for key, value in network.state_dict().items())
    assert not all(torch.equal(value, before[key]) for key, value in expected.items())


@pytest.mark.parametrize("statistics", ["batch", "recorded", "running"])
def test_without_tracking_every_loss_uses_its_batch(statistics) -> None:
    network = _network()
    objective, tracking = _objective(network, track_statistics=False), _objective(network)
    mixtures, before = _mixtures(objective, _alphas(network)), _state(network)
    loss = objective.training_loss(mixtures, statistics=statistics)
    assert torch.equal(loss, tracking.training_loss(mixtures))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["nasbench201", "s2"])
def test_other_weights_take_the_place_of_the_live_ones(name) -> None:
    network = _network(name)
    objective, alphas = _objective(network), _alphas(network)
    mixtures = _mixtures(objective, alphas)
    moved = {key: (1.1 * value).detach().requires_grad_() for key, value in objective.weights.items()}
    loss = objective.search_loss(mixtures, moved)
    gradients = torch.autograd.grad(loss, [*moved.values(), *alphas], materialize_grads=True)
    live = _network(name)
    with torch.no_grad():
        for parameter in live.parameters():
            parameter.mul_(1.1)
    expected = _objective(live).search_loss(_mixtures(objective, alphas))
    torch.testing.assert_close(loss, expected, rtol=0, atol=0)
    slow = torch.autograd.grad(expected, [*live.parameters(), *alphas], materialize_grads=True)
    for left, right in zip(gradients, slow, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-14)
    assert set(objective.weights) == {key for key, _ in network.named_parameters()}


def test_detached_weights_give_the_same_gradient_of_the_mixtures() -> None:
    network = _network("s1")
    objective, alphas = _objective(network), _alphas(network)
    fixed = {key: value.detach() for key, value in objective.weights.items()}
    gradients = [
        torch.autograd.grad(objective.search_loss(_mixtures(objective, alphas), weights), alphas)
        for weights in (None, fixed)
    ]
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-14)


def test_noise_is_the_same_in_each_call_on_a_batch_and_another_with_another_seed() -> None:
    network = _network("s4")
    mixtures = _mixtures(_objective(network), _alphas(network))
    first, second = _objective(network, seed=1), _objective(network, seed=2)
    losses = [first.search_loss(mixtures), first.training_loss(mixtures), first.search_loss(mixtures)]
    assert torch.equal(losses[0], losses[2])
    assert not torch.equal(losses[0], second.search_loss(mixtures))
    twice = NetworkObjective(network, search_batch=_batch(0), training_batch=_batch(0))
    assert not torch.equal(twice.search_loss(mixtures), twice.training_loss(mixtures)), "streams of their own"


def test_logits_and_label_smoothing() -> None:
    network = _network()
    objective = _objective(network, label_smoothing=0.2)
    mixtures, before = _mixtures(objective, _alphas(network)), _state(network)
    with torch.no_grad():
        logits = objective.logits(_batch(0)[0], mixtures)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    log_probabilities = logits.log_softmax(dim=1)
    expected = -0.8 * log_probabilities[range(4), _batch(0)[1]].mean() - 0.2 * log_probabilities.mean()
    torch.testing.assert_close(objective.search_loss(mixtures), expected)


def test_nothing_is_kept_from_one_call_to_the_next() -> None:
    network = _network("s3")
    objective, alphas = _objective(network), _alphas(network)

    def alive() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    for _ in range(2):  # the second time what is made once is there
        before = alive()
        loss = objective.search_loss(_mixtures(objective, alphas))
        torch.autograd.grad(loss, alphas, create_graph=True)[0].sum().backward(inputs=alphas)
        del loss
        for rows in alphas:
            rows.grad = None
    assert alive() == before


def test_bfloat16_is_near_float32() -> None:
    network = _network(dtype=torch.float32)
    mixtures = _mixtures(_objective(network), _alphas(network))
    losses = [_objective(network, precision=dtype).search_loss(mixtures) for dtype in (torch.float32, torch.bfloat16)]
    assert losses[1].dtype == torch.float32
    torch.testing.assert_close(*losses, rtol=0.05, atol=0.0)
    assert not torch.equal(*losses)


def test_the_hessian_is_symmetric() -> None:
    network = _network()
    objective, (alphas,) = _objective(network), _alphas(network)
    loss = lambda rows: objective.search_loss(_mixtures(objective, [rows]))
    (gradient,) = torch.autograd.grad(loss(alphas), alphas, create_graph=True)
    directions = [torch.randn(6, 5, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in (0, 1)]
    products = [torch.autograd.grad(gradient, alphas, along, retain_graph=True)[0] for along in directions]
    left, right = ((product * along).sum() for product, along in zip(products, reversed(directions), strict=True))
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)
    step = 1e-5 * directions[0]
    sides = [torch.autograd.grad(loss(alphas + sign * step), alphas)[0] for sign in (1, -1)]
    torch.testing.assert_close(products[0], (sides[0] - sides[1]) / 2e-5, rtol=1e-4, atol=1e-8)


def test_every_cell_has_a_mixture_of_its_own_type() -> None:
    network = _network("s3")
    objective = _objective(network)
    by_type = [Mixture(torch.zeros(14, 3)), Mixture(torch.ones(14, 3))]
    spread = objective.spread(by_type)
    assert [by_type.index(mixture) for mixture in spread] == list(objective.cell_types) == [0, 1, 1]
    assert not any(first is second for first, second in itertools.combinations(by_type, 2))
