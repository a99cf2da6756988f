"""Metrics that score the subnets of a supernet: accuracy, loss, angle, flatness, cost, and their combinations."""

from __future__ import annotations

from genas.metrics.angle import Angle, AngleTable, angle_table
from genas.metrics.base import Measurement, Metric
from genas.metrics.combination import Combined, Join, Term
from genas.metrics.context import Context, ScoringSettings
from genas.metrics.cost import CostOf, Macs, Params, architecture_cost
from genas.metrics.evaluation import Accuracy, Loss, Outputs, Top5
from genas.metrics.flatness import Flatness, NoisyLosses, flatness
from genas.metrics.noise import Noise, NoiseLevel, perturbed_parameters
from genas.metrics.registry import METRICS, parse_metric

__all__ = [
    "METRICS",
    "Accuracy",
    "Angle",
    "AngleTable",
    "Combined",
    "Context",
    "CostOf",
    "Flatness",
    "Join",
    "Loss",
    "Macs",
    "Measurement",
    "Metric",
    "Noise",
    "NoiseLevel",
    "NoisyLosses",
    "Outputs",
    "Params",
    "ScoringSettings",
    "Term",
    "Top5",
    "angle_table",
    "architecture_cost",
    "flatness",
    "parse_metric",
    "perturbed_parameters",
]
