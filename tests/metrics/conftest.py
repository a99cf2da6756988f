"""Tiny supernets made by hand, nothing trained, nothing on disk: random weights, images whose class is their colour."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import InitVar, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from genas.data import ImageData, Split
from genas.metrics import Context, Measurement, Metric, ScoringSettings
from genas.scores import ScoreStore
from genas.spaces import Architecture, SearchSpace, space
from genas.supernet import Calibration, CellNetwork
from genas.supernet.project import SupernetConfig, TrainedSupernet

MakeTrained = Callable[..., TrainedSupernet]
MakeContext = Callable[..., Context]
Draw = Callable[..., list[Architecture]]


# ----------------------------------------------------------------------------------------------------------- supernets


def _data(train: int, valid: int, classes: int, size: int, channels: int) -> ImageData:
    rng = np.random.default_rng(7)
    colours = rng.integers(60, 196, size=(classes, 1, 1, 3))

    def split(count: int) -> Split:
        labels = rng.permutation(np.arange(count) % classes)
        pixels = colours[labels] + rng.integers(-60, 60, size=(count, size, size, 3))
        return Split.from_arrays(pixels[..., :channels].clip(0, 255).astype(np.uint8), labels.astype(np.int64))

    names = tuple(f"class {k}" for k in range(classes))
    mean, std = (0.5, 0.4, 0.6), (0.25, 0.2, 0.3)
    return ImageData(
        "colours", names, mean[:channels], std[:channels], split(train), split(valid), None, True, 1, "synthetic"
    )


def _network(search_space: SearchSpace, skeleton: Any, seed: int, dtype: torch.dtype) -> CellNetwork:
    """A network that no part can leave unnoticed: BN weights, biases and (stale) statistics are random as well.

    The classifier is large, so that the losses of architectures spread out.
    """
    network = CellNetwork.initialised(search_space, skeleton, seed).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                if module.affine:
                    module.weight.uniform_(0.5, 1.5, generator=generator)
                    module.bias.normal_(generator=generator)
                module.running_mean.normal_(generator=generator)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5, generator=generator)  # type: ignore[union-attr]
        network.head.classifier.weight *= 4
    return network.eval()


def _make_trained(
    name: str = "nasbench201",
    *,
    channels: int = 2,
    cells: int | None = None,
    size: int = 8,
    classes: int = 6,
    train: int = 40,
    valid: int = 30,
    seed: int = 0,
    precision: torch.dtype = torch.float64,
    **options: Any,
) -> TrainedSupernet:
    search_space = space(name)
    depth = (1 if name == "nasbench201" else 4) if cells is None else cells  # normal, two reductions, normal
    skeleton = replace(search_space.supernet_skeleton(classes, size, channels=channels, cells=depth), **options)
    stored = torch.promote_types(precision, torch.float32)
    initial, network = (_network(search_space, skeleton, 2 * seed + k, stored) for k in range(2))
    data = _data(train, valid, classes, size, skeleton.image_channels)
    return TrainedSupernet(SupernetConfig(space=name), network, initial, data, precision)


@pytest.fixture
def make_trained() -> MakeTrained:
    """Makes a supernet whose weights a test may change."""
    return _make_trained


@pytest.fixture(scope="session")
def shared_trained() -> MakeTrained:
    """As ``make_trained``, but made once for all tests: for those that change nothing."""
    return functools.cache(_make_trained)


# ------------------------------------------------------------------------------------------------------------ contexts

SETTINGS = ScoringSettings(valid_images=None, calibration=Calibration(images=40), batch_size=16)


@pytest.fixture
def make_context(shared_trained: MakeTrained) -> Iterator[MakeContext]:
    """Makes a context of a supernet (by default the shared NAS-Bench-201 one) that evaluates on all of its images."""
    stores: list[ScoreStore] = []

    def make(
        trained: TrainedSupernet | None = None,
        settings: ScoringSettings = SETTINGS,
        *,
        seed: int = 0,
        store: ScoreStore | None = None,
    ) -> Context:
        if store is None:
            store = ScoreStore(":memory:")
            stores.append(store)
        return Context(trained or shared_trained(), settings, seed=seed, store=store)

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def context(make_context: MakeContext) -> Context:
    """A new context of the shared NAS-Bench-201 supernet."""
    return make_context()


@pytest.fixture
def forbid_networks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it makes every further evaluation of a subnet an error."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network ran")

    return lambda: monkeypatch.setattr("genas.metrics.context.evaluate", refuse)


@pytest.fixture
def count_evaluations(monkeypatch: pytest.MonkeyPatch) -> list[Architecture]:
    """The architectures that contexts have evaluated since, one entry per call."""
    seen: list[Architecture] = []
    original = Context.evaluate

    def counted(self: Context, architecture: Architecture, *noise: Any) -> Any:
        seen.append(architecture)
        return original(self, architecture, *noise)

    monkeypatch.setattr(Context, "evaluate", counted)
    return seen


# ------------------------------------------------------------------------------------------------------- architectures


@pytest.fixture(scope="session")
def draw() -> Draw:
    """Random architectures of a space from a seed."""

    def architectures(search_space: SearchSpace, count: int, seed: int = 0) -> list[Architecture]:
        rng = np.random.default_rng(seed)
        return [search_space.sample(rng) for _ in range(count)]

    return architectures


@pytest.fixture(scope="session")
def genes_with_noise(draw: Draw) -> Architecture:
    """An architecture of S4 with noise operations in its normal cells."""
    return next(genes for genes in draw(space("s4"), 20) if 8 in genes[:14])


@dataclass(frozen=True, eq=False)
class TableMeasurement(Measurement):
    """Numbers from a dict; what is missing is a failure. Architectures stand for themselves."""

    numbers: InitVar[dict[Architecture, float]]
    table: ClassVar[dict[Architecture, float]]
    runs: ClassVar[list[Architecture]]

    def __post_init__(self, numbers: dict[Architecture, float]) -> None:
        vars(self).update(table=numbers, runs=[])

    @property
    def columns(self) -> tuple[str, ...]:
        return ("value",)

    def run(self, context: Context, architecture: Architecture) -> Sequence[float]:
        self.runs.append(architecture)
        return (self.table.get(architecture, np.nan),)

    def representative(self, space: SearchSpace, architecture: Architecture) -> Architecture:
        return architecture


class TableMetric(Metric):
    """Values from a dict, NaN for other architectures."""

    def __init__(
        self,
        table: dict[Architecture, float],
        *,
        name: str = "table",
        scale: float = 1.0,
        higher_is_better: bool = True,
    ) -> None:
        self.measurement = TableMeasurement(table)
        self.name, self.higher_is_better, self._scale = name, higher_is_better, scale  # type: ignore[misc]

    @property
    def scale(self) -> float:
        return self._scale

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        return (self.measurement,)

    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        table = self.measurement.table
        return np.array([table.get(architecture, np.nan) for architecture in architectures])


@pytest.fixture(scope="session")
def table_metric() -> type[TableMetric]:
    """A metric with given values."""
    return TableMetric


@pytest.fixture(scope="session")
def table_measurement() -> type[TableMeasurement]:
    """A measurement with given numbers, which counts its runs."""
    return TableMeasurement


@pytest.fixture
def state_of() -> Callable[[nn.Module], dict[str, Tensor]]:
    """A copy of all weights and buffers."""
    return lambda network: {name: tensor.clone() for name, tensor in network.state_dict().items()}
