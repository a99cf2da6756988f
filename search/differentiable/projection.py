"""DARTS-PT: operations are chosen edge by edge, by the effect of their removal instead of their weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from genas.choices import check_choices
from genas.devices import sent
from genas.errors import TrainingDiverged
from genas.search.differentiable.parts import Objective, Weights, has_nasbench201_numbers
from genas.search.differentiable.selection import incoming
from genas.seeding import generator
from genas.spaces import Architecture, SearchSpace
from genas.spaces.base import NONE
from genas.spaces.darts_cell import LIVE_INPUTS
from genas.supernet.mixtures import Mixture
from genas.supernet.network import Statistics

Score = Callable[[Sequence[Mixture]], tuple[float, ...]]
"""Maps one mixture per cell type to the supernet's score with them, followed by scores for ties; higher is better."""


@dataclass(frozen=True)
class ProjectionSettings:
    """Settings of a projection.

    Args:
        interval: Epochs of tuning between two rounds.
        criterion: Measure of a removal's effect: validation ``accuracy``, or ``loss``.
        learning_rate: Constant learning rate of the weights while they are tuned; ``None``: a tenth of the search's
            initial one. The momentum starts from zero.

    Raises:
        ValueError: If a number is out of range or a word unknown.
    """

    interval: int = 5
    criterion: Literal["accuracy", "loss"] = "accuracy"
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        if self.interval < 1:
            raise ValueError(f"interval must be at least 1, but got {self.interval}.")
        if self.learning_rate is not None and not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be positive, but got {self.learning_rate}.")

    def tuning_rate(self, first: float) -> float:
        """The learning rate of the tuning after a search whose learning rate was ``first`` at its beginning."""
        return first / 10 if self.learning_rate is None else self.learning_rate


@final
@dataclass
class Projection:
    """The decided edges of a supernet, and the rule for the next decisions.

    A round decides one edge of every cell type, drawn uniformly from those that are left, and keeps the operation whose
    removal hurts most. Then, in spaces whose nodes keep two inputs, a round decides one node of every cell type: it
    repeatedly removes the incoming edge whose removal hurts least, until two are left. (The authors' code tries each
    edge alone, with those that it has removed in the same round still there.) A removal is a weight of zero; the other
    weights do not change. Every draw is a function of the seed and the round.

    Where nodes keep two inputs, ``none`` cannot be chosen.

    Args:
        space: The search space.
        seed: Root seed.
        chosen: For each gene, the column of the chosen operation; ``None``: not decided.
        removed: For each gene, whether its edge was removed.
        rounds_done: Number of finished rounds.

    Reference:
        Wang et al., Rethinking Architecture Selection in Differentiable NAS, ICLR 2021, Algorithm 1 and 2.
    """

    space: SearchSpace
    seed: int
    chosen: list[int | None] = field(default_factory=list)
    removed: list[bool] = field(default_factory=list)
    rounds_done: int = 0

    def __post_init__(self) -> None:
        self.chosen = self.chosen or [None] * self.space.num_genes
        self.removed = self.removed or [False] * self.space.num_genes

    @property
    def rounds(self) -> int:
        """Number of rounds in all: 6 on NAS-Bench-201, 14 for operations and 3 for inputs on DARTS."""
        return self._operation_rounds + self._topology_rounds

    def tuning_epochs(self, interval: int) -> tuple[int, ...]:
        """For each round, the number of tuning epochs before it.

        On DARTS rounds are ``interval`` epochs apart; on NAS-Bench-201 the authors' code has the last one an epoch
        earlier. The code then tunes one more epoch, which changes no decision and is left out here.

        Args:
            interval: Epochs between two rounds.

        Returns:
            Numbers that do not decrease, the first of them 0.
        """
        epochs = [interval * position for position in range(self.rounds)]
        if has_nasbench201_numbers(self.space) and self.rounds > 1:
            epochs[-1] -= 1
        return tuple(epochs)

    def masked(self, mixtures: Sequence[Mixture]) -> tuple[Mixture, ...]:
        """The mixtures with the decisions applied: one operation on a decided edge, nothing on a removed one.

        Args:
            mixtures: One per cell type.

        Returns:
            One per cell type. Undecided rows are those given; decided ones are constant.
        """
        chosen, removed = self.space.split(self.chosen), self.space.split(self.removed)
        return tuple(
            _decided(mixture, columns, gone) for mixture, columns, gone in zip(mixtures, chosen, removed, strict=True)
        )

    def run_round(self, mixtures: Sequence[Mixture], score: Score) -> None:
        """Decide one more edge, or node, of every cell type.

        Args:
            mixtures: One per cell type, before any decision.
            score: Performance of the supernet.

        Raises:
            TrainingDiverged: If a score is not a number.
        """
        draws = generator(self.seed, "projection", self.rounds_done)
        topology = self.rounds_done >= self._operation_rounds
        for cell in range(len(self.space.cell_types)):
            places = self._open_nodes(cell) if topology else [[e] for e in self._open_edges(cell)]
            if places:
                place = places[int(draws.integers(len(places)))]
                (self._decide_node if topology else self._decide_edge)(place, mixtures, score)
        self.rounds_done += 1

    def architecture(self) -> Architecture:
        """The architecture of the decisions.

        Returns:
            A valid architecture.

        Raises:
            ValueError: If rounds are left.
        """
        if self.rounds_done < self.rounds:
            raise ValueError(f"All {self.rounds} rounds must be over, but {self.rounds_done} are.")
        genes = [
            NONE if removed or chosen is None else candidates[chosen]
            for candidates, chosen, removed in zip(self.space.candidates, self.chosen, self.removed, strict=True)
        ]
        return self.space.check(genes)

    def state(self) -> dict[str, Any]:
        """The decisions as plain values."""
        return {"chosen": list(self.chosen), "removed": list(self.removed), "rounds_done": self.rounds_done}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from decisions that :meth:`state` returned."""
        self.chosen, self.removed = list(state["chosen"]), list(state["removed"])
        self.rounds_done = state["rounds_done"]

    def recall(self, architecture: Architecture) -> None:
        """Take over the decisions of a finished search.

        Args:
            architecture: What :meth:`architecture` returned.
        """
        keeps_none = self.space.is_product  # elsewhere none means a removed edge
        self.removed = [gene == NONE and not keeps_none for gene in architecture]
        self.chosen = [
            None if removed else candidates.index(gene)
            for candidates, gene, removed in zip(self.space.candidates, architecture, self.removed, strict=True)
        ]
        self.rounds_done = self.rounds

    @property
    def _operation_rounds(self) -> int:
        return max(len(cell.edges) for cell in self.space.cell_types)

    @property
    def _topology_rounds(self) -> int:
        if self.space.is_product:
            return 0
        return max(sum(len(node) > LIVE_INPUTS for node in incoming(cell)) for cell in self.space.cell_types)

    def _genes(self, cell: int) -> list[int]:
        """Positions of the genes of a cell type."""
        return list(self.space.split(range(self.space.num_genes))[cell])

    def _open_edges(self, cell: int) -> list[int]:
        return [gene for gene in self._genes(cell) if self.chosen[gene] is None]

    def _open_nodes(self, cell: int) -> list[list[int]]:
        genes = self._genes(cell)
        nodes = [[genes[edge] for edge in node] for node in incoming(self.space.cell_types[cell])]
        return [node for node in nodes if len(self._inputs(node)) > LIVE_INPUTS]

    def _inputs(self, node: Sequence[int]) -> list[int]:
        return [gene for gene in node if not self.removed[gene]]

    def _decide_edge(self, place: Sequence[int], mixtures: Sequence[Mixture], score: Score) -> None:
        (gene,) = place
        columns = [
            column
            for column, operation in enumerate(self.space.candidates[gene])
            if self.space.is_product or operation != NONE
        ]
        scores = [_checked(score(self._without(self.masked(mixtures), gene, column))) for column in columns]
        self.chosen[gene] = columns[scores.index(min(scores))]

    def _decide_node(self, place: Sequence[int], mixtures: Sequence[Mixture], score: Score) -> None:
        while len(inputs := self._inputs(place)) > LIVE_INPUTS:
            scores = [_checked(score(self._without(self.masked(mixtures), gene, None))) for gene in inputs]
            self.removed[inputs[scores.index(max(scores))]] = True

    def _without(self, mixtures: Sequence[Mixture], gene: int, column: int | None) -> tuple[Mixture, ...]:
        """The mixtures with the weight of one operation, or of all operations of an edge, set to zero."""
        changed = list(mixtures)
        for cell in range(len(changed)):
            genes = self._genes(cell)
            if gene in genes:
                changed[cell] = _masked_out(changed[cell], genes.index(gene), column)
        return tuple(changed)


def _masked_out(mixture: Mixture, edge: int, column: int | None) -> Mixture:
    if column is None:
        return _decided(mixture, [None] * len(mixture.operations), [e == edge for e in range(len(mixture.operations))])
    operations = mixture.operations.clone()
    operations[edge, column] = 0
    runs = [list(row) for row in _runs(mixture)]
    runs[edge][column] = False
    return replace(mixture, operations=operations, runs=tuple(map(tuple, runs)))


def _runs(mixture: Mixture) -> tuple[tuple[bool, ...], ...]:
    edges, width = mixture.operations.shape
    return ((True,) * width,) * edges if mixture.runs is None else mixture.runs


def _decided(mixture: Mixture, chosen: Sequence[int | None], removed: Sequence[bool]) -> Mixture:
    if all(column is None for column in chosen) and not any(removed):
        return mixture
    constant = torch.zeros_like(mixture.operations)
    is_open = [[column is None and not gone] for column, gone in zip(chosen, removed, strict=True)]
    for edge, (column, gone) in enumerate(zip(chosen, removed, strict=True)):
        if column is not None and not gone:
            constant[edge, column] = 1
    operations = torch.where(sent(torch.tensor(is_open), constant.device), mixture.operations, constant)
    # An operation of weight zero would cost as much as the others.
    runs = tuple(
        tuple(does and not gone and column in (None, place) for place, does in enumerate(row))
        for row, column, gone in zip(_runs(mixture), chosen, removed, strict=True)
    )
    if not any(removed):
        return replace(mixture, operations=operations, runs=runs)
    # Without an edge weight of zero a removed edge would still pass on the bypassed channels and the auxiliary skip.
    stays = sent(torch.tensor([not gone for gone in removed]), constant.device)
    return replace(
        mixture, operations=operations, runs=runs, edges=stays * (1.0 if mixture.edges is None else mixture.edges)
    )


def _checked(score: tuple[float, ...]) -> tuple[float, ...]:
    if any(map(math.isnan, score)):
        raise TrainingDiverged("The supernet's score must be a number, but is NaN: the weights or the losses diverged.")
    return score


@final
class ProjectedObjective(Objective):
    """An objective that applies the decisions of a projection to its mixtures, whatever has changed them before.

    Args:
        inner: The objective.
        projection: The decisions.
    """

    def __init__(self, inner: Objective, projection: Projection) -> None:
        self.inner, self.projection = inner, projection

    @property
    def weights(self) -> Weights:
        """As for the inner objective."""
        return self.inner.weights

    @property
    def cell_types(self) -> tuple[int, ...]:
        """As for the inner objective."""
        return self.inner.cell_types

    def search_loss(self, mixtures: Sequence[Mixture], weights: Weights | None = None) -> Tensor:
        """The loss with the decisions applied."""
        return self.inner.search_loss(self._masked(mixtures), weights)

    def training_loss(
        self, mixtures: Sequence[Mixture], weights: Weights | None = None, *, statistics: Statistics = "batch"
    ) -> Tensor:
        """The loss with the decisions applied."""
        return self.inner.training_loss(self._masked(mixtures), weights, statistics=statistics)

    def _masked(self, mixtures: Sequence[Mixture]) -> tuple[Mixture, ...]:
        """The mixtures of all cells with the decisions applied; they may differ by cell, as in Λ-DARTS."""
        space, cells = self.projection.space, list(zip(mixtures, self.cell_types, strict=True))
        chosen, removed = space.split(self.projection.chosen), space.split(self.projection.removed)
        # Cells that share a mixture continue to share it.
        known = {(id(mixture), cell_type): mixture for mixture, cell_type in cells}
        masked = {key: _decided(mixture, chosen[key[1]], removed[key[1]]) for key, mixture in known.items()}
        return tuple(masked[id(mixture), cell_type] for mixture, cell_type in cells)
