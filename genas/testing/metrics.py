"""Tests that every metric must pass."""

from __future__ import annotations

import abc
import contextlib
import itertools
import math
import pickle
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch

from genas.metrics import Context, Metric, ScoringSettings
from genas.scores import ScoreStore
from genas.seeding import generator
from genas.spaces import Architecture
from genas.spaces import space as space_by_name
from genas.supernet import Calibration
from genas.supernet.supernet_run import TrainedSupernet
from genas.testing.global_generators import check_globals_do_not_matter
from genas.testing.supernets import tiny_supernet


class MetricContract(abc.ABC):
    """Tests for every metric. They score a few architectures of a tiny supernet of random weights in float64.

    Attributes:
        space: Name of the search space.
    """

    space: ClassVar[str] = "nasbench201"

    @abc.abstractmethod
    def make(self) -> Metric:
        """Return the metric."""

    def supernet(self) -> TrainedSupernet:
        """Return the supernet whose architectures are scored, equal every time."""
        return tiny_supernet(self.space)

    def samples(self) -> list[Architecture]:
        """Return the architectures to score."""
        rng, space = generator(0, "testing"), space_by_name(self.space)
        return [space.sample(rng) for _ in range(5)]

    @contextlib.contextmanager
    def context(self) -> Iterator[Context]:
        """A context of the supernet that has measured nothing yet."""
        settings = ScoringSettings(valid_images=None, calibration=Calibration(images=40), batch_size=16)
        with ScoreStore(":memory:") as store:
            yield Context(self.supernet(), settings, store=store)

    def scores(self, architectures: Sequence[Architecture]) -> np.ndarray:
        """Return the scores in a context that has measured nothing yet."""
        with self.context() as context:
            return self.make().score(context, architectures)

    def test_describes_itself(self) -> None:
        """Its name, its unit and its scale are what results and sums make of them."""
        metric = self.make()
        assert isinstance(metric.name, str)
        assert metric.name.isidentifier(), "the name must be a word, such as worst_accuracy, to stand in an expression"
        assert isinstance(metric.unit, str)
        assert metric.higher_is_better in (True, False)
        assert metric.cost_hint in ("free", "weights", "forward")
        assert 0 < metric.scale < math.inf
        assert type(metric).__hash__ is not None, "it must have a hash, as frozen dataclasses have"

    def test_every_architecture_has_a_score(self) -> None:
        """There is one for each, none for none, and they are not all the same or missing."""
        scores = self.scores(self.samples())
        assert scores.shape == (len(self.samples()),)
        assert len(np.unique(scores[~np.isnan(scores)])) > 1
        assert self.scores([]).shape == (0,)

    def test_scores_depend_on_nothing_else(self) -> None:
        """Another context of the same supernet has the same scores; no global generator is read or left changed."""
        check_globals_do_not_matter(lambda: repr(self.scores(self.samples()).tolist()))  # a NaN equals no other

    def test_neither_order_nor_company_matters(self) -> None:
        """An architecture has the same score wherever it stands in a list, twice in it, or alone."""
        samples = self.samples()
        expected = self.scores(samples)
        _assert_close(self.scores([*samples[::-1], samples[0]]), [*expected[::-1], expected[0]])
        _assert_close(self.scores(samples[:1]), expected[:1])

    def test_the_supernet_stays_as_it_is(self) -> None:
        """Weights, statistics and modes of the networks in the context are not changed, nor gradients left in them."""
        with self.context() as context:
            before = [_state(network) for network in (context.supernet, context.initial)]
            self.make().score(context, self.samples())
            after = [_state(network) for network in (context.supernet, context.initial)]
        for old, new in zip(before, after, strict=True):
            assert old.keys() == new.keys()
            changed = [name for name in old if not torch.equal(old[name], new[name])]
            assert not changed, f"changed: {changed}"

    def test_needs_are_all_that_is_measured(self) -> None:
        """``values`` asks for what ``needs`` names and for nothing else, so that worker processes can make it."""
        metric, samples = self.make(), self.samples()
        with self.context() as context:
            for architecture, measurements in metric.needs(context, samples).items():
                context.prepare(measurements, [architecture])
            prepared = _stored(context)
            metric.values(context, samples)
            assert _stored(context) == prepared

    def test_measurements_can_be_kept(self) -> None:
        """Equal settings have equal keys in the store, and each measurement has a name for every number."""
        with self.context() as context:
            needs = self.make().needs(context, self.samples()), self.make().needs(context, self.samples())
            keys = [[[context.key(each) for each in several] for several in found.values()] for found in needs]
            assert keys[0] == keys[1]
            for each in itertools.chain.from_iterable(needs[0].values()):
                each.check(context)
                assert len(set(each.columns)) == len(each.columns) > 0

    def test_travels_to_other_processes(self) -> None:
        """A pickled copy has the same scores, without measuring anything again."""
        metric = self.make()
        copy = pickle.loads(pickle.dumps(metric))  # noqa: S301 - of our own making
        with self.context() as context:
            expected = metric.score(context, self.samples())
            needs = copy.needs(context, self.samples())
            assert not any(context.missing(each, [genes]) for genes, several in needs.items() for each in several)
            _assert_close(copy.score(context, self.samples()), expected)


def _assert_close(scores: np.ndarray, expected: Sequence[float] | np.ndarray) -> None:
    """Check that float64 scores are equal but for what the order of a sum may make of them."""
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-12)


def _stored(context: Context) -> dict[str, int]:
    """The number of rows under each key of the store."""
    assert isinstance(context.store, ScoreStore)
    return {key: context.store.count(key) for key in context.store.keys()}  # noqa: SIM118 (not a mapping)


def _state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Everything of a network that scoring could change."""
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        state[f"gradient of {name}"] = torch.zeros(0) if parameter.grad is None else parameter.grad.clone()
        state[f"whether {name} learns"] = torch.tensor(parameter.requires_grad)
    for name, module in network.named_modules():
        state[f"whether {name} trains"] = torch.tensor(module.training)
    return state
