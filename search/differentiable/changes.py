"""What a user changes of a preset: every field is ``None`` for what the preset says."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Literal

from genas.search.differentiable.a2m import Centre, Curvature
from genas.search.differentiable.flatness import A2MOptions
from genas.search.differentiable.lambda_hook import AlignmentForm
from genas.search.differentiable.methods import DEPENDENTS, Method
from genas.search.differentiable.relaxation import SkipShape
from genas.search.differentiable.settings import SearchSettings
from genas.supernet.mixtures import PartialScope


@dataclass(frozen=True)
class SettingsChanges:
    """Settings of the search in the place of the method's own, which are described at :class:`SearchSettings`.

    Args:
        epochs: Passes over the training images.
        batch_size: Training images per step.
        search_batch_size: Validation images per step of the architecture; by default as many.
        learning_rate: Learning rate of the weights at the beginning.
        final_learning_rate: Learning rate of the weights at the end.
        momentum: Momentum of the weights' SGD.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: Weight decay of the weights.
        gradient_clip: Largest norm of the weights' gradient; 0 for none.
        label_smoothing: Mass moved from the true class to the uniform distribution.
        flip: Whether images are mirrored at random.
        crop_padding: Padding in pixels of the random crop.
        cutout: Side of the square that is cut out, in pixels; 0 for none.
        augment_search: Whether validation images are augmented, too.
        track_statistics: Whether BN keeps running statistics.
        update_order: Which moves first in a step.
        warmup: Epochs in which only the weights move; below 1, a share of all epochs.
        learn_alphas: Whether the architecture moves at all.
        alpha_learning_rate: Learning rate of the architecture's Adam.
        alpha_weight_decay: Weight decay of the architecture's Adam.
        eigenvalue_every: Epochs between two computations of the dominant eigenvalue for the log; 0 for none.
        eigenvalue_batches: Batches over which the eigenvalue's Hessian is averaged.
    """

    epochs: int | None = None
    batch_size: int | None = None
    search_batch_size: int | None = None
    learning_rate: float | None = None
    final_learning_rate: float | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    weight_decay: float | None = None
    gradient_clip: float | None = None
    label_smoothing: float | None = None
    flip: bool | None = None
    crop_padding: int | None = None
    cutout: int | None = None
    augment_search: bool | None = None
    track_statistics: bool | None = None
    update_order: Literal["alpha_first", "weights_first"] | None = None
    warmup: float | None = None
    learn_alphas: bool | None = None
    alpha_learning_rate: float | None = None
    alpha_weight_decay: float | None = None
    eigenvalue_every: int | None = None
    eigenvalue_batches: int | None = None

    def applied(self, settings: SearchSettings) -> SearchSettings:
        """The settings with these changes.

        Args:
            settings: Those of a preset.

        Returns:
            New settings.
        """
        given = _given(self)
        rate = _renamed(given, {"learning_rate": "start", "final_learning_rate": "end"})
        alphas = _renamed(given, {"alpha_learning_rate": "learning_rate", "alpha_weight_decay": "weight_decay"})
        return replace(
            settings,
            learning_rate=replace(settings.learning_rate, **rate),
            alphas=replace(settings.alphas, **alphas),
            **given,
        )


@dataclass(frozen=True)
class MethodChanges:
    """Parts of the search in the place of the method's own, which are described at :class:`Method`.

    Args:
        second_order: Whether the architecture's gradient looks one step of the weights ahead.
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
        stop_earliest: DARTS-ES: first epoch that may be the result.
        most_skips: Skip connections that stop=skips allows in a cell.
        select: How the architecture is read off: by the weights of the operations, or by projection (DARTS-PT).
        projection_interval: DARTS-PT: epochs of tuning between two rounds.
        projection_criterion: DARTS-PT: what the removal of an operation costs.
    """

    second_order: bool | None = None
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

    def applied(self, method: Method, settings: SettingsChanges = SettingsChanges()) -> Method:
        """The method with these changes.

        Args:
            method: A preset.
            settings: Changes of its settings.

        Returns:
            A new method. One of ``beta_slope`` and ``beta_end`` takes the place of the other; what the preset says
            about a part that is switched off goes with it.

        Raises:
            ValueError: If a change is one that nothing reads.
        """
        given = _given(self)
        if {"beta_slope", "beta_end"} & given.keys():
            given = {"beta_slope": None, "beta_end": None, **given}
        after = SimpleNamespace(**{**vars(method), **given})
        unread = {name: needed for names, needed, reads in DEPENDENTS if not reads(after) for name in names}
        for name in unread.keys() & _given(self).keys():
            raise ValueError(f"{name} is set, but nothing reads it without {unread[name]}; set that too, or neither.")
        given = {**{name: getattr(Method, name) for name in unread}, **given}
        found = replace(method, settings=settings.applied(method.settings), **given)
        _refuse_unread(found, settings)
        return found


def _refuse_unread(method: Method, changes: SettingsChanges) -> None:
    """Without a moving architecture, batches of the search are for projections and eigenvalues alone."""
    if method.settings.learn_alphas:
        return
    unread = {
        *("warmup", "update_order", "search_batch_size", "augment_search"),
        *("alpha_learning_rate", "alpha_weight_decay"),
    }
    if method.select == "projection":
        unread -= {"search_batch_size"}
    if method.stop == "eigenvalue" or method.settings.eigenvalue_every:
        unread -= {"search_batch_size", "augment_search", "alpha_weight_decay"}
    for name in _given(changes):
        if name in unread:
            raise ValueError(f"{name} is set, but nothing reads it without learn_alphas; leave it out.")


@dataclass(frozen=True)
class A2MChanges:
    """Options of A2M in the place of the method's own, which are described at :class:`A2M`.

    Args:
        rho: Length of the step uphill; by default 0.01 on NAS-Bench-201, 0.1 on DARTS.
        curvature: How the product of Hessian and gradient is worked out.
        epsilon: Length of the curvature's finite difference.
        centre: Where the Hessian is taken, at alpha or after the step uphill.
        include_edge_logits: Whether the step uphill also moves PC-DARTS' weights of edges.
        perturb_regularizer: Whether the step uphill also climbs the regulariser, as in the authors' code.
        allow_unrolled: Whether a second-order gradient may be wrapped, which nobody has run.
        compare_exact: Whether a finite difference is compared with the exact product for the log.
    """

    rho: float | None = None
    curvature: Curvature | None = None
    epsilon: float | None = None
    centre: Centre | None = None
    include_edge_logits: bool | None = None
    perturb_regularizer: bool | None = None
    allow_unrolled: bool | None = None
    compare_exact: bool | None = None

    def applied(self, method: Method) -> A2MOptions:
        """The options of A²M around a method.

        Args:
            method: Which method; it has the options that are not changed.

        Returns:
            New options.

        Raises:
            ValueError: If a change is one that nothing reads.
        """
        given = _given(self)
        found = replace(method.a2m, **given)
        differs = found.curvature not in ("exact", "none")
        for name, needed, there in (
            ("curvature", "rho", True),
            ("epsilon", "a finite difference", differs),
            ("compare_exact", "a finite difference", differs),
            ("centre", "a curvature", found.curvature != "none"),
            ("include_edge_logits", "edge_normalization", method.edge_normalization),
            ("perturb_regularizer", "beta decay", method.has_beta),
            ("allow_unrolled", "second_order", method.second_order),
        ):
            if name in given and found.rho == 0:
                raise ValueError(f"{name} is set, but nothing reads it where rho is 0; leave it out.")
            if name in given and not there:
                raise ValueError(f"{name} is set, but nothing reads it without {needed}; leave it out.")
        return found


def _given(changes: SettingsChanges | MethodChanges | A2MChanges) -> dict[str, Any]:
    """The fields that are not ``None``, by name."""
    names = [each.name for each in dataclasses.fields(changes)]
    return {name: value for name in names if (value := getattr(changes, name)) is not None}


def _renamed(given: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Take some fields out of the given ones, under other names."""
    return {new: given.pop(old) for old, new in names.items() if old in given}
