"""The options of ``genas search`` that change the settings of a method; ``None`` is what the method itself says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from genas.search.differentiable import SearchSettings


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
        rate = {"learning_rate": "start", "final_learning_rate": "end"}
        alphas = {"alpha_learning_rate": "learning_rate", "alpha_weight_decay": "weight_decay"}
        others = {name: name for name in given(self) if name not in {**rate, **alphas}}
        return replace(
            settings,
            learning_rate=replace(settings.learning_rate, **renamed(self, rate)),
            alphas=replace(settings.alphas, **renamed(self, alphas)),
            **renamed(self, others),
        )


def given(changes: Any) -> dict[str, Any]:
    """The options that are given.

    Args:
        changes: A dataclass of options.

    Returns:
        Those that are not ``None``, by name.
    """
    names = [each.name for each in dataclasses.fields(changes)]
    return {name: value for name in names if (value := getattr(changes, name)) is not None}


def renamed(changes: Any, names: Mapping[str, str]) -> dict[str, Any]:
    """The given ones of some options, under the names of the fields that they change.

    Args:
        changes: A dataclass of options; ``None`` means not given.
        names: Name of the field by name of the option.

    Returns:
        The given values by name of the field.
    """
    return {new: value for old, new in names.items() if (value := getattr(changes, old)) is not None}
