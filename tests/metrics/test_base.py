"""What every metric inherits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from genas.metrics import Measurement, Metric, Outputs
from genas.scores import ScoreStore
from genas.spaces import DARTS, NASBench201


def test_scores_are_values_turned_so_that_higher_is_better(table_metric, context) -> None:
    values = {(0,) * 6: 1.5, (1,) * 6: -2.0}
    architectures = [*values, (2,) * 6]
    up, down = (table_metric(values, higher_is_better=better) for better in (True, False))
    np.testing.assert_array_equal(up.score(context, architectures), [1.5, -2.0, np.nan])
    np.testing.assert_array_equal(down.score(context, architectures), [-1.5, 2.0, np.nan])
    np.testing.assert_array_equal(down.values(context, architectures), [1.5, -2.0, np.nan])


@pytest.mark.parametrize(("genes", "error"), [((0,) * 5, ValueError), ((-1,) * 6, ValueError), ((0.5,) * 6, TypeError)])
def test_only_architectures_of_the_space_are_scored(genes, error, table_metric, context) -> None:
    with pytest.raises(error):
        table_metric({genes: 1.0}).score(context, [(0,) * 6, genes])


def test_one_architecture_is_no_list_of_them(table_metric, context) -> None:
    with pytest.raises(TypeError, match=r"Several architectures must be given, as a list, but got one: \(0, 0"):
        table_metric({}).score(context, (0,) * 6)


@pytest.mark.parametrize("shape", [(3, 1), (2,), ()])
def test_values_of_another_shape_are_told_with_the_name_of_the_metric(shape, context) -> None:
    class Matrix(Metric):
        name = "matrix"

        def values(self, context, architectures):  # type: ignore[no-untyped-def]
            return np.zeros(shape)

    with pytest.raises(ValueError, match=r"The values of the metric matrix must have the shape \(3,\), one for each"):
        Matrix().score(context, [(0,) * 6] * 3)


def test_scores_are_float64_whatever_the_values_are(context) -> None:
    class Counting(Metric):
        name = "counting"
        higher_is_better = False

        def values(self, context, architectures):  # type: ignore[no-untyped-def]
            return list(range(len(architectures)))

    scores = Counting().score(context, [(0,) * 6] * 3)
    assert scores.dtype == np.float64
    assert scores.tolist() == [0.0, -1.0, -2.0]


def test_what_a_metric_need_not_say() -> None:
    class Plain(Metric):
        name = "plain"

        def values(self, context, architectures):  # type: ignore[no-untyped-def]
            return np.zeros(len(architectures))

    assert (Plain().unit, Plain().scale, Plain().measurements, Plain().cost_hint) == ("", 1.0, (), "forward")
    assert Plain.higher_is_better


def test_a_metric_needs_its_measurements_of_what_it_is_asked_for(table_metric, context) -> None:
    metric = table_metric({})
    architectures = [(0,) * 6, (1,) * 6, (0,) * 6]
    assert metric.needs(context, architectures) == {(0,) * 6: metric.measurements, (1,) * 6: metric.measurements}
    assert metric.parts == ()


def test_what_is_needed_is_measured_architecture_by_architecture(context) -> None:
    """So that all measurements of one share the subnet."""
    runs: list[tuple[str, tuple[int, ...]]] = []

    @dataclass(frozen=True)
    class Noted(Measurement):
        name: str
        columns = ("number",)

        def run(self, context, architecture):  # type: ignore[no-untyped-def]
            runs.append((self.name, architecture))
            return (1.0,)

    class Two(Metric):
        name = "two"
        measurements = (Noted("a"), Noted("b"))

        def values(self, context, architectures):  # type: ignore[no-untyped-def]
            return sum(context.measure(each, architectures)[:, 0] for each in self.measurements)

    first, second = (context.space.supernet_representative(each) for each in ((3,) * 6, (2,) * 6))
    assert Two().score(context, [first, second]).tolist() == [2.0, 2.0]
    assert runs == [("a", first), ("b", first), ("a", second), ("b", second)]


def test_what_is_stored_is_asked_for_once_per_measurement(make_context, table_measurement, monkeypatch) -> None:
    """Whatever the number of architectures: one by one it took most of the time of a score."""

    class Summed(Metric):
        name = "summed"

        def __init__(self) -> None:
            twin = type("Twin", (table_measurement,), {"columns": ("twin",)})
            self._measurements = tuple(
                kind({(gene,) * 6: 1.0 for gene in range(5)}) for kind in (table_measurement, twin)
            )

        @property
        def measurements(self):  # type: ignore[no-untyped-def]
            return self._measurements

        def values(self, context, architectures):  # type: ignore[no-untyped-def]
            return sum(context.measure(each, architectures)[:, 0] for each in self.measurements)

    context, metric, asked = make_context(), Summed(), list[int]()
    first, second, third = ((gene,) * 6 for gene in range(3))
    context.measure(metric.measurements[0], [first])
    context.measure(metric.measurements[1], [second])
    for measurement in metric.measurements:
        measurement.runs.clear()
    assert metric.score(context, [first, second, third]).tolist() == [2.0] * 3
    assert [each.runs for each in metric.measurements] == [[second, third], [third, first]]

    get = ScoreStore.get
    monkeypatch.setattr(
        ScoreStore, "get", lambda self, key, rows: asked.append(len(list(rows))) or get(self, key, rows)
    )
    assert metric.score(context, [first, second, third]).tolist() == [2.0] * 3
    assert asked == [3] * 4, "of each measurement what is missing, then the numbers"


def test_a_metric_without_values_and_a_measurement_without_run_are_abstract() -> None:
    for kind in (Metric, Measurement):
        with pytest.raises(TypeError, match="abstract"):
            kind()


def test_a_measurement_stands_for_all_architectures_of_one_supernet_function(draw) -> None:
    space = NASBench201()
    for genes in draw(space, 300):
        representative = Outputs().representative(space, genes)
        assert space.supernet_key(representative) == space.supernet_key(genes)
        assert Outputs().representative(space, representative) == representative
    assert Outputs().representative(space, (0, 3, 4, 2, 3, 3)) == Outputs().representative(space, (0, 3, 0, 2, 1, 3))
    darts = DARTS()
    for genes in draw(darts, 5):
        assert Outputs().representative(darts, genes) == genes
