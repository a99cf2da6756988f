"""The shared loop: what moves when, on which images, equivalences between methods, resume, a search gone wrong."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from genas.data import DataOptions, ImageData
from genas.data.splits import stratified_order
from genas.errors import TrainingDiverged
from genas.runs import Run
from genas.search.differentiable import (
    A2MGradient,
    AdditiveNeighbors,
    AdversarialSmoothing,
    AlphaOptimization,
    BetaDecay,
    DifferentiableSearch,
    DominantEigenvalue,
    FirstOrder,
    LambdaHook,
    LinearSchedule,
    NeighborhoodGradient,
    Outcome,
    ProjectedSearch,
    ProjectionSettings,
    RandomSmoothing,
    Regularized,
    SearchParts,
    SearchSettings,
    Selection,
    SkipCount,
    SkipSchedule,
    SmoothingRadius,
    Softmax,
    Stopping,
    Unrolled,
    method,
    projected_search,
)
from genas.search.differentiable.objective import NetworkObjective
from genas.search.differentiable.stopping import final_outcome
from genas.seeding import generator
from genas.spaces import SearchSpace, space
from genas.supernet import CellNetwork, fit
from genas.supernet.mixtures import MixtureOptions

Make = Callable[..., DifferentiableSearch]


@pytest.fixture(scope="module")
def data() -> ImageData:
    return DataOptions(max_train=15, max_valid=12).load("digits", seed=0)


@pytest.fixture(scope="module")
def make(data: ImageData) -> Make:
    """New searches of two epochs of three steps on a tiny network, all equal."""

    def build(
        name: str = "nasbench201", options: MixtureOptions | None = None, seed: int = 1, **given: Any
    ) -> DifferentiableSearch:
        found = space(name)
        skeleton = found.supernet_skeleton(10, 8, 1, channels=4, cells=1 if name == "nasbench201" else 4)
        skeleton = replace(skeleton, affine=False)
        network = CellNetwork.initialised(found, skeleton, 0, options or MixtureOptions())
        parts = {"relaxation": Softmax(found), **given.pop("parts", {})}
        defaults: dict[str, Any] = {"epochs": 2, "batch_size": 5}
        images, projection = given.pop("data", data), given.pop("projection", None)
        settings = SearchSettings(**(defaults | given))
        if projection is not None:
            return ProjectedSearch(network, images, settings, SearchParts(**parts), projection, seed=seed)
        return DifferentiableSearch(network, images, settings, SearchParts(**parts), seed=seed)

    return build


def run(
    search: DifferentiableSearch, steps: int | None = None, log: list[dict[str, Any]] | None = None
) -> DifferentiableSearch:
    """Take steps, to the end by default, as ``fit`` does."""
    records = [] if log is None else log
    while not search.finished and steps != 0:
        search.step()
        steps = None if steps is None else steps - 1
        if search.step_number % search.steps_per_epoch == 0:
            records.append(search.end_epoch())
    return search


def tensors(search: DifferentiableSearch) -> dict[str, Tensor]:
    """Copies of all that moves."""
    return {name: tensor.detach().clone() for name, tensor in search.learnt().items()}


def assert_equal(first: DifferentiableSearch, second: DifferentiableSearch, tolerance: float = 0.0) -> None:
    ours, theirs = tensors(first), tensors(second)
    assert ours.keys() <= theirs.keys(), "the other may have more, such as an auxiliary skip connection's"
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=tolerance, atol=tolerance, msg=name)


# ----------------------------------------------------------------------------------------------------------- equal runs


def _no_skip(found: SearchSpace, start: float = 0.0) -> dict[str, Any]:
    return {"relaxation": Softmax(found, skip_schedule=SkipSchedule(start=start))}


def _all_channels(found: SearchSpace) -> dict[str, Any]:
    """PC-DARTS' preset without what gives it its name: nothing else may be left of it."""
    parts = replace(method("pc-darts", found), partial=None, edge_normalization=False).parts(found)
    return {"relaxation": parts.relaxation, "gradient": parts.gradient, "weight_step": parts.weight_step}


EQUAL: dict[str, tuple[Callable[[SearchSpace], dict[str, Any]], MixtureOptions, float]] = {
    "a2m rho=0": (lambda _: {"gradient": A2MGradient(FirstOrder(), 0.0)}, MixtureOptions(), 0.0),
    "beta lambda=0": (
        lambda _: {"gradient": Regularized(FirstOrder(), BetaDecay(LinearSchedule(slope=0.0)))},
        MixtureOptions(),
        0.0,
    ),
    "lambda=0": (lambda _: {"weight_step": LambdaHook(0.0)}, MixtureOptions(), 0.0),
    "minus beta=0": (_no_skip, MixtureOptions(auxiliary_skip=True), 0.0),
    "rs epsilon=0": (lambda _: {"weight_step": RandomSmoothing(SmoothingRadius(0.0, 0.0))}, MixtureOptions(), 1e-6),
    "adv epsilon=0": (
        lambda _: {"weight_step": AdversarialSmoothing(SmoothingRadius(0.0, 0.0))},
        MixtureOptions(),
        1e-6,
    ),
    "pc K=1": (_all_channels, MixtureOptions(partial_channels=1), 0.0),
    "na n=1": (
        lambda found: {"gradient": NeighborhoodGradient(FirstOrder(), AdditiveNeighbors(found, 2), count=1)},
        MixtureOptions(),
        0.0,
    ),
    "second order xi=0": (lambda _: {"gradient": Unrolled(0.0)}, MixtureOptions(), 0.0),
}


@pytest.mark.parametrize("name", ["nasbench201", "s3"])
def test_methods_without_their_strength_are_darts(make: Make, name: str) -> None:
    """The equivalence matrix: after two steps equal bit for bit, smoothing up to the rounding of its division.

    Each step is an epoch, because what follows a schedule is zero in the first one whatever its strength.
    """
    epochs = {"batch_size": 15, "epochs": 3}
    plain, start = run(make(name, **epochs), 2), make(name, **epochs)
    assert not torch.equal(plain.alphas[0], start.alphas[0])
    for case, (parts, options, tolerance) in EQUAL.items():
        other = run(make(name, options, parts=parts(space(name)), **epochs), 2)
        assert_equal(plain, other, tolerance)
        assert other.architecture_now() == plain.architecture_now(), case


@pytest.fixture(scope="module")
def unchanged(make: Make) -> DifferentiableSearch:
    """The search that the changes below are compared with."""
    return run(make(), 5)


@pytest.mark.parametrize(
    "changed",
    [
        {"parts": {"gradient": A2MGradient(FirstOrder(), 0.1)}},
        {"parts": {"gradient": Regularized(FirstOrder(), BetaDecay(LinearSchedule(end=50.0)))}},
        {"parts": {"weight_step": RandomSmoothing()}},
        {"parts": {"gradient": Unrolled()}},
        {"parts": {"weight_step": LambdaHook(1.0)}},
        {"parts": {"weight_step": AdversarialSmoothing()}},
        {"parts": {"gradient": NeighborhoodGradient(FirstOrder(), AdditiveNeighbors(space("nasbench201"), 2))}},
        {"parts": _no_skip(space("nasbench201"), 1.0), "options": MixtureOptions(auxiliary_skip=True)},
        {"options": MixtureOptions(partial_channels=2)},
        {"update_order": "weights_first"},
        {"augment_search": False},
        {"alphas": AlphaOptimization(learning_rate=1e-2)},
        {"search_batch_size": 3},
        {"nesterov": True},
        {"seed": 2},
    ],
)
def test_what_should_change_a_search_does(make: Make, unchanged: DifferentiableSearch, changed: dict[str, Any]) -> None:
    other = run(make(**changed), 5)  # from the fourth step on in the second epoch
    assert not torch.equal(unchanged.alphas[0], other.alphas[0])


# ------------------------------------------------------------------------------------------------------ what moves when


def test_the_first_step_by_hand(make: Make, data: ImageData) -> None:
    """Adam from the search loss at the old weights, then SGD from the training loss at the new architecture."""
    search, reference = make(), make()
    batch = reference._search_batch("search batches", 0)
    images, labels = reference._batch(0, 0)
    assert len(batch[1]) == 5
    before = reference.alphas[0].detach().clone()
    weights = {name: parameter.detach().clone() for name, parameter in reference.network.named_parameters()}
    objective = reference.objective(batch, (images, labels))
    alphas = before.clone().requires_grad_()
    loss = objective.search_loss(objective.spread(reference.parts.relaxation.mixtures((alphas,), 0.0)))
    (gradient,) = torch.autograd.grad(loss, alphas)
    search.step()
    decayed = gradient + 1e-3 * before
    expected = before - 3e-4 * decayed / (decayed.abs() + 1e-8)
    torch.testing.assert_close(search.alphas[0].detach(), expected, rtol=1e-4, atol=1e-8)
    loss = objective.training_loss(objective.spread(reference.parts.relaxation.mixtures(search.alphas, 0.0)))
    slopes = torch.autograd.grad(loss, list(reference.network.parameters()))
    length = torch.sqrt(sum((slope**2).sum() for slope in slopes))
    moved = dict(search.network.named_parameters())
    for (name, weight), slope in zip(weights.items(), slopes, strict=True):
        step = 0.025 * (slope * min(1.0, 5.0 / float(length)) + 3e-4 * weight)
        torch.testing.assert_close(moved[name].detach(), weight - step, msg=name)


def test_the_other_order_moves_the_weights_at_the_old_architecture(make: Make) -> None:
    first, second, still = run(make(), 1), run(make(update_order="weights_first"), 1), run(make(learn_alphas=False), 1)
    assert_weights = {name: value for name, value in tensors(second).items() if not name.startswith("alphas")}
    for name, value in assert_weights.items():
        assert torch.equal(value, tensors(still)[name]), name
    assert any(not torch.equal(tensors(first)[name], value) for name, value in assert_weights.items())
    assert not torch.equal(first.alphas[0], second.alphas[0])


@pytest.mark.parametrize(("warmup", "resting"), [(1, 3), (0.5, 3), (0.2, 0)])
def test_the_architecture_rests_in_the_warm_up(make: Make, warmup: float, resting: int) -> None:
    search = make(warmup=warmup)
    start = search.alphas[0].detach().clone()
    moved = [step for step in range(6) if not torch.equal(run(search, 1).alphas[0], start)]
    assert moved == list(range(resting, 6))


def test_blank_search_never_moves_the_architecture(make: Make) -> None:
    search = make(learn_alphas=False)
    start = search.alphas[0].detach().clone()
    assert torch.equal(run(search).alphas[0], start)


def test_weights_are_clipped_without_the_architecture(make: Make) -> None:
    """Clipping the parameters of the network only: a tiny clip stops the weights, not the architecture."""
    search = make(gradient_clip=1e-12, weight_decay=0.0, momentum=0.0)
    before = tensors(search)
    run(search, 2)
    after = tensors(search)
    weights = [name for name, _ in search.network.named_parameters()]
    assert all((after[name] - before[name]).abs().max() < 1e-10 for name in weights)
    assert (after["alphas.0"] - before["alphas.0"]).abs().max() > 1e-4


def test_search_batches_come_from_the_validation_split_and_cover_it(make: Make, data: ImageData) -> None:
    search = make(augment_search=False, search_batch_size=4)
    batches = [search._search_batch("search batches", number) for number in range(6)]
    pixels = data.normalize(data.valid.images)
    for epoch in (batches[:3], batches[3:]):
        images = torch.cat([images for images, _ in epoch])
        found = [int((pixels - image).abs().flatten(1).sum(dim=1).argmin()) for image in images]
        assert sorted(found) == list(range(12))
        assert torch.equal(torch.cat([labels for _, labels in epoch]), data.valid.labels[found])
        assert torch.equal(images, pixels[found])
    assert not torch.equal(batches[0][0], batches[3][0])


def test_running_statistics_move_once_in_a_step(make: Make) -> None:
    search = make(parts={"gradient": A2MGradient(FirstOrder(), 0.1)})
    run(search, 3)
    counts = {int(value) for name, value in search.network.named_buffers() if name.endswith("num_batches_tracked")}
    assert counts == {3}


def test_without_tracking_no_running_statistic_moves_and_adversaries_see_batches(make: Make) -> None:
    parts = {"weight_step": AdversarialSmoothing(SmoothingRadius(0.3, 0.3))}
    tracking, search = make(parts=parts), make(parts=parts, track_statistics=False)
    before = {name: value.clone() for name, value in search.network.named_buffers()}
    assert before
    for each in (tracking, search):
        run(each, 3)
    assert all(torch.equal(value, before[name]) for name, value in search.network.named_buffers())
    assert not torch.equal(tracking.alphas[0], search.alphas[0])


# -------------------------------------------------------------------------------------------------------------- records


def test_every_epoch_leaves_its_architecture_collapse_and_losses(make: Make) -> None:
    search = make(parts={"gradient": A2MGradient(FirstOrder(), 0.1)}, eigenvalue_every=2, eigenvalue_batches=2)
    run(search, 2)
    search.step()
    first = search.end_epoch()
    assert first["genes"] == list(search.architecture_now())
    assert first["architecture"] == search.network.space.format(tuple(first["genes"]))
    assert first["eigenvalue"] is not None
    assert {"search_loss", "train_loss", "a2m_relative_change", "a2m_cosine"} <= first.keys()
    assert (first["epoch"], first["step"], first["disconnected"]) == (1, 3, False)
    run(search, 2)
    search.step()
    second = search.end_epoch()
    assert second["eigenvalue"] is None
    assert second["search_loss"] != first["search_loss"]
    assert search.outcome == Outcome(1, "all 2 epochs were run")
    assert search.architecture == tuple(second["genes"])


def test_a_mean_that_is_no_number_is_logged_as_none(make: Make) -> None:
    search = make()
    run(search, 2)
    search._note({"odd": torch.tensor(float("nan"))})
    search.step()
    assert search.end_epoch()["odd"] is None


class StopAfterSecond(Stopping):
    def outcome(self, history):
        return Outcome(0, "enough") if len(history) == 2 else None


class Counting(Selection):
    """Another architecture at every call."""

    def __init__(self) -> None:
        self.calls = 0

    def select(self, space, mixtures):
        self.calls += 1
        return (self.calls,) * 6


def test_an_early_stop_returns_the_architecture_of_its_epoch(make: Make) -> None:
    search = run(make(epochs=4, parts={"stopping": StopAfterSecond(), "selection": Counting()}))
    assert search.step_number == 6
    assert [summary.architecture[0] for summary in search.history] == [1, 2]
    assert search.architecture == (1,) * 6


def test_the_result_must_wait_for_the_end(make: Make) -> None:
    with pytest.raises(ValueError, match="must be finished, but 6 steps are left"):
        _ = make().architecture


def test_eigenvalue_stop_gets_its_eigenvalues(make: Make) -> None:
    search = run(make(epochs=3, parts={"stopping": DominantEigenvalue()}))
    assert [summary.eigenvalue is not None for summary in search.history] == [True, False, True]
    assert final_outcome(search.parts.stopping, search.history).epoch == 2


# --------------------------------------------------------------------------------------------------------------- resume


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


@pytest.mark.parametrize("name", ["nasbench201", "s4"])
def test_a_resumed_search_equals_an_unbroken_one_at_every_step(make: Make, name: str) -> None:
    parts = {
        "gradient": Regularized(A2MGradient(FirstOrder(), 0.1), BetaDecay()),
        "weight_step": RandomSmoothing(),
    }
    projection = ProjectionSettings(interval=1) if name == "nasbench201" else None
    log: list[dict[str, Any]] = []
    whole, states = make(name, parts=parts, projection=projection), []
    while not whole.finished:
        states.append(through_a_file(whole.state()))
        run(whole, 1, log)
    for state in states[:: 5 if name == "nasbench201" else 2][1:]:
        other = make(name, parts=parts, projection=projection, seed=1)
        other.load_state(state)
        resumed: list[dict[str, Any]] = []
        run(other, log=resumed)
        assert resumed == log[-len(resumed) :]
        assert_equal(whole, other)
        assert other.history == whole.history
        assert other.architecture == whole.architecture


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"projection": ProjectionSettings(interval=1)},
        {"epochs": 4, "parts": {"stopping": StopAfterSecond(), "selection": Counting()}},
    ],
)
def test_a_finished_search_is_recalled_from_its_log(options: dict[str, Any], make: Make, tmp_path) -> None:
    with Run.create(tmp_path / "run", {}) as folder:
        search = make(**options)
        fit(search, folder, progress=False)
        again = make(**options)
        fit(again, folder, progress=False)
        assert not again.finished
        with pytest.raises(ValueError, match="must be finished, but the log of its epochs was not recalled"):
            _ = again.architecture
        assert_equal(again, search)
        with pytest.raises(ValueError, match="must be that of a finished search"):
            make().recall(folder.read_log()[:1])
        again.recall(folder.read_log())
    assert (again.architecture, again.outcome, again.history) == (search.architecture, search.outcome, search.history)
    assert again.step_number == search.step_number
    for ours, theirs in zip(again.mixtures(), search.mixtures(), strict=True):
        torch.testing.assert_close(ours.operations, theirs.operations, rtol=0, atol=0)


# ----------------------------------------------------------------------------------------------------------- projection


def test_a_projection_tunes_between_its_rounds_and_decides_everything(make: Make) -> None:
    search = make(projection=ProjectionSettings(interval=2, learning_rate=0.01))
    assert search.total_steps == (2 + 9) * 3
    rounds, rates, epochs = [], [], []
    while not search.finished:
        search.step()
        assert search._last is not None
        epochs.append(search._last[0].epoch)
        rates.append(search.optimizer.param_groups[0]["lr"])
        if search.step_number % 3 == 0:
            search.end_epoch()
            rounds.append(search.projection.rounds_done)
    assert rounds == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6]
    assert rates[6:] == [0.01] * 27
    assert epochs == [0] * 3 + [1] * 30, "schedules stay where they ended"
    assert rates[:6] != rates[6:12]
    (mixture,) = search.mixtures()
    assert search.architecture == tuple(mixture.operations.argmax(dim=1).tolist())
    assert mixture.operations.max(dim=1).values.tolist() == [1.0] * 6


def test_the_momentum_starts_from_zero_when_tuning_begins(make: Make) -> None:
    search = make(projection=ProjectionSettings(interval=2))
    run(search, 6)
    assert all(not state["momentum_buffer"].any() for state in search.optimizer.state.values())


@pytest.mark.parametrize("criterion", ["accuracy", "loss"])
def test_the_validation_score_changes_nothing_and_is_what_it_says(make: Make, data: ImageData, criterion: str) -> None:
    """(e): buffers, weights and architecture stay. Batches of 5, 5 and 2 images with their own statistics."""
    search = run(make(projection=ProjectionSettings(criterion=criterion)), 2)
    before = tensors(search)
    found = search.validation_score(search.mixtures())
    assert all(torch.equal(before[name], value) for name, value in tensors(search).items())
    order = torch.from_numpy(stratified_order(data.valid.labels.numpy(), generator(search.seed, "projection images")))
    images, labels = data.normalize(data.valid.images[order]), data.valid.labels[order]
    (mixture,) = search.mixtures()
    batches = [images[:5], images[5:10], images[10:]]
    objective = search.objective((images, labels), (images, labels))
    with torch.no_grad():
        logits = torch.cat([objective.logits(batch, [mixture] * 3) for batch in batches])  # type: ignore[attr-defined]
    accuracy = float((logits.argmax(dim=1) == labels).double().mean())
    loss = float(torch.nn.functional.cross_entropy(logits, labels))
    assert found == pytest.approx((accuracy, -loss) if criterion == "accuracy" else (-loss, accuracy), rel=1e-6)


def test_removals_are_judged_on_batches_of_all_classes(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is read class by class, and BN with the statistics of one class hides which one it is."""
    data = DataOptions(max_train=15, max_valid=40).load("digits", seed=0)
    order = torch.argsort(data.valid.labels)
    valid = replace(data.valid, images=data.valid.images[order], labels=data.valid.labels[order])
    search, seen = make(data=replace(data, valid=valid), projection=ProjectionSettings(), search_batch_size=20), []

    def objective(network: CellNetwork, **given: Any) -> NetworkObjective:
        seen.append(given["search_batch"][1])
        return NetworkObjective(network, **given)

    monkeypatch.setattr(projected_search, "NetworkObjective", objective)
    search.validation_score(search.mixtures())
    assert [torch.bincount(labels).tolist() for labels in seen] == [[2] * 10] * 2


def test_a_projection_after_an_early_stop_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="choose one of the two"):
        make(parts={"stopping": SkipCount()}, projection=ProjectionSettings())


# --------------------------------------------------------------------------------------------------- when it goes wrong


@pytest.mark.parametrize("what", ["weights", "architecture parameters"])
def test_a_search_that_diverges_keeps_its_last_checkpoint(make: Make, tmp_path, what: str) -> None:
    search = make(epochs=3)
    step = search.step

    def ruin() -> None:
        step()
        if search.step_number == 5:
            victim = search.alphas[0] if what != "weights" else next(search.network.parameters())
            with torch.no_grad():
                victim[0] = float("nan")

    search.step = ruin  # type: ignore[method-assign]
    with Run.create(tmp_path / "run", {}) as folder:
        with pytest.raises(TrainingDiverged, match=f"the {what} must stay finite"):
            fit(search, folder, checkpoint_seconds=0.0, progress=False)
        assert folder.state.exists()
        assert not folder.weights.exists()
        good = make(epochs=3)
        fit(good, folder, progress=False)
        assert good.finished
    assert_equal(good, run(make(epochs=3)))


def test_nothing_reads_or_changes_the_global_generators(make: Make) -> None:
    before = torch.get_rng_state()
    torch.manual_seed(5)
    first = run(make("s4"), 2)
    torch.manual_seed(6)
    second = run(make("s4"), 2)
    assert_equal(first, second)
    torch.set_rng_state(before)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"search_batch_size": 0}, "search_batch_size must be at least 1"),
        ({"warmup": 3}, "leave some of the 2 epochs"),
        ({"warmup": -0.1}, "warmup must not be negative"),
        ({"eigenvalue_every": -1}, "eigenvalue_every must not be negative"),
        ({"eigenvalue_every": 3}, "eigenvalue_every must be at most the number of epochs, 2, but got 3; 0 comp"),
        ({"eigenvalue_batches": 0}, "eigenvalue_batches must be at least 1"),
        ({"update_order": "alphas_first"}, "Did you mean 'alpha_first'"),
    ],
)
def test_wrong_settings_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchSettings(**{"epochs": 2, **changed})


def test_a_search_batch_has_no_image_twice(make: Make) -> None:
    images = len(make().data.valid)
    assert make(batch_size=images + 1).search_batch_size == images
    assert make(search_batch_size=images).search_batch_size == images
    message = f"search_batch_size must be at most the number of validation images, {images}, but got {images + 1}"
    with pytest.raises(ValueError, match=message):
        make(search_batch_size=images + 1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate of the alphas must be positive"),
        ({"betas": (0.5, 1.0)}, "betas must lie in"),
        ({"weight_decay": -1.0}, "weight_decay of the alphas must not be negative"),
    ],
)
def test_wrong_settings_of_the_alphas_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlphaOptimization(**changed)
