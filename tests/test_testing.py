"""All spaces against the conformance suite, and the suites against plug-ins that are wrong."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from genas.metrics import Context, Measurement, Metric
from genas.search import Constraint, RandomSearch, Searcher
from genas.spaces import SPACES, Architecture, NASBench201, SearchSpace, space
from genas.testing import MetricContract, SearcherContract, SpaceContract, refuses

for _name in SPACES:
    globals()[f"Test_{_name}"] = type(f"Test_{_name}", (SpaceContract,), {"make": lambda _, name=_name: space(name)})


def test_the_loop_above_saw_the_spaces() -> None:
    assert {"Test_nasbench201", "Test_darts", "Test_darts7", "Test_s1", "Test_s2", "Test_s3", "Test_s4"} <= set(
        globals()
    )


class Good(NASBench201):
    """The plug-ins below differ from it in one method."""


def changed(method: str, replacement: Callable) -> SpaceContract:
    class Contract(SpaceContract):
        def make(self) -> SearchSpace:
            return type("Bad", (Good,), {method: replacement})()

    return Contract()


@pytest.mark.parametrize(
    ("method", "replacement", "test"),
    [
        ("operations", ("zero", "b", "c", "d", "e"), "test_genes_fit_the_cells"),
        ("candidates", ((0, 1),) * 5, "test_genes_fit_the_cells"),
        ("sample", lambda _, rng: tuple(rng.integers(5, size=6)), "test_samples_are_valid_and_differ"),
        ("sample", lambda *_: (1,) * 6, "test_samples_are_valid_and_differ"),
        ("size", 15_624, "test_size_and_sampling_agree_with_the_full_list"),
        (
            "sample",
            lambda _, rng: tuple(max(pair) for pair in rng.integers(5, size=(6, 2)).tolist()),
            "test_size_and_sampling_agree_with_the_full_list",
        ),
        ("check", lambda _, genes: tuple(genes), "test_bad_genes_are_refused"),
        ("repair", lambda _, genes, *__: (0, *genes[1:]), "test_repair_leaves_valid_genes_and_mends_others"),
        ("mutate", lambda _, parent, *__: parent, "test_mutation_changes_every_gene_sooner_or_later"),
        (
            "mutate",
            lambda _, parent, *__: ((parent[0] + 1) % 5, *parent[1:]),
            "test_mutation_changes_every_gene_sooner_or_later",
        ),
        ("crossover", lambda *_: (0,) * 6, "test_crossover_of_equals_is_the_parent"),
        (
            "neighbors",
            lambda _, centre, *__: iter([centre]),
            "test_neighbors_are_valid_distinct_and_nearest_first",
        ),
        (
            "neighbors",
            lambda _, centre, radius=1: list(NASBench201().neighbors(centre, radius))[1:],
            "test_neighbors_agree_with_the_full_list",
        ),
        ("distance", lambda _, a, b: sum(x > y for x, y in zip(a, b, strict=True)), "test_distance_is_a_metric"),
        ("format", lambda *_: NASBench201().format((1,) * 6), "test_text_round_trip"),
        ("parse", lambda *_: (1,) * 6, "test_text_round_trip"),
        ("supernet_key", lambda _, architecture: list(architecture), "test_keys_are_equal_for_equal_architectures"),
        ("standalone_skeleton", lambda *_: None, "test_skeletons_have_cells_of_the_space"),
        ("sample", lambda *_: (random.randrange(5),) * 6, "test_randomness_comes_from_the_argument_alone"),
        (
            "mutate",
            lambda *_: (int(np.random.randint(5)),) * 6,  # noqa: NPY002
            "test_randomness_comes_from_the_argument_alone",
        ),
    ],
)
def test_space_contract_catches(method: str, replacement: Callable, test: str) -> None:
    with pytest.raises((AssertionError, TypeError)):
        getattr(changed(method, replacement), test)()


class SearcherUnderTest(SearcherContract):
    """Random search, with one thing changed."""

    def __init__(self, **methods: Callable) -> None:
        self.kind = type("Bad", (RandomSearch,), methods)
        self.seeded = "seedless" not in methods
        self.constrained = "unconstrained" not in methods

    def make(self, space: SearchSpace, seed: int, constraint: Constraint | None) -> Searcher:
        limit = constraint if self.constrained else None
        return self.kind(space, seed=seed if self.seeded else 0, evaluations=120, constraint=limit)


def twice(searcher: Searcher) -> list[tuple[int, ...]]:
    batch = RandomSearch.propose(searcher)
    return batch + batch[:1] if batch else batch


def shuffled(searcher: Searcher) -> list[tuple[int, ...]]:
    batch = RandomSearch.propose(searcher)
    random.shuffle(batch)
    return batch


def stop_without_scores(searcher: Searcher, architectures, scores: np.ndarray) -> None:
    if not len(scores):
        searcher.finish("gave up")


@pytest.mark.parametrize(
    ("methods", "test"),
    [
        ({"seedless": True}, "test_same_seed_same_asks"),
        ({"propose": shuffled}, "test_same_seed_same_asks"),
        ({"propose": twice}, "test_asks_valid_architectures_once"),
        ({"budget": 10}, "test_asks_valid_architectures_once"),
        ({"finished_because": None}, "test_says_why_it_ended"),
        ({"learn": stop_without_scores}, "test_failed_evaluations_do_not_stop_it"),
        ({"tell": lambda *_: None}, "test_ask_and_tell_take_turns"),
        ({"unconstrained": True}, "test_keeps_the_constraint_to_the_last_architecture"),
        ({"unconstrained": True}, "test_infeasible_constraint_is_an_error"),
    ],
)
def test_searcher_contract_catches(methods: dict[str, Callable], test: str) -> None:
    with pytest.raises(AssertionError):
        getattr(SearcherUnderTest(**methods), test)()


@dataclass(frozen=True)
class Genes(Measurement):
    """Numbers of an architecture that need no network."""

    columns = ("product", "sum")

    def run(self, context: Context, architecture: Architecture) -> tuple[float, float]:
        return float(np.prod(architecture)), float(sum(architecture))


class Sums(Metric):
    """A metric that passes; the plug-ins below differ from it in one thing."""

    name = "sums"
    measurements = (Genes(),)

    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        return context.measure(Genes(), architectures)[:, 1]


class TestSums(MetricContract):
    def make(self) -> Metric:
        return Sums()


class Sloppy(Genes):
    columns = ("sum", "sum")


class Thawed(Measurement):
    columns = ("sum",)

    def run(self, context: Context, architecture: Architecture) -> tuple[float]:
        return (0.0,)


def measured_too(metric: Metric, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
    return context.measure(Genes(), [*architectures, (4, 4, 4, 4, 4, 4)])[:-1, 1]


def global_noise(_: Metric, __: Context, architectures: Sequence[Architecture]) -> np.ndarray:
    return torch.rand(len(architectures)).numpy()


def trained(_: Metric, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
    context.supernet.train()
    return np.arange(len(architectures), dtype=float)


def nudged(_: Metric, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
    with torch.no_grad():
        context.initial.head.classifier.weight += 1
    return np.arange(len(architectures), dtype=float)


def differentiated(_: Metric, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
    context.supernet.head.classifier.weight.sum().backward()
    return np.arange(len(architectures), dtype=float)


def ranked(_: Metric, __: Context, architectures: Sequence[Architecture]) -> np.ndarray:
    return np.arange(len(architectures), dtype=float)


class Doubled(Sums):
    def values(self, context: Context, architectures: Sequence[Architecture]) -> np.ndarray:
        return 2 * super().values(context, architectures)


class Renamed(Sums):
    measurements = (Sloppy(),)


class MetricUnderTest(MetricContract):
    def __init__(self, **members: object) -> None:
        self.kind = type("Bad", (Sums,), members)
        globals()["Bad"] = self.kind  # where pickle looks for it
        self.kind.__module__ = __name__

    def make(self) -> Metric:
        return self.kind()


def test_a_metric_may_fail_for_some_architectures() -> None:
    suite = MetricUnderTest(values=lambda _, __, several: np.array([sum(each) or np.nan for each in several]) % 7)
    suite.samples = lambda: [(0,) * 6, (1,) * 6, (1, 1, 1, 1, 1, 3)]  # type: ignore[method-assign]
    for name in (each for each in dir(suite) if each.startswith("test_")):
        getattr(suite, name)()


@pytest.mark.parametrize(
    ("members", "test"),
    [
        ({"name": "my sums"}, "test_describes_itself"),
        ({"scale": 0.0}, "test_describes_itself"),
        ({"__hash__": None}, "test_describes_itself"),
        ({"cost_hint": "cheap"}, "test_describes_itself"),
        ({"values": lambda _, __, several: np.ones(len(several))}, "test_every_architecture_has_a_score"),
        ({"values": lambda _, __, several: np.full(len(several), np.nan)}, "test_every_architecture_has_a_score"),
        ({"values": global_noise}, "test_scores_depend_on_nothing_else"),
        ({"values": ranked}, "test_neither_order_nor_company_matters"),
        ({"values": trained}, "test_the_supernet_stays_as_it_is"),
        ({"values": nudged}, "test_the_supernet_stays_as_it_is"),
        ({"values": differentiated}, "test_the_supernet_stays_as_it_is"),
        ({"measurements": ()}, "test_needs_are_all_that_is_measured"),
        ({"values": measured_too}, "test_needs_are_all_that_is_measured"),
        ({"measurements": (Sloppy(),)}, "test_measurements_can_be_kept"),
        ({"__reduce__": lambda _: (Doubled, ())}, "test_travels_to_other_processes"),
        ({"__reduce__": lambda _: (Renamed, ())}, "test_travels_to_other_processes"),
    ],
)
def test_metric_contract_catches(members: dict[str, object], test: str) -> None:
    with pytest.raises(AssertionError):
        getattr(MetricUnderTest(**members), test)()


def test_metric_contract_lets_errors_through() -> None:
    with pytest.raises(TypeError, match="must be a frozen dataclass"):
        MetricUnderTest(measurements=(Thawed(),)).test_measurements_can_be_kept()
    with pytest.raises((AttributeError, pickle.PicklingError), match="pickle"):
        MetricUnderTest(__getstate__=lambda _: lambda: 0).test_travels_to_other_processes()


def test_refuses_wants_the_error_and_its_words() -> None:
    with refuses(ValueError, "one", "two"):
        raise ValueError("one and two")
    with (
        pytest.raises(AssertionError, match=r"must contain \['three'\], but is: one and two"),
        refuses(ValueError, "three"),
    ):
        raise ValueError("one and two")
    with pytest.raises(AssertionError, match="expected a ValueError, but nothing was raised"), refuses(ValueError):
        pass
    with pytest.raises(KeyError), refuses(ValueError):
        raise KeyError
