"""Interfaces of the replaceable parts of a differentiable search, and the step that they share."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from genas.spaces import Architecture, SearchSpace
from genas.supernet.mixtures import Mixture
from genas.supernet.network import Statistics

Alphas = tuple[Tensor, ...]
"""The architecture parameters: tensors that the architecture's optimiser updates, defined by the relaxation.

The first ones, one per cell type, belong to the operations, any further ones to the edges.
"""

Weights = Mapping[str, Tensor]
"""Network weights by name; architecture parameters are never among them."""


def has_nasbench201_numbers(space: SearchSpace) -> bool:
    """Whether a space is searched with the published numbers of NAS-Bench-201, not with those of DARTS.

    Args:
        space: The space.

    Returns:
        Whether it has no rules like those of DARTS.
    """
    return space.is_product


class Objective(abc.ABC):
    """The two losses of one step, each on its batch, as functions of the mixtures and of the weights.

    Calling them changes nothing: no weight, no random stream, and no BN statistics unless asked. Calls on one batch are
    deterministic.
    """

    @property
    @abc.abstractmethod
    def weights(self) -> Weights:
        """The live weights, leaves that require gradients."""

    @property
    @abc.abstractmethod
    def cell_types(self) -> tuple[int, ...]:
        """For each cell that takes a mixture, the position of its type in ``space.cell_types``."""

    @abc.abstractmethod
    def search_loss(self, mixtures: Sequence[Mixture], weights: Weights | None = None) -> Tensor:
        """The loss on the search batch (the papers' validation batch).

        Args:
            mixtures: One per cell.
            weights: Weights to use instead of the live ones.

        Returns:
            A scalar that can be differentiated with respect to mixtures and weights, twice where asked.
        """

    @abc.abstractmethod
    def training_loss(
        self, mixtures: Sequence[Mixture], weights: Weights | None = None, *, statistics: Statistics = "batch"
    ) -> Tensor:
        """The loss on the training batch.

        Args:
            mixtures: As in :meth:`search_loss`.
            weights: As in :meth:`search_loss`.
            statistics: The statistics of batch normalisation.

        Returns:
            As :meth:`search_loss`.
        """

    @final
    def spread(self, by_type: Sequence[Mixture]) -> tuple[Mixture, ...]:
        """One mixture per cell from one per cell type.

        Args:
            by_type: One mixture for each cell type of the space.

        Returns:
            The mixture of its type for each cell.
        """
        return tuple(by_type[cell_type] for cell_type in self.cell_types)


class Relaxation(abc.ABC):
    """A map from architecture parameters to mixtures."""

    space: SearchSpace

    @abc.abstractmethod
    def initial(self, seed: int) -> Alphas:
        """Leaves on the CPU in float32 that require gradients, drawn from a stream of their own."""

    @abc.abstractmethod
    def mixtures(self, alphas: Alphas, progress: float) -> tuple[Mixture, ...]:
        """The mixtures, one per cell type, differentiable with respect to the parameters.

        Args:
            alphas: Parameters in the form of :meth:`initial`.
            progress: Epoch over number of epochs, in [0, 1), for schedules.

        Returns:
            One mixture for each cell type of the space.
        """


@final
@dataclass(frozen=True)
class SearchStep:
    """Data that the parts of a search share in one step.

    Args:
        objective: The losses on this step's batches.
        relaxation: Maps parameters to mixtures.
        epoch: Number of the epoch, from 0.
        epochs: Epochs of the search.
        number: Number of the step since the beginning, from 0.
        seed: Root seed; a part that draws takes :func:`genas.seeding.generator` with a stream of its own name and
            ``number``.
        learning_rate: Learning rate of the weights in this step.
        momentum: Momentum of the weights' SGD.
        weight_decay: Weight decay of the weights' SGD.
        momentum_buffers: The weights' momentum by name; zeros before the first step.
    """

    objective: Objective
    relaxation: Relaxation
    epoch: int
    epochs: int
    number: int
    seed: int
    learning_rate: float
    momentum: float
    weight_decay: float
    momentum_buffers: Weights

    @property
    def progress(self) -> float:
        """Epoch over number of epochs."""
        return self.epoch / self.epochs

    def cell_mixtures(self, alphas: Alphas) -> tuple[Mixture, ...]:
        """The mixture of every cell."""
        return self.objective.spread(self.relaxation.mixtures(alphas, self.progress))


@final
@dataclass(frozen=True)
class Estimate:
    """Value, gradient and diagnostics at a point; all tensors are detached.

    Args:
        value: Value of the function, a scalar.
        gradient: Tensors of the shapes of the parameters.
        diagnostics: Scalars for the log by name, such as ``search_loss``, the plain loss on the search batch.
    """

    value: Tensor
    gradient: Alphas
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)


CurvatureProduct = Callable[[Alphas], Alphas]
"""Maps a direction to the derivative of a gradient along it: a Hessian-vector product."""


class ArchitectureGradient(abc.ABC):
    """A function of the architecture parameters that a search descends, and an estimate of its gradient.

    It is a deterministic function of the step and the parameters: called twice in a step, say at two points by a
    gradient that wraps it, it sees the same batches and the same draws. Nothing of the step is changed.
    """

    @property
    def unrolls_weights(self) -> bool:
        """Whether the function looks ahead at the weights after the next step."""
        return False

    @property
    def small_difference(self) -> str | None:
        """Name, for messages, of a part of the gradient that is too small for bfloat16; ``None``: there is none."""
        return None

    @abc.abstractmethod
    def value(self, step: SearchStep, alphas: Alphas) -> Tensor:
        """The function at a point, without its gradient.

        Args:
            step: The losses and other data of this step.
            alphas: The point; need not be the search's own parameters.

        Returns:
            A detached scalar.
        """

    @abc.abstractmethod
    def estimate(self, step: SearchStep, alphas: Alphas) -> Estimate:
        """The function and its gradient at a point.

        Args:
            step: As in :meth:`value`.
            alphas: As in :meth:`value`.

        Returns:
            Value, gradient and numbers for the log.
        """

    @property
    def has_exact_curvature(self) -> bool:
        """Whether :meth:`linearize` is defined; a gradient that wraps another one answers for that."""
        return type(self).linearize is not ArchitectureGradient.linearize

    @final
    def gradient(self, step: SearchStep, alphas: Alphas) -> Alphas:
        """Only the gradient of :meth:`estimate`: detached tensors of the shapes of ``alphas``."""
        return self.estimate(step, alphas).gradient

    def linearize(self, step: SearchStep, alphas: Alphas) -> tuple[Estimate, CurvatureProduct]:  # noqa: ARG002
        """The estimate at a point, with the exact derivative of its gradient there.

        A gradient without exact curvature does not override this method, which raises an error.

        Args:
            step: As in :meth:`value`.
            alphas: As in :meth:`value`.

        Returns:
            The estimate, and the Hessian-vector product, which may keep a graph in memory while it exists.

        Raises:
            ValueError: If the gradient has no exact curvature; finite differences work with any gradient.
        """  # noqa: DOC202
        raise ValueError(
            f"{type(self).__name__} has no exact curvature; choose finite differences for what asks for it."
        )

    @final
    def curvature_product(self, step: SearchStep, alphas: Alphas, direction: Alphas) -> Alphas:
        """One product of :meth:`linearize`: detached tensors of the shapes of ``alphas``."""
        _, product = self.linearize(step, alphas)
        return product(direction)


class Regularizer(abc.ABC):
    """A term of the architecture's loss that needs no network."""

    def check(self, space: SearchSpace) -> None:  # noqa: B027 (most terms suit every space)
        """Refuse a space that the term does not suit; here none."""

    @abc.abstractmethod
    def loss(self, alphas: Alphas, epoch: int, epochs: int) -> Tensor:
        """The term, differentiable with respect to the parameters."""

    @abc.abstractmethod
    def strength_at(self, epoch: int, epochs: int) -> float:
        """The factor of the term in an epoch, counted from 0: for the log."""


@final
@dataclass(frozen=True)
class WeightReport:
    """Training loss and diagnostics of one weight step.

    Args:
        loss: The training loss, detached.
        diagnostics: Detached scalars for the log by name.
    """

    loss: Tensor
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)


class WeightStep(abc.ABC):
    """A rule for computing the gradients of the weights."""

    @property
    def small_difference(self) -> str | None:
        """Name, for messages, of a part of the gradients that is too small for bfloat16; ``None``: there is none."""
        return None

    def check(self, cell_types: Sequence[int]) -> None:  # noqa: B027 (most steps work on any network)
        """Refuse a network that the step does not support; by default none.

        Args:
            cell_types: For each cell, the position of its type in ``space.cell_types``.
        """

    @abc.abstractmethod
    def backward(self, step: SearchStep, alphas: Alphas) -> WeightReport:
        """Store the gradients in ``.grad`` of the live weights, which is zero or ``None`` before.

        Running BN statistics are updated once, by the pass at the mixtures with which the weights are trained.

        Args:
            step: The losses and other data of this step.
            alphas: The search's own parameters; they receive no gradient and do not change.

        Returns:
            The training loss and numbers for the log.
        """


class Selection(abc.ABC):
    """A rule for deriving an architecture from mixtures."""

    @abc.abstractmethod
    def select(self, space: SearchSpace, mixtures: Sequence[Mixture]) -> Architecture:
        """The architecture.

        Args:
            space: The search space.
            mixtures: One per cell type.

        Returns:
            A valid architecture.
        """
