"""Contexts of tiny supernets, and metrics from tables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import InitVar, dataclass
from typing import ClassVar

import numpy as np
import pytest
from torch import Tensor, nn

from genas.metrics import Context, Measurement, Metric, ScoringSettings
from genas.scores import ScoreStore
from genas.spaces import Architecture, NASBench201, SearchSpace, space
from genas.supernet import Calibration
from genas.supernet.supernet_run import TrainedSupernet
from genas.testing import tiny_supernet

MakeTrained = Callable[..., TrainedSupernet]
MakeContext = Callable[..., Context]
Draw = Callable[..., list[Architecture]]


# ----------------------------------------------------------------------------------------------------------- supernets


@pytest.fixture
def make_trained() -> MakeTrained:
    """Makes a supernet whose weights a test may change."""
    return tiny_supernet


@pytest.fixture(scope="session")
def shared_trained() -> MakeTrained:
    """As ``make_trained``, but made once for all tests: for those that change nothing."""
    return functools.cache(tiny_supernet)


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


# ------------------------------------------------------------------------------------------------------- architectures


class Reordered(NASBench201):
    operations = ("none", "nor_conv_3x3", "skip_connect", "nor_conv_1x1", "avg_pool_3x3")


@pytest.fixture(scope="session")
def edited_space() -> SearchSpace:
    """NAS-Bench-201 after its author has changed it: equal genes are other networks."""
    return Reordered()


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
