"""A search that ends with DARTS-PT's projection: rounds of decisions, with the supernet tuned in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch.nn import functional

from genas.data import ImageData
from genas.data.splits import stratified_order
from genas.search.differentiable.objective import Batch, NetworkObjective
from genas.search.differentiable.parts import Objective
from genas.search.differentiable.projection import ProjectedObjective, Projection, ProjectionSettings
from genas.search.differentiable.search import DifferentiableSearch, SearchParts
from genas.search.differentiable.settings import SearchSettings
from genas.search.differentiable.stopping import Fixed, Outcome, Stopping
from genas.seeding import derived_seed, generator
from genas.spaces import Architecture
from genas.supernet.mixtures import Mixture
from genas.supernet.network import CellNetwork


def check_runs_to_its_end(stopping: Stopping) -> None:
    """Refuse a search that a projection cannot follow.

    Args:
        stopping: Rule for its end.

    Raises:
        ValueError: If it may end early.
    """
    if not isinstance(stopping, Fixed):
        raise ValueError(  # noqa: TRY004 (a rule of the search, not a wrong type)
            "A projection starts from the supernet after all epochs, but the search may end early with the "
            f"architecture of an epoch before ({type(stopping).__name__}); choose one of the two."
        )


@final
class ProjectedSearch(DifferentiableSearch):
    """A search that, after all epochs, chooses operations by the effect of their removal.

    The state includes the decisions.

    Attributes:
        projection: The decisions.

    Args:
        network: The supernet, already on its device.
        data: Images on the same device; removals are evaluated on all of ``valid``.
        settings: Settings of the search before the projection.
        parts: The parts of the search.
        projection: Settings of the projection.
        seed: Root seed.
        precision: Compute type of the forward pass: float32, or bfloat16 through autocast.

    Raises:
        ValueError: If the search may end early.

    Reference:
        Wang et al., Rethinking Architecture Selection in Differentiable NAS, ICLR 2021.
    """

    def __init__(
        self,
        network: CellNetwork,
        data: ImageData,
        settings: SearchSettings,
        parts: SearchParts,
        projection: ProjectionSettings,
        *,
        seed: int,
        precision: torch.dtype = torch.float32,
    ) -> None:
        check_runs_to_its_end(parts.stopping)
        super().__init__(network, data, settings, parts, seed=seed, precision=precision)
        self.projection, self._pace = Projection(network.space, seed), projection
        order = stratified_order(data.valid.labels.cpu().numpy(), generator(seed, "projection images"))
        self._order = torch.from_numpy(order).to(data.valid.labels.device)
        self._rounds_after = self.projection.tuning_epochs(projection.interval)
        self.total_steps += self._rounds_after[-1] * self.steps_per_epoch

    def mixtures(self) -> tuple[Mixture, ...]:
        """The current mixture of every cell type, with the decisions applied; constants."""
        return self.projection.masked(super().mixtures())

    def architecture_now(self) -> Architecture:
        """The architecture of the decisions; before the last one, that of the current mixtures."""
        if self.projection.rounds_done == self.projection.rounds:
            return self.projection.architecture()
        return super().architecture_now()

    def learning_rate(self, epoch: int, position: int) -> float:
        """The learning rate of the schedule, or a constant one while the supernet is tuned."""
        if epoch >= self.settings.epochs:
            return self._pace.tuning_rate(self.settings.learning_rate.start)
        return super().learning_rate(epoch, position)

    def objective(self, search_batch: Batch, training_batch: Batch, precision: torch.dtype | None = None) -> Objective:
        """The losses of a step with the decisions applied."""
        plain = super().objective(search_batch, training_batch, precision)
        return ProjectedObjective(plain, self.projection) if self.projection.rounds_done else plain

    def before_reading_off(self) -> None:
        """Run the rounds that are due before the next epoch."""
        if self.epoch < self.settings.epochs:
            return
        tuned = self.epoch - self.settings.epochs
        due = sum(after <= tuned for after in self._rounds_after)
        if self.projection.rounds_done == 0:
            for state in self.optimizer.state.values():
                state["momentum_buffer"].zero_()
        mixtures = super().mixtures()
        while self.projection.rounds_done < due:
            self.projection.run_round(mixtures, self.validation_score)

    def decide(self) -> Outcome | None:
        """The end when all rounds are over."""
        if self.step_number < self.total_steps:
            return None
        return Outcome(len(self.history) - 1, f"all {self.projection.rounds} rounds of projection are over")

    @torch.no_grad()
    def validation_score(self, mixtures: Sequence[Mixture]) -> tuple[float, float]:
        """Scores of the supernet on the whole validation split, with the BN statistics of its batches.

        The batches are the same for all mixtures and hold the classes in proportion: BN takes what the images of a
        batch have in common out of them, and with it the class if that is all one.

        Args:
            mixtures: One per cell type.

        Returns:
            The accuracy in [0, 1] and the negative mean cross entropy, without label smoothing; the criterion first,
            the other one for ties. Higher is better.
        """
        split, found = self.data.valid, []
        batches = torch.split(self._order, self.search_batch_size)
        for chosen in batches:
            labels = split.labels[chosen]
            batch = self.data.normalize(split.images[chosen], self.dtype), labels
            objective = NetworkObjective(
                self.network,
                search_batch=batch,
                training_batch=batch,
                precision=self.precision,
                seed=derived_seed(self.seed, "noise operations", self.step_number),
            )
            logits = objective.logits(batch[0], objective.spread(mixtures))
            loss = functional.cross_entropy(logits, labels)
            correct = (logits.argmax(dim=1) == labels).sum()
            found.append(torch.stack([correct.to(loss.dtype), loss]))
        correct_in, loss_of = torch.stack(found, dim=1).tolist()  # read once, so that no batch waits for the one before
        accuracy = sum(correct_in) / len(split)
        agreement = -sum(loss * len(chosen) for loss, chosen in zip(loss_of, batches, strict=True)) / len(split)
        return (accuracy, agreement) if self._pace.criterion == "accuracy" else (agreement, accuracy)

    def state(self) -> dict[str, Any]:
        """The complete state of the search, for ``torch.save``."""
        return {**super().state(), "projection": self.projection.state()}

    def recall(self, log: Sequence[dict[str, Any]]) -> None:
        """As in every search; also the decisions."""
        super().recall(log)
        self.projection.recall(self.architecture)

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state that :meth:`state` returned."""
        self.projection.load_state(state["projection"])
        super().load_state(state)
