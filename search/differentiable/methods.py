"""The methods by name: presets that say which parts a search is put together from, and with which numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, final, get_args

import torch

from genas.choices import check_choices
from genas.data import ImageData
from genas.registry import Registry
from genas.search.differentiable.flatness import A2M_CODE, A2MOptions, FlatnessName, NAOptions, flat_gradient
from genas.search.differentiable.gradients import FirstOrder, Unrolled
from genas.search.differentiable.lambda_hook import AlignmentForm, LambdaHook
from genas.search.differentiable.parts import ArchitectureGradient, WeightStep
from genas.search.differentiable.projected_search import ProjectedSearch
from genas.search.differentiable.projection import ProjectionSettings
from genas.search.differentiable.regularizers import BetaDecay, LinearSchedule
from genas.search.differentiable.relaxation import SkipSchedule, SkipShape, Softmax
from genas.search.differentiable.search import DifferentiableSearch, SearchParts
from genas.search.differentiable.settings import AlphaOptimization, SearchSettings
from genas.search.differentiable.stopping import DominantEigenvalue, Fixed, SkipCount, Stopping
from genas.search.differentiable.weight_steps import AdversarialSmoothing, Plain, RandomSmoothing, SmoothingRadius
from genas.spaces import SearchSpace
from genas.supernet import CellNetwork
from genas.supernet.mixtures import MixtureOptions, PartialScope
from genas.supernet.schedules import LearningRate

Numbers = Literal["recommended", "code", "a2m-code"]
"""Whose numbers a preset has: those that we recommend, those of the method's published scripts, or those with which
A²M's authors ran it.

Their numbers are not all that their code does: on DARTS it grew the strength of β-decay within each epoch, with the
number of the batch; it kept the architecture parameters of DARTS-PT where they were at the beginning; on NAS-Bench-201
the auxiliary skip connection of DARTS- read the input of the cell and decayed at the end of an epoch, and Λ-DARTS was
run without A²M; and it stopped after ten epochs without a better validation loss. None of this is repeated here.
"""

_NOT_RUN_WITH_A2M = ("sdarts-adv", "darts-es")


@final
class Dependent(NamedTuple):
    """Fields of a :class:`Method` that only some methods read.

    Args:
        names: The fields.
        needed: What must be set so that they are read, for messages.
        reads: Whether a method, or anything with its fields, reads them.
    """

    names: tuple[str, ...]
    needed: str
    reads: Callable[[Any], bool]


DEPENDENTS = (
    Dependent(
        ("beta_weights",),
        "beta_slope or beta_end",
        lambda method: method.beta_slope is not None or method.beta_end is not None,
    ),
    Dependent(("alignment_form", "alignment_epsilon"), "alignment", lambda method: method.alignment > 0),
    Dependent(("smoothing_start", "smoothing_end"), "smoothing", lambda method: method.smoothing != "none"),
    Dependent(("partial_scope",), "partial_channels", lambda method: method.partial_channels > 1),
    Dependent(("skip_shape",), "skip_strength", lambda method: method.skip_strength > 0),
    Dependent(
        ("stop_frequency", "stop_window", "stop_delta", "stop_factor", "stop_earliest"),
        "stop=eigenvalue",
        lambda method: method.stop == "eigenvalue",
    ),
    Dependent(("most_skips",), "stop=skips", lambda method: method.stop == "skips"),
    Dependent(
        ("projection_interval", "projection_criterion"),
        "select=projection",
        lambda method: method.select == "projection",
    ),
)
"""Which fields of a method are read only with which others."""


@final
@dataclass(frozen=True)
class Method:
    """A search method as data; any part can be set on any method.

    Args:
        settings: How weights and architecture are optimised.
        second_order: Whether the architecture's gradient looks one step of the weights ahead (DARTS, second order).
        beta_slope: Growth per epoch of the strength of β-decay.
        beta_end: Or its strength after all epochs.
        beta_weights: Weight of β-decay in each cell type; ``None``: one. Those of A²M's variants, (1.6, 0.4) and (0.4,
            1.6), sum to two.
        alignment: Strength of Λ-DARTS' alignment of the cells; 0 for none.
        alignment_form: How it is measured.
        alignment_epsilon: Length of its finite difference.
        smoothing: SDARTS: weights are trained at ``random`` or ``adversarial`` mixtures nearby.
        smoothing_start: Radius of these in the first epoch.
        smoothing_end: And after the last one.
        partial_channels: PC-DARTS: one in so many channels passes through the operations; 1 for all.
        partial_scope: Around what the other channels go: each of the ``edges``, or, as in A²M's code on NAS-Bench-201,
            the whole ``cell``.
        edge_normalization: PC-DARTS: edges have weights, too.
        skip_strength: DARTS-: the auxiliary skip connection in the first epoch; 0 for none.
        skip_shape: How it decays.
        stop: When the search ends: after all epochs, or earlier by the dominant ``eigenvalue`` (DARTS-ES) or the number
            of ``skips``.
        stop_frequency: Epochs between two eigenvalues; these five are described at :class:`DominantEigenvalue`.
        stop_window: Number of eigenvalues in an average.
        stop_delta: Number of eigenvalues between the averages that are compared.
        stop_factor: Growth that ends the search.
        stop_earliest: First epoch that may be the result.
        most_skips: Skip connections that ``skips`` allows in a cell, on DARTS the normal one.
        select: How the architecture is read off: by the ``weights`` of the operations, or by ``projection`` (DARTS-PT).
        projection_interval: Epochs of tuning between two rounds of the projection.
        projection_criterion: What a removal costs there.
        a2m: Options of A²M when it is plugged in.

    Raises:
        ValueError: If a word is unknown, or something is set that nothing reads.
    """

    settings: SearchSettings = field(default_factory=SearchSettings)
    second_order: bool = False
    beta_slope: float | None = None
    beta_end: float | None = None
    beta_weights: tuple[float, ...] | None = None
    alignment: float = 0.0
    alignment_form: AlignmentForm = LambdaHook.form
    alignment_epsilon: float = LambdaHook.epsilon
    smoothing: Literal["none", "random", "adversarial"] = "none"
    smoothing_start: float = SmoothingRadius.start
    smoothing_end: float = SmoothingRadius.end
    partial_channels: int = 1
    partial_scope: PartialScope = "edges"
    edge_normalization: bool = False
    skip_strength: float = 0.0
    skip_shape: SkipShape = SkipSchedule.shape
    stop: Literal["epochs", "eigenvalue", "skips"] = "epochs"
    stop_frequency: int = DominantEigenvalue.frequency
    stop_window: int = DominantEigenvalue.window
    stop_delta: int = DominantEigenvalue.delta
    stop_factor: float = DominantEigenvalue.factor
    stop_earliest: int = DominantEigenvalue.earliest
    most_skips: int = SkipCount.most
    select: Literal["weights", "projection"] = "weights"
    projection_interval: int = ProjectionSettings.interval
    projection_criterion: Literal["accuracy", "loss"] = ProjectionSettings.criterion
    a2m: A2MOptions = field(default_factory=A2MOptions)

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("alignment", "skip_strength"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and not negative, but got {getattr(self, name)}.")
        for names, needed, reads in DEPENDENTS:
            for name in names:
                if not reads(self) and getattr(self, name) != getattr(Method, name):
                    raise ValueError(f"{name} is set, but nothing reads it without {needed}; set that too, or neither.")
        if self.select == "projection" and self.stop != "epochs":
            raise ValueError(
                f"A projection starts from the supernet after all epochs, but stop is {self.stop}; choose one of both."
            )
        if self.smoothing != "none" and self.alignment > 0:
            raise ValueError(
                "A step of the weights can smooth (SDARTS) or align the cells (Λ-DARTS), but both are set; choose one."
            )
        settings = self.settings
        if settings.eigenvalue_batches > 1 and not settings.eigenvalue_every and self.stop != "eigenvalue":
            raise ValueError(
                "eigenvalue_batches is set, but no eigenvalue is computed; set eigenvalue_every or stop=eigenvalue too."
            )
        if self.second_order and settings.decay_scope != "all":
            raise ValueError(
                "The look-ahead of second_order decays all weights, so decay_scope must be all, but got "
                f"{settings.decay_scope!r}."
            )
        if not settings.learn_alphas and (self.has_beta or self.second_order or self.stop == "skips"):
            raise ValueError(
                "Without learn_alphas the architecture stays what it is, but beta, second_order or stop=skips is set; "
                "let it learn, or choose a method without them, such as darts."
            )

    @property
    def has_beta(self) -> bool:
        """Whether β-decay is part of the method."""
        return self.beta_slope is not None or self.beta_end is not None

    @property
    def network_options(self) -> MixtureOptions:
        """What the supernet must be able to do."""
        return MixtureOptions(self.partial_channels, self.partial_scope, auxiliary_skip=self.skip_strength > 0)

    def parts(
        self,
        space: SearchSpace,
        flatness: FlatnessName = "none",
        na: NAOptions = NAOptions(),  # noqa: B008 (frozen)
    ) -> SearchParts:
        """The parts of a search.

        Args:
            space: The search space.
            flatness: Which plug-in wraps the architecture's gradient.
            na: Options of NA, if it is that.

        Returns:
            The parts.

        Raises:
            ValueError: If the combination is impossible; the message says why.
        """
        if self.beta_weights is not None and len(self.beta_weights) != len(space.cell_types):
            raise ValueError(
                f"beta_weights must have a number for each of the {len(space.cell_types)} cell types, but "
                f"got {self.beta_weights}."
            )
        if flatness != "none" and not self.settings.learn_alphas:
            raise ValueError(
                f"Without learn_alphas nothing reads a gradient, so {flatness} would do nothing; leave one out."
            )
        plain: ArchitectureGradient = Unrolled() if self.second_order else FirstOrder()
        return SearchParts(
            Softmax(
                space,
                edge_normalization=self.edge_normalization,
                skip_schedule=SkipSchedule(self.skip_shape, self.skip_strength) if self.skip_strength > 0 else None,
            ),
            flat_gradient(plain, self._beta(), space, flatness, self.a2m, na),
            self._weight_step(),
            stopping=self._stopping(space),
        )

    def search(
        self,
        network: CellNetwork,
        data: ImageData,
        flatness: FlatnessName = "none",
        na: NAOptions = NAOptions(),  # noqa: B008 (frozen)
        *,
        seed: int,
        precision: torch.dtype = torch.float32,
    ) -> DifferentiableSearch:
        """A search by this method, not yet begun.

        Args:
            network: A supernet built with ``network_options``, already on its device.
            data: Images on the same device.
            flatness: As in :meth:`parts`.
            na: As in :meth:`parts`.
            seed: Root seed.
            precision: Compute type of the forward pass: float32, or bfloat16 through autocast.

        Returns:
            The search; :func:`genas.supernet.fit` carries it out.

        Raises:
            ValueError: If the combination is impossible, also for this network and precision.
        """
        if precision != torch.float32 and (name := self._small_difference(flatness)):
            raise ValueError(f"{name} is a small difference that bfloat16 turns into noise; choose precision fp32.")
        if network.options != self.network_options:
            raise ValueError(f"The network must be built with {self.network_options}, but has {network.options}.")
        parts, projection = self.parts(network.space, flatness, na), self.projection
        parts.weight_step.check(network.cell_types)
        if projection is None:
            return DifferentiableSearch(network, data, self.settings, parts, seed=seed, precision=precision)
        return ProjectedSearch(network, data, self.settings, parts, projection, seed=seed, precision=precision)

    def needs_float32(self, flatness: FlatnessName) -> bool:
        """Whether the method lives on differences that are too small for bfloat16."""
        return self._small_difference(flatness) is not None

    def _small_difference(self, flatness: FlatnessName) -> str | None:
        if flatness == "a2m":
            return "What A²M adds to the gradient"
        if self.alignment > 0:
            return "The gradient of Λ-DARTS' alignment"
        return "The look-ahead of second_order" if self.second_order else None

    def _beta(self) -> BetaDecay | None:
        if not self.has_beta:
            return None
        strength = LinearSchedule(self.beta_slope, self.beta_end)
        return BetaDecay(strength, weights=self.beta_weights)

    def _weight_step(self) -> WeightStep:
        radius = SmoothingRadius(self.smoothing_start, self.smoothing_end)
        if self.alignment > 0:
            return LambdaHook(self.alignment, form=self.alignment_form, epsilon=self.alignment_epsilon)
        if self.smoothing == "random":
            return RandomSmoothing(radius)
        return AdversarialSmoothing(radius) if self.smoothing == "adversarial" else Plain()

    def _stopping(self, space: SearchSpace) -> Stopping:
        moving = self.settings.warmup_epochs  # before, the architecture is the random one of the beginning
        if self.stop == "eigenvalue":
            return DominantEigenvalue(
                frequency=self.stop_frequency,
                window=self.stop_window,
                delta=self.stop_delta,
                factor=self.stop_factor,
                earliest=max(self.stop_earliest, moving),
            )
        if self.stop == "skips":
            return SkipCount(self.most_skips, cell=space.cell_types[0].name, earliest=moving)
        return Fixed()

    @property
    def projection(self) -> ProjectionSettings | None:
        """How a projection is paced, if the method ends with one."""
        if self.select == "weights":
            return None
        rate = self.settings.learning_rate.start / 10
        return ProjectionSettings(self.projection_interval, self.projection_criterion, rate)


Preset = Callable[[SearchSpace, Numbers], Method]
"""From a space and whose numbers to a method."""

METHODS: Registry[Preset] = Registry("search method", "genas.methods")
"""Names to presets. Other packages offer theirs as entry points of the group ``genas.methods``."""


def method(name: str, space: SearchSpace, numbers: Numbers = "recommended") -> Method:
    """A method by name.

    Args:
        name: darts, darts-2nd, beta-darts, lambda-darts, darts-pt, darts-minus, sdarts-rs, sdarts-adv, pc-darts,
            darts-es, or one of another package. An unknown name is a ``KeyError`` that suggests the nearest one.
        space: The search space.
        numbers: Whose numbers.

    Returns:
        The preset.

    Raises:
        ValueError: If ``numbers`` is none of these, or there are none for this method.

    Example:
        >>> from genas.spaces import NASBench201
        >>> method("pc-darts", NASBench201()).partial_channels
        4
    """
    if numbers not in get_args(Numbers):
        raise ValueError(f"numbers must be one of {', '.join(get_args(Numbers))}, but got {numbers!r}.")
    if numbers == "a2m-code" and name in _NOT_RUN_WITH_A2M:
        raise ValueError(
            f"A²M's authors did not run {name}, so it has no numbers of theirs; choose recommended or code."
        )
    found = METHODS[name](space, numbers)
    return found if numbers == "recommended" or found.a2m != A2MOptions() else replace(found, a2m=A2M_CODE)


def _is_nasbench201(space: SearchSpace) -> bool:
    """Whether a space is searched with the numbers of NAS-Bench-201, not with those of DARTS: one without its rules."""
    return space.is_product


def _settings(space: SearchSpace, numbers: Numbers) -> SearchSettings:
    """The settings that the methods' own forks share: 100 epochs on NAS-Bench-201 (A²M's and we: 50), 50 on DARTS."""
    return SearchSettings(epochs=100 if numbers == "code" and _is_nasbench201(space) else 50)


def _autodl(space: SearchSpace, numbers: Numbers) -> SearchSettings:
    """DARTS' settings: on NAS-Bench-201 the code is AutoDL-Projects'."""
    if numbers == "code" and _is_nasbench201(space):
        return SearchSettings(nesterov=True, weight_decay=5e-4, update_order="weights_first")
    return SearchSettings()


def _darts(space: SearchSpace, numbers: Numbers) -> Method:
    return Method(_autodl(space, numbers))


def _darts_2nd(space: SearchSpace, numbers: Numbers) -> Method:
    settings = _autodl(space, numbers)  # but in AutoDL's second order, too, the architecture moves first
    return Method(replace(settings, update_order="alpha_first"), second_order=True)


def _beta(space: SearchSpace, numbers: Numbers) -> Method:
    """The paper's strength grows to 50, on DARTS to 25; the code's by 1/2 an epoch, whatever the number of epochs."""
    if numbers != "recommended":
        return Method(_settings(space, numbers), beta_slope=0.5)
    return Method(_settings(space, numbers), beta_end=50.0 if _is_nasbench201(space) else 25.0)


def _lambda(space: SearchSpace, numbers: Numbers) -> Method:
    settings = _settings(space, numbers)
    if _is_nasbench201(space):
        slow = replace(settings, alphas=AlphaOptimization(learning_rate=1e-4))
        if numbers == "recommended":
            return Method(slow, alignment=0.25)
        return Method(replace(slow, update_order="weights_first"), alignment=0.25 if numbers == "code" else 0.125)
    if numbers == "code":  # its scripts for S1 to S4 and SVHN
        return Method(replace(settings, batch_size=96), alignment=0.25, alignment_epsilon=1e-3)
    return Method(settings, alignment=0.125, alignment_form="signcorr")


def _pt(space: SearchSpace, numbers: Numbers) -> Method:
    settings = _settings(space, numbers)
    return Method(replace(settings, batch_size=32) if numbers == "a2m-code" else settings, select="projection")


def _minus(space: SearchSpace, numbers: Numbers) -> Method:  # noqa: ARG001 (the published code has no other numbers)
    return Method(SearchSettings(), skip_strength=1.0)


def _sdarts_rs(space: SearchSpace, numbers: Numbers) -> Method:
    return Method(_settings(space, numbers), smoothing="random")


def _sdarts_adv(space: SearchSpace, numbers: Numbers) -> Method:
    return Method(_settings(space, numbers), smoothing="adversarial")


def _pc(space: SearchSpace, numbers: Numbers) -> Method:
    """The published numbers are for DARTS; on NAS-Bench-201 we keep that space's batch and learning rates."""
    if numbers == "a2m-code":
        scope: PartialScope = "cell" if _is_nasbench201(space) else "edges"
        return Method(SearchSettings(), partial_channels=4, partial_scope=scope)
    # The code rests the architecture for 15 epochs, whatever their number; we, for the same share of them.
    settings = SearchSettings(warmup=0.3 if numbers == "recommended" else 15)
    if not _is_nasbench201(space):
        settings = replace(
            settings,
            batch_size=256,
            learning_rate=LearningRate(0.1, 0.0),
            alphas=AlphaOptimization(learning_rate=6e-4),
        )
    return Method(settings, partial_channels=4, edge_normalization=True)


def _es(space: SearchSpace, numbers: Numbers) -> Method:  # noqa: ARG001 (the same on all spaces)
    """The code unrolls the weights, at five times the cost; then A²M is out of the question."""
    return Method(SearchSettings(), second_order=numbers == "code", stop="eigenvalue")


for _name, _preset in {
    "darts": _darts,
    "darts-2nd": _darts_2nd,
    "beta-darts": _beta,
    "lambda-darts": _lambda,
    "darts-pt": _pt,
    "darts-minus": _minus,
    "sdarts-rs": _sdarts_rs,
    "sdarts-adv": _sdarts_adv,
    "pc-darts": _pc,
    "darts-es": _es,
}.items():
    METHODS.add(_name, _preset)
