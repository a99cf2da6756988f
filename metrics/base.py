"""The interfaces of metrics and of their measurements."""

from __future__ import annotations

import abc
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast, final

import numpy as np

from genas.spaces import Architecture, SearchSpace

if TYPE_CHECKING:
    from genas.metrics.context import Context


class Measurement(abc.ABC):
    """Raw numbers of architectures, kept in the score store.

    Metrics are computed from them without running a network again.

    Implementations are frozen dataclasses; their fields are part of the key under which the store keeps the numbers.

    Attributes:
        needs_supernet: Whether the numbers depend on the weights of a trained supernet. Those of a measurement that
            does not are the same for all supernets of a space and data set, and are kept under a key that says so; they
            must be computed in float32 even where the context's precision is bfloat16.
        needs_images: Whether :meth:`run` reads ``context.data``, if only for the size of a network.
        version: To be raised when :meth:`run` changes what it computes: stored numbers are then measured again.
    """

    needs_supernet: ClassVar[bool] = True
    needs_images: ClassVar[bool] = True
    version: ClassVar[int] = 1

    @property
    def identity(self) -> str:
        """Everything that its numbers depend on besides the context, as text.

        Raises:
            TypeError: If its class is no frozen dataclass, or has an ``__init__`` of its own: other settings might
                then have the same text.
        """
        kind: Any = type(self)
        made: Any = next((each for each in kind.__mro__ if "__dataclass_params__" in vars(each)), None)
        if made is None or not vars(made)["__dataclass_params__"].frozen or kind.__init__ is not made.__init__:
            raise TypeError(
                f"A measurement must be a frozen dataclass, but {kind.__qualname__} is not; write "
                "@dataclass(frozen=True) above it."
            )
        settings = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(cast(Any, self)))
        return f"{kind.__module__}: {kind.__qualname__}({settings}), version {self.version}, {', '.join(self.columns)}"

    @property
    @abc.abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers."""

    @abc.abstractmethod
    def run(self, context: Context, architecture: Architecture) -> Sequence[float]:
        """Measure one architecture.

        Args:
            context: The supernet and what belongs to it.
            architecture: A valid architecture.

        Returns:
            One number per column. NaN means that the measurement failed.
        """

    def check(self, context: Context) -> None:
        """Refuse what :meth:`run` would refuse for every architecture, before a folder is bound to it and hours pass.

        Args:
            context: The context in which it will run.

        Raises:
            MissingInputError: If it needs a supernet or images, and the context has none.
            ValueError: If its settings do not suit the space.
        """
        if self.needs_supernet:
            _ = context.supernet
        if self.needs_images:
            _ = context.data

    def representative(self, space: SearchSpace, architecture: Architecture) -> Architecture:
        """The architecture whose numbers are used for all with the same supernet function as this one."""
        return space.supernet_representative(architecture)


Needs = Mapping[Architecture, tuple[Measurement, ...]]
"""The measurements to make of each architecture."""


class Metric(abc.ABC):
    """Scores architectures of a supernet.

    It has a hash, best as a frozen dataclass of its settings: what it works out once for a supernet is kept by it.

    Attributes:
        name: The name on the command line.
        unit: Unit of the values, which figures show.
        higher_is_better: Orientation of the values; scores are always higher-is-better.
        cost_hint: Cost of a value: ``free`` (arithmetic on the architecture), ``weights`` (arithmetic on the weights),
            ``forward`` (runs the network).
        scale: Factor that makes scores comparable in a weighted sum (the papers divide angles by pi and multiply
            flatness by 1/sigma_1).
        measurements: Measurements from which the values are computed.
    """

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    cost_hint: ClassVar[Literal["free", "weights", "forward"]] = "forward"

    @property
    def unit(self) -> str:
        """Unit of the values; empty unless a subclass defines it."""
        return ""

    @property
    def scale(self) -> float:
        """Factor of the score in a weighted sum."""
        return 1.0

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The measurements that :meth:`values` asks the context for."""
        return ()

    @property
    def parts(self) -> tuple[Metric, ...]:
        """The metrics that this one is made of."""
        return ()

    def needs(self, context: Context, architectures: Sequence[Architecture]) -> Needs:  # noqa: ARG002
        """The measurements that :meth:`values` asks the context for, so that worker processes can make them in advance.

        By default the :attr:`measurements` of the architectures themselves. A metric that also reads others, such as
        neighbours, names them here.

        Args:
            context: The supernet and what belongs to it.
            architectures: Valid architectures.

        Returns:
            The measurements of each architecture; nothing is measured here.
        """
        return dict.fromkeys(architectures, self.measurements) if self.measurements else {}

    @abc.abstractmethod
    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """The metric in its own unit and orientation.

        Args:
            context: The supernet and what belongs to it.
            architectures: Valid architectures.

        Returns:
            Float64 array of shape ``(len(architectures),)``; NaN where a measurement failed.
        """

    @final
    def score(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        """The values, with the sign that makes higher better.

        Args:
            context: The supernet and what belongs to it.
            architectures: Architectures of the context's space.

        Returns:
            Float64 array of shape ``(len(architectures),)``; NaN where a value is not finite: an infinite one has
            failed, too, and is not the best.

        Raises:
            ValueError: If an architecture is not valid, or the metric has not one value for each.
            TypeError: If a gene is not an integer, or one architecture is given instead of several.
        """
        if any(isinstance(each, int) for each in architectures):
            raise TypeError(f"Several architectures must be given, as a list, but got one: {architectures}.")
        architectures = [context.space.check(architecture) for architecture in architectures]
        _prepare(context, self.needs(context, architectures))
        values = np.asarray(self.values(context, architectures), dtype=np.float64)
        if values.shape != (len(architectures),):
            raise ValueError(
                f"The values of the metric {self.name} must have the shape ({len(architectures)},), one for each "
                f"architecture, but have {values.shape}."
            )
        scores = values if self.higher_is_better else -values
        return np.where(np.isfinite(scores), scores, np.nan)


def _prepare(context: Context, needs: Needs) -> None:
    """Make the measurements that the store lacks, architecture by architecture, so that they share the subnet."""
    for architecture, measurements in lacking(context, needs).items():
        context.prepare(measurements, [architecture])


def lacking(context: Context, needs: Needs) -> Needs:
    """The measurements that are not in the store of a context.

    Args:
        context: The context.
        needs: Measurements of each architecture.

    Returns:
        The missing ones, of the representatives of these architectures.
    """
    wanted: defaultdict[Measurement, list[Architecture]] = defaultdict(list)
    for architecture, measurements in needs.items():
        for measurement in measurements:
            wanted[measurement].append(architecture)
    missing: defaultdict[Architecture, list[Measurement]] = defaultdict(list)
    # Asked once per measurement: where all are stored, asking for each architecture takes longer than the scores.
    for measurement, members in wanted.items():
        for architecture in context.missing(measurement, members):
            missing[architecture].append(measurement)
    return {architecture: tuple(measurements) for architecture, measurements in missing.items()}


def within(metric: Metric) -> Iterator[Metric]:
    """A metric and all that it is made of.

    Args:
        metric: The metric.

    Yields:
        It first, then its parts with theirs.
    """
    yield metric
    for part in metric.parts:
        yield from within(part)


def needs_of(metrics: Iterable[Metric], context: Context, architectures: Sequence[Architecture]) -> Needs:
    """The needs of several metrics, each measurement once.

    Args:
        metrics: The metrics.
        context: The supernet and what belongs to it.
        architectures: Valid architectures.

    Returns:
        The measurements of each architecture.
    """
    needs: defaultdict[Architecture, dict[Measurement, None]] = defaultdict(dict)
    for metric in metrics:
        for architecture, measurements in metric.needs(context, architectures).items():
            needs[architecture].update(dict.fromkeys(measurements))
    return {architecture: tuple(measurements) for architecture, measurements in needs.items()}
