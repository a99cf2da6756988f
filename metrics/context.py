"""What all metrics of a supernet share: weights, images, calibrated statistics, noise, stored measurements."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar, cast, final

import numpy as np
import torch
from torch import Tensor

from genas.data.splits import stratified_subset
from genas.metrics.base import Measurement
from genas.metrics.noise import NoiseLevel, perturbed_parameters
from genas.scores import ScoreStore
from genas.seeding import derived_seed, generator, torch_generator
from genas.spaces import Architecture, SearchSpace
from genas.supernet import Calibration, CellNetwork, Evaluation, calibrate, evaluate, folded
from genas.supernet.project import TrainedSupernet

T = TypeVar("T")

VERSION = 1
"""To be raised when calibration or evaluation changes what it computes: stored measurements are then made again."""


@dataclass(frozen=True)
class ScoringSettings:
    """On what subnets are evaluated.

    Args:
        valid_images: At most so many validation images, drawn once with the classes in proportion; ``None``: all.
        calibration: How BN statistics are found.
        batch_size: Images per forward pass.

    Raises:
        ValueError: If a number is not positive.
    """

    valid_images: int | None = 2000
    calibration: Calibration = field(default_factory=Calibration)
    batch_size: int = 128

    def __post_init__(self) -> None:
        if self.batch_size < 1 or (self.valid_images is not None and self.valid_images < 1):
            raise ValueError(
                f"valid_images and batch_size must be at least 1, but got {self.valid_images} and {self.batch_size}."
            )


class _Memory:
    """The store of a context that was given none: forgotten with it, and open to any thread, unlike SQLite's."""

    def __init__(self) -> None:
        self._rows: defaultdict[str, dict[Architecture, np.ndarray]] = defaultdict(dict)

    def get(self, key: str, architectures: Iterable[Architecture]) -> dict[Architecture, np.ndarray]:
        rows = self._rows[key]
        return {architecture: rows[architecture] for architecture in architectures if architecture in rows}

    def put(self, key: str, rows: Mapping[Architecture, np.ndarray]) -> None:
        self._rows[key].update(rows)


class _Last(threading.local):
    """The subnet that was measured last, one per thread: it changes while it is measured."""

    architecture: Architecture | None = None
    subnet: CellNetwork | None = None


@final
class Context:
    """A trained supernet with all that its metrics need, each thing computed once.

    The supernet is never changed: a subnet is a copy. So the order in which metrics and architectures come does not
    matter.

    Args:
        trained: The supernet.
        settings: On what to evaluate.
        seed: Root seed of the draws of images and of the weight noise.
        store: Where measurements are kept; by default in memory.
    """

    def __init__(
        self, trained: TrainedSupernet, settings: ScoringSettings, *, seed: int = 0, store: ScoreStore | None = None
    ) -> None:
        self.supernet, self.initial, self.data = trained.network, trained.initial, trained.data
        self.precision, self.settings, self.seed = trained.precision, settings, seed
        self.store: ScoreStore | _Memory = _Memory() if store is None else store
        self._last = _Last()
        self._worked_out: dict[Hashable, object] = {}

    @property
    def space(self) -> SearchSpace:
        """The search space of the supernet."""
        return self.supernet.space

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal digest of all that a measurement depends on: weights, images, settings, seed, precision."""
        digest = hashlib.sha256(
            f"{VERSION} {self.data.fingerprint} {self.settings!r} {self.seed} {self.precision} {self.device}".encode()
        )
        for network in (self.initial, self.supernet):
            for name, tensor in network.state_dict().items():
                digest.update(name.encode())
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def device(self) -> torch.device:
        """Where the supernet is."""
        return self.data.valid.images.device

    def measure(self, measurement: Measurement, architectures: Sequence[Architecture]) -> np.ndarray:
        """Measurements from the store; those that are missing are made and kept.

        Args:
            measurement: What to measure.
            architectures: Valid architectures.

        Returns:
            Float64 array of shape ``(len(architectures), len(measurement.columns))``.
        """
        key = self.key(measurement)
        representatives = [measurement.representative(self.space, architecture) for architecture in architectures]
        rows = self.store.get(key, dict.fromkeys(representatives))
        for architecture in dict.fromkeys(representatives):
            if architecture not in rows:
                rows[architecture] = self._run(measurement, architecture)
                self.store.put(key, {architecture: rows[architecture]})
        if not representatives:
            return np.empty((0, len(measurement.columns)))
        return np.stack([rows[architecture] for architecture in representatives])

    def _run(self, measurement: Measurement, architecture: Architecture) -> np.ndarray:
        row = np.asarray(measurement.run(self, architecture), dtype=np.float64)
        if row.shape != (len(measurement.columns),):
            raise ValueError(
                f"{measurement!r} must give one number for each of its columns {measurement.columns}, "
                f"but gave shape {row.shape}."
            )
        return row

    def prepare(self, measurements: Sequence[Measurement], architectures: Iterable[Architecture]) -> None:
        """Make the measurements that are missing, architecture by architecture, so that they share the subnet.

        Args:
            measurements: What to measure.
            architectures: Valid architectures.
        """
        for architecture in architectures:
            for measurement in measurements:
                self.measure(measurement, [architecture])

    def missing(self, measurement: Measurement, architectures: Sequence[Architecture]) -> list[Architecture]:
        """The representatives that are not in the store yet, each once, in order."""
        wanted = dict.fromkeys(measurement.representative(self.space, architecture) for architecture in architectures)
        known = self.store.get(self.key(measurement), wanted)
        return [architecture for architecture in wanted if architecture not in known]

    def key(self, measurement: Measurement) -> str:
        """Under which key the store keeps a measurement of this context."""
        return f"{type(measurement).__module__}: {measurement!r} on {self.fingerprint}"

    def once(self, name: Hashable, work_out: Callable[[], T]) -> T:
        """What a metric works out once per supernet, such as its table or perturbed weights.

        Args:
            name: Whatever the result depends on besides the context.
            work_out: Called the first time.

        Returns:
            Its result, the same object every time.
        """
        if name not in self._worked_out:
            self._worked_out[name] = work_out()
        return cast(T, self._worked_out[name])

    def evaluate(self, architecture: Architecture, noise: NoiseLevel | None = None) -> list[Evaluation]:
        """Evaluate a subnet on the validation images, with its own weights or once per perturbed copy of them.

        Args:
            architecture: A valid architecture.
            noise: Weight noise; every architecture sees the same draws. BN statistics are calibrated without it.

        Returns:
            One evaluation; with noise one per repeat.
        """
        copies: list[dict[str, Tensor]] = [{}]
        if noise is not None:
            level = noise
            copies = self.once(level, lambda: list(perturbed_parameters(self.supernet, level, self.seed)))
        subnet = self._calibrated(architecture)
        return [self._evaluate_with(subnet, {**self._parameters, **parameters}) for parameters in copies]

    def _calibrated(self, architecture: Architecture) -> CellNetwork:
        """The subnet with its BN statistics; it is kept for the measurements of the same architecture that follow."""
        last = self._last
        if last.architecture != architecture or last.subnet is None:
            subnet = self.supernet.subnet(architecture)
            subnet.seed_noise(derived_seed(self.seed, "noise operations"))
            images = self._calibration_images
            with torch.autocast(self.device.type, self.precision, enabled=self.precision != images.dtype):
                last.subnet = calibrate(subnet, images, self.settings.calibration)
            last.architecture = architecture
        return last.subnet

    def _evaluate_with(self, subnet: CellNetwork, parameters: Mapping[str, Tensor]) -> Evaluation:
        images, labels = self._validation
        with torch.no_grad():
            for name, parameter in subnet.named_parameters():
                parameter.copy_(parameters[name])
        # Without statistics of its own, every batch is normalised by its own: nothing to fold.
        keeps_statistics = self.settings.calibration.mode != "batch"
        with folded(subnet) if keeps_statistics else contextlib.nullcontext(subnet) as ready:
            network = ready if images.dtype == self._dtype else copy.deepcopy(ready).to(images.dtype)
            network.seed_noise(derived_seed(self.seed, "noise operations"))
            return evaluate(network, images, labels, batch_size=self.settings.batch_size)

    @cached_property
    def _parameters(self) -> dict[str, Tensor]:
        return dict(self.supernet.named_parameters())

    @property
    def _dtype(self) -> torch.dtype:
        return next(iter(self._parameters.values())).dtype

    @cached_property
    def _validation(self) -> tuple[Tensor, Tensor]:
        split, limit = self.data.valid, self.settings.valid_images
        if limit is not None and limit < len(split):
            rng = generator(self.seed, "validation images")
            chosen = torch.from_numpy(stratified_subset(split.labels.cpu().numpy(), limit, rng)).to(self.device)
            return self.data.normalize(split.images[chosen], self.precision), split.labels[chosen]
        return self.data.normalize(split.images, self.precision), split.labels

    @cached_property
    def _calibration_images(self) -> Tensor:
        settings, seed = self.settings.calibration, self.seed
        dtype = torch.promote_types(self.precision, torch.float32)  # statistics need more digits than bf16 has
        count = min(settings.images, len(self.data.train))
        chosen = torch.from_numpy(generator(seed, "calibration images").permutation(len(self.data.train))[:count])
        if settings.augmented:
            rng = torch_generator(seed, "calibration augmentation")
            images, _ = self.data.training_batch(chosen, self.data.augmentation(), rng, dtype)
            return images
        return self.data.normalize(self.data.train.images[chosen.to(self.device)], dtype)
