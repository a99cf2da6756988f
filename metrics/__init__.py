"""Metrics that score the subnets of a supernet: accuracy, loss, angle, flatness, cost, and their combinations."""

from __future__ import annotations

from genas.metrics.angle import Angle, AngleTable, angle_table
from genas.metrics.base import Measurement, Metric, Needs, lacking, needs_of, within
from genas.metrics.baselines import Count, LiveEdges, Random
from genas.metrics.bootstrap import STATISTICS, Estimate, RankingSettings, ranking_statistics, resample
from genas.metrics.combination import POOL_JOINS, Combined, Join, Term
from genas.metrics.context import Context
from genas.metrics.cost import CostOf, Macs, Params, architecture_cost
from genas.metrics.evaluation import Accuracy, Loss, Outputs, Top5
from genas.metrics.expressions import parse_metric, parse_terms
from genas.metrics.flatness import Flatness, NoisyLosses, flatness
from genas.metrics.grad_norm import GradNorm
from genas.metrics.hessian import Curvature, HessianLevel, top_curvature
from genas.metrics.jacob_cov import JacobCov
from genas.metrics.naswot import Naswot
from genas.metrics.neighborhood import Neighborhood
from genas.metrics.noise import Noise, NoiseLevel, perturbed_parameters
from genas.metrics.noise_ceiling import FEWEST_REPEATED, NoiseCeiling, ceiling_tau, noise_ceiling, tau_of_seeds
from genas.metrics.ranking import kendall_tau, precision_at, regret, spearman, top_tau
from genas.metrics.registry import METRICS
from genas.metrics.settings import ScoringSettings
from genas.metrics.synflow import LogSynFlow, SynFlow
from genas.metrics.table_accuracy import TableAccuracy, table_accuracy, table_fingerprints

__all__ = [
    "FEWEST_REPEATED",
    "METRICS",
    "POOL_JOINS",
    "STATISTICS",
    "Accuracy",
    "Angle",
    "AngleTable",
    "Combined",
    "Context",
    "CostOf",
    "Count",
    "Curvature",
    "Estimate",
    "Flatness",
    "GradNorm",
    "HessianLevel",
    "JacobCov",
    "Join",
    "LiveEdges",
    "LogSynFlow",
    "Loss",
    "Macs",
    "Measurement",
    "Metric",
    "Naswot",
    "Needs",
    "Neighborhood",
    "Noise",
    "NoiseCeiling",
    "NoiseLevel",
    "NoisyLosses",
    "Outputs",
    "Params",
    "Random",
    "RankingSettings",
    "ScoringSettings",
    "SynFlow",
    "TableAccuracy",
    "Term",
    "Top5",
    "angle_table",
    "architecture_cost",
    "ceiling_tau",
    "flatness",
    "kendall_tau",
    "lacking",
    "needs_of",
    "noise_ceiling",
    "parse_metric",
    "parse_terms",
    "perturbed_parameters",
    "precision_at",
    "ranking_statistics",
    "regret",
    "resample",
    "spearman",
    "table_accuracy",
    "table_fingerprints",
    "tau_of_seeds",
    "top_curvature",
    "top_tau",
    "within",
]
