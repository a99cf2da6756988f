"""Presets: their numbers, what they are made of, every one of them with every plug-in on both graphs, refusals."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import replace
from typing import Any

import pytest
import torch

from genas.data import DataOptions, ImageData
from genas.search.differentiable import (
    A2M,
    A2M_CODE,
    METHODS,
    NA,
    A2MGradient,
    AdditiveNeighbors,
    AdversarialSmoothing,
    BetaDecay,
    DifferentiableSearch,
    DominantEigenvalue,
    FirstOrder,
    Fixed,
    FlatMinima,
    LambdaHook,
    LinearSchedule,
    Method,
    NeighborhoodGradient,
    PartialChannels,
    Plain,
    ProjectionSettings,
    RandomSmoothing,
    Regularized,
    SearchSettings,
    SkipCount,
    Unrolled,
    method,
)
from genas.spaces import space
from genas.supernet import CellNetwork, LearningRate

NB201, DARTS = space("nasbench201"), space("darts")
RESTING = SearchSettings(learn_alphas=False)
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
    return replace(preset, settings=settings, projection=preset.projection and ProjectionSettings(interval=1))


PLUG_INS = {"none": None, "a2m": A2M(), "na": NA(count=2)}
COMBINATIONS = [
    pytest.param(name, flatness, space_name, id=f"{name}-{plug_in}-{space_name}")
    for name in NAMES
    for plug_in, flatness in PLUG_INS.items()
    for space_name in ("nasbench201", "s3")
    # On DARTS a preset runs once, the plug-ins in turn, and DARTS-PT without one: none does anything in its tuning.
    if space_name == "nasbench201"
    or plug_in == ("none" if name == "darts-pt" else ("a2m", "na")[NAMES.index(name) % 2])
]


@pytest.mark.parametrize(("name", "flatness", "space_name"), COMBINATIONS)
def test_every_preset_with_every_plug_in_runs_resumes_and_ends_in_a_valid_architecture(
    data: ImageData, name: str, flatness: FlatMinima | None, space_name: str
) -> None:
    found, preset = space(space_name), tiny(name, space_name)
    unrolls = preset.gradient.unrolls_weights
    if isinstance(flatness, NA) and name in ("beta-darts", "pc-darts"):
        flatness = NA(count=2, neighbors="multiplicative", aggregate="max")
    elif isinstance(flatness, A2M) and unrolls:
        with pytest.raises(ValueError, match="must wrap a first-order gradient"):
            replace(preset, flatness=flatness).parts(found)
        flatness = A2M(allow_unrolled=True, curvature="none")
    preset = replace(preset, flatness=flatness)

    def make(seed: int) -> DifferentiableSearch:
        cells = 1 if found.is_product else 4 if name == "lambda-darts" else 3  # alignment needs two normal cells
        skeleton = found.supernet_skeleton(10, 8, 1, channels=8 if preset.partial else 4, cells=cells)
        network = CellNetwork.initialised(found, replace(skeleton, affine=False), 0, preset.network_options)
        return preset.search(network, data, seed=seed)

    search, middle = make(3), io.BytesIO()
    while not search.finished:
        search.step()
        record = search.end_epoch()
        if search.step_number == search.total_steps - 1:
            torch.save(search.state(), middle)
    found.check(search.architecture)
    assert record["genes"] == list(search.architecture)
    unknown = {key for key, value in record.items() if value is None}
    decided = {"a2m_cosine", "a2m_relative_change"} if preset.projection else set()  # no gradient is left
    assert unknown <= {"eigenvalue", "lambda_alignment"} | decided
    assert ("a2m_cosine" in record) == isinstance(flatness, A2M)
    assert ("neighborhood" in record) == isinstance(flatness, NA)
    middle.seek(0)
    resumed = make(3)
    resumed.load_state(torch.load(middle, weights_only=True))
    resumed.step()
    resumed.end_epoch()
    assert resumed.history == search.history
    learnt = resumed.learnt()
    for key, tensor in search.learnt().items():
        assert torch.equal(tensor, learnt[key]), key


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


def test_a_method_of_another_package_must_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genas.search.differentiable.presets.METHODS", {"broken": lambda *_: None})
    with pytest.raises(TypeError, match=r"The search method 'broken' must be a .*Method, but is None"):
        method("broken", NB201)


def test_numbers_of_single_methods() -> None:
    code = method("darts", NB201, "code").settings
    assert (code.nesterov, code.weight_decay, code.learning_rate.every) == (True, 5e-4, "epoch")
    assert code.update_order == "weights_first"
    assert method("darts-2nd", NB201, "code").settings == replace(code, update_order="alpha_first")
    assert method("beta-darts", NB201).regularizer == BetaDecay(LinearSchedule(end=50))
    assert method("beta-darts", DARTS).regularizer == BetaDecay(LinearSchedule(end=25))
    assert method("beta-darts", DARTS, "code").regularizer == BetaDecay(LinearSchedule(slope=0.5))
    slow = method("lambda-darts", NB201)
    assert slow.weight_step == LambdaHook(0.25, form="corr", epsilon=0.1)
    assert (slow.settings.update_order, slow.settings.alphas.learning_rate) == ("alpha_first", 1e-4)
    assert method("lambda-darts", NB201, "code").settings.update_order == "weights_first"
    assert method("lambda-darts", NB201, "code").weight_step == LambdaHook(0.25, form="corr", epsilon=1e-4)
    assert method("lambda-darts", DARTS).weight_step == LambdaHook(0.125, form="signcorr", epsilon=0.1)
    assert method("lambda-darts", DARTS, "code").settings.batch_size == 96
    pc = method("pc-darts", DARTS).settings
    assert (pc.batch_size, pc.learning_rate, pc.alphas.learning_rate) == (256, LearningRate(0.1, 0.0), 6e-4)
    assert pc.warmup_epochs == method("pc-darts", DARTS, "code").settings.warmup_epochs == 15
    assert replace(pc, epochs=20).warmup_epochs == 6
    assert method("pc-darts", NB201).settings.batch_size == 64
    projection = method("darts-pt", DARTS).projection
    assert projection is not None
    assert (projection.interval, projection.criterion, projection.tuning_rate(0.025)) == (5, "accuracy", 0.0025)
    assert method("darts-es", DARTS, "code").gradient == Unrolled()
    assert method("darts-es", DARTS).gradient == FirstOrder()


def test_numbers_of_the_plug_ins() -> None:
    darts = method("darts", NB201)
    for found, rho, distance in ((NB201, 0.01, 2), (DARTS, 0.1, 6)):
        flat = replace(darts, flatness=A2M()).parts(found).gradient
        assert isinstance(flat, A2MGradient)
        assert (flat.rho, flat.curvature, flat.centre) == (rho, "exact", "alpha")
        near = replace(darts, flatness=NA()).parts(found).gradient
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
    outside = replace(beta, flatness=A2M()).parts(NB201).gradient
    assert isinstance(outside, Regularized)
    assert isinstance(outside.inner, A2MGradient)
    inside = replace(method("beta-darts", NB201, "code"), flatness=A2M_CODE).parts(NB201).gradient
    assert isinstance(inside, A2MGradient)
    assert isinstance(inside.inner, Regularized)
    near = replace(beta, flatness=NA()).parts(NB201).gradient
    assert isinstance(near, Regularized)
    assert isinstance(near.inner, NeighborhoodGradient)


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"projection": ProjectionSettings(), "stopping": DominantEigenvalue()}, "DominantEigenvalue.*choose one of"),
        ({"settings": RESTING, "gradient": Unrolled()}, "Without learn_alphas .* Unrolled would do nothing"),
        ({"settings": RESTING, "regularizer": BetaDecay()}, "Without learn_alphas .* BetaDecay would do nothing"),
        ({"settings": RESTING, "stopping": SkipCount()}, "Without learn_alphas .* SkipCount would do nothing"),
        ({"settings": RESTING, "flatness": A2M()}, "Without learn_alphas .* A2M would do nothing"),
        ({"settings": SearchSettings(decay_scope="weights"), "gradient": Unrolled()}, "decay_scope must be all"),
        ({"settings": SearchSettings(eigenvalue_batches=2)}, "no eigenvalue is computed"),
    ],
)
def test_parts_that_exclude_each_other_or_do_nothing_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Method(**changed)


def test_eigenvalues_for_a_rule_may_have_several_batches() -> None:
    Method(SearchSettings(eigenvalue_batches=2), stopping=DominantEigenvalue())


def test_partial_channels_are_a_part() -> None:
    with pytest.raises(ValueError, match="one in two or more, but got one in 1"):
        PartialChannels(1)
    with pytest.raises(ValueError, match="Did you mean 'cell'"):
        PartialChannels(scope="cel")  # type: ignore[arg-type]


def test_a_single_loss_has_no_neighbours_to_say_anything_of() -> None:
    assert NA(count=1).resolved(NB201) == NA(count=1)
    with pytest.raises(ValueError, match="no neighbours, so distance would do nothing"):
        NA(count=1, distance=3)


def test_a_network_that_can_not_do_what_the_method_needs_is_refused(data: ImageData) -> None:
    chosen, plain = method("pc-darts", NB201), method("darts", NB201)
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
        assert settings.batch_size == 64
    for name, batch_size in (("darts", 64), ("darts-pt", 32), ("lambda-darts", 96)):
        assert method(name, DARTS, "a2m-code").settings.batch_size == batch_size
    assert method("lambda-darts", NB201, "a2m-code").weight_step == LambdaHook(0.125, epsilon=1e-4)
    assert method("lambda-darts", DARTS, "a2m-code").weight_step == LambdaHook(0.125, form="signcorr", epsilon=1e-4)
    assert method("lambda-darts", DARTS, "code").weight_step == LambdaHook(0.25, form="corr", epsilon=1e-3)
    assert method("pc-darts", NB201, "a2m-code") == Method(partial=PartialChannels(4, "cell"))
    assert method("pc-darts", DARTS, "a2m-code") == Method(partial=PartialChannels(4, "edges"))


@pytest.mark.parametrize(
    ("name", "flatness", "message"),
    [
        ("darts", A2M(), "What A²M adds"),
        ("beta-darts", A2M(), "What A²M adds"),
        ("lambda-darts", None, "alignment"),
        ("darts-2nd", None, "look-ahead"),
        ("darts-2nd", NA(), "look-ahead"),
    ],
)
def test_differences_too_small_for_bfloat16_are_refused(
    data: ImageData, name: str, flatness: Any, message: str
) -> None:
    preset = replace(method(name, NB201), flatness=flatness)
    network = CellNetwork.initialised(NB201, NB201.supernet_skeleton(10, 8, 1, channels=4, cells=1), 0)
    assert preset.needs_float32(NB201)
    with pytest.raises(ValueError, match=f"{message}.* choose precision fp32"):
        preset.search(network, data, seed=0, precision=torch.bfloat16)
    assert not replace(method("beta-darts", NB201), flatness=NA()).needs_float32(NB201)
    method("beta-darts", NB201).search(network, data, seed=0, precision=torch.bfloat16)


def test_without_their_strength_methods_are_as_precise_as_plain_darts() -> None:
    assert not Method(flatness=A2M(rho=0.0)).needs_float32(NB201)
    assert not Method(gradient=Unrolled(xi=0.0)).needs_float32(NB201)
    inner = A2M(rho=0.0, curvature="none", allow_unrolled=True)
    assert Method(gradient=Unrolled(), flatness=inner).needs_float32(NB201)


def test_alignment_of_a_single_cell_is_refused_before_the_search(data: ImageData) -> None:
    found = space("s2")
    network = CellNetwork.initialised(found, found.supernet_skeleton(10, 8, 1, channels=4, cells=3), 0)
    with pytest.raises(ValueError, match="at least two cells of type 0, but the network has 1"):
        method("lambda-darts", found).search(network, data, seed=0)


def test_the_options_of_na_reach_its_neighbours() -> None:
    found = space("darts")
    for kind in ("additive", "multiplicative"):
        neighbors = NA(neighbors=kind, distance=3, scope="normal_only").neighbors_in(found)  # type: ignore[arg-type]
        assert (neighbors.distance, neighbors.scope) == (3, "normal_only")
    assert NA(epsilon=0.05).neighbors_in(found).epsilon == 0.05  # type: ignore[attr-defined]


def test_impossible_combinations_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="none and skip_connect among the candidates"):
        Method(flatness=NA(neighbors="multiplicative")).parts(space("s2"))
    with pytest.raises(ValueError, match="one number for each of the 1 cell types"):
        Method(regularizer=BetaDecay(weights=(1.0, 1.0))).parts(NB201)
    with pytest.raises(ValueError, match="epsilon is a size of additive neighbours"):
        NA(neighbors="multiplicative", epsilon=0.2)
    for still in ({"distance": 0}, {"epsilon": 0.0}):
        with pytest.raises(ValueError, match="Neighbours must differ"):
            NA(**still)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="counts skip connections, but s4 has none"):
        Method(stopping=SkipCount()).parts(space("s4"))
    with pytest.raises(ValueError, match="belongs to the aggregate variance"):
        NA(deviation_weight=2.0)
    with pytest.raises(ValueError, match="Did you mean 'exact'"):
        A2M(curvature="exakt")  # type: ignore[arg-type]


def test_the_options_of_a2m_reach_its_gradient() -> None:
    gradient = Method(flatness=A2M_CODE).parts(NB201).gradient
    assert isinstance(gradient, A2MGradient)
    assert (gradient.curvature, gradient.centre) == ("central_fd", "alpha_tilde")
