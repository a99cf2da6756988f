"""Scores measured by workers are those measured here, and nothing is measured twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genas.commands import evaluation
from genas.commands.evaluation import ContextRecipe, Scores
from genas.metrics import (
    Angle,
    Combined,
    Context,
    Loss,
    Measurement,
    Noise,
    NoisyLosses,
    Outputs,
    ScoringSettings,
    parse_metric,
)
from genas.metrics import Flatness as FlatnessMetric
from genas.spaces import Architecture
from genas.supernet import Calibration

SETTINGS = ScoringSettings(None, Calibration(images=40), batch_size=16)
METRICS = {"flatness": FlatnessMetric(Noise((5e-3, 2e-2), repeats=2))}


class Immediate(Executor):
    """Runs a task when it is submitted, and remembers its arguments."""

    def __init__(self) -> None:
        self.tasks: list[tuple[tuple[Any, ...], list[Architecture]]] = []

    def submit(self, task: Any, /, *given: Any, **named: Any) -> Future[Any]:
        measure, architectures = given
        self.tasks.append((measure.args[1], list(architectures)))
        future: Future[Any] = Future()
        future.set_result(task(*given, **named))
        return future


@pytest.fixture
def recipe(shared_trained, monkeypatch) -> Iterator[ContextRecipe]:
    """What a worker reads from disk is the shared supernet."""
    loads: list[dict[str, str]] = []

    def load(path: Path, **where: str) -> Any:
        loads.append({"path": str(path), **where})
        return shared_trained()

    monkeypatch.setattr(evaluation, "load_supernet", load)
    evaluation._worker_context.cache_clear()
    yield ContextRecipe(Path("run"), SETTINGS, 0, "cpu", "fp32")
    assert all(each == {"path": "run", "device": "cpu", "precision": "fp32"} for each in loads)
    evaluation._worker_context.cache_clear()


@pytest.fixture
def driver(make_context) -> Context:
    """A context that may measure nothing by itself."""

    def refuse(*_: object) -> None:
        raise AssertionError("the driving process evaluated a subnet")

    context: Context = make_context(settings=SETTINGS)
    context.evaluate = refuse  # type: ignore[method-assign, assignment]
    return context


Spread = Callable[..., list[Architecture]]


def test_two_threads_give_the_scores_of_none(recipe, driver, make_context, draw) -> None:
    metric = parse_metric("angle+16*flatness+accuracy+naswot(batch_size=4,channels=2,cells=1)", settings=METRICS)
    architectures = draw(driver.space, 4)
    expected = Scores(make_context(settings=SETTINGS), metric, None, recipe)(architectures)
    with ThreadPoolExecutor(2) as executor:
        np.testing.assert_array_equal(Scores(driver, metric, executor, recipe)(architectures), expected)
    with ThreadPoolExecutor(2) as executor:  # new threads, the same cached context
        found = Scores(make_context(settings=SETTINGS), metric, executor, recipe)(architectures[::-1])
        np.testing.assert_array_equal(found[::-1], expected)


def test_workers_get_every_representative_once_with_all_that_is_missing(recipe, driver) -> None:
    metric, executor = parse_metric("accuracy+flatness+loss+angle", settings=METRICS), Immediate()
    architectures = [(3, 1, 2, 4, 3, 2), (0, 3, 0, 2, 1, 3), (0, 3, 4, 2, 3, 3), (3, 1, 2, 4, 3, 2)]
    scores = Scores(driver, metric, executor, recipe)
    first = scores(architectures)
    assert executor.tasks == [
        (metric.measurements, [driver.space.supernet_representative(genes)]) for genes in architectures[:2]
    ]
    np.testing.assert_array_equal(scores(architectures), first)
    assert len(executor.tasks) == 2


def test_workers_measure_only_what_the_store_lacks(recipe, driver, make_context, draw) -> None:
    known, unknown = draw(driver.space, 2, seed=4)
    level = METRICS["flatness"].noise.levels[0]
    for measurement in (Outputs(), NoisyLosses(level)):
        genes = measurement.representative(driver.space, known)
        row = make_context(settings=SETTINGS).measure(measurement, [known])[0]
        driver.store.put(driver.key(measurement), {genes: row})
    metric, executor = parse_metric("loss+flatness", settings=METRICS), Immediate()
    Scores(driver, metric, executor, recipe)([known, unknown])
    asked = {members[0]: measurements for measurements, members in executor.tasks}
    assert asked == {
        driver.space.supernet_representative(known): (NoisyLosses(METRICS["flatness"].noise.levels[1]),),
        driver.space.supernet_representative(unknown): metric.measurements,
    }


def test_metrics_without_measurements_need_no_worker(recipe, driver) -> None:
    executor = Immediate()
    scores = Scores(driver, parse_metric("angle+macs"), executor, recipe)([(3,) * 6])
    assert scores.shape == (1,)
    assert executor.tasks == []


def test_a_failure_in_a_worker_is_kept_as_nan(recipe, driver, monkeypatch) -> None:
    monkeypatch.setattr(Outputs, "run", lambda *_: (np.nan, 0.0, 0.0))
    executor = Immediate()
    for _ in range(2):
        assert np.isnan(Scores(driver, Loss(), executor, recipe)([(3,) * 6])).all()
    assert len(executor.tasks) == 1


def test_an_error_in_a_worker_is_raised_and_names_the_architecture(recipe, driver, monkeypatch) -> None:
    def run(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Outputs, "run", run)
    with ThreadPoolExecutor(1) as executor, pytest.raises(RuntimeError, match="out of memory") as caught:
        Scores(driver, Loss(), executor, recipe)([(3,) * 6])
    assert "while measuring the architectures [(3, 3, 3, 3, 3, 3)]" in caught.value.__notes__


def test_a_worker_makes_its_context_once(recipe, draw) -> None:
    architectures = draw(evaluation._worker_context(recipe).space, 2)
    rows = evaluation.measure_rows(recipe, (Outputs(), *METRICS["flatness"].measurements), architectures)
    assert list(rows) == architectures
    assert [row.shape for row in rows.values()] == [(3 + 2 + 2,)] * 2
    assert evaluation._worker_context.cache_info().misses == 1
    assert Angle().score(evaluation._worker_context(recipe), architectures).shape == (2,)


def test_workers_also_measure_what_standardized_scores_refer_to(recipe, driver, monkeypatch) -> None:
    metric = Combined(parse_metric("accuracy+loss").terms, join="standardized", reference=5)
    executor = Immediate()
    scores = Scores(driver, metric, executor, recipe)
    scores([(3, 1, 2, 4, 3, 2)])
    measured = {genes for _, members in executor.tasks for genes in members}
    references = metric.reference_architectures(driver)
    assert measured >= {driver.space.supernet_representative(genes) for genes in references}

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the driving process ran a network")

    monkeypatch.setattr(Context, "evaluate", fail)
    assert np.isfinite(scores([(3, 1, 2, 4, 3, 2)])).all()


def test_workers_also_measure_neighbours_but_only_what_is_read_of_them(recipe, driver, make_context) -> None:
    metric, executor = parse_metric("loss+neighborhood(flatness,samples=3)", settings=METRICS), Immediate()
    centre = (3, 1, 2, 4, 3, 2)
    scores = Scores(driver, metric, executor, recipe)([centre])
    representative = driver.space.supernet_representative
    members = [representative(each) for each in metric.terms[1].metric.members(driver, centre)]
    asked = {members[0]: set(measurements) for measurements, members in executor.tasks}
    levels = METRICS["flatness"].measurements
    assert asked == {each: {Outputs(), *levels} if each == members[0] else set(levels) for each in members}
    expected = Scores(make_context(settings=SETTINGS), metric, None, recipe)([centre])
    np.testing.assert_array_equal(scores, expected)


def test_a_measurement_with_too_few_numbers_is_refused(driver) -> None:
    @dataclass(frozen=True)
    class Short(Measurement):
        columns = ("first", "second")

        def run(self, context, architecture):
            return [1.0]

    with pytest.raises(ValueError, match=r"one number for each of its columns .*second.* but gave shape"):
        driver.measure(Short(), [(3, 1, 2, 4, 3, 2)])
