"""Shared inputs of all metrics of a supernet: weights, images, calibrated statistics, noise, stored measurements."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Self, TypeVar, cast, final

import numpy as np
import torch
from torch import Tensor

from genas.data import Augmentation, ImageData
from genas.devices import compute_float32_in_full
from genas.errors import MissingInputError
from genas.metrics.base import Measurement
from genas.metrics.hessian import HessianLevel
from genas.metrics.images import calibration_images, validation_images
from genas.metrics.memory import MemoryStore
from genas.metrics.noise import NoiseLevel
from genas.metrics.settings import ScoringSettings
from genas.scores import ScoreStore
from genas.seeding import derived_seed
from genas.spaces import Architecture, SearchSpace, Skeleton
from genas.supernet import CellNetwork, Evaluation, calibrate, evaluate, folded
from genas.supernet.supernet_run import TrainedSupernet

T = TypeVar("T")

VERSION = 3
"""To be raised when calibration or evaluation changes what it computes: stored measurements are then repeated."""


def _identity(space: SearchSpace, network: Skeleton | None) -> str:
    """A space and the size of a network as text; by more than the name, as a space of one's own can be edited."""
    # The noise of each operation of its own: what was measured under shared noise was named without this word.
    noise = " noise by place" if "noise" in space.operations else ""
    return f"{space.name} {space.operations} {space.cell_types} {space.candidates} {network}{noise}"


class _Latest(threading.local):
    """The values that :meth:`Context.latest` keeps, for each thread."""

    def __init__(self) -> None:
        self.slots: dict[Hashable, tuple[Hashable, object]] = {}


@final
class Context:
    """A trained supernet with everything that its metrics need, computed once.

    The supernet is never changed: a subnet is a copy. So the order of metrics and architectures does not matter.
    :meth:`untrained` makes a context for metrics that need no supernet.

    Args:
        trained: The supernet.
        settings: Settings of the evaluation.
        seed: Root seed of the draws of images, of the weight noise and of initial weights.
        store: The store of measurements; by default in memory.
    """

    def __init__(
        self, trained: TrainedSupernet, settings: ScoringSettings, *, seed: int = 0, store: ScoreStore | None = None
    ) -> None:
        self._set_up(trained, trained.network.space, trained.data, settings, trained.precision, seed, store)

    @classmethod
    def untrained(
        cls,
        space: SearchSpace,
        data: ImageData | None = None,
        settings: ScoringSettings = ScoringSettings(),  # noqa: B008 (frozen)
        *,
        precision: torch.dtype = torch.float32,
        seed: int = 0,
        store: ScoreStore | None = None,
    ) -> Context:
        """A context without a supernet, for costs, training-free metrics and tables.

        Args:
            space: Space of the architectures.
            data: The images on which initial networks run and which determine their size; without it only metrics that
                read nothing but the architecture have values.
            settings: Settings of the evaluation.
            precision: Compute type.
            seed: As for the class.
            store: As for the class.

        Returns:
            A context whose ``supernet`` and ``initial``, and ``data`` where there is none, raise
            :class:`genas.errors.MissingInputError`.
        """
        return cls.__new__(cls)._set_up(None, space, data, settings, precision, seed, store)

    def _set_up(
        self,
        trained: TrainedSupernet | None,
        space: SearchSpace,
        data: ImageData | None,
        settings: ScoringSettings,
        precision: torch.dtype,
        seed: int,
        store: ScoreStore | None,
    ) -> Self:
        self._trained, self.space, self._data, self.settings = trained, space, data, settings
        self.precision, self.seed = precision, seed
        self.store: ScoreStore | MemoryStore = MemoryStore() if store is None else store
        self._latest = _Latest()
        self._worked_out: dict[Hashable, object] = {}
        compute_float32_in_full(self.device)
        return self

    @property
    def supernet(self) -> CellNetwork:
        """The trained supernet."""
        return self._supernet.network

    @property
    def initial(self) -> CellNetwork:
        """The supernet before training."""
        return self._supernet.initial

    @property
    def has_supernet(self) -> bool:
        """Whether there is a trained supernet."""
        return self._trained is not None

    @property
    def _supernet(self) -> TrainedSupernet:
        if self._trained is None:
            raise MissingInputError(
                "This metric needs a trained supernet, but there is none: give the folder of one that "
                "genas train-supernet made, or choose a metric that needs none, such as naswot or macs."
            )
        return self._trained

    @property
    def data(self) -> ImageData:
        """The images."""
        if self._data is None:
            raise MissingInputError(
                "This metric needs images, if only for their size and their classes, but there are none: name a data "
                "set, such as cifar10, or choose a metric that reads only the architecture."
            )
        return self._data

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal digest of all that a measurement depends on: space, weights, images, settings and seed."""
        networks = (self.initial, self.supernet)
        cells = _identity(self.space, self.supernet.skeleton)
        augmentation = self._augmentation if self.settings.calibration.augmented else ""
        digest = hashlib.sha256(
            f"{VERSION} {cells} {self.data.fingerprint} {self.settings!r} {self.seed} {self.precision} "
            f"{self.device.type}{augmentation}".encode()
        )
        for network in networks:
            for name, tensor in network.state_dict().items():
                digest.update(name.encode())
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def untrained_fingerprint(self) -> str:
        """The same for a measurement without a supernet: space, images, seed, precision; batches are in its key."""
        space, data, network = self.space, "no images", None
        if self._data is not None:
            data = self._data.fingerprint
            network = space.standalone_skeleton(
                self._data.num_classes, self._data.image_size, self._data.image_channels
            )
        precision = torch.promote_types(self.precision, torch.float32)  # in which initial networks compute
        known = f"{VERSION} {_identity(space, network)} {data} {self.seed} {precision} {self.device.type}"
        return hashlib.sha256(known.encode()).hexdigest()[:16]

    @property
    def device(self) -> torch.device:
        """Device of the images and of the supernet."""
        return torch.device("cpu") if self._data is None else self._data.valid.images.device

    def measure(self, measurement: Measurement, architectures: Sequence[Architecture]) -> np.ndarray:
        """Measurements from the store; missing ones are made and stored.

        Args:
            measurement: The measurement.
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
        """Make the missing measurements, architecture by architecture, so that they share the subnet.

        Args:
            measurements: The measurements.
            architectures: Valid architectures.
        """
        for architecture in architectures:
            for measurement in measurements:
                self.measure(measurement, [architecture])

    def missing(self, measurement: Measurement, architectures: Sequence[Architecture]) -> list[Architecture]:
        """The representatives without a stored measurement, each once, in order."""
        wanted = dict.fromkeys(measurement.representative(self.space, architecture) for architecture in architectures)
        known = self.store.get(self.key(measurement), wanted)
        return [architecture for architecture in wanted if architecture not in known]

    def key(self, measurement: Measurement) -> str:
        """The key under which the store keeps a measurement of this context."""
        fingerprint = self.fingerprint if measurement.needs_supernet else self.untrained_fingerprint
        return f"{measurement.identity}, on {fingerprint}"

    def once(self, name: Hashable, work_out: Callable[[], T]) -> T:
        """A result that a metric computes once per supernet, such as its table or perturbed weights.

        Args:
            name: Everything the result depends on besides the context.
            work_out: Called the first time.

        Returns:
            Its result, the same object every time.
        """
        if name not in self._worked_out:
            self._worked_out[name] = work_out()
        return cast(T, self._worked_out[name])

    def once_per_thread(self, name: Hashable, work_out: Callable[[], T]) -> T:
        """As :meth:`once`, of each thread its own: for what changes while it is used, such as a network in training.

        Args:
            name: Everything the result depends on besides the context.
            work_out: Called the first time in a thread.

        Returns:
            Its result, which is kept as long as the context.
        """
        return self.latest(name, name, work_out)

    def latest(self, slot: Hashable, name: Hashable, work_out: Callable[[], T]) -> T:
        """A result that an architecture's measurements share, such as its subnet: kept until another takes its slot.

        Every thread has its own, so that a network may change while it is measured.

        Args:
            slot: Kind of the result; one of each kind is kept.
            name: Everything it depends on besides the context.
            work_out: Called if the slot holds another.

        Returns:
            Its result.
        """
        slots = self._latest.slots
        if slot not in slots or slots[slot][0] != name:
            slots[slot] = name, work_out()
        return cast(T, slots[slot][1])

    def evaluate(self, architecture: Architecture, noise: NoiseLevel | HessianLevel | None = None) -> list[Evaluation]:
        """Evaluate a subnet on the validation images, with its own weights or once per perturbed copy of them.

        Args:
            architecture: A valid architecture.
            noise: Weight noise. BN statistics are calibrated without it.

        Returns:
            One evaluation; with noise one per repeat.
        """
        copies: list[dict[str, Tensor]] = [{}] if noise is None else noise.perturbed(self, architecture)
        subnet = self.calibrated(architecture)
        return [self._evaluate_with(subnet, {**self._parameters, **parameters}) for parameters in copies]

    def calibrated(self, architecture: Architecture) -> CellNetwork:
        """The subnet with its BN statistics; its parameters may be those of the perturbed copy that was evaluated last.

        Args:
            architecture: A valid architecture.

        Returns:
            A network of this thread, kept for the measurements of the same architecture that follow.
        """
        return self.latest("subnet", architecture, lambda: self._calibrate(architecture))

    def _calibrate(self, architecture: Architecture) -> CellNetwork:
        subnet = self.supernet.subnet(architecture)
        subnet.seed_noise(derived_seed(self.seed, "noise operations"))
        images = self._calibration_images
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != images.dtype):
            return calibrate(subnet, images, self.settings.calibration)

    def _evaluate_with(self, subnet: CellNetwork, parameters: Mapping[str, Tensor]) -> Evaluation:
        images, labels = self._validation
        with torch.no_grad():
            for name, parameter in subnet.named_parameters():
                parameter.copy_(parameters[name])
        # A subnet without stored statistics normalises every batch by its own: nothing to fold.
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
        return validation_images(self.data, self.settings.valid_images, self.seed, self.precision)

    @cached_property
    def _calibration_images(self) -> Tensor:
        dtype = torch.promote_types(self.precision, torch.float32)  # statistics need more digits than bf16 has
        return calibration_images(self.data, self.settings.calibration, self._augmentation, self.seed, dtype)

    @property
    def _augmentation(self) -> Augmentation:
        """The augmentation of the supernet's training."""
        return self._supernet.config.training.augmentation(self.data)
