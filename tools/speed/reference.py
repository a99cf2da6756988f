"""Straightforward one-shot search: the slow reference of ``measure_speed.py``.

Float32, NCHW, eager. Images go through PIL one by one, every metric copies the supernet and recalibrates the copy's BN
statistics, noise is redrawn for the whole supernet, the angle concatenates the weights of a subnet path by path.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from speed.networks import Path


class Images(Dataset[tuple[Tensor, int]]):
    """Images in memory, transformed one by one. ``images``: uint8, shape ``(n, size, size, channels)``."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: Callable[[np.ndarray], Tensor]) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


def plain(mean: Sequence[float], std: Sequence[float]) -> transforms.Compose:
    """Return the transform of evaluation."""
    return transforms.Compose([transforms.ToPILImage(), transforms.ToTensor(), transforms.Normalize(mean, std)])


def augmented(mean: Sequence[float], std: Sequence[float], size: int, padding: int) -> transforms.Compose:
    """Return the transform of training."""
    moved = [transforms.ToPILImage(), transforms.RandomCrop(size, padding=padding), transforms.RandomHorizontalFlip()]
    return transforms.Compose([*moved, transforms.ToTensor(), transforms.Normalize(mean, std)])


def make_optimizer(supernet: nn.Module) -> torch.optim.SGD:
    """Return SGD with the settings that ``genas.supernet.TrainingSettings`` has by default."""
    return torch.optim.SGD(supernet.parameters(), lr=0.025, momentum=0.9, nesterov=True, weight_decay=5e-4)


def train_step(supernet: nn.Module, optimizer: torch.optim.SGD, images: Tensor, labels: Tensor, path: Path) -> None:
    """Take one step of single-path training; operations off the path keep zero gradients, and so decay."""
    supernet.train()
    optimizer.zero_grad(set_to_none=False)
    functional.cross_entropy(supernet(images, path), labels).backward()
    nn.utils.clip_grad_norm_(supernet.parameters(), 5.0)
    optimizer.step()


Loader = DataLoader[tuple[Tensor, int]]
Draw = Callable[[nn.Module, float], list[Tensor]]
"""Noise of a standard deviation for every parameter of a network."""


@torch.no_grad()
def recalibrate(supernet: nn.Module, path: Path, calibration: Loader) -> None:
    """Recompute the BN statistics as moving averages over the batches."""
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    supernet.train()
    for images, _ in calibration:
        supernet(images, path)
    supernet.eval()


@torch.no_grad()
def evaluate(supernet: nn.Module, path: Path, validation: Loader) -> tuple[float, float]:
    """Return mean loss and accuracy."""
    loss, hits, count = 0.0, 0, 0
    for images, labels in validation:
        logits = supernet(images, path)
        loss += functional.cross_entropy(logits, labels, reduction="sum").item()
        hits += int((logits.argmax(dim=1) == labels).sum().item())
        count += len(labels)
    return loss / count, hits / count


def accuracy(supernet: nn.Module, genes: Sequence[int], calibration: Loader, validation: Loader) -> float:
    """Return the accuracy of a subnet (SPOS, Guo et al., ECCV 2020)."""
    own, path = copy.deepcopy(supernet), supernet.path(genes)
    recalibrate(own, path, calibration)
    return evaluate(own, path, validation)[1]


def gaussian_noise(generator: torch.Generator, supernet: nn.Module, std: float) -> list[Tensor]:
    """Return fresh noise for every parameter."""
    return [std * torch.randn(parameter.shape, generator=generator) for parameter in supernet.parameters()]


def flatness(
    supernet: nn.Module,
    genes: Sequence[int],
    calibration: Loader,
    validation: Loader,
    stds: Sequence[float],
    draw: Draw,
) -> float:
    """Return the inverse summed slopes of the loss along growing noise (GeNAS, IJCAI 2023, Eq. 4)."""
    own, path = copy.deepcopy(supernet), supernet.path(genes)
    recalibrate(own, path, calibration)
    weights = [parameter.detach().clone() for parameter in own.parameters()]
    losses = []
    for std in stds:
        with torch.no_grad():
            for parameter, weight, noise in zip(own.parameters(), weights, draw(own, std), strict=True):
                parameter.copy_(weight + noise)
        losses.append(evaluate(own, path, validation)[0])
    slopes = [abs((losses[i] - losses[i - 1]) / (stds[i] - stds[i - 1])) for i in range(1, len(stds))]
    return 1 / (sum(slopes) + abs(losses[0] / stds[0]))


def operation_vectors(operation: nn.Module, channels: int, identity: bool) -> list[Tensor]:
    """Return the parts that an operation adds to the weight vector."""
    if isinstance(operation, nn.Identity):
        return [torch.eye(channels).flatten()] if identity else []
    pool = any(isinstance(module, nn.MaxPool2d | nn.AvgPool2d) for module in operation.modules())
    kernel = [torch.full((channels * 9,), 1 / 9)] if pool else []
    return kernel + [parameter.flatten() for parameter in operation.parameters()]


def weight_vector(supernet: nn.Module, genes: Sequence[int]) -> Tensor | None:
    """Return the weights of a subnet, path by path; ``None`` if no path is alive."""
    named = supernet.named_parameters()
    parts = [p.flatten() for name, p in named if ".edges." not in name and name not in supernet.not_in_angle]
    alive = False
    for cell, own in zip(supernet.cells, supernet.path(genes), strict=True):
        for path in cell.paths:
            if all(own[edge] != 0 for edge in path):
                alive = True
                for edge in path:
                    operation = cell.edges[edge][own[edge]]
                    parts += operation_vectors(operation, cell.channels, supernet.skip_is_identity_matrix)
    return torch.cat(parts).double() if alive else None


@torch.no_grad()
def angle(initial: nn.Module, trained: nn.Module, genes: Sequence[int]) -> float:
    """Return the angle between initial and trained weights of a subnet in radians (Hu et al., ECCV 2020)."""
    v0, v = weight_vector(initial, genes), weight_vector(trained, genes)
    if v0 is None or v is None:
        return 0.0
    return math.acos(min(1.0, max(-1.0, functional.cosine_similarity(v0, v, dim=0).item())))
