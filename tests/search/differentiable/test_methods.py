"""Presets: their numbers, what they are made of, every one of them with every plug-in on both graphs, refusals."""

from __future__ import annotations

import dataclasses
import io
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from genas.data import DataOptions, ImageData, load_data
from genas.search.differentiable import (
    A2M,
    A2M_CODE,
    METHODS,
    A2MChanges,
    A2MOptions,
    AdditiveNeighbors,
    AdversarialSmoothing,
    DifferentiableSearch,
    DominantEigenvalue,
    FirstOrder,
    Fixed,
    LambdaHook,
    Method,
    MethodChanges,
    NAOptions,
    NeighborhoodGradient,
    Plain,
    RandomSmoothing,
    Regularized,
    SearchSettings,
    SettingsChanges,
    SkipCount,
    Unrolled,
    method,
)
from genas.spaces import space
from genas.supernet import CellNetwork, LearningRate
from genas.supernet.mixtures import MixtureOptions

NB201, DARTS = space("nasbench201"), space("darts")
NAMES = [
    "darts",
    "darts-2nd",
    "beta-darts",
    "lambda-darts",
    "darts-pt",
    "darts-minus",
    "sdarts-rs",
    "sdarts-adv",
    "pc-darts",
    "darts-es",
]


@pytest.fixture(scope="module")
def data() -> ImageData:
    return DataOptions(max_train=10, max_valid=10).load("digits", seed=0)


def test_the_names() -> None:
    assert list(METHODS) == NAMES
    with pytest.raises(KeyError, match="Did you mean 'beta-darts'"):
        method("betadarts", NB201)
    with pytest.raises(ValueError, match="numbers must be one of recommended, code, a2m-code"):
        method("darts", NB201, "paper")  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------- every preset runs


def tiny(name: str, space_name: str) -> Method:
    """The preset in two epochs of one step, its projection in every epoch of tuning."""
    preset = method(name, space(space_name))
    settings = replace(preset.settings, epochs=2, batch_size=10, warmup=min(preset.settings.warmup, 0.5))
    return replace(preset, settings=settings, projection_interval=1 if preset.select == "projection" else 5)


@pytest.mark.parametrize("space_name", ["nasbench201", "s3"])
@pytest.mark.parametrize("flatness", ["none", "a2m", "na"])
@pytest.mark.parametrize("name", NAMES)
def test_every_preset_with_every_plug_in_runs_resumes_and_ends_in_a_valid_architecture(
    data: ImageData, name: str, flatness: Any, space_name: str
) -> None:
    found, preset = space(space_name), tiny(name, space_name)
    options: dict[str, Any] = {"na": NAOptions(count=2)} if flatness == "na" else {}
    if name in ("beta-darts", "pc-darts") and flatness == "na":
        options = {"na": NAOptions(count=2, neighbors="multiplicative", aggregate="max")}
    if flatness == "a2m" and preset.second_order:
        with pytest.raises(ValueError, match="must wrap a first-order gradient"):
            preset.parts(found, "a2m")
        preset = replace(preset, a2m=A2MOptions(allow_unrolled=True, curvature="none"))
    elif flatness == "a2m" and preset.select == "projection" and space_name == "s3":  # many epochs of tuning
        preset = replace(preset, a2m=A2MOptions(curvature="none"))

    def make(seed: int) -> DifferentiableSearch:
        cells = 1 if found.is_product else 4 if preset.alignment else 3  # alignment needs two normal cells
        skeleton = found.supernet_skeleton(10, 8, 1, channels=8 if preset.partial_channels > 1 else 4, cells=cells)
        network = CellNetwork.initialised(found, replace(skeleton, affine=False), 0, preset.network_options)
        return preset.search(network, data, flatness, **options, seed=seed)

    search, middle = make(3), io.BytesIO()
    while not search.finished:
        search.step()
        record = search.end_epoch()
        if search.step_number == search.total_steps - 1:
            torch.save(search.state(), middle)
    found.check(search.architecture)
    assert record["genes"] == list(search.architecture)
    unknown = {key for key, value in record.items() if value is None}
    decided = {"a2m_cosine", "a2m_relative_change"} if preset.select == "projection" else set()  # no gradient is left
    assert unknown <= {"eigenvalue", "lambda_alignment"} | decided
    assert ("a2m_cosine" in record) == (flatness == "a2m")
    assert ("neighborhood" in record) == (flatness == "na")
    middle.seek(0)
    resumed = make(3)
    resumed.load_state(torch.load(middle, weights_only=True))
    resumed.step()
    resumed.end_epoch()
    assert resumed.history == search.history
    for key, tensor in search.learnt().items():
        assert torch.equal(tensor, resumed.learnt()[key]), key


# -------------------------------------------------------------------------------------------------------------- numbers


def test_what_the_presets_are_made_of() -> None:
    parts = {name: method(name, DARTS).parts(DARTS) for name in NAMES}
    assert isinstance(parts["darts"].gradient, FirstOrder)
    assert isinstance(parts["darts-2nd"].gradient, Unrolled)
    assert isinstance(parts["beta-darts"].gradient, Regularized)
    kinds = {"lambda-darts": LambdaHook, "sdarts-rs": RandomSmoothing, "sdarts-adv": AdversarialSmoothing}
    for name, each in parts.items():
        assert type(each.weight_step) is kinds.get(name, Plain)
        assert (method(name, NB201).projection is not None) == (name == "darts-pt")
        assert type(each.stopping) is (DominantEigenvalue if name == "darts-es" else Fixed)
    shapes = [alpha.shape for alpha in parts["pc-darts"].relaxation.initial(0)]
    assert shapes == [(14, 8), (14, 8), (14,), (14,)]
    skips = [
        parts["darts-minus"].relaxation.mixtures(parts["darts"].relaxation.initial(0), t / 50)[0].skip for t in (0, 49)
    ]
    assert skips == pytest.approx([1.0, 0.02])
    options = {name: method(name, DARTS).network_options for name in NAMES}
    assert [name for name, each in options.items() if each.auxiliary_skip] == ["darts-minus"]
    assert {name: each.partial_channels for name, each in options.items() if each.partial_channels > 1} == {
        "pc-darts": 4
    }


def test_common_numbers() -> None:
    settings = method("darts", DARTS).settings
    assert (settings.epochs, settings.batch_size, settings.momentum, settings.nesterov) == (50, 64, 0.9, False)
    assert (settings.weight_decay, settings.gradient_clip, settings.learning_rate) == (
        3e-4,
        5,
        LearningRate(0.025, 0.001),
    )
    assert dataclasses.astuple(settings.alphas) == (3e-4, (0.5, 0.999), 1e-3)
    assert settings.update_order == "alpha_first"


@pytest.mark.parametrize("name", NAMES)
def test_epochs_on_nasbench201(name: str) -> None:
    """A²M and we: 50. The forks' scripts: 100; AutoDL's and those without a script: 50."""
    assert method(name, NB201).settings.epochs == method(name, DARTS, "code").settings.epochs == 50
    short = ("darts", "darts-2nd", "darts-minus", "pc-darts", "darts-es")
    assert method(name, NB201, "code").settings.epochs == (50 if name in short else 100)


def test_numbers_of_single_methods() -> None:
    code = method("darts", NB201, "code").settings
    assert (code.nesterov, code.weight_decay, code.learning_rate.every) == (True, 5e-4, "epoch")
    assert code.update_order == "weights_first"
    assert method("darts-2nd", NB201, "code").settings == replace(code, update_order="alpha_first")
    assert method("beta-darts", NB201).beta_end == 50
    assert method("beta-darts", DARTS).beta_end == 25
    assert method("beta-darts", DARTS, "code").beta_slope == 0.5
    slow = method("lambda-darts", NB201)
    assert (slow.alignment, slow.alignment_form, slow.settings.alphas.learning_rate) == (0.25, "corr", 1e-4)
    assert (slow.settings.update_order, slow.alignment_epsilon) == ("alpha_first", 1e-4)
    assert method("lambda-darts", NB201, "code").settings.update_order == "weights_first"
    assert method("lambda-darts", DARTS).alignment_form == "signcorr"
    assert method("lambda-darts", DARTS, "code").settings.batch_size == 96
    pc = method("pc-darts", DARTS).settings
    assert (pc.batch_size, pc.learning_rate, pc.alphas.learning_rate) == (256, LearningRate(0.1, 0.0), 6e-4)
    assert pc.warmup_epochs == method("pc-darts", DARTS, "code").settings.warmup_epochs == 15
    assert replace(pc, epochs=20).warmup_epochs == 6
    assert method("pc-darts", NB201).settings.batch_size == 64
    projection = method("darts-pt", DARTS).projection
    assert projection is not None
    assert (projection.interval, projection.criterion, projection.learning_rate) == (5, "accuracy", 0.0025)
    assert method("darts-es", DARTS, "code").second_order
    assert not method("darts-es", DARTS).second_order


def test_numbers_of_the_plug_ins() -> None:
    darts = method("darts", NB201)
    for found, rho, distance in ((NB201, 0.01, 2), (DARTS, 0.1, 6)):
        flat = darts.parts(found, "a2m").gradient
        assert isinstance(flat, A2M)
        assert (flat.rho, flat.curvature, flat.centre) == (rho, "exact", "alpha")
        near = darts.parts(found, "na").gradient
        assert isinstance(near, NeighborhoodGradient)
        assert isinstance(near.neighbors, AdditiveNeighbors)
        assert (near.count, near.aggregate, near.neighbors.distance, near.neighbors.epsilon) == (
            10,
            "mean",
            distance,
            0.1,
        )
    assert (A2M_CODE.curvature, A2M_CODE.epsilon, A2M_CODE.centre) == ("central_fd", 0.01, "alpha_tilde")


def test_the_regulariser_stays_outside_unless_it_is_to_be_perturbed() -> None:
    beta = method("beta-darts", NB201)
    outside = beta.parts(NB201, "a2m").gradient
    assert isinstance(outside, Regularized)
    assert isinstance(outside.inner, A2M)
    inside = method("beta-darts", NB201, "code").parts(NB201, "a2m").gradient
    assert isinstance(inside, A2M)
    assert isinstance(inside.inner, Regularized)
    near = beta.parts(NB201, "na").gradient
    assert isinstance(near, Regularized)
    assert isinstance(near.inner, NeighborhoodGradient)


# -------------------------------------------------------------------------------------------------------------- changes


def test_changes_reach_what_they_name() -> None:
    changes = SettingsChanges(epochs=7, learning_rate=0.1, final_learning_rate=0.01, alpha_learning_rate=1e-2, warmup=2)
    found = changes.applied(method("pc-darts", DARTS).settings)
    assert (found.epochs, found.warmup, found.batch_size) == (7, 2, 256)
    assert found.learning_rate == LearningRate(0.1, 0.01)
    assert (found.alphas.learning_rate, found.alphas.weight_decay) == (1e-2, 1e-3)
    beta = method("beta-darts", NB201)
    assert MethodChanges(beta_slope=0.5).applied(beta).beta_end is None
    assert MethodChanges().applied(beta, changes) == replace(beta, settings=changes.applied(beta.settings))
    early = MethodChanges(stop_earliest=2, stop_window=3).applied(method("darts-es", NB201))
    assert early.parts(NB201).stopping == DominantEigenvalue(window=3, earliest=2)
    cellwise = MethodChanges(partial_scope="cell").applied(method("pc-darts", NB201))
    assert cellwise.network_options == MixtureOptions(partial_channels=4, partial_scope="cell")
    assert isinstance(MethodChanges(stop="skips", most_skips=1).applied(beta).parts(NB201).stopping, SkipCount)


def test_every_change_has_something_to_change() -> None:
    parts = {each.name for each in dataclasses.fields(Method)} - {"settings", "a2m"}
    assert {each.name for each in dataclasses.fields(MethodChanges)} == parts
    assert [each.name for each in dataclasses.fields(A2MChanges)] == [
        each.name for each in dataclasses.fields(A2MOptions)
    ]
    renamed = {"final_learning_rate", "alpha_learning_rate", "alpha_weight_decay"}
    assert {each.name for each in dataclasses.fields(SettingsChanges)} - renamed <= {
        each.name for each in dataclasses.fields(SearchSettings)
    }


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"beta_weights": (1.0,)}, "nothing reads it without beta_slope or beta_end"),
        ({"alignment_form": "signcorr"}, "without alignment"),
        ({"smoothing_end": 0.5}, "without smoothing"),
        ({"skip_shape": "cosine"}, "without skip_strength"),
        ({"most_skips": 1}, "without stop=skips"),
        ({"stop_factor": 2.0}, "without stop=eigenvalue"),
        ({"partial_scope": "cell"}, "without partial_channels"),
        ({"projection_interval": 2}, "without select=projection"),
        ({"select": "projection", "stop": "eigenvalue"}, "choose one of both"),
        ({"smoothing": "random", "alignment": 0.1}, "choose one"),
        ({"smoothing": "randm"}, "Did you mean 'random'"),
        ({"settings": SearchSettings(learn_alphas=False), "second_order": True}, "Without learn_alphas"),
        ({"settings": SearchSettings(learn_alphas=False), "stop": "skips"}, "Without learn_alphas"),
        ({"alignment": -0.25}, "alignment must be finite and not negative, but got -0.25"),
        ({"skip_strength": math.nan}, "skip_strength must be finite and not negative, but got nan"),
        ({"settings": SearchSettings(decay_scope="weights"), "second_order": True}, "decay_scope must be all"),
        ({"settings": SearchSettings(eigenvalue_batches=2)}, "no eigenvalue is computed"),
    ],
)
def test_what_cannot_be_or_does_nothing_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Method(**changed)


@pytest.mark.parametrize(
    ("method_name", "changed", "message"),
    [
        ("darts", {"epsilon": 0.1}, "without a finite difference"),
        ("darts", {"curvature": "none", "centre": "alpha"}, "without a curvature"),
        ("darts", {"include_edge_logits": False}, "without edge_normalization"),
        ("darts", {"perturb_regularizer": True}, "without beta decay"),
        ("darts", {"allow_unrolled": True}, "without second_order"),
        ("darts", {"compare_exact": True}, "without a finite difference"),
        ("darts", {"rho": 0.0, "curvature": "none"}, "curvature is set, but nothing reads it where rho is 0"),
        ("beta-darts", {"rho": 0.0, "perturb_regularizer": True}, "nothing reads it where rho is 0"),
    ],
)
def test_options_of_a2m_that_nothing_reads_are_refused(method_name: str, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        A2MChanges(**changed).applied(method(method_name, NB201))


def test_changes_of_a2m_win_over_the_numbers_of_the_code() -> None:
    """Also those that are what would be recommended."""
    changes = A2MChanges(curvature="exact", centre="alpha", perturb_regularizer=False)
    assert changes.applied(method("beta-darts", NB201, "code")) == A2MOptions()
    assert A2MChanges(rho=0.3).applied(method("darts", NB201, "code")) == replace(A2M_CODE, rho=0.3)
    assert A2MChanges().applied(method("darts", NB201)) == A2MOptions()


def test_a_change_that_nothing_reads_is_refused_also_where_it_says_the_default() -> None:
    with pytest.raises(ValueError, match="stop_factor is set, but nothing reads it without stop=eigenvalue"):
        MethodChanges(stop_factor=DominantEigenvalue.factor).applied(method("darts", NB201))


def test_a_single_loss_has_no_neighbours_to_say_anything_of() -> None:
    assert NAOptions(count=1).resolved(NB201) == NAOptions(count=1)
    with pytest.raises(ValueError, match="no neighbours, so distance would do nothing"):
        NAOptions(count=1, distance=3)


@pytest.mark.parametrize("name", ["alpha_learning_rate", "warmup", "search_batch_size", "update_order"])
def test_changes_of_an_architecture_that_rests_are_refused(name: str) -> None:
    value = "weights_first" if name == "update_order" else 1
    resting = SettingsChanges(learn_alphas=False, **{name: value})
    with pytest.raises(ValueError, match=f"{name} is set, but nothing reads it without learn_alphas"):
        MethodChanges().applied(method("darts", NB201), resting)


def test_projections_and_eigenvalues_read_batches_of_the_search_all_the_same() -> None:
    resting = SettingsChanges(learn_alphas=False, search_batch_size=8)
    assert MethodChanges().applied(method("darts-pt", NB201), resting).settings.search_batch_size == 8
    logged = replace(resting, eigenvalue_every=2, alpha_weight_decay=0.0, augment_search=False)
    assert MethodChanges().applied(method("darts", NB201), logged).settings.alphas.weight_decay == 0


def test_what_is_switched_off_takes_its_numbers_along() -> None:
    assert MethodChanges(alignment=0.0).applied(method("lambda-darts", DARTS)) == Method()
    whole = MethodChanges(partial_channels=1).applied(method("pc-darts", NB201, "a2m-code"))
    assert whole.partial_scope == "edges"
    with pytest.raises(ValueError, match="alignment_form is set, but nothing reads it"):
        MethodChanges(alignment=0.0, alignment_form="signcorr").applied(method("lambda-darts", DARTS))


def test_no_rule_returns_an_architecture_that_has_not_moved_yet() -> None:
    warm = SettingsChanges(warmup=15)
    slow = MethodChanges(stop="eigenvalue").applied(method("pc-darts", NB201), warm)
    assert slow.parts(NB201).stopping == DominantEigenvalue(earliest=15)
    skips = MethodChanges(stop="skips").applied(method("pc-darts", DARTS), warm)
    assert skips.parts(DARTS).stopping == SkipCount(2, cell="normal", earliest=15)


def test_a_network_that_can_not_do_what_the_method_needs_is_refused() -> None:
    chosen, plain = method("pc-darts", NB201), method("darts", NB201)
    data = load_data("digits", max_train=20, max_valid=20)
    skeleton = NB201.supernet_skeleton(10, data.image_size, data.image_channels, channels=4, cells=1)
    network = CellNetwork.initialised(NB201, skeleton, 0, plain.network_options)
    with pytest.raises(ValueError, match=r"must be built with MixtureOptions\(partial_channels=4"):
        chosen.search(network, data, seed=0)


def test_the_numbers_of_a2ms_authors() -> None:
    not_run = ("sdarts-adv", "darts-es")
    for name in not_run:
        with pytest.raises(ValueError, match=f"A²M's authors did not run {name}, .*choose recommended or code"):
            method(name, NB201, "a2m-code")
    for name in set(NAMES) - set(not_run):
        settings = method(name, NB201, "a2m-code").settings
        assert (settings.epochs, settings.nesterov, settings.weight_decay) == (50, False, 3e-4)
        assert settings.batch_size == (32 if name == "darts-pt" else 64)
    assert method("lambda-darts", NB201, "a2m-code").alignment == 0.125
    assert method("lambda-darts", DARTS, "a2m-code").alignment_form == "signcorr"
    theirs = method("lambda-darts", DARTS, "code")
    assert (theirs.alignment, theirs.alignment_form, theirs.alignment_epsilon) == (0.25, "corr", 1e-3)
    cellwise = Method(partial_channels=4, partial_scope="cell", a2m=A2M_CODE)
    assert method("pc-darts", NB201, "a2m-code") == cellwise
    assert method("pc-darts", DARTS, "a2m-code") == replace(cellwise, partial_scope="edges")


@pytest.mark.parametrize(
    ("name", "flatness", "message"),
    [("darts", "a2m", "What A²M adds"), ("lambda-darts", "none", "alignment"), ("darts-2nd", "none", "look-ahead")],
)
def test_differences_too_small_for_bfloat16_are_refused(
    data: ImageData, name: str, flatness: Any, message: str
) -> None:
    preset = method(name, NB201)
    network = CellNetwork.initialised(NB201, NB201.supernet_skeleton(10, 8, 1, channels=4, cells=1), 0)
    assert preset.needs_float32(flatness)
    with pytest.raises(ValueError, match=f"{message}.* choose precision fp32"):
        preset.search(network, data, flatness, seed=0, precision=torch.bfloat16)
    assert not method("beta-darts", NB201).needs_float32("na")
    method("beta-darts", NB201).search(network, data, seed=0, precision=torch.bfloat16)


def test_alignment_of_a_single_cell_is_refused_before_the_search(data: ImageData) -> None:
    found = space("s2")
    network = CellNetwork.initialised(found, found.supernet_skeleton(10, 8, 1, channels=4, cells=3), 0)
    with pytest.raises(ValueError, match="at least two cells of type 0, but the network has 1"):
        method("lambda-darts", found).search(network, data, seed=0)


def test_impossible_combinations_are_refused_with_the_reason() -> None:
    darts = method("darts", NB201)
    with pytest.raises(ValueError, match="none and skip_connect among the candidates"):
        darts.parts(space("s2"), "na", na=NAOptions(neighbors="multiplicative"))
    with pytest.raises(ValueError, match="flatness must be none, a2m or na"):
        darts.parts(NB201, "sam")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a2m would do nothing"):
        Method(SearchSettings(learn_alphas=False)).parts(NB201, "a2m")
    with pytest.raises(ValueError, match="a number for each of the 1 cell types"):
        Method(beta_end=1.0, beta_weights=(1.0, 1.0)).parts(NB201)
    with pytest.raises(ValueError, match="epsilon is a size of additive neighbours"):
        NAOptions(neighbors="multiplicative", epsilon=0.2)
    with pytest.raises(ValueError, match="belongs to the aggregate variance"):
        NAOptions(deviation_weight=2.0)
    with pytest.raises(ValueError, match="Did you mean 'exact'"):
        A2MOptions(curvature="exakt")  # type: ignore[arg-type]
