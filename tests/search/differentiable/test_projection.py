"""DARTS-PT on oracle supernets, whose score is a known function of the operation weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from genas.errors import TrainingDiverged
from genas.search.differentiable.projection import ProjectedObjective, Projection, ProjectionSettings
from genas.spaces import SearchSpace, space
from genas.supernet import CellNetwork
from genas.supernet.mixing import Source
from genas.supernet.mixtures import Mixture, MixtureOptions

SPACES = ["nasbench201", "darts", "darts7", "s1", "s3", "s4"]


def shapes(found: SearchSpace) -> list[tuple[int, int]]:
    return [(len(part), len(part[0])) for part in found.split(found.candidates)]


def uniform(found: SearchSpace) -> list[Mixture]:
    return [Mixture(torch.full(shape, 1 / shape[1], dtype=torch.float64)) for shape in shapes(found)]


class Oracle:
    """Scores the sum of a number per operation times its weight, and keeps what it was asked."""

    def __init__(self, found: SearchSpace, seed: int) -> None:
        draws = torch.Generator().manual_seed(seed)
        self.values = [torch.rand(shape, generator=draws, dtype=torch.float64) for shape in shapes(found)]
        self.asked: list[Sequence[Mixture]] = []

    def __call__(self, mixtures: Sequence[Mixture]) -> tuple[float]:
        self.asked.append(mixtures)
        total = 0.0
        for value, mixture in zip(self.values, mixtures, strict=True):
            edges = torch.ones(len(value)) if mixture.edges is None else mixture.edges
            total += float((value * mixture.operations * edges[:, None]).sum())
        return (total,)


def projected(found: SearchSpace, oracle: Oracle, seed: int = 0) -> Projection:
    projection = Projection(found, seed)
    while projection.rounds_done < projection.rounds:
        projection.run_round(uniform(found), oracle)
    return projection


@pytest.mark.parametrize("name", SPACES)
def test_every_edge_gets_the_operation_that_the_oracle_values_most(name: str) -> None:
    """(a): in whatever order the edges are decided. ``none`` cannot be chosen where nodes keep two inputs."""
    found = space(name)
    for seed in range(3):
        oracle = Oracle(found, seed)
        values = torch.cat([part.clone() for part in oracle.values])
        if name in ("darts", "s3"):
            values[:, 0] = -1
        assert projected(found, oracle, seed).chosen == values.argmax(dim=1).tolist()


@pytest.mark.parametrize("name", ["darts7", "s2"])
def test_every_node_keeps_the_two_inputs_that_the_oracle_values_most(name: str) -> None:
    found, oracle = space(name), Oracle(space(name), 1)
    projection = projected(found, oracle)
    for genes, removed, values in zip(
        found.split(projection.architecture()), found.split(projection.removed), oracle.values, strict=True
    ):
        for first, last in ((0, 2), (2, 5), (5, 9), (9, 14)):
            kept = {edge for edge in range(first, last) if not removed[edge]}
            assert kept == {edge for edge in range(first, last) if genes[edge]}
            assert kept == set((first + torch.topk(values[first:last].amax(dim=1), 2).indices).tolist())


def test_equal_scores_are_told_apart_by_what_follows_them() -> None:
    """On few images many removals cost no image, and the first operation is ``none``."""
    found, oracle = space("nasbench201"), Oracle(space("nasbench201"), 3)
    projection = Projection(found, 0)
    while projection.rounds_done < projection.rounds:
        projection.run_round(uniform(found), lambda mixtures: (0.5, *oracle(mixtures)))
    assert projection.chosen == oracle.values[0].argmax(dim=1).tolist()


def test_a_removal_is_a_mask_and_the_other_weights_stay() -> None:
    """(b): the row of the edge that is looked at sums to less than one, the others are as they were."""
    found = space("nasbench201")
    projection, oracle = Projection(found, 0), Oracle(found, 0)
    mixture = Mixture(torch.softmax(torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).double(), dim=1))
    projection.run_round([mixture], oracle)
    (edge,) = [edge for edge, column in enumerate(projection.chosen) if column is not None]
    assert len(oracle.asked) == 5
    for column, (asked,) in enumerate(oracle.asked):
        expected = mixture.operations.clone()
        expected[edge, column] = 0
        assert torch.equal(asked.operations, expected)
        assert asked.edges is None


@pytest.mark.parametrize("name", SPACES)
def test_at_the_end_every_row_is_decided_and_every_node_has_two_inputs(name: str) -> None:
    """(c)."""
    found = space(name)
    projection = projected(found, Oracle(found, 2))
    final = projection.masked(uniform(found))
    architecture = found.check(projection.architecture())
    for mixture, genes, candidates in zip(final, found.split(architecture), found.split(found.candidates), strict=True):
        for edge, row in enumerate(mixture.operations):
            if genes[edge] or found.is_product:
                assert row.tolist() == [float(candidate == genes[edge]) for candidate in candidates[edge]]
            else:
                assert not row.any()
                assert mixture.edges is not None
                assert mixture.edges[edge] == 0
    recalled = Projection(found, 1)
    recalled.recall(architecture)
    assert recalled.architecture() == architecture
    for ours, theirs in zip(recalled.masked(uniform(found)), final, strict=True):
        assert torch.equal(ours.operations, theirs.operations)
        assert (ours.runs, ours.skip) == (theirs.runs, theirs.skip)


@pytest.mark.parametrize(
    ("name", "rounds", "evaluations", "tuned"),
    [
        ("nasbench201", 6, 30, (0, 5, 10, 15, 20, 24)),
        ("darts7", 17, 240, tuple(range(0, 81, 5))),
        ("s3", 17, 2 * 14 * 2 + 44, tuple(range(0, 81, 5))),
    ],
)
def test_number_and_epochs_of_rounds_and_evaluations(
    name: str, rounds: int, evaluations: int, tuned: tuple[int, ...]
) -> None:
    """(d): the published numbers."""
    found, oracle = space(name), Oracle(space(name), 0)
    projection = projected(found, oracle)
    assert (projection.rounds, len(oracle.asked)) == (rounds, evaluations)
    assert projection.tuning_epochs(5) == tuned


def test_each_round_decides_one_edge_of_each_cell_in_a_random_order() -> None:
    found = space("s2")
    orders = []
    for seed in range(3):
        projection, oracle, order = Projection(found, seed), Oracle(found, 0), []
        for number in range(14):
            before = list(projection.chosen)
            projection.run_round(uniform(found), oracle)
            new = [gene for gene in range(28) if projection.chosen[gene] != before[gene]]
            assert [gene // 14 for gene in new] == [0, 1]
            assert projection.rounds_done == number + 1
            order += new
        orders.append(order)
    assert orders[0] != orders[1] != orders[2]
    assert set(orders[0]) == set(range(28))


def test_it_goes_on_from_its_state() -> None:
    found, whole = space("s3"), Projection(space("s3"), 4)
    states = []
    for _ in range(whole.rounds):
        states.append(whole.state())
        whole.run_round(uniform(found), Oracle(found, 3))
    for state in states:
        other = Projection(found, 4)
        other.load_state(state)
        while other.rounds_done < other.rounds:
            other.run_round(uniform(found), Oracle(found, 3))
        assert other == whole


def test_undecided_rows_stay_differentiable_and_decided_ones_are_constant() -> None:
    found = space("nasbench201")
    projection = Projection(found, 0)
    projection.run_round(uniform(found), Oracle(found, 0))
    alphas = torch.zeros(6, 5, dtype=torch.float64, requires_grad=True)
    (masked,) = projection.masked([Mixture(alphas.softmax(dim=1))])
    weights = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((masked.operations * weights).sum(), alphas)
    decided = np.array([column is not None for column in projection.chosen])
    assert decided.sum() == 1
    assert (gradient.abs().sum(dim=1) > 0).tolist() == (~decided).tolist()


def test_a_removed_edge_loses_its_edge_weight_too() -> None:
    """Else its other channels (PC-DARTS) and its auxiliary skip (DARTS-) would still arrive."""
    found = space("s2")
    projection = Projection(found, 0, removed=[edge == 2 for edge in range(28)])
    mixture = Mixture(torch.ones(14, 2), torch.full((14,), 0.5), skip=0.3)
    first, second = projection.masked([mixture, mixture])
    assert first.edges is not None
    assert first.edges.tolist() == [0.5, 0.5, 0.0, *[0.5] * 11]
    assert first.operations.sum(dim=1).tolist() == [2.0, 2.0, 0.0, *[2.0] * 11]
    assert first.skip == 0.3
    assert second is mixture


def test_the_objective_applies_the_decisions_last(make_step) -> None:
    found = space("nasbench201")
    projection = Projection(found, 0, chosen=[3, None, None, None, None, None])
    inner = make_step(weights={"w": torch.ones((), dtype=torch.float64)}, cells=[0, 0]).objective
    objective = ProjectedObjective(inner, projection)
    assert objective.cell_types == (0, 0)
    assert objective.weights is inner.weights
    shared = Mixture(torch.rand(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    objective.search_loss([shared, shared])
    _, seen, _ = inner.searches[-1]
    assert seen[0] is seen[1]
    assert seen[0].operations[0].tolist() == [0, 0, 0, 1, 0]
    assert torch.equal(seen[0].operations[1:], shared.operations[1:])
    objective.training_loss([shared, shared], statistics="running")
    assert inner.statistics == ["running"]


def test_nothing_is_read_off_before_the_end_and_scores_must_be_numbers() -> None:
    found = space("nasbench201")
    projection = Projection(found, 0)
    with pytest.raises(ValueError, match="All 6 rounds must be over, but 0 are"):
        projection.architecture()
    with pytest.raises(TrainingDiverged, match="score must be a number, but is NaN"):
        projection.run_round(uniform(found), lambda _: (0.5, float("nan")))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"interval": 0}, "interval must be at least 1"),
        ({"criterion": "acuracy"}, "Did you mean 'accuracy'"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
    ],
)
def test_wrong_settings_are_refused(changed, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProjectionSettings(**changed)


@pytest.mark.parametrize("skip", [0.0, 0.4])
@pytest.mark.parametrize(("name", "partial"), [("nasbench201", 1), ("darts7", 1), ("s3", 2)])
def test_what_is_decided_runs_no_more_and_changes_nothing(
    name: str, partial: int, skip: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the masks all operations run, with the same weights, of which many are zero."""
    found, draws, random = space(name), torch.Generator().manual_seed(0), np.random.default_rng(0)
    options = MixtureOptions(partial_channels=partial, auxiliary_skip=skip > 0)
    skeleton = found.supernet_skeleton(4, 8, channels=4, cells=1 if found.is_product else 3)
    network = CellNetwork.initialised(found, replace(skeleton, affine=False), 0, options).double()
    columns = [int(random.integers(len(each))) for each in found.candidates]
    chosen = [column if random.random() < 0.6 else None for column in columns]
    removed = [not found.is_product and bool(random.random() < 0.3) for _ in columns]
    projection = Projection(found, 0, chosen=chosen, removed=removed)
    leaves = [torch.rand(shape, generator=draws, dtype=torch.float64, requires_grad=True) for shape in shapes(found)]
    edges = [torch.rand(len(leaf), generator=draws, dtype=torch.float64) for leaf in leaves]
    masked = projection.masked([Mixture(leaf, edge, skip) for leaf, edge in zip(leaves, edges, strict=True)])
    masked = projection._without(masked, chosen.index(None), 1)
    images = torch.randn(3, 3, 8, 8, generator=draws, dtype=torch.float64)
    ran: list[str] = []
    original = Source.add

    def counted(self: Source, name: str, *rest: Any) -> None:
        ran.append(name)
        original(self, name, *rest)

    monkeypatch.setattr(Source, "add", counted)
    results, counts = [], []
    for mixtures in (masked, [replace(mixture, runs=None) for mixture in masked]):
        logits = network(images, [mixtures[cell.block.cell_type] for cell in network.cells])
        gradients = torch.autograd.grad(logits.square().sum(), leaves, retain_graph=True, materialize_grads=True)
        results.append((logits, *gradients))
        counts.append(len(ran))
        ran.clear()
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
    assert counts[0] < 0.8 * counts[1]
