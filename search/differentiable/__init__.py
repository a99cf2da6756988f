"""Differentiable architecture search: DARTS, its descendants, and flat minima for any of them."""

from __future__ import annotations

from genas.search.differentiable.a2m import A2MGradient
from genas.search.differentiable.curvature import dominant_eigenvalue, hessian
from genas.search.differentiable.flatness import A2M, A2M_CODE, NA, FlatMinima
from genas.search.differentiable.gradients import FirstOrder, Unrolled
from genas.search.differentiable.lambda_hook import LambdaHook, alignment
from genas.search.differentiable.methods import Method, PartialChannels
from genas.search.differentiable.neighborhood_gradient import NeighborhoodGradient
from genas.search.differentiable.neighbors import AdditiveNeighbors, MultiplicativeNeighbors, Neighbors
from genas.search.differentiable.objective import NetworkObjective
from genas.search.differentiable.parts import (
    Alphas,
    ArchitectureGradient,
    Estimate,
    Objective,
    Regularizer,
    Relaxation,
    SearchStep,
    Selection,
    WeightReport,
    WeightStep,
)
from genas.search.differentiable.presets import METHODS, Numbers, method
from genas.search.differentiable.projected_search import ProjectedSearch
from genas.search.differentiable.projection import ProjectedObjective, Projection, ProjectionSettings
from genas.search.differentiable.regularizers import BetaDecay, LinearSchedule, Regularized, regularized
from genas.search.differentiable.relaxation import SkipSchedule, Softmax
from genas.search.differentiable.search import DifferentiableSearch, SearchParts
from genas.search.differentiable.selection import ArgMax, Collapse, TopTwo, selection_for
from genas.search.differentiable.settings import AlphaOptimization, SearchSettings
from genas.search.differentiable.stopping import (
    DominantEigenvalue,
    EpochSummary,
    Fixed,
    Outcome,
    SkipCount,
    Stopping,
    final_outcome,
)
from genas.search.differentiable.weight_steps import AdversarialSmoothing, Plain, RandomSmoothing, SmoothingRadius

__all__ = [
    "A2M",
    "A2M_CODE",
    "METHODS",
    "NA",
    "A2MGradient",
    "AdditiveNeighbors",
    "AdversarialSmoothing",
    "AlphaOptimization",
    "Alphas",
    "ArchitectureGradient",
    "ArgMax",
    "BetaDecay",
    "Collapse",
    "DifferentiableSearch",
    "DominantEigenvalue",
    "EpochSummary",
    "Estimate",
    "FirstOrder",
    "Fixed",
    "FlatMinima",
    "LambdaHook",
    "LinearSchedule",
    "Method",
    "MultiplicativeNeighbors",
    "NeighborhoodGradient",
    "Neighbors",
    "NetworkObjective",
    "Numbers",
    "Objective",
    "Outcome",
    "PartialChannels",
    "Plain",
    "ProjectedObjective",
    "ProjectedSearch",
    "Projection",
    "ProjectionSettings",
    "RandomSmoothing",
    "Regularized",
    "Regularizer",
    "Relaxation",
    "SearchParts",
    "SearchSettings",
    "SearchStep",
    "Selection",
    "SkipCount",
    "SkipSchedule",
    "SmoothingRadius",
    "Softmax",
    "Stopping",
    "TopTwo",
    "Unrolled",
    "WeightReport",
    "WeightStep",
    "alignment",
    "dominant_eigenvalue",
    "final_outcome",
    "hessian",
    "method",
    "regularized",
    "selection_for",
]
