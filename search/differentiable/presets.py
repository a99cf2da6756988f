"""The methods by name: presets of the parts of a search and of their numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, get_args

from genas.registry import Registry
from genas.search.differentiable.gradients import FirstOrder, Unrolled
from genas.search.differentiable.lambda_hook import LambdaHook
from genas.search.differentiable.methods import Method, PartialChannels
from genas.search.differentiable.parts import has_nasbench201_numbers
from genas.search.differentiable.projection import ProjectionSettings
from genas.search.differentiable.regularizers import BetaDecay, LinearSchedule
from genas.search.differentiable.relaxation import SkipSchedule
from genas.search.differentiable.settings import AlphaOptimization, SearchSettings
from genas.search.differentiable.stopping import DominantEigenvalue
from genas.search.differentiable.weight_steps import AdversarialSmoothing, RandomSmoothing
from genas.spaces import SearchSpace
from genas.supernet.schedules import LearningRate

Numbers = Literal["recommended", "code", "a2m-code"]
"""Source of a preset's numbers: our recommendation, the method's published scripts, or the runs of A²M's authors.

Their numbers are not all that their code does: on DARTS it grew the strength of β-decay within each epoch, with the
number of the batch; it kept the architecture parameters of DARTS-PT where they were at the beginning; on NAS-Bench-201
the auxiliary skip connection of DARTS- read the input of the cell and decayed at the end of an epoch, Λ-DARTS was run
without A²M, and DARTS on images of the search that were not augmented; and it stopped after ten epochs without a better
validation loss. None of this is repeated here. Their DARTS space has seven operations: ``darts7``.

Λ-DARTS' only published script for cells like DARTS' is for S4 and SVHN: its numbers stand for all of these spaces.
"""

_NOT_RUN_WITH_A2M = ("sdarts-adv", "darts-es")

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
        numbers: Source of the numbers. Those of A²M itself are not among them: a preset has no plug-in.

    Returns:
        The preset.

    Raises:
        ValueError: If ``numbers`` is none of these, or there are none for this method.
        TypeError: If another package's method is no :class:`Method`.

    Example:
        >>> from genas.spaces import NASBench201
        >>> method("pc-darts", NASBench201()).partial
        PartialChannels(one_in=4, scope='edges')
    """
    if numbers not in get_args(Numbers):
        raise ValueError(f"numbers must be one of {', '.join(get_args(Numbers))}, but got {numbers!r}.")
    if numbers == "a2m-code" and name in _NOT_RUN_WITH_A2M:
        raise ValueError(
            f"A²M's authors did not run {name}, so it has no numbers of theirs; choose recommended or code."
        )
    found = METHODS[name](space, numbers)
    if not isinstance(found, Method):
        raise TypeError(f"The search method {name!r} must be a genas.search.differentiable.Method, but is {found!r}.")
    return found


def _settings(space: SearchSpace, numbers: Numbers) -> SearchSettings:
    """The settings that the methods' own forks share: 100 epochs on NAS-Bench-201 (A²M's and we: 50), 50 on DARTS."""
    return SearchSettings(epochs=100 if numbers == "code" and has_nasbench201_numbers(space) else 50)


def _autodl(space: SearchSpace, numbers: Numbers) -> SearchSettings:
    """DARTS' settings: on NAS-Bench-201 the code is AutoDL-Projects'."""
    if numbers == "code" and has_nasbench201_numbers(space):
        return SearchSettings(nesterov=True, weight_decay=5e-4, update_order="weights_first")
    return SearchSettings()


def _darts(space: SearchSpace, numbers: Numbers) -> Method:
    return Method(_autodl(space, numbers))


def _darts_2nd(space: SearchSpace, numbers: Numbers) -> Method:
    settings = _autodl(space, numbers)  # but in AutoDL's second order, too, the architecture moves first
    return Method(replace(settings, update_order="alpha_first"), gradient=Unrolled())


def _beta(space: SearchSpace, numbers: Numbers) -> Method:
    """The paper's strength grows to 50, on DARTS to 25; the code's by 1/2 an epoch, whatever the number of epochs."""
    if numbers != "recommended":
        strength = LinearSchedule(slope=0.5)
    else:
        strength = LinearSchedule(end=50.0 if has_nasbench201_numbers(space) else 25.0)
    return Method(_settings(space, numbers), regularizer=BetaDecay(strength))


def _lambda(space: SearchSpace, numbers: Numbers) -> Method:
    """The published code's steps are too short for networks with ReLUs; see :class:`LambdaHook`."""
    settings = _settings(space, numbers)
    if has_nasbench201_numbers(space):
        slow = replace(settings, alphas=AlphaOptimization(learning_rate=1e-4))
        if numbers == "recommended":
            return Method(slow, weight_step=LambdaHook(0.25))
        hook = LambdaHook(0.25 if numbers == "code" else 0.125, epsilon=1e-4)
        return Method(replace(slow, update_order="weights_first"), weight_step=hook)
    if numbers == "recommended":
        return Method(settings, weight_step=LambdaHook(0.125, form="signcorr"))
    settings = replace(settings, batch_size=96)
    if numbers == "code":
        return Method(settings, weight_step=LambdaHook(0.25, epsilon=1e-3))
    return Method(settings, weight_step=LambdaHook(0.125, form="signcorr", epsilon=1e-4))


def _pt(space: SearchSpace, numbers: Numbers) -> Method:
    settings = _settings(space, numbers)
    if numbers == "a2m-code" and not has_nasbench201_numbers(space):
        settings = replace(settings, batch_size=32)  # with A²M; DARTS-PT alone had 64
    return Method(settings, projection=ProjectionSettings())


def _minus(space: SearchSpace, numbers: Numbers) -> Method:  # noqa: ARG001 (the published code has no other numbers)
    return Method(skip_schedule=SkipSchedule())


def _sdarts_rs(space: SearchSpace, numbers: Numbers) -> Method:
    return Method(_settings(space, numbers), weight_step=RandomSmoothing())


def _sdarts_adv(space: SearchSpace, numbers: Numbers) -> Method:
    return Method(_settings(space, numbers), weight_step=AdversarialSmoothing())


def _pc(space: SearchSpace, numbers: Numbers) -> Method:
    """The published numbers are for DARTS; on NAS-Bench-201 we keep that space's batch and learning rates."""
    if numbers == "a2m-code":
        return Method(partial=PartialChannels(4, "cell" if has_nasbench201_numbers(space) else "edges"))
    # The code rests the architecture for 15 epochs, whatever their number; we, for the same share of them.
    settings = SearchSettings(warmup=0.3 if numbers == "recommended" else 15)
    if not has_nasbench201_numbers(space):
        settings = replace(
            settings,
            batch_size=256,
            learning_rate=LearningRate(0.1, 0.0),
            alphas=AlphaOptimization(learning_rate=6e-4),
        )
    return Method(settings, partial=PartialChannels(4), edge_normalization=True)


def _es(space: SearchSpace, numbers: Numbers) -> Method:  # noqa: ARG001 (the same on all spaces)
    """The code unrolls the weights, at five times the cost; then A²M is out of the question."""
    return Method(gradient=Unrolled() if numbers == "code" else FirstOrder(), stopping=DominantEigenvalue())


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
