"""Steps of differentiable searches by genas and by the textbook, checked to compute the same, then timed in turns."""

from __future__ import annotations

import functools
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from genas.devices import keep_freed_memory
from genas.search.differentiable.a2m import A2MGradient
from genas.search.differentiable.gradients import FirstOrder
from genas.search.differentiable.lambda_hook import LambdaHook
from genas.search.differentiable.objective import NetworkObjective
from genas.search.differentiable.parts import Alphas, ArchitectureGradient, SearchStep, WeightStep
from genas.search.differentiable.regularizers import BetaDecay, Regularized
from genas.search.differentiable.relaxation import Softmax
from genas.search.differentiable.weight_steps import Plain, RandomSmoothing
from genas.spaces import space
from genas.supernet import CellNetwork
from genas.supernet.mixtures import MixtureOptions
from speed.bench import Comparison
from speed.check import BATCH_SIZE, compare
from speed.sides import peak_memory
from speed.textbook_search import EPSILON, LAMBDA, LAMBDA_EPSILON, RHO, Batch, TextbookSearch

GRADIENTS: dict[str, ArchitectureGradient] = {
    "a2m": A2MGradient(FirstOrder(), RHO, curvature="central_fd", epsilon=EPSILON),
    "a2m-exact": A2MGradient(FirstOrder(), RHO),
    "beta": Regularized(FirstOrder(), BetaDecay()),
}
WEIGHT_STEPS: dict[str, WeightStep] = {
    "lambda": LambdaHook(LAMBDA, epsilon=LAMBDA_EPSILON),
    "sdarts": RandomSmoothing(),
}
METHODS = ("darts", "a2m", "a2m-exact", "beta", "lambda", "sdarts", "pc")
EPOCH, EPOCHS = 49, 50


@dataclass(frozen=True)
class SearchSetting:
    """The setting that both sides share.

    Args:
        space: Name of the search space.
        channels: Channels of the first cells.
        cells: Cells per stage, or number of cells; ``None``: as published.
        method: One of :data:`METHODS`.
        threads: Threads of each side.
        precision: genas' compute type; the textbook's is float32.
        batch_size: Images of each batch.
        image_size: Side of the images in pixels.
    """

    space: str
    channels: int
    cells: int | None
    method: str
    threads: int
    precision: torch.dtype = torch.float32
    batch_size: int = BATCH_SIZE
    image_size: int = 32

    def network(self) -> CellNetwork:
        """The network before the first step."""
        search_space = space(self.space)
        skeleton = search_space.supernet_skeleton(10, self.image_size, channels=self.channels, cells=self.cells)
        options = MixtureOptions(partial_channels=4 if self.method == "pc" else 1)
        return CellNetwork.initialised(search_space, replace(skeleton, affine=False), 0, options)

    def relaxation(self) -> Softmax:
        """The softmax."""
        return Softmax(space(self.space), edge_normalization=self.method == "pc")

    def batch(self, seed: int, dtype: torch.dtype) -> Batch:
        """Random images and classes."""
        draw = torch.Generator().manual_seed(seed)
        shape = (self.batch_size, 3, self.image_size, self.image_size)
        images = torch.randn(shape, generator=draw).to(dtype)
        return images, torch.randint(10, (self.batch_size,), generator=draw)


class GenasSearch:
    """One step after another of a search by genas, each on the same two batches; see :class:`TextbookSearch`."""

    def __init__(
        self, network: CellNetwork, setting: SearchSetting, alphas: Alphas, search: Batch, training: Batch
    ) -> None:
        dense = [
            (images.contiguous(memory_format=torch.channels_last), labels) for images, labels in (search, training)
        ]
        self.network, self.alphas = network, tuple(alpha.detach().clone().requires_grad_() for alpha in alphas)
        self.gradient = GRADIENTS.get(setting.method, FirstOrder())
        self.weight_step = WEIGHT_STEPS.get(setting.method, Plain())
        objective = NetworkObjective(network, *dense, precision=setting.precision)
        self.search_step = SearchStep(objective, setting.relaxation(), EPOCH, EPOCHS, 0, 0, 0.025, 0.9, 3e-4, {})
        self.architecture = torch.optim.Adam(self.alphas, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4, fused=True)

    def step(self) -> None:
        """Move the architecture, then the weights."""
        for alpha, gradient in zip(self.alphas, self.architecture_gradient(), strict=True):
            alpha.grad = gradient
        self.architecture.step()
        self.weight_gradient()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()

    def architecture_gradient(self) -> Sequence[Tensor]:
        """Return the gradient for Adam."""
        return self.gradient.gradient(self.search_step, self.alphas)

    def weight_gradient(self) -> None:
        """Store the gradient for SGD, before clipping, in ``grad`` of the weights."""
        self.optimizer.zero_grad()
        self.weight_step.backward(self.search_step, self.alphas)


def make_sides(setting: SearchSetting, dtype: torch.dtype) -> tuple[functools.partial, functools.partial]:
    """Return factories of genas' and the textbook's search."""
    network = setting.network().to(dtype)
    alphas = tuple(100 * alpha.detach().to(dtype) for alpha in setting.relaxation().initial(0))
    batches = setting.batch(0, dtype), setting.batch(1, dtype)
    ours = functools.partial(GenasSearch, network, setting, alphas, *batches)
    return ours, functools.partial(TextbookSearch, network, setting.method, alphas, *batches)


def check_same_search(setting: SearchSetting) -> None:
    """Compare the gradients of the first step in float64.

    Args:
        setting: Setting of a small network, preferably with few small images.

    Raises:
        ValueError: If a gradient differs.
    """
    ours, textbook = (make() for make in make_sides(setting, torch.float64))
    for name, sides in {
        "gradient of the architecture": (ours.architecture_gradient(), textbook.architecture_gradient()),
        "gradient of the weights": (
            _weight_gradient(ours, ours.network),
            _weight_gradient(textbook, textbook.supernet),
        ),
    }.items():
        compare(f"{name} ({setting.method})", *(torch.cat([part.flatten() for part in side]) for side in sides), 1e-6)


def _weight_gradient(side: GenasSearch | TextbookSearch, network: nn.Module) -> list[Tensor]:
    side.weight_gradient()
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]


@functools.lru_cache(maxsize=1)
def _side(setting: SearchSetting, textbook: bool) -> GenasSearch | TextbookSearch:
    torch.set_num_threads(setting.threads)
    if not textbook:
        keep_freed_memory()
    side: GenasSearch | TextbookSearch = make_sides(setting, torch.float32)[int(textbook)]()
    side.step()
    return side


def time_steps(setting: SearchSetting, textbook: bool, steps: int) -> float:
    """Return the mean seconds of a step, after one uncounted step."""
    side = _side(setting, textbook)
    start = time.perf_counter()
    for _ in range(steps):
        side.step()
    return (time.perf_counter() - start) / steps


def measure_search(setting: SearchSetting, rounds: int, steps: int) -> list[Comparison]:
    """Let both sides search in turns, each in a process of its own.

    Args:
        setting: The shared setting.
        rounds: Number of timings of each side.
        steps: Steps per round.

    Returns:
        Seconds of a step and peak memory: the ratio is the share of the textbook's that genas needs.
    """
    small = replace(setting, channels=8, cells=1 if setting.space == "nasbench201" else 4, batch_size=4, image_size=8)
    check_same_search(small)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as ours, ProcessPoolExecutor(1, context) as other:
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for column, process, textbook in zip(seconds, (ours, other), (False, True), strict=True):
                column.append(process.submit(time_steps, setting, textbook, steps).result())
        peaks = [[process.submit(peak_memory).result()] for process in (ours, other)]
    return [
        Comparison(f"search step, {setting.method}", "s", *seconds),
        Comparison(f"peak memory, {setting.method}", "MiB", *peaks),
    ]
