"""The options of ``genas search`` that change a method, and what they do to its parts.

A :class:`Method` is made of parts; on the command line it is a flat list of options. Here one becomes the other. Every
option is ``None`` for what the method itself says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from genas.commands.settings_options import SettingsChanges, given, renamed
from genas.errors import UnreadSettingError
from genas.search.differentiable import (
    AdversarialSmoothing,
    ArchitectureGradient,
    BetaDecay,
    DominantEigenvalue,
    FirstOrder,
    Fixed,
    LambdaHook,
    LinearSchedule,
    Method,
    PartialChannels,
    Plain,
    ProjectionSettings,
    RandomSmoothing,
    Regularizer,
    SkipCount,
    SkipSchedule,
    SmoothingRadius,
    Stopping,
    Unrolled,
    WeightStep,
)
from genas.search.differentiable.gradients import MixedTerm
from genas.search.differentiable.lambda_hook import AlignmentForm
from genas.search.differentiable.relaxation import SkipShape
from genas.spaces import SearchSpace
from genas.supernet.mixtures import PartialScope

T = TypeVar("T")

_SMOOTHINGS = (RandomSmoothing, AdversarialSmoothing)


@dataclass(frozen=True)
class MethodChanges:
    """Parts of the search in the place of the method's own, which are described at :class:`Method`.

    Args:
        second_order: Whether the architecture's gradient looks one step of the weights ahead.
        mixed: The second order's product with a second derivative, by a finite difference or exact.
        beta_slope: Growth per epoch of the strength of beta decay.
        beta_end: Strength of beta decay after all epochs, in the place of beta_slope.
        beta_weights: Weight of beta decay in each cell type.
        alignment: Strength of Lambda-DARTS' alignment of the cells; 0 for none.
        alignment_form: How the alignment is measured.
        alignment_epsilon: Length of the alignment's finite difference.
        smoothing: SDARTS: weights are trained at random or adversarial mixtures nearby.
        smoothing_start: SDARTS: radius of the smoothing in the first epoch.
        smoothing_end: SDARTS: radius of the smoothing after the last epoch.
        partial_channels: PC-DARTS: one in so many channels passes through the operations; 1 for all.
        partial_scope: PC-DARTS: around what the other channels go, each of the edges or the whole cell.
        edge_normalization: PC-DARTS: edges have weights, too.
        skip_strength: DARTS-: the auxiliary skip connection in the first epoch; 0 for none.
        skip_shape: DARTS-: how the auxiliary skip connection decays.
        stop: When the search ends: after all epochs, by the dominant eigenvalue (DARTS-ES), or by the number of skips.
        stop_frequency: DARTS-ES: epochs between two eigenvalues.
        stop_window: DARTS-ES: number of eigenvalues in an average.
        stop_delta: DARTS-ES: number of eigenvalues between the averages that are compared.
        stop_factor: DARTS-ES: growth of the average that ends the search.
        stop_earliest: DARTS-ES: number of epochs before the first that may be the result.
        most_skips: Skip connections that stop=skips allows in a cell.
        select: How the architecture is read off: by the weights of the operations, or by projection (DARTS-PT).
        projection_interval: DARTS-PT: epochs of tuning between two rounds.
        projection_criterion: DARTS-PT: what the removal of an operation costs.
    """

    second_order: bool | None = None
    mixed: MixedTerm | None = None
    beta_slope: float | None = None
    beta_end: float | None = None
    beta_weights: tuple[float, ...] | None = None
    alignment: float | None = None
    alignment_form: AlignmentForm | None = None
    alignment_epsilon: float | None = None
    smoothing: Literal["none", "random", "adversarial"] | None = None
    smoothing_start: float | None = None
    smoothing_end: float | None = None
    partial_channels: int | None = None
    partial_scope: PartialScope | None = None
    edge_normalization: bool | None = None
    skip_strength: float | None = None
    skip_shape: SkipShape | None = None
    stop: Literal["epochs", "eigenvalue", "skips"] | None = None
    stop_frequency: int | None = None
    stop_window: int | None = None
    stop_delta: int | None = None
    stop_factor: float | None = None
    stop_earliest: int | None = None
    most_skips: int | None = None
    select: Literal["weights", "projection"] | None = None
    projection_interval: int | None = None
    projection_criterion: Literal["accuracy", "loss"] | None = None

    def applied(self, method: Method, space: SearchSpace, settings: SettingsChanges) -> Method:
        """The method with these changes.

        Args:
            method: A preset.
            space: The search space.
            settings: Changes of its settings.

        Returns:
            A new method. One of ``beta_slope`` and ``beta_end`` takes the place of the other; what the preset says
            about a part that is switched off goes with it.

        Raises:
            UnreadSettingError: If a change is one that nothing reads.
            ValueError: If one would put a part in the place of another that no option names, such as a plug-in's.
        """
        found = replace(
            method,
            settings=settings.applied(method.settings),
            gradient=self._gradient(method.gradient),
            regularizer=self._regularizer(method.regularizer),
            weight_step=self._smoothed(self._aligned(self._without(method.weight_step))),
            stopping=self._stopping(method.stopping, space),
            edge_normalization=(
                method.edge_normalization if self.edge_normalization is None else self.edge_normalization
            ),
            partial=self._partial(method.partial),
            skip_schedule=self._skip_schedule(method.skip_schedule),
            projection=self._projection(method.projection),
        )
        _refuse_unread(found, settings)
        return found

    def _gradient(self, own: ArchitectureGradient) -> ArchitectureGradient:
        if self.second_order is not None and self.second_order != isinstance(own, Unrolled):
            _check_replaceable("second_order", own, FirstOrder, Unrolled)
            own = Unrolled() if self.second_order else FirstOrder()
        return self._changed(own, Unrolled, "second_order", {"mixed": "mixed"})

    def _regularizer(self, own: Regularizer | None) -> Regularizer | None:
        schedule = renamed(self, {"beta_slope": "slope", "beta_end": "end"})
        if schedule:
            _check_replaceable(f"beta_{next(iter(schedule))}", own, BetaDecay)
            own = BetaDecay(LinearSchedule(**schedule), own.weights if isinstance(own, BetaDecay) else None)
        return self._changed(own, BetaDecay, "beta_slope or beta_end", {"beta_weights": "weights"})

    def _without(self, own: WeightStep) -> WeightStep:
        """The step of the weights with its alignment or smoothing switched off, if that is wanted."""
        if isinstance(own, LambdaHook) and self.alignment == 0:
            return Plain()
        return Plain() if isinstance(own, _SMOOTHINGS) and self.smoothing == "none" else own

    def _aligned(self, own: WeightStep) -> WeightStep:
        if self.alignment:
            _check_replaceable("alignment", own, Plain, LambdaHook)
            own = replace(own, strength=self.alignment) if isinstance(own, LambdaHook) else LambdaHook(self.alignment)
        names = {"alignment_form": "form", "alignment_epsilon": "epsilon"}
        return self._changed(own, LambdaHook, "alignment", names)

    def _smoothed(self, own: WeightStep) -> WeightStep:
        radius = own.radius if isinstance(own, _SMOOTHINGS) else None
        if self.smoothing in ("random", "adversarial"):
            _check_replaceable("smoothing", own, Plain, *_SMOOTHINGS)
            radius, kind = radius or SmoothingRadius(), _SMOOTHINGS[self.smoothing == "adversarial"]
            own = own if isinstance(own, kind) else kind(radius)
        names = {"smoothing_start": "start", "smoothing_end": "end"}
        radius = self._changed(radius, SmoothingRadius, "smoothing", names)
        return own if radius is None or not isinstance(own, _SMOOTHINGS) else replace(own, radius=radius)

    def _stopping(self, own: Stopping, space: SearchSpace) -> Stopping:
        if self.stop == "epochs":
            own = Fixed()
        elif self.stop is not None:
            _check_replaceable("stop", own, Fixed, DominantEigenvalue, SkipCount)
            if self.stop == "eigenvalue" and not isinstance(own, DominantEigenvalue):
                own = DominantEigenvalue()
            if self.stop == "skips" and not isinstance(own, SkipCount):
                own = SkipCount(cell=space.cell_types[0].name)  # on DARTS the normal one
        names = {f"stop_{name}": name for name in ("frequency", "window", "delta", "factor", "earliest")}
        own = self._changed(own, DominantEigenvalue, "stop=eigenvalue", names)
        return self._changed(own, SkipCount, "stop=skips", {"most_skips": "most"})

    def _partial(self, own: PartialChannels | None) -> PartialChannels | None:
        if self.partial_channels is not None:
            one_in = self.partial_channels
            own = None if one_in == 1 else replace(own or PartialChannels(), one_in=one_in)
        return self._changed(own, PartialChannels, "partial_channels", {"partial_scope": "scope"})

    def _skip_schedule(self, own: SkipSchedule | None) -> SkipSchedule | None:
        if self.skip_strength is not None:
            start = self.skip_strength
            own = None if start == 0 else replace(own or SkipSchedule(), start=start)
        return self._changed(own, SkipSchedule, "skip_strength", {"skip_shape": "shape"})

    def _projection(self, own: ProjectionSettings | None) -> ProjectionSettings | None:
        if self.select is not None:
            own = (own or ProjectionSettings()) if self.select == "projection" else None
        names = {"projection_interval": "interval", "projection_criterion": "criterion"}
        return self._changed(own, ProjectionSettings, "select=projection", names)

    def _changed(self, part: T, kind: type, needed: str, names: Mapping[str, str]) -> T:
        """The part with its given options (names: option to field), which are refused if it is of another kind."""
        changes = renamed(self, names)
        if changes and not isinstance(part, kind):
            option = next(name for name, own in names.items() if own in changes)
            raise UnreadSettingError(f"{option} is set, but nothing reads it without {needed}", f"parts.{option}")
        return replace(part, **changes) if changes else part  # type: ignore[type-var]


def _check_replaceable(option: str, part: object, *known: type) -> None:
    """Refuse an option that would put another part in the place of one that it does not know."""
    if part is not None and not isinstance(part, known):
        raise ValueError(
            f"{option} is set, but the method already has {type(part).__name__} in that place; choose one."
        )


def _refuse_unread(method: Method, changes: SettingsChanges) -> None:
    """Without a moving architecture, batches of the search are for projections and eigenvalues alone."""
    if method.settings.learn_alphas:
        return
    unread = {
        *("warmup", "update_order", "search_batch_size", "augment_search"),
        *("alpha_learning_rate", "alpha_weight_decay"),
    }
    if method.projection is not None:
        unread -= {"search_batch_size"}
    if method.computes_eigenvalues:
        unread -= {"search_batch_size", "augment_search", "alpha_weight_decay"}
    for name in given(changes):
        if name in unread:
            raise UnreadSettingError(f"{name} is set, but nothing reads it without learn_alphas", f"settings.{name}")
