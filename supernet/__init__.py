"""Networks with shared weights: cells, networks, their training, calibration and evaluation."""

from __future__ import annotations

from genas.supernet.calibration import Calibration, calibrate
from genas.supernet.fitting import fit
from genas.supernet.inference import Evaluation, evaluate, fold_bn, folded
from genas.supernet.mixtures import Mixture, MixtureOptions
from genas.supernet.network import CellNetwork, NetworkPath
from genas.supernet.oneshot import SupernetTrainer, TrainingSettings
from genas.supernet.sampling import PathSampler, PathSampling
from genas.supernet.schedules import LearningRate
from genas.supernet.standalone import StandaloneSettings, StandaloneTrainer, train_standalone
from genas.supernet.training import Optimization, Trainer

__all__ = [
    "Calibration",
    "CellNetwork",
    "Evaluation",
    "LearningRate",
    "Mixture",
    "MixtureOptions",
    "NetworkPath",
    "Optimization",
    "PathSampler",
    "PathSampling",
    "StandaloneSettings",
    "StandaloneTrainer",
    "SupernetTrainer",
    "Trainer",
    "TrainingSettings",
    "calibrate",
    "evaluate",
    "fit",
    "fold_bn",
    "folded",
    "train_standalone",
]
