"""Toy bilevel problems in float64: losses that are formulas of mixtures and weights, no network anywhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genas.search.differentiable.parts import Alphas, Objective, Relaxation, SearchStep, Weights
from genas.search.differentiable.relaxation import Softmax
from genas.spaces import SearchSpace, space
from genas.supernet.mixtures import Mixture

Formula = Callable[[list[Tensor], dict[str, Tensor]], Tensor]
MakeStep = Callable[..., SearchStep]


@pytest.fixture(autouse=True)
def _global_generators_stay() -> Iterator[None]:
    """Nothing here may draw from a global generator or seed it."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    yield
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2] == random.getstate()


def tensor(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class ToyObjective(Objective):
    """Two formulas of the cells' operation weights and the network's weights; it writes down how it is called."""

    def __init__(self, search: Formula, training: Formula, weights: dict[str, Tensor], cells: Sequence[int]) -> None:
        self.search, self.training, self.cells = search, training, tuple(cells)
        self.live = {name: weight.clone().requires_grad_() for name, weight in weights.items()}
        self.statistics: list[str] = []
        self.trainings: list[Weights] = []
        self.searches: list[tuple[bool, list[Mixture], Weights]] = []

    @property
    def weights(self) -> Weights:
        return self.live

    @property
    def cell_types(self) -> tuple[int, ...]:
        return self.cells

    def search_loss(self, mixtures: Sequence[Mixture], weights: Weights | None = None) -> Tensor:
        used = dict(self.live if weights is None else weights)
        self.searches.append((torch.is_grad_enabled(), list(mixtures), used))
        return self.search([mixture.operations for mixture in mixtures], used)

    def training_loss(
        self, mixtures: Sequence[Mixture], weights: Weights | None = None, *, statistics: str = "batch"
    ) -> Tensor:
        used = dict(self.live if weights is None else weights)
        self.statistics.append(statistics)
        self.trainings.append(used)
        return self.training([mixture.operations for mixture in mixtures], used)


class Identity(Relaxation):
    """The parameters are the mixtures."""

    def __init__(self, search_space: SearchSpace) -> None:
        self.space = search_space

    def initial(self, seed: int) -> Alphas:
        return tuple(torch.zeros(len(edges), len(edges[0])) for edges in self.space.split(self.space.candidates))

    def mixtures(self, alphas: Alphas, progress: float) -> tuple[Mixture, ...]:
        types = len(self.space.cell_types)
        rows: tuple[Tensor | None, ...] = alphas[types:] or (None,) * types
        return tuple(Mixture(matrix, row) for matrix, row in zip(alphas[:types], rows, strict=True))


def _zero(operations: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
    return sum(part.sum() for part in [*operations, *weights.values()]) * 0.0  # type: ignore[return-value]


@pytest.fixture
def make_step() -> MakeStep:
    """Makes a step from two formulas; parameters are taken as they are unless a relaxation is given."""

    def make(
        search: Formula = _zero,
        training: Formula = _zero,
        weights: dict[str, Tensor] | None = None,
        *,
        name: str = "nasbench201",
        relaxation: Relaxation | None = None,
        cells: Sequence[int] | None = None,
        **fields: Any,
    ) -> SearchStep:
        chosen = Identity(space(name)) if relaxation is None else relaxation
        types = range(len(chosen.space.cell_types)) if cells is None else cells
        values = {"w": tensor(0.0)} if weights is None else weights
        settings: dict[str, Any] = {
            "epoch": 0,
            "epochs": 50,
            "number": 0,
            "seed": 0,
            "learning_rate": 0.025,
            "momentum": 0.0,
            "weight_decay": 0.0,
            "momentum_buffers": {},
        }
        return SearchStep(ToyObjective(search, training, values, types), chosen, **(settings | fields))

    return make


@pytest.fixture
def smooth_step(make_step: MakeStep) -> MakeStep:
    """Makes a step of a softmax relaxation whose two losses are curved in everything: parameters, edges and weights."""

    def make(name: str = "nasbench201", **options: Any) -> SearchStep:
        relaxation = options.pop("relaxation", None) or Softmax(space(name))
        found: SearchSpace = relaxation.space
        cells = options.pop("cells", range(len(found.cell_types)))
        draws = torch.Generator().manual_seed(5)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draws, dtype=torch.float64)

        sizes = [
            (len(cell.edges), len(found.candidates[0]))  # all cells of a space are alike
            for cell in found.cell_types
        ]
        maps = {side: [draw(4, *sizes[kind]) for kind in cells] for side in ("search", "training")}

        def formula(side: str) -> Formula:
            def loss(operations: list[Tensor], weights: dict[str, Tensor]) -> Tensor:
                state = weights["a"]
                for own, matrix in zip(maps[side], operations, strict=True):
                    state = torch.tanh(0.5 * state + torch.einsum("oek,ek->o", own, matrix) * weights["b"])
                return (state * weights["a"]).sum() + state.square().sum()

            return loss

        options.setdefault("weights", {"a": draw(4), "b": 0.7 * draw(4)})
        return make_step(formula("search"), formula("training"), relaxation=relaxation, cells=cells, **options)

    return make


@pytest.fixture
def doubled() -> Callable[..., Alphas]:
    """Initial parameters in float64, spread over a range in which a softmax is curved."""

    def make(relaxation: Relaxation, seed: int = 3, scale: float = 500.0) -> Alphas:
        return tuple(scale * alpha.detach().double() for alpha in relaxation.initial(seed))

    return make


@pytest.fixture
def check_slope() -> Callable[..., None]:
    """Compares a gradient with central differences of its function along three random directions."""

    def check(
        gradient: Sequence[Tensor],
        function: Callable[[Alphas], Tensor],
        alphas: Sequence[Tensor],
        tolerance: float,
        radius: float = 1e-5,
    ) -> None:
        draws = torch.Generator().manual_seed(11)
        for _ in range(3):
            directions = [torch.randn(alpha.shape, generator=draws, dtype=torch.float64) for alpha in alphas]
            ends = [
                function(tuple(a.detach() + sign * radius * d for a, d in zip(alphas, directions, strict=True)))
                for sign in (1, -1)
            ]
            along = torch.stack([(g * d).sum() for g, d in zip(gradient, directions, strict=True)]).sum()
            torch.testing.assert_close(
                along, (ends[0] - ends[1]).detach() / (2 * radius), rtol=tolerance, atol=tolerance
            )

    return check


@pytest.fixture
def close() -> Callable[..., None]:
    """Compares two vectors of parameters."""

    def check(found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float = 1e-12) -> None:
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)

    return check


@pytest.fixture
def bitwise() -> Callable[..., None]:
    """Compares two vectors of parameters bit for bit."""

    def check(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
        assert len(found) == len(expected)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))

    return check


def seen_mixtures(step: SearchStep) -> list[list[torch.Tensor]]:
    """What the training loss will be called with."""
    seen: list[list[torch.Tensor]] = []
    formula = step.objective.training

    def watching(p, w):
        seen.append([part.detach().clone() for part in p])
        return formula(p, w)

    step.objective.training = watching
    return seen
