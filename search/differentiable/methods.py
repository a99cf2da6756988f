"""A method of differentiable search: the parts that a search is put together from, and how both sides are optimised."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import final

import torch

from genas.choices import check_choices
from genas.data import ImageData
from genas.search.differentiable.flatness import FlatMinima
from genas.search.differentiable.gradients import FirstOrder
from genas.search.differentiable.parts import ArchitectureGradient, Regularizer, Selection, WeightStep
from genas.search.differentiable.projected_search import ProjectedSearch, check_runs_to_its_end
from genas.search.differentiable.projection import ProjectionSettings
from genas.search.differentiable.regularizers import regularized
from genas.search.differentiable.relaxation import SkipSchedule, Softmax
from genas.search.differentiable.search import DifferentiableSearch, SearchParts
from genas.search.differentiable.settings import SearchSettings
from genas.search.differentiable.stopping import Fixed, SkipCount, Stopping
from genas.search.differentiable.weight_steps import Plain
from genas.spaces import SearchSpace
from genas.supernet import CellNetwork
from genas.supernet.mixtures import MixtureOptions, PartialScope


@final
@dataclass(frozen=True)
class PartialChannels:
    """PC-DARTS: only a part of the channels passes through the operations.

    Args:
        one_in: K: the first of every K channels does.
        scope: Around what the others go: each of the ``edges``, or, as in A²M's code on NAS-Bench-201, the ``cell``.

    Raises:
        ValueError: If ``one_in`` is below two or ``scope`` unknown.

    Reference:
        Xu et al., PC-DARTS, ICLR 2020.
    """

    one_in: int = 4
    scope: PartialScope = "edges"

    def __post_init__(self) -> None:
        check_choices(self)
        if self.one_in < 2:
            raise ValueError(f"Partial channels must be one in two or more, but got one in {self.one_in}.")


@final
@dataclass(frozen=True)
class Method:
    """A search method: one part for each question that the methods of the field answer differently.

    The default is first-order DARTS. Any part may be one of your own.

    Args:
        settings: Optimisation of weights and architecture.
        gradient: Estimator of the gradient of the architecture parameters.
        regularizer: Term added to their loss; ``None``: none.
        weight_step: Computation of the gradients of the weights.
        stopping: Rule for ending the search early.
        selection: Rule by which the architecture is read off; ``None``: that of the space.
        edge_normalization: Whether edges have weights, too (PC-DARTS).
        partial: Channels that pass through the operations (PC-DARTS); ``None``: all.
        skip_schedule: Strength of the auxiliary skip connections (DARTS-); ``None``: there are none.
        projection: Settings of the projection with which the search ends (DARTS-PT); ``None``: there is none.
        flatness: The plug-in for flat minima around the gradient (A²M, NA); ``None``: there is none.

    Raises:
        ValueError: If parts exclude each other, or one has nothing to do.

    Example:
        >>> from genas.search.differentiable import A2M, BetaDecay
        >>> flat = Method(SearchSettings(epochs=20), regularizer=BetaDecay(), flatness=A2M(rho=0.05))
        >>> flat.weight_step
        Plain()
    """

    settings: SearchSettings = field(default_factory=SearchSettings)
    _: KW_ONLY
    gradient: ArchitectureGradient = field(default_factory=FirstOrder)
    regularizer: Regularizer | None = None
    weight_step: WeightStep = field(default_factory=Plain)
    stopping: Stopping = field(default_factory=Fixed)
    selection: Selection | None = None
    edge_normalization: bool = False
    partial: PartialChannels | None = None
    skip_schedule: SkipSchedule | None = None
    projection: ProjectionSettings | None = None
    flatness: FlatMinima | None = None

    def __post_init__(self) -> None:
        settings = self.settings
        if self.projection is not None:
            check_runs_to_its_end(self.stopping)
        if settings.eigenvalue_batches > 1 and not self.computes_eigenvalues:
            raise ValueError(
                "eigenvalue_batches is set, but no eigenvalue is computed; set eigenvalue_every or a rule for stopping "
                "by eigenvalues too."
            )
        if self.gradient.unrolls_weights and settings.decay_scope != "all":
            raise ValueError(
                "The look-ahead of the second order decays all weights, so decay_scope must be all, but got "
                f"{settings.decay_scope!r}."
            )
        if not settings.learn_alphas:
            self._check_resting()

    def _check_resting(self) -> None:
        """Refuse parts that an architecture that stays what it is has no use for."""
        parts = (self.gradient, self.regularizer, self.flatness)
        unused = [type(part).__name__ for part in parts if part not in (FirstOrder(), None)]
        if isinstance(self.stopping, SkipCount):
            unused.append(SkipCount.__name__)
        if unused:
            raise ValueError(
                f"Without learn_alphas the architecture stays what it is, so {unused[0]} would do "
                "nothing; let it learn, or leave that out."
            )

    @property
    def computes_eigenvalues(self) -> bool:
        """Whether the dominant eigenvalue is computed after any epoch, for the log or for the rule of stopping."""
        settings = self.settings
        return bool(settings.eigenvalue_every) or any(map(self.stopping.wants_eigenvalue, range(settings.epochs)))

    @property
    def network_options(self) -> MixtureOptions:
        """Options with which the supernet must be built."""
        auxiliary = self.skip_schedule is not None
        if self.partial is None:
            return MixtureOptions(auxiliary_skip=auxiliary)
        return MixtureOptions(self.partial.one_in, self.partial.scope, auxiliary_skip=auxiliary)

    def parts(self, space: SearchSpace) -> SearchParts:
        """The parts as a search in a space has them: the gradient with all that wraps it, the rule past the warm-up.

        Args:
            space: The search space.

        Returns:
            The parts.

        Raises:
            ValueError: If a part does not suit the space or the others; the message says why.
        """
        if self.regularizer is not None:
            self.regularizer.check(space)
        self.stopping.check(space)
        if self.flatness is None:
            gradient = regularized(self.gradient, self.regularizer)
        else:
            gradient = self.flatness.wrap(self.gradient, self.regularizer, space)
        return SearchParts(
            Softmax(space, edge_normalization=self.edge_normalization, skip_schedule=self.skip_schedule),
            gradient,
            self.weight_step,
            self.selection,
            self.stopping.after_warmup(self.settings.warmup_epochs),
        )

    def needs_float32(self, space: SearchSpace) -> bool:
        """Whether the method lives on differences that are too small for bfloat16."""
        return self.parts(space).small_difference is not None

    def search(
        self, network: CellNetwork, data: ImageData, *, seed: int, precision: torch.dtype = torch.float32
    ) -> DifferentiableSearch:
        """A search by this method, not yet begun.

        Args:
            network: A supernet built with ``network_options``, already on its device.
            data: Images on the same device.
            seed: Root seed.
            precision: Compute type of the forward pass: float32, or bfloat16 through autocast.

        Returns:
            The search; :func:`genas.supernet.fit` carries it out.

        Raises:
            ValueError: If the parts do not suit each other, the network or the precision.
        """
        parts = self.parts(network.space)
        if precision != torch.float32 and (name := parts.small_difference):
            raise ValueError(f"{name} is a small difference that bfloat16 turns into noise; choose precision fp32.")
        if network.options != self.network_options:
            raise ValueError(f"The network must be built with {self.network_options}, but has {network.options}.")
        self.weight_step.check(network.cell_types)
        if self.projection is None:
            return DifferentiableSearch(network, data, self.settings, parts, seed=seed, precision=precision)
        return ProjectedSearch(network, data, self.settings, parts, self.projection, seed=seed, precision=precision)
