"""NA: neighbours of relaxed architectures and gradients of their losses' mean, maximum and deviation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from genas.search.differentiable.a2m import A2MGradient
from genas.search.differentiable.gradients import FirstOrder, Unrolled
from genas.search.differentiable.neighborhood_gradient import NeighborhoodGradient
from genas.search.differentiable.neighbors import AdditiveNeighbors, MultiplicativeNeighbors
from genas.search.differentiable.regularizers import BetaDecay, Regularized
from genas.search.differentiable.relaxation import SkipSchedule, Softmax
from genas.seeding import generator
from genas.spaces import DARTS, NASBench201
from genas.supernet.mixtures import Mixture

F64 = torch.float64


def mixtures(space, seed: int = 0) -> tuple[Mixture, ...]:
    draws = torch.Generator().manual_seed(seed)
    width = len(space.candidates[0])
    return tuple(
        Mixture(torch.randn(len(cell.edges), width, generator=draws, dtype=F64).mul(1.5).softmax(dim=1), None, 0.25)
        for cell in space.cell_types
    )


def changes(near: Sequence[Mixture], centre: Sequence[Mixture]) -> list[Tensor]:
    """For each cell type which rows are not the same bit for bit."""
    return [(a.operations != b.operations).any(dim=1) for a, b in zip(near, centre, strict=True)]


def distance(near: Sequence[Mixture], centre: Sequence[Mixture]) -> float:
    return sum(0.5 * float((a.operations - b.operations).abs().sum()) for a, b in zip(near, centre, strict=True))


# ----------------------------------------------------------------------------------------------------------- neighbours


@pytest.mark.parametrize("make", [AdditiveNeighbors, MultiplicativeNeighbors])
@pytest.mark.parametrize("scope", ["each", "joint", "normal_only"])
def test_neighbours_are_distributions_nearby(make, scope) -> None:
    space = DARTS("s3")
    centre = mixtures(space)
    neighbors = make(space, 6, scope=scope)
    seen = [torch.zeros(14, dtype=torch.bool), torch.zeros(14, dtype=torch.bool)]
    counts = set()
    for seed in range(20):
        near = neighbors.draw(centre, np.random.default_rng(seed))
        for mixture in near:
            assert float(mixture.operations.min()) >= 0
            torch.testing.assert_close(mixture.operations.sum(dim=1), torch.ones(14, dtype=F64), rtol=1e-14, atol=0)
            assert mixture.skip == 0.25
        changed = changes(near, centre)
        counts.add(tuple(int(flags.sum()) for flags in changed))
        seen = [a | b for a, b in zip(seen, changed, strict=True)]
        assert 0 < distance(near, centre) <= (12 if scope == "each" else 6)
    if scope == "each":
        assert counts == {(6, 6)}
        assert all(flags.all() for flags in seen)
    elif scope == "joint":
        assert {sum(pair) for pair in counts} == {6}
        assert len(counts) > 2
        assert all(flags.all() for flags in seen)
    else:
        assert counts == {(6, 0)}
        assert seen[0].all()


def test_additive_neighbours_by_their_formula() -> None:
    """(p + q) / sum(p + q) with q uniform between max(-eps, -p) and eps: undo the division, look at q."""
    space = NASBench201()
    p = torch.tensor([[0.02, 0.18, 0.3, 0.1, 0.4]] * 6, dtype=F64)
    neighbors = AdditiveNeighbors(space, 6, epsilon=0.1)
    rng = np.random.default_rng(0)
    ratios = torch.cat([neighbors.draw([Mixture(p)], rng)[0].operations for _ in range(500)])
    low, high = torch.clamp(p[0] - 0.1, min=0), p[0] + 0.1
    # Sums of p + q lie between those of the ends, so entries between these quotients; and they reach out nearly there.
    assert (ratios >= low / high.sum() - 1e-12).all()
    assert (ratios <= high / (high + low.sum() - low) + 1e-12).all()
    mean = (low + high) / 2
    torch.testing.assert_close(ratios.mean(dim=0), mean / mean.sum(), rtol=0, atol=0.005)
    # Ratios of two entries do not know the sum: the first over the last is uniform over uniform.
    quotient = ratios[:, 0] / ratios[:, 4]
    assert float(quotient.min()) < 0.01
    assert 0.3 < float(quotient.max()) <= 0.12 / 0.3
    expected = 0.06 * math.log(0.5 / 0.3) / 0.2
    assert float(quotient.mean()) == pytest.approx(expected, rel=0.05)


def test_multiplicative_neighbours_put_everything_on_none_or_skip() -> None:
    for space, columns in ((NASBench201(), {0, 1}), (DARTS(), {0, 3}), (DARTS("s3"), {0, 1})):
        centre = mixtures(space)
        drawn = set()
        for seed in range(10):
            near = MultiplicativeNeighbors(space, 3).draw(centre, np.random.default_rng(seed))
            for mixture, flags in zip(near, changes(near, centre), strict=True):
                rows = mixture.operations[flags]
                assert rows.shape[0] == 3
                assert set(rows.flatten().tolist()) == {0.0, 1.0}
                drawn |= set(rows.argmax(dim=1).tolist())
        assert drawn == columns


def test_skip_connect_is_found_among_the_candidates_of_every_edge() -> None:
    space = DARTS("s3")
    object.__setattr__(space, "candidates", ((0, 3, 4),) * 14 + ((0, 2, 3),) * 14)
    near = MultiplicativeNeighbors(space, 14).draw(mixtures(space), np.random.default_rng(0))
    assert [set(mixture.operations.argmax(dim=1).tolist()) for mixture in near] == [{0, 1}, {0, 2}]


@pytest.mark.parametrize("name", ["darts7", "s1", "s2", "s4"])
def test_multiplicative_neighbours_need_none_and_skip(name) -> None:
    with pytest.raises(
        ValueError, match=rf"need none and skip_connect .* but {name} has edges without; choose additive"
    ):
        MultiplicativeNeighbors(DARTS(name), 2)
    AdditiveNeighbors(DARTS(name), 2)


def test_radius_one_around_a_vertex_of_nasbench201() -> None:
    """At d = 1 and one-hot weights, multiplicative neighbours are discrete ones: 6 edges x 2 operations, or itself."""
    space = NASBench201()
    centre = [Mixture(torch.nn.functional.one_hot(torch.full((6,), 3), 5).double())]
    found = set()
    for seed in range(200):
        near = MultiplicativeNeighbors(space, 1).draw(centre, np.random.default_rng(seed))
        found.add(tuple(near[0].operations.argmax(dim=1).tolist()))
        assert distance(near, centre) == 1
    assert len(found) == 12
    root = (3,) * 6
    assert found < set(space.neighbors(root, 1))
    assert len({root, *space.neighbors(root, 1)}) == 25


def test_draws_do_not_depend_on_the_mixtures() -> None:
    for neighbors in (AdditiveNeighbors(DARTS("s3"), 4), MultiplicativeNeighbors(DARTS("s3"), 4)):
        one, two = mixtures(DARTS("s3"), 0), mixtures(DARTS("s3"), 1)
        first = changes(neighbors.draw(one, np.random.default_rng(5)), one)
        second = changes(neighbors.draw(two, np.random.default_rng(5)), two)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_wrong_neighbours() -> None:
    for space, distance_, most, scope in (
        (NASBench201(), 7, 6, "each"),
        (NASBench201(), -1, 6, "each"),
        (DARTS(), 29, 28, "joint"),
    ):
        with pytest.raises(ValueError, match=rf"distance must lie between 0 and {most}, the number of edges, but got"):
            AdditiveNeighbors(space, distance_, scope=scope)
    AdditiveNeighbors(DARTS(), 28, scope="joint")
    with pytest.raises(ValueError, match=r"joint needs several cell types, but nasbench201 has only \w+; choose each"):
        AdditiveNeighbors(NASBench201(), 2, scope="joint")
    with pytest.raises(ValueError, match=r"needs a cell type named normal, but nasbench201 has \w+; choose each"):
        AdditiveNeighbors(NASBench201(), 2, scope="normal_only")
    with pytest.raises(ValueError, match=r"scope must be one of each, joint, normal_only, but got 'both'"):
        AdditiveNeighbors(NASBench201(), 2, scope="both")
    for epsilon in (-0.1, math.inf):
        with pytest.raises(ValueError, match=r"epsilon must be finite and not negative"):
            AdditiveNeighbors(NASBench201(), 2, epsilon=epsilon)


# ------------------------------------------------------------------------------------------------------------ gradients


def neighborhood(space, inner=None, **options) -> NeighborhoodGradient:
    distance_, epsilon = options.pop("distance", 3), options.pop("epsilon", 0.1)
    return NeighborhoodGradient(inner or FirstOrder(), AdditiveNeighbors(space, distance_, epsilon=epsilon), **options)


@pytest.mark.parametrize("aggregate", ["mean", "max", "variance"])
def test_alone_it_is_the_gradient_inside_bit_for_bit(smooth_step, doubled, bitwise, aggregate) -> None:
    step = smooth_step("darts")
    alphas = doubled(step.relaxation)
    method = neighborhood(DARTS(), count=1, aggregate=aggregate)
    expected, found = FirstOrder().estimate(step, alphas), method.estimate(step, alphas)
    bitwise((*found.gradient, found.value), (*expected.gradient, expected.value))
    bitwise(method.curvature_product(step, alphas, alphas), FirstOrder().curvature_product(step, alphas, alphas))
    neighborhood(DARTS(), count=3, aggregate=aggregate).estimate(step, alphas)


@pytest.mark.parametrize("options", [{"distance": 0}, {"epsilon": 0.0}, {"epsilon": 1e-9}])
@pytest.mark.parametrize("aggregate", ["mean", "max", "variance"])
def test_neighbours_that_do_not_move_change_nothing(smooth_step, doubled, close, aggregate, options) -> None:
    step = smooth_step()
    alphas = doubled(step.relaxation)
    method = neighborhood(NASBench201(), aggregate=aggregate, **options)
    close(method.gradient(step, alphas), FirstOrder().gradient(step, alphas), 1e-6)


def recorded_neighbors(step) -> list[list[Tensor]]:
    """The operation weights of every call of the search loss so far."""
    return [[mixture.operations.detach() for mixture in found] for _, found, _ in step.objective.searches]


def by_the_papers_rule(step, index: int, p: list[Tensor], distance_: int) -> tuple[list[Tensor], list[Tensor]]:
    """A neighbour drawn again from its stream, differentiable in p, and S = sum(p + q) of every row; epsilon 0.1."""
    if index == 0:
        return p, [torch.ones_like(own[:, :1]) for own in p]
    rng = generator(step.seed, "neighbors", step.number, index)
    starts = np.cumsum([0, *(len(own) for own in p)])
    chosen = [rng.permutation(np.arange(*starts[k : k + 2]))[:distance_] - starts[k] for k in range(len(p))]
    near, sums = [], []
    for own, edges in zip(p, chosen, strict=True):
        values = own.detach().numpy()
        low = np.maximum(-0.1, -values)
        q = np.zeros_like(values)
        q[edges] = (low + (0.1 - low) * rng.random(values.shape))[edges]
        total = (own + torch.from_numpy(q)).sum(dim=1, keepdim=True)
        near.append((own + torch.from_numpy(q)) / total)
        sums.append(total.detach())
    return near, sums


def test_the_mean_of_ten_gradients(smooth_step, doubled, close) -> None:
    """The reference and nine neighbours, each with the Jacobian written out: J_softmax' grad(p') / S."""
    step = smooth_step("s3", number=4)
    alphas = doubled(step.relaxation, scale=2000.0)
    found = neighborhood(DARTS("s3"), distance=6).estimate(step, alphas)
    assert len(step.objective.searches) == 10
    p = [alpha.softmax(dim=1) for alpha in alphas]
    assert min(float(own.min()) for own in p) < 0.05  # q is cut off at -p somewhere
    total, losses = [torch.zeros_like(alpha) for alpha in alphas], []
    for index, seen in enumerate(recorded_neighbors(step)):
        near, sums = by_the_papers_rule(step, index, p, 6)
        close(seen, near, 1e-14)
        leaves = [part.clone().requires_grad_() for part in near]
        loss = step.objective.search(leaves, dict(step.objective.weights))
        losses.append(float(loss.detach()))
        slopes = torch.autograd.grad(loss, leaves)
        for position, own in enumerate(p):
            tangent = own * (slopes[position] - (own * slopes[position]).sum(dim=1, keepdim=True))
            total[position] += tangent / sums[position] / 10
    close(found.gradient, total, 1e-12)
    assert len(set(losses)) == 10
    assert float(found.value) == pytest.approx(np.mean(losses), rel=1e-13)
    assert float(found.diagnostics["neighborhood"]) == float(found.value)
    assert float(found.diagnostics["search_loss"]) == pytest.approx(losses[0], rel=1e-14)


@pytest.mark.parametrize("aggregate", ["mean", "max", "variance"])
def test_aggregates_against_autograd_with_all_graphs_kept(smooth_step, doubled, close, aggregate) -> None:
    step = smooth_step("darts7", number=2)
    alphas = tuple(alpha.requires_grad_() for alpha in doubled(step.relaxation))
    p = [alpha.softmax(dim=1) for alpha in alphas]
    losses = torch.stack(
        [
            step.objective.search(by_the_papers_rule(step, index, p, 3)[0], dict(step.objective.weights))
            for index in range(10)
        ]
    )
    mean = losses.sum() / 10
    total = {
        "mean": mean,
        "max": losses[losses.argmax()],
        "variance": losses[0] + 0.5 * ((losses - mean).square().sum() / 10).sqrt(),
    }[aggregate]
    found = neighborhood(DARTS("darts7"), aggregate=aggregate, deviation_weight=0.5).estimate(step, alphas)
    close((*found.gradient, found.value), (*torch.autograd.grad(total, alphas), total.detach()), 1e-10)


@pytest.mark.parametrize("aggregate", ["mean", "max", "variance"])
@pytest.mark.parametrize("edges", [False, True])
def test_it_is_the_gradient_of_the_aggregate(smooth_step, doubled, check_slope, aggregate, edges) -> None:
    relaxation = Softmax(DARTS("s3"), edge_normalization=edges)
    step = smooth_step(relaxation=relaxation)
    alphas = doubled(relaxation, scale=100.0)  # all weights beyond epsilon, so that draws do not depend on them
    assert min(float(alpha.softmax(dim=1).min()) for alpha in alphas[:2]) > 0.11
    method = neighborhood(DARTS("s3"), count=4, aggregate=aggregate, deviation_weight=1.7)
    found = method.estimate(step, alphas)
    assert float(found.value) == pytest.approx(float(method.value(step, alphas)), rel=1e-14)
    check_slope(found.gradient, lambda point: method.value(step, point), alphas, 1e-7)
    assert not any(part.requires_grad for part in (*found.gradient, found.value))


@pytest.mark.parametrize("aggregate", ["mean", "max", "variance"])
def test_its_exact_curvature(smooth_step, doubled, close, aggregate) -> None:
    step = smooth_step()
    alphas, direction = doubled(step.relaxation, scale=80.0), doubled(step.relaxation, seed=4)
    assert float(alphas[0].softmax(dim=1).min()) > 0.11
    method = neighborhood(NASBench201(), count=4, aggregate=aggregate, deviation_weight=2.0)
    ends = [method.gradient(step, (alphas[0] + sign * 1e-5 * direction[0],)) for sign in (1, -1)]
    expected = (ends[0][0] - ends[1][0]) / 2e-5
    close(method.curvature_product(step, alphas, direction), (expected,), 1e-7)
    assert float(expected.abs().max()) > 1e-2
    estimate, product = method.linearize(step, alphas)
    close(estimate.gradient, method.gradient(step, alphas))
    close(product(direction), product(direction))


def test_the_maximum_differentiates_the_worst_neighbour_only(smooth_step, doubled, close) -> None:
    step = smooth_step()
    alphas = doubled(step.relaxation)
    found = neighborhood(NASBench201(), aggregate="max").estimate(step, alphas)
    graphs = [enabled for enabled, _, _ in step.objective.searches]
    assert graphs == [False] * 10 + [True]
    points = recorded_neighbors(step)
    losses = [float(step.objective.search(point, dict(step.objective.weights)).detach()) for point in points]
    assert losses[10] == max(losses[:10]) == float(found.value)
    assert losses[10] > losses[0] == float(found.diagnostics["search_loss"])


def test_the_log_of_a_maximum_means_the_same_whichever_loss_is_the_worst(smooth_step, doubled) -> None:
    inner, own_is_worst = Regularized(FirstOrder(), BetaDecay()), set()
    for number in range(12):
        step = smooth_step(number=number)
        alphas = doubled(step.relaxation)
        found = neighborhood(NASBench201(), inner, count=2, aggregate="max").estimate(step, alphas)
        assert found.diagnostics.keys() == {"search_loss", "neighborhood"}
        assert float(found.diagnostics["search_loss"]) == float(inner.value(step, alphas))
        own_is_worst.add(float(found.value) == float(inner.value(step, alphas)))
    assert own_is_worst == {True, False}


def test_multiplicative_neighbours_teach_unchanged_edges_only(smooth_step, doubled) -> None:
    step = smooth_step()
    alphas = doubled(step.relaxation)
    method = NeighborhoodGradient(FirstOrder(), MultiplicativeNeighbors(NASBench201(), 2), count=2, aggregate="mean")
    own = FirstOrder().gradient(step, alphas)[0]
    both = method.gradient(step, alphas)[0]
    from_neighbor = 2 * both - own
    point = recorded_neighbors(step)[-1][0]
    changed = (point != alphas[0].softmax(dim=1)).any(dim=1)
    assert int(changed.sum()) == 2
    assert float(from_neighbor[changed].abs().max()) < 1e-15
    assert float(from_neighbor[~changed].abs().min(dim=0).values.max()) > 1e-4
    assert set(point[changed].flatten().tolist()) == {0.0, 1.0}


def test_a_linear_loss_is_nearly_left_alone(make_step, close) -> None:
    """The mean over noise that is symmetric about zero: E[1/S] is 1 but for terms of the second order in q."""
    softmax = Softmax(NASBench201())
    costs = torch.randn(6, 5, dtype=F64, generator=torch.Generator().manual_seed(0))
    alphas = (torch.zeros(6, 5, dtype=F64),)
    step = make_step(lambda p, _: (costs * p[0]).sum(), relaxation=softmax)
    found = neighborhood(NASBench201(), distance=6, epsilon=0.05, count=400).gradient(step, alphas)
    plain = FirstOrder().gradient(step, alphas)
    close(found, plain, 3e-3)
    assert not torch.equal(found[0], plain[0])


def test_the_same_step_draws_the_same_neighbours_and_another_step_others(smooth_step, doubled, bitwise) -> None:
    method = neighborhood(NASBench201(), count=3)
    alphas = doubled(smooth_step().relaxation)
    first = method.gradient(smooth_step(number=1), alphas)
    bitwise(first, method.gradient(smooth_step(number=1), alphas))
    for other in (smooth_step(number=2), smooth_step(number=1, seed=1)):
        assert not torch.equal(first[0], method.gradient(other, alphas)[0])


def test_neighbours_keep_edges_and_skips(smooth_step, doubled) -> None:
    relaxation = Softmax(DARTS(), edge_normalization=True, skip_schedule=SkipSchedule())
    step = smooth_step(relaxation=relaxation, epoch=10)
    alphas = doubled(relaxation)
    neighborhood(DARTS()).estimate(step, alphas)
    reference = relaxation.mixtures(alphas, 0.2)
    for _, found, _ in step.objective.searches:
        for mixture, own in zip(found, reference, strict=True):
            assert mixture.skip == 0.8
            assert torch.equal(mixture.edges, own.edges)


# ---------------------------------------------------------------------------------------------------------- composition


def test_around_and_inside_other_gradients(smooth_step, doubled, check_slope) -> None:
    step = smooth_step(learning_rate=0.2, epoch=3)
    alphas = doubled(step.relaxation, scale=80.0)
    assert float(alphas[0].softmax(dim=1).min()) > 0.11
    space = NASBench201()
    composed = [
        neighborhood(space, Unrolled(mixed="exact"), count=3),
        neighborhood(space, A2MGradient(FirstOrder(), 0.3), count=3, aggregate="variance"),
        neighborhood(space, Regularized(FirstOrder(), BetaDecay()), count=3),
        A2MGradient(neighborhood(space, count=3), 0.3),
        A2MGradient(neighborhood(space, count=3, aggregate="variance"), 0.3),
        A2MGradient(neighborhood(space, count=3, aggregate="max"), 0.3),
        Regularized(A2MGradient(neighborhood(space, count=2), 0.3), BetaDecay()),
    ]
    for method in composed:
        check_slope(method.gradient(step, alphas), lambda point, own=method: own.value(step, point), alphas, 1e-6)
    assert composed[0].unrolls_weights
    assert not composed[1].unrolls_weights


def test_wrong_arguments() -> None:
    for options, message in (
        ({"count": 0}, r"count must be at least 1, the architecture itself, but got 0"),
        ({"aggregate": "median"}, r"aggregate must be one of mean, max, variance, but got 'median'"),
        ({"deviation_weight": -1.0}, r"deviation_weight must be finite and not negative, but got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            neighborhood(NASBench201(), **options)
