"""The context against a slow reference, and what it keeps, shares and leaves alone."""

from __future__ import annotations

import copy
import itertools
import math
import threading
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from torch import Tensor, nn
from torch.nn import functional

from genas.errors import MissingInputError
from genas.metrics import (
    Accuracy,
    Angle,
    Context,
    Flatness,
    Loss,
    Measurement,
    Naswot,
    Noise,
    NoiseLevel,
    NoisyLosses,
    Outputs,
    ScoringSettings,
    Top5,
    perturbed_parameters,
)
from genas.metrics import context as context_module
from genas.metrics.images import validation_images
from genas.scores import ScoreStore
from genas.spaces import Architecture, NASBench201, SearchSpace
from genas.supernet import Calibration, CellNetwork, Evaluation

GENES = (3, 1, 2, 4, 3, 2)
LEVEL = Noise((0.05,), repeats=2).levels[0]


# ------------------------------------------------------------------------------------------------------ slow reference


def input_statistics(network: CellNetwork, images: Tensor, choice: Any, momentum: float | None) -> None:
    """Set the BN statistics on a path, one layer's batch after the other, in a pass where every BN uses its batch."""

    def note(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].detach().transpose(0, 1).flatten(1)
        if momentum is None:
            layer.running_mean, layer.running_var = values.mean(1), values.var(1, unbiased=False)
        else:
            layer.running_mean = (1 - momentum) * layer.running_mean + momentum * values.mean(1)
            layer.running_var = (1 - momentum) * layer.running_var + momentum * values.var(1)

    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    by_batch = copy.deepcopy(network).train()
    hooks = [
        twin.register_forward_pre_hook(lambda _, inputs, layer=layer: note(layer, inputs))
        for layer, twin in zip(layers, (m for m in by_batch.modules() if isinstance(m, nn.BatchNorm2d)), strict=True)
    ]
    by_batch(images, choice)
    for hook in hooks:
        hook.remove()


def reference(context: Context, genes: Architecture, level: NoiseLevel | None) -> list[Evaluation]:
    """The supernet copied, its path calibrated, noise added to the whole copy, no BN folded, one batch."""
    settings, data = context.settings.calibration, context.data
    network = copy.deepcopy(context.supernet).eval()
    path, images = network.path(genes), data.normalize(data.train.images, torch.float64)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean, module.running_var = module.running_mean * 0, module.running_var * 0 + 1
    if settings.mode == "exact":
        input_statistics(network, images, path, None)
    else:
        order = context._calibration_images  # the order of the batches is the context's own
        for start in range(0, len(order), settings.ema_batch_size):
            input_statistics(network, order[start : start + settings.ema_batch_size], path, settings.ema_momentum)
    copies: list[dict[str, Tensor]] = (
        [{}] if level is None else list(perturbed_parameters(network, level, context.seed))
    )
    found = []
    for parameters in copies:
        shaken = copy.deepcopy(network)
        shaken.load_state_dict({**shaken.state_dict(), **parameters})
        with torch.no_grad():
            logits = shaken(data.normalize(data.valid.images, torch.float64), path)
        labels, order = data.valid.labels, logits.argsort(dim=1, descending=True)
        hits = order == labels[:, None]
        loss = -functional.log_softmax(logits, dim=1)[torch.arange(len(labels)), labels].mean()
        found.append(
            Evaluation(float(loss), float(hits[:, :1].sum()) / len(labels), float(hits[:, :5].sum()) / len(labels))
        )
    return found


@pytest.mark.parametrize(
    ("calibration", "level", "batch_size"),
    [
        (Calibration(images=40), None, 7),
        (Calibration(images=40), LEVEL, 1000),
        (Calibration(images=40), Noise((0.02, 0.06), "cumulative", "cells").levels[1], 7),
        (Calibration("ema", images=40, ema_batch_size=12), None, 1000),
        (Calibration("ema", images=40, ema_batch_size=12), LEVEL, 7),
    ],
)
def test_evaluation_equals_the_slow_reference(calibration, level, batch_size, make_context, draw) -> None:
    """Subnet, exact statistics, folded BN and small batches change nothing."""
    context = make_context(settings=ScoringSettings(None, calibration, batch_size))
    for genes in [*draw(context.space, 1, seed=3), (0, 3, 0, 2, 0, 0)]:
        for found, expected in zip(context.evaluate(genes, level), reference(context, genes, level), strict=True):
            assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("level", [None, LEVEL])
def test_evaluation_of_darts_equals_the_slow_reference(level, shared_trained, make_context, draw) -> None:
    context = make_context(shared_trained("darts"))
    (genes,) = draw(context.space, 1)
    for found, expected in zip(context.evaluate(genes, level), reference(context, genes, level), strict=True):
        assert found == pytest.approx(expected, rel=1e-9)


def test_statistics_of_each_batch_equal_the_supernet_in_training_mode(make_context, draw) -> None:
    context = make_context(settings=ScoringSettings(None, Calibration("batch"), batch_size=10))
    images, labels = validation_images(context.data, None, context.seed, torch.float64)
    network = copy.deepcopy(context.supernet).train()
    for genes in draw(context.space, 3, seed=3):
        with torch.no_grad():
            logits = torch.cat([network(batch, network.path(genes)) for batch in images.split(10)])
        (found,) = context.evaluate(genes)
        assert found.loss == pytest.approx(float(functional.cross_entropy(logits, labels)), rel=1e-12)
        assert found.accuracy == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    other = make_context(settings=ScoringSettings(None, Calibration("batch"), batch_size=15))
    assert other.evaluate(genes)[0].loss != pytest.approx(found.loss, rel=1e-6), "depends on the batches, as documented"


def test_exact_calibration_repeats_the_calibrating_pass_on_its_images(shared_trained, make_context) -> None:
    """Where training and validation images are the same, the loss is that of one batch in training mode."""
    trained = shared_trained()
    same = replace(trained, data=replace(trained.data, valid=trained.data.train))
    (found,) = make_context(same).evaluate(GENES)
    network, images = copy.deepcopy(trained.network).train(), same.data.normalize(same.data.train.images, torch.float64)
    logits = network(images, network.path(GENES)).detach()
    assert found.loss == pytest.approx(float(functional.cross_entropy(logits, same.data.train.labels)), rel=1e-10)


def test_the_supernets_own_statistics_do_not_matter(make_trained, make_context) -> None:
    """They mix all paths."""
    trained = make_trained()
    before = make_context(trained).evaluate(GENES)
    for module in trained.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.fill_(3.0)  # type: ignore[union-attr]
    assert make_context(trained).evaluate(GENES) == before


def test_noise_operations_are_drawn_alike_every_time(shared_trained, make_context, genes_with_noise) -> None:
    """S4: the noise of the images' features belongs to the run, too."""
    trained = shared_trained("s4")
    first, again, other = (make_context(trained, seed=seed).evaluate(genes_with_noise) for seed in (0, 0, 1))
    assert first == again != other


def test_noise_operations_are_drawn_alike_whatever_ran_before(shared_trained, make_context, genes_with_noise) -> None:
    """The subnet stays for the next measurement of its architecture, and its generator with it."""
    trained = shared_trained("s4")
    context = make_context(trained)
    plain, noisy = context.evaluate(genes_with_noise), context.evaluate(genes_with_noise, LEVEL)
    assert context.evaluate(genes_with_noise) == plain
    assert context.evaluate(genes_with_noise, LEVEL) == noisy
    assert make_context(trained).evaluate(genes_with_noise, LEVEL) == noisy


# -------------------------------------------------------------------------------------------------------------- images


def evaluated_on(context: Context, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor]:
    """The validation images and labels on which a context evaluates."""
    seen: list[Any] = []
    original = context_module.evaluate

    def spied(network: Any, images: Tensor, labels: Tensor, **options: Any) -> Evaluation:
        seen.append((images, labels))
        return original(network, images, labels, **options)

    monkeypatch.setattr(context_module, "evaluate", spied)
    context.evaluate(GENES)
    context.evaluate((2, 0, 0, 3, 0, 0), LEVEL)
    assert all(torch.equal(images, seen[0][0]) for images, _ in seen), "the same images for every architecture"
    return seen[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(("limit", "count"), [(12, 12), (30, 30), (31, 30), (None, 30)])
def test_validation_images_are_drawn_once_with_the_classes_in_proportion(
    limit, count, make_context, monkeypatch
) -> None:
    context = make_context(settings=ScoringSettings(limit, Calibration(images=40)))
    images, labels = evaluated_on(context, monkeypatch)
    assert len(images) == len(labels) == count
    assert torch.bincount(labels).tolist() == [count // 6] * 6
    everything = context.data.normalize(context.data.valid.images, torch.float64)
    for image, label in zip(images, labels, strict=True):
        (where,) = torch.nonzero((everything == image).all(dim=(1, 2, 3)).flatten())
        assert context.data.valid.labels[where] == label


def test_validation_images_that_are_stored_by_class_are_mixed(make_context, monkeypatch) -> None:
    """BN with the statistics of a batch of one class hides which one it is."""
    context = make_context(settings=ScoringSettings(None, Calibration(images=40)))
    order = torch.argsort(context.data.valid.labels)
    valid = replace(
        context.data.valid, images=context.data.valid.images[order], labels=context.data.valid.labels[order]
    )
    monkeypatch.setattr(context, "_data", replace(context.data, valid=valid))
    _, labels = evaluated_on(context, monkeypatch)
    assert all(torch.bincount(batch, minlength=6).tolist() == [1] * 6 for batch in labels.split(6))


def test_another_seed_draws_other_images(make_context, monkeypatch) -> None:
    settings = ScoringSettings(12, Calibration(images=20))
    first, again, other = (
        evaluated_on(make_context(settings=settings, seed=seed), monkeypatch)[0] for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_another_seed_draws_other_calibration_images(make_context) -> None:
    settings = ScoringSettings(None, Calibration(images=10))
    first, again, other = (make_context(settings=settings, seed=seed)._calibration_images for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_measurement_that_does_not_fill_its_columns_is_refused(context, monkeypatch) -> None:
    monkeypatch.setattr(Outputs, "run", lambda *_: [0.5])
    with pytest.raises(ValueError, match=r"must give one number for each of its columns .*, but gave shape \(1,\)"):
        Accuracy().score(context, [GENES])


def test_threads_do_not_share_the_subnet_that_they_change(context) -> None:
    here, there = context.latest("subnet", GENES, object), []
    thread = threading.Thread(target=lambda: there.append(context.latest("subnet", GENES, object)))
    thread.start()
    thread.join()
    assert there != [here]
    assert context.latest("subnet", GENES, object) is here


def test_measurements_say_what_they_lack_before_they_run() -> None:
    empty = Context.untrained(NASBench201())
    for measurement in (*Accuracy().measurements, *Naswot().measurements):
        with pytest.raises(MissingInputError):
            measurement.check(empty)


def test_calibration_images_are_plain_training_images_or_augmented_ones(make_context) -> None:
    plain = make_context(settings=ScoringSettings(None, Calibration(images=10)))._calibration_images
    augmented = make_context(settings=ScoringSettings(None, Calibration(images=10, augmented=True)))._calibration_images
    data = make_context().data
    everything = data.normalize(data.train.images, torch.float64)

    def known(images: Tensor) -> int:
        return sum(bool((everything == image).all(dim=(1, 2, 3)).any()) for image in images)

    assert plain.shape == augmented.shape == (10, 3, 8, 8)
    assert known(plain) == 10
    assert known(augmented) < 10
    assert len(make_context(settings=ScoringSettings(None, Calibration(images=999)))._calibration_images) == 40


def test_calibration_images_are_augmented_as_in_training(make_context, shared_trained) -> None:
    trained, settings = shared_trained(), ScoringSettings(None, Calibration(images=10, augmented=True))
    plain = make_context(settings=ScoringSettings(None, Calibration(images=10)))

    def changed(**training: Any) -> Context:
        config = replace(trained.config, training=replace(trained.config.training, **training))
        return make_context(replace(trained, config=config), settings)

    still, moved = changed(flip=False, crop_padding=0), changed(flip=False, crop_padding=2)
    assert torch.equal(still._calibration_images, plain._calibration_images)
    assert not torch.equal(moved._calibration_images, plain._calibration_images)
    assert len({still.fingerprint, moved.fingerprint, changed(cutout=2).fingerprint}) == 3


@pytest.mark.parametrize("settings", [{"valid_images": 0}, {"batch_size": 0}, {"valid_images": -3}])
def test_settings_out_of_range_are_refused(settings) -> None:
    with pytest.raises(ValueError, match="valid_images and batch_size must be at least 1, but got"):
        ScoringSettings(**settings)


# ------------------------------------------------------------------------------------------------------------ precision


def test_bfloat16_ranks_losses_as_float32_does(shared_trained, make_context) -> None:
    """Kendall's tau is at least 0.99 over the pairs of architectures whose float32 losses differ by one percent.

    Random weights crowd the losses: their spread is 9 %, the error of bf16 0.2 %, and tau over all pairs was 0.980 to
    0.995 over several sizes of the network. The losses of a trained supernet are further apart.
    """
    settings, rng = ScoringSettings(None, Calibration(images=64), batch_size=120), np.random.default_rng(0)
    exact, coarse = (
        make_context(shared_trained(channels=4, train=64, valid=120, precision=precision), settings)
        for precision in (torch.float32, torch.bfloat16)
    )
    space = exact.space
    architectures = sorted({space.supernet_representative(space.sample(rng)) for _ in range(32)})
    for metric in (Loss(), Flatness(Noise((2e-3,)))):  # one level: the inverse loss under noise
        first, second = (metric.values(context, architectures) for context in (exact, coarse))
        assert not np.array_equal(first, second)
        np.testing.assert_allclose(second, first, rtol=2e-2)
        assert kendalltau(first, second).statistic >= 0.97, metric.name
        pairs = [(i, k) for i, k in itertools.combinations(range(len(first)), 2) if abs(first[i] / first[k] - 1) > 0.01]
        agreement = [np.sign((first[i] - first[k]) * (second[i] - second[k])) for i, k in pairs]
        assert len(pairs) > 300
        assert np.mean(agreement) >= 0.99, metric.name


def test_calibration_for_bfloat16_keeps_its_statistics_in_float32(shared_trained, make_context) -> None:
    context = make_context(shared_trained(precision=torch.bfloat16))
    statistics = [buffer for name, buffer in context.calibrated(GENES).named_buffers() if "running" in name]
    assert {tensor.dtype for tensor in statistics} == {torch.float32}
    assert context._calibration_images.dtype == torch.float32
    assert context._validation[0].dtype == torch.bfloat16


# --------------------------------------------------------------------------------------------------- measured only once


def equal_keys() -> tuple[Architecture, Architecture]:
    """Two different architectures with the same supernet function: dead edges differ."""
    space = NASBench201()
    first, second = (0, 3, 0, 2, 1, 3), (0, 3, 4, 2, 3, 3)
    assert space.supernet_key(first) == space.supernet_key(second)
    return first, second


def test_architectures_of_one_supernet_key_are_evaluated_once(context, evaluations) -> None:
    first, second = equal_keys()
    metrics = [Loss(), Accuracy(), Flatness()]
    scores = [metric.score(context, [first, second, first]) for metric in metrics]
    assert all((row == row[0]).all() for row in scores)
    assert len(evaluations) == 1 + 3, "once for loss and accuracy, once per noise level"
    assert len(set(evaluations)) == 1


def test_the_whole_space_needs_7810_evaluations(context, monkeypatch) -> None:
    monkeypatch.setattr(Context, "evaluate", lambda *_: [Evaluation(1.0, 0.5, 0.9)])
    assert len(context.missing(Outputs(), list(context.space.architectures()))) == 7810


def test_metrics_share_calibration(context, monkeypatch) -> None:
    calls = []
    original = context_module.calibrate
    monkeypatch.setattr(context_module, "calibrate", lambda *given: (calls.append(given), original(*given))[1])
    for metric in (Accuracy(), Flatness(), Loss(), Flatness(Noise(kind="shared", repeats=2))):
        metric.score(context, [GENES])
    assert len(calls) == 1


def test_a_second_context_with_the_same_store_runs_no_network(make_context, forbid_networks, draw) -> None:
    metrics = [Accuracy(), Top5(), Loss(), Flatness(Noise(repeats=2))]
    with ScoreStore(":memory:") as store:
        first = make_context(store=store)
        architectures = draw(first.space, 4)
        scores = [metric.score(first, architectures) for metric in metrics]
        forbid_networks()
        second = make_context(store=store)
        for metric, expected in zip(metrics, scores, strict=True):
            np.testing.assert_array_equal(metric.score(second, architectures), expected)
        with pytest.raises(AssertionError, match="a network ran"):
            Loss().score(second, [(3, 3, 3, 3, 3, 3)])


def changed(trained: Any, network: str) -> Any:
    other = copy.deepcopy(getattr(trained, network))
    with torch.no_grad():
        other.stems[0].conv.weight[0, 0, 0, 0] += 1e-9
    return replace(trained, **{network: other})


def in_space(network: CellNetwork, space: SearchSpace) -> CellNetwork:
    other = copy.deepcopy(network)
    other.space = space
    return other


def test_whatever_a_measurement_depends_on_has_a_key_of_its_own(shared_trained, make_context, edited_space) -> None:
    trained, settings = shared_trained(), make_context().settings
    stale = copy.deepcopy(trained.network)
    stale.stems[0].bn.running_mean.add_(1.0)  # type: ignore[union-attr]
    contexts = [
        make_context(),
        make_context(seed=1),
        make_context(settings=replace(settings, batch_size=15)),
        make_context(settings=replace(settings, valid_images=12)),
        make_context(settings=replace(settings, calibration=Calibration("ema", images=40))),
        make_context(settings=replace(settings, calibration=Calibration(images=39))),
        make_context(changed(trained, "network")),
        make_context(changed(trained, "initial")),
        make_context(replace(trained, network=in_space(trained.network, edited_space))),
        make_context(replace(trained, network=stale)),
        make_context(replace(trained, precision=torch.float32)),
        make_context(replace(trained, data=replace(trained.data, valid=trained.data.train))),
        make_context(replace(trained, data=replace(trained.data, mean=(0.5, 0.4, 0.61)))),
    ]
    measurements = [
        Outputs(),
        *[NoisyLosses(level) for level in Noise().levels],
        NoisyLosses(Noise(kind="cumulative").levels[1]),
        NoisyLosses(Noise(kind="shared").levels[1]),
        NoisyLosses(Noise(scope="cells").levels[1]),
        NoisyLosses(Noise(repeats=2).levels[1]),
    ]
    keys = {context.key(measurement) for context in contexts for measurement in measurements}
    assert len(keys) == len(contexts) * len(measurements)
    same = make_context(replace(trained, network=copy.deepcopy(trained.network)))
    assert same.key(Outputs()) == contexts[0].key(Outputs())


# ---------------------------------------------------------------------------------------------------- store and once


def test_measure_asks_for_each_architecture_once_in_any_order(context, table_measurement) -> None:
    measurement = table_measurement({(1,) * 6: 1.0, (2,) * 6: 2.0})
    assert context.measure(measurement, [(2,) * 6, (1,) * 6, (2,) * 6]).tolist() == [[2.0], [1.0], [2.0]]
    assert measurement.runs == [(2,) * 6, (1,) * 6]
    assert context.measure(measurement, [(1,) * 6]).tolist() == [[1.0]]
    assert len(measurement.runs) == 2


def test_a_failure_is_kept_as_nan_and_not_tried_again(context, table_measurement) -> None:
    measurement = table_measurement({})
    for _ in range(2):
        assert np.isnan(context.measure(measurement, [(1,) * 6])).all()
    assert measurement.runs == [(1,) * 6]
    assert context.missing(measurement, [(1,) * 6]) == []


@pytest.mark.parametrize("change", [{"__module__": "elsewhere"}, {"version": 2}, {"columns": ("renamed",)}])
def test_measurements_of_one_name_differ_by_module_version_and_columns(change, context, table_measurement) -> None:
    twin = type("TableMeasurement", (table_measurement,), {"__module__": table_measurement.__module__, **change})
    first, second = table_measurement({GENES: 1.0}), twin({GENES: 2.0})
    assert repr(first) == repr(second)
    for _ in range(2):
        assert context.measure(first, [GENES]).tolist() == [[1.0]]
        assert context.measure(second, [GENES]).tolist() == [[2.0]]
    assert first.runs == second.runs == [GENES], "both are kept"


def test_settings_that_the_key_would_not_show_are_refused(context, table_measurement) -> None:
    """Without the fields of a dataclass, two settings would be one key, and one's numbers be taken for the other's."""

    class Plain(Measurement):
        columns = ("sum",)

        def __init__(self, factor: float) -> None:
            self.factor = factor

        def run(self, context: Context, architecture: Architecture) -> list[float]:
            return [self.factor * sum(architecture)]

    class Renewed(table_measurement):  # type: ignore[misc, valid-type]
        def __init__(self, factor: float) -> None:
            super().__init__({GENES: factor})

    for kind in (Plain, Renewed):
        with pytest.raises(TypeError, match=rf"must be a frozen dataclass, but .*{kind.__name__} is not; write"):
            context.measure(kind(2.0), [GENES])

    @dataclass(frozen=True)
    class Silent(Measurement):
        columns = ("sum",)
        factor: float = field(repr=False)

        def run(self, context: Context, architecture: Architecture) -> list[float]:
            return [self.factor * sum(architecture)]

    for factor in (2.0, 3.0):
        assert context.measure(Silent(factor), [GENES]).item() == factor * sum(GENES)


def test_what_was_measured_before_an_error_is_kept(make_context, table_measurement) -> None:
    class Fragile(table_measurement):  # type: ignore[misc, valid-type]
        def run(self, context: Context, architecture: Architecture) -> tuple[float, ...]:
            if architecture == (2,) * 6:
                raise RuntimeError("out of memory")
            return tuple(super().run(context, architecture))

    context = make_context()
    with pytest.raises(RuntimeError, match="out of memory"):
        context.measure(Fragile({(1,) * 6: 1.0}), [(1,) * 6, (2,) * 6])
    assert context.missing(Fragile({}), [(1,) * 6, (2,) * 6]) == [(2,) * 6]


def test_missing_are_representatives_once_in_order(context) -> None:
    first, second = equal_keys()
    representative = context.space.supernet_representative(first)
    assert context.missing(Outputs(), [GENES, second, first, GENES]) == [
        context.space.supernet_representative(GENES),
        representative,
    ]
    Loss().score(context, [second])
    assert context.missing(Outputs(), [first, GENES]) == [context.space.supernet_representative(GENES)]


@pytest.mark.parametrize("metric", [Accuracy(), Top5(), Loss(), Angle(), Flatness()], ids=lambda metric: metric.name)
def test_no_architectures_have_no_scores(metric, context) -> None:
    scores = metric.score(context, [])
    assert scores.shape == (0,)
    assert scores.dtype == np.float64


def test_once_gives_the_same_object_for_the_same_name(context) -> None:
    first = context.once(("a", 1), list)
    assert context.once(("a", 1), list) is first
    assert context.once(("a", 2), list) is not first


def test_a_context_without_a_store_keeps_its_own_and_serves_any_thread(shared_trained) -> None:
    """Workers that are threads, such as Dask's, make the context in one thread and use it in another."""
    settings = ScoringSettings(None, Calibration(images=40))
    context, found = Context(shared_trained(), settings), []
    expected = Loss().score(context, [GENES])
    thread = threading.Thread(target=lambda: found.append(Loss().score(context, [GENES, (2,) * 6])))
    thread.start()
    thread.join()
    assert found[0][0] == expected[0]
    assert context.missing(Outputs(), [GENES, (2,) * 6]) == []


# --------------------------------------------------------------------------------------------------- order, originals


def test_the_order_of_metrics_and_architectures_changes_no_score(make_context, draw) -> None:
    """To the last bit."""
    metrics = [Accuracy(), Angle(), Flatness(Noise((0.01, 0.03))), Loss()]
    architectures = [*draw(make_context().space, 1, seed=5), *equal_keys()]
    expected = {metric: metric.score(make_context(), architectures) for metric in metrics}
    for order in (metrics[::-1], metrics[2:] + metrics[:2]):
        context = make_context()
        for metric in order:
            backwards = metric.score(context, architectures[::-1])
            np.testing.assert_array_equal(backwards[::-1], expected[metric])
    context = make_context()
    for metric, (position, genes) in itertools.product(metrics, enumerate(architectures)):
        assert metric.score(context, [genes])[0] == expected[metric][position]


@pytest.mark.parametrize("mode", ["exact", "ema", "batch"])
def test_scoring_changes_neither_weights_nor_statistics_nor_images(mode, make_context, state_of) -> None:
    context = make_context(
        settings=ScoringSettings(None, Calibration(mode, **({} if mode == "batch" else {"images": 40})))
    )
    before = state_of(context.supernet), state_of(context.initial), context.data.fingerprint
    generators = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 (nobody may touch it)
    for metric in (Accuracy(), Angle(), Flatness(Noise(kind="cumulative"))):
        metric.score(context, [GENES, (0, 0, 0, 0, 0, 0)])
    after = state_of(context.supernet), state_of(context.initial)
    for old, new in zip(before[:2], after, strict=True):
        assert all(torch.equal(old[name], new[name]) for name in old)
    assert type(context.data)(**vars_of(context.data)).fingerprint == before[2]
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert (np.random.get_state()[1] == generators[1]).all()  # noqa: NPY002


def vars_of(data: Any) -> dict[str, Any]:
    """The fields of an ``ImageData``, without what it has cached."""
    return {name: getattr(data, name) for name in data.__dataclass_fields__}


def test_scores_of_failed_networks_are_nan(make_trained, make_context) -> None:
    trained = make_trained()
    with torch.no_grad():
        trained.network.cells[0].operation(3, 3).conv.weight[0] = math.nan
    context = make_context(trained)
    assert np.isnan(Loss().score(context, [(0, 0, 0, 3, 0, 0)]))[0]
    assert np.isnan(Accuracy().score(context, [(0, 0, 0, 3, 0, 0)]))[0], "no low accuracy, but none"
    assert not np.isnan(Loss().score(context, [(0, 0, 0, 2, 0, 0)]))[0]
