"""Metrics by name."""

from __future__ import annotations

from collections.abc import Callable

from genas.metrics.angle import Angle
from genas.metrics.base import Metric
from genas.metrics.baselines import Count, LiveEdges, Random
from genas.metrics.cost import Macs, Params
from genas.metrics.evaluation import Accuracy, Loss, Top5
from genas.metrics.flatness import Flatness
from genas.metrics.grad_norm import GradNorm
from genas.metrics.jacob_cov import JacobCov
from genas.metrics.naswot import Naswot
from genas.metrics.neighborhood import Neighborhood
from genas.metrics.synflow import LogSynFlow, SynFlow
from genas.metrics.table_accuracy import TableAccuracy, table_accuracy
from genas.registry import Registry

METRICS: Registry[Callable[..., Metric]] = Registry("metric", "genas.metrics")
"""Typed classes or functions by name; their arguments are the settings. Other packages offer theirs as entry points of
the group ``genas.metrics``."""

_CLASSES: tuple[type[Metric], ...] = (
    *(Accuracy, Top5, Loss, Angle, Flatness, Neighborhood),
    *(Naswot, SynFlow, LogSynFlow, GradNorm, JacobCov),
    *(Macs, Params, Count, LiveEdges, Random),
)
for _metric in _CLASSES:
    METRICS.add(_metric.name, _metric)
METRICS.add(TableAccuracy.name, table_accuracy)
