"""Search spaces: architectures as plain tuples, their neighbours, keys and costs.

No network lives here and torch is not imported.
"""

from __future__ import annotations

from genas.spaces.base import NONE, Architecture, CellType, SearchSpace
from genas.spaces.costs import Cost, cost
from genas.spaces.darts import DARTS
from genas.spaces.genotypes import GENOTYPES
from genas.spaces.nasbench201 import NASBench201
from genas.spaces.paths import path_multiplicities
from genas.spaces.registry import SPACES, space
from genas.spaces.skeleton import Block, Skeleton, SkeletonKind

__all__ = [
    "DARTS",
    "GENOTYPES",
    "NONE",
    "SPACES",
    "Architecture",
    "Block",
    "CellType",
    "Cost",
    "NASBench201",
    "SearchSpace",
    "Skeleton",
    "SkeletonKind",
    "cost",
    "path_multiplicities",
    "space",
]
