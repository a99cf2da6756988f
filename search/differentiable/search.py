"""The loop that all differentiable searches share: alternating updates of architecture and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from genas.data import Augmentation, ImageData
from genas.files import json_number
from genas.search.differentiable.curvature import dominant_eigenvalue
from genas.search.differentiable.gradients import FirstOrder
from genas.search.differentiable.objective import Batch, NetworkObjective
from genas.search.differentiable.parts import (
    Alphas,
    ArchitectureGradient,
    Objective,
    Relaxation,
    SearchStep,
    Selection,
    WeightStep,
)
from genas.search.differentiable.selection import Collapse, selection_for
from genas.search.differentiable.settings import SearchSettings
from genas.search.differentiable.stopping import EpochSummary, Fixed, Outcome, Stopping, final_outcome
from genas.search.differentiable.weight_steps import Plain
from genas.seeding import derived_seed, torch_generator
from genas.spaces import Architecture
from genas.supernet.mixtures import Mixture
from genas.supernet.network import CellNetwork
from genas.supernet.training import Trainer


@final
@dataclass(frozen=True)
class SearchParts:
    """The parts of a search.

    Args:
        relaxation: Maps architecture parameters to mixtures.
        gradient: Gradient of the architecture parameters.
        weight_step: Gradient of the weights.
        selection: Rule for deriving the architecture; ``None``: the one that suits the space.
        stopping: Rule for ending the search early.
    """

    relaxation: Relaxation
    gradient: ArchitectureGradient = field(default_factory=FirstOrder)
    weight_step: WeightStep = field(default_factory=Plain)
    selection: Selection | None = None
    stopping: Stopping = field(default_factory=Fixed)

    @property
    def small_difference(self) -> str | None:
        """Name, for messages, of a part of a gradient that is too small for bfloat16; ``None``: there is none."""
        return self.gradient.small_difference or self.weight_step.small_difference


class DifferentiableSearch(Trainer):
    """A search by gradient descent in the relaxation of the architecture, while the supernet's weights are trained.

    Like every trainer it continues from a checkpoint as if it had never stopped: the state is weights, architecture
    parameters, both optimisers and the finished epochs.

    Attributes:
        alphas: The architecture parameters, leaves outside the network.
        history: The finished epochs.
        outcome: The end of the search, once it has ended.

    Args:
        network: The supernet, already on its device.
        data: Images on the same device. Weights are trained on ``train``, the architecture on ``valid``.
        settings: Settings of both optimisations.
        parts: The parts of the search.
        seed: Root seed.
        precision: Compute type of the forward pass: float32, or bfloat16 through autocast.
    """

    settings: SearchSettings
    # Ruined architecture parameters ruin the weights in the same step, and the other way round.
    cure_of_divergence: ClassVar[str] = "Lower the learning rate or alpha_learning_rate, or set gradient_clip"

    def __init__(
        self,
        network: CellNetwork,
        data: ImageData,
        settings: SearchSettings,
        parts: SearchParts,
        *,
        seed: int,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(network, data, settings, seed=seed, precision=precision)
        if settings.search_batch_size is not None and settings.search_batch_size > len(data.valid):
            raise ValueError(
                f"search_batch_size must be at most the number of validation images, {len(data.valid)}, but got "
                f"{settings.search_batch_size}."
            )
        self.settings, self.parts = settings, parts
        self.selection = parts.selection or selection_for(network.space)
        self._weights = dict(network.named_parameters())
        drawn = parts.relaxation.initial(seed)
        self.alphas: Alphas = tuple(alpha.detach().to(self.device, self.dtype).requires_grad_() for alpha in drawn)
        chosen = settings.alphas
        self.alpha_optimizer = torch.optim.Adam(
            self.alphas, lr=chosen.learning_rate, betas=chosen.betas, weight_decay=chosen.weight_decay
        )
        self.history: list[EpochSummary] = []
        self.outcome: Outcome | None = None
        self._diagnostics: dict[str, tuple[Tensor, int]] = {}
        self._last: tuple[SearchStep, Batch] | None = None

    @property
    def finished(self) -> bool:
        """Whether no step is left, possibly because the search ended early."""
        return self.outcome is not None

    @property
    def architecture(self) -> Architecture:
        """The resulting architecture.

        Raises:
            ValueError: If the search is not finished.
        """
        if self.outcome is None:
            left = self.total_steps - self.step_number
            what = f"{left} steps are left" if left else "the log of its epochs was not recalled"
            raise ValueError(f"The search must be finished, but {what}.")
        return self.history[self.outcome.epoch].architecture

    @property
    def search_batch_size(self) -> int:
        """Number of validation images in a batch: by default as many as training images, if there are so many."""
        return self.settings.search_batch_size or min(self.settings.batch_size, len(self.data.valid))

    def mixtures(self) -> tuple[Mixture, ...]:
        """The current mixture of every cell type; constants."""
        with torch.no_grad():
            return self.parts.relaxation.mixtures(self.alphas, self.schedule_epoch / self.settings.epochs)

    def architecture_now(self) -> Architecture:
        """The architecture derived from the current mixtures."""
        return self.selection.select(self.network.space, self.mixtures())

    def learn(self, images: Tensor, labels: Tensor) -> None:
        """Update architecture and weights, each on its own batch."""
        batch = self._search_batch("search batches", self.step_number)
        step = self._step(self.objective(batch, (images, labels)))
        self._last = step, batch
        if self.settings.update_order == "alpha_first":
            self._move_alphas(step)
        self.optimizer.zero_grad(set_to_none=True)
        report = self.parts.weight_step.backward(step, self.alphas)
        self.loss_sum += report.loss
        self._note(report.diagnostics)
        self.move_weights()
        if self.settings.update_order == "weights_first":
            self._move_alphas(step)

    def end_epoch(self) -> dict[str, Any]:
        """Close an epoch: architecture, collapse report, eigenvalue, stop."""
        record, epoch = super().end_epoch(), self.epoch - 1
        eigenvalue = self._eigenvalue() if self._wants_eigenvalue(epoch) else None
        self.before_reading_off()
        architecture = self.architecture_now()
        collapse = Collapse.of(self.network.space, architecture, self.mixtures())
        self.history.append(EpochSummary(architecture, collapse, eigenvalue))
        self.outcome = self.decide()
        means = {name: float(total) / count for name, (total, count) in sorted(self._diagnostics.items())}
        self._diagnostics = {}
        return {
            **record,
            **{name: json_number(mean) for name, mean in means.items()},
            "architecture": self.network.space.format(architecture),
            **self.history[-1].record(),
        }

    def check_finite(self) -> None:
        """As in every trainer; also stop a search whose architecture parameters are not finite.

        Raises:
            TrainingDiverged: If something is not finite.
        """
        super().check_finite()
        self._check_sum("architecture parameters", self.alphas)

    def learnt(self) -> dict[str, Tensor]:
        """The supernet's weights, and the architecture parameters as ``alphas.0``, ``alphas.1``, ..."""
        return {**super().learnt(), **{f"alphas.{k}": alpha for k, alpha in enumerate(self.alphas)}}

    def load_learnt(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the tensors of a finished search; :meth:`recall` reads its epochs."""
        others = dict(tensors)
        with torch.no_grad():
            for k, alpha in enumerate(self.alphas):
                alpha.copy_(others.pop(f"alphas.{k}"))
        super().load_learnt(others)

    def state(self) -> dict[str, Any]:
        """The complete state of the search, for ``torch.save``."""
        return {
            **super().state(),
            "alphas": [alpha.detach() for alpha in self.alphas],
            "alpha_optimizer": self.alpha_optimizer.state_dict(),
            "history": [summary.record() for summary in self.history],
            "diagnostics": dict(self._diagnostics),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state that :meth:`state` returned."""
        super().load_state(state)
        with torch.no_grad():
            for alpha, saved in zip(self.alphas, state["alphas"], strict=True):
                alpha.copy_(saved)
        self.alpha_optimizer.load_state_dict(state["alpha_optimizer"])
        self.history = [EpochSummary.from_record(record) for record in state["history"]]
        self._diagnostics = dict(state["diagnostics"])
        self.outcome = self.decide() if self.history else None

    def recall(self, log: Sequence[dict[str, Any]]) -> None:
        """Read the finished epochs from the log of a finished search, whose state no longer exists.

        Args:
            log: The records that :meth:`end_epoch` returned, one per epoch.

        Raises:
            ValueError: If the log is not that of a finished search.
        """
        if self.finished:
            return
        self.history = [EpochSummary.from_record(record) for record in log]
        self.step_number = log[-1]["step"] if log else 0
        self.outcome = self.decide() if log else None
        if self.outcome is None:
            raise ValueError(
                f"The log must be that of a finished search, but ends after {len(log)} epochs; search again elsewhere."
            )

    @property
    def schedule_epoch(self) -> int:
        """The epoch for all schedules; it stays at the last one afterwards."""
        return min(self.epoch, self.settings.epochs - 1)

    def objective(self, search_batch: Batch, training_batch: Batch, precision: torch.dtype | None = None) -> Objective:
        """The losses of a step on its two batches; by default in the precision of the search."""
        return NetworkObjective(
            self.network,
            search_batch=search_batch,
            training_batch=training_batch,
            precision=precision or self.precision,
            label_smoothing=self.settings.label_smoothing,
            track_statistics=self.settings.track_statistics,
            seed=derived_seed(self.seed, "noise operations", self.step_number),
            weights=self._weights,
        )

    def before_reading_off(self) -> None:
        """Hook at the end of an epoch, before its architecture is derived; here it does nothing."""

    def decide(self) -> Outcome | None:
        """The end of the search, or ``None`` to go on."""
        if self.step_number >= self.total_steps:
            return final_outcome(self.parts.stopping, self.history)
        return self.parts.stopping.outcome(self.history)

    def _step(self, objective: Objective) -> SearchStep:
        settings, state = self.settings, self.optimizer.state
        return SearchStep(
            objective=objective,
            relaxation=self.parts.relaxation,
            epoch=self.schedule_epoch,
            epochs=settings.epochs,
            number=self.step_number,
            seed=self.seed,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            momentum_buffers={name: state[weight]["momentum_buffer"] for name, weight in self._weights.items()},
        )

    def _move_alphas(self, step: SearchStep) -> None:
        if not self.settings.learn_alphas or self.epoch < self.settings.warmup_epochs:
            return
        estimate = self.parts.gradient.estimate(step, self.alphas)
        self._note(estimate.diagnostics)
        for alpha, gradient in zip(self.alphas, estimate.gradient, strict=True):
            alpha.grad = gradient
        self.alpha_optimizer.step()
        self.alpha_optimizer.zero_grad(set_to_none=True)

    def _note(self, diagnostics: Mapping[str, Tensor]) -> None:
        for name, value in diagnostics.items():
            total, count = self._diagnostics.get(name, (torch.zeros_like(value), 0))
            self._diagnostics[name] = total + value.detach(), count + 1

    def _search_batch(self, stream: str, number: int) -> Batch:
        """Batch ``number`` of an endless stream: whole batches of the validation split, reshuffled for every pass."""
        count, size = len(self.data.valid), self.search_batch_size
        epoch, position = divmod(number, count // size)
        chosen = self.shuffled(stream, epoch, count)[position * size : (position + 1) * size]
        augmentation = self.augmentation if self.settings.augment_search else Augmentation()
        draws = torch_generator(self.seed, stream, "augmentation", number)
        return self.data.training_batch(chosen, augmentation, draws, self.dtype, role="valid")

    def _wants_eigenvalue(self, epoch: int) -> bool:
        every = self.settings.eigenvalue_every
        return self.parts.stopping.wants_eigenvalue(epoch) or bool(every and epoch % every == 0)

    def _eigenvalue(self) -> float:
        """The dominant eigenvalue of the plain search loss on the last batch of the epoch, and on more if asked."""
        assert self._last is not None  # an epoch ends in the process that took its last step
        last, batch = self._last
        first = self.epoch * self.settings.eigenvalue_batches
        others = range(first + 1, first + self.settings.eigenvalue_batches)
        batches = [batch, *(self._search_batch("eigenvalue batches", number) for number in others)]
        # bfloat16 would change it by as much as the growth that ends a search.
        steps = [replace(last, objective=self.objective(each, each, torch.float32)) for each in batches]
        decay = self.settings.alphas.weight_decay
        return dominant_eigenvalue(steps, self.alphas, FirstOrder(), weight_decay=decay)
