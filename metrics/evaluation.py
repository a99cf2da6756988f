"""Metrics of a subnet's outputs on validation images: accuracy, top-5 accuracy, loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from genas.metrics.base import Measurement, Metric
from genas.metrics.context import Context
from genas.spaces import Architecture
from genas.supernet import Evaluation


@final
@dataclass(frozen=True)
class Outputs(Measurement):
    """Loss, accuracy and top-5 accuracy of the subnet with its BN statistics calibrated."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields of an evaluation."""
        return Evaluation._fields

    def run(self, context: Context, architecture: Architecture) -> Sequence[float]:
        """Evaluate the subnet on the context's validation images."""
        (evaluation,) = context.evaluate(architecture)
        return evaluation


class _OutputMetric(Metric):
    """One column of :class:`Outputs`."""

    column: ClassVar[str]

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """One evaluation of the subnet, shared by all output metrics."""
        return (Outputs(),)

    @final
    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """The column for each architecture."""
        return context.measure(Outputs(), architectures)[:, Outputs().columns.index(self.column)]


@final
@dataclass(frozen=True)
class Accuracy(_OutputMetric):
    """Fraction of validation images whose true class has the largest logit (SPOS, Guo et al., ECCV 2020)."""

    name: ClassVar[str] = "accuracy"
    column: ClassVar[str] = "accuracy"


@final
@dataclass(frozen=True)
class Top5(_OutputMetric):
    """Fraction of validation images whose true class is among the five largest logits."""

    name: ClassVar[str] = "top5"
    column: ClassVar[str] = "top5"


@final
@dataclass(frozen=True)
class Loss(_OutputMetric):
    """Mean cross-entropy on the validation images; its score is the negative loss."""

    name: ClassVar[str] = "loss"
    unit: ClassVar[str] = "nat"
    higher_is_better: ClassVar[bool] = False
    column: ClassVar[str] = "loss"
