"""From the options of ``genas search`` to the parts of a method: changes, refusals, the record."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
from torch import Tensor

from genas.commands.flatness_options import A2MChanges, with_plug_in
from genas.commands.method_options import MethodChanges
from genas.commands.method_record import described, recorded
from genas.commands.settings_options import SettingsChanges
from genas.search.differentiable import (
    A2M,
    A2M_CODE,
    NA,
    AdversarialSmoothing,
    Alphas,
    BetaDecay,
    DominantEigenvalue,
    LambdaHook,
    LinearSchedule,
    Method,
    Numbers,
    ProjectionSettings,
    Regularizer,
    SearchSettings,
    SkipCount,
    SkipSchedule,
    SmoothingRadius,
    method,
)
from genas.spaces import space
from genas.supernet import LearningRate
from genas.supernet.mixtures import MixtureOptions

NB201, DARTS = space("nasbench201"), space("darts")


def changed(name: str, **options: Any) -> Method:
    """A preset on NAS-Bench-201 with options."""
    return MethodChanges(**options).applied(method(name, NB201), NB201, SettingsChanges())


@dataclass(frozen=True)
class Flat(Regularizer):
    """A part that no option names."""

    def loss(self, alphas: Alphas, epoch: int, epochs: int) -> Tensor:
        return 0 * alphas[0].sum()

    def strength_at(self, epoch: int, epochs: int) -> float:
        return 0.0


def test_changes_reach_what_they_name() -> None:
    changes = SettingsChanges(epochs=7, learning_rate=0.1, final_learning_rate=0.01, alpha_learning_rate=1e-2, warmup=2)
    found = changes.applied(method("pc-darts", DARTS).settings)
    assert (found.epochs, found.warmup, found.batch_size) == (7, 2, 256)
    assert found.learning_rate == LearningRate(0.1, 0.01)
    assert (found.alphas.learning_rate, found.alphas.weight_decay) == (1e-2, 1e-3)
    beta = method("beta-darts", NB201)
    whole = MethodChanges().applied(beta, NB201, changes)
    assert whole == replace(beta, settings=changes.applied(beta.settings))
    assert changed("beta-darts", beta_slope=0.5).regularizer == BetaDecay(LinearSchedule(slope=0.5))
    early = changed("darts-es", stop_earliest=2, stop_window=3)
    assert early.parts(NB201).stopping == DominantEigenvalue(window=3, earliest=2)
    cellwise = changed("pc-darts", partial_scope="cell")
    assert cellwise.network_options == MixtureOptions(partial_channels=4, partial_scope="cell")
    assert changed("beta-darts", stop="skips", most_skips=1).stopping == SkipCount(1, cell="cell")


def test_a_change_keeps_what_it_does_not_name() -> None:
    theirs = method("lambda-darts", DARTS, "code")
    weaker = MethodChanges(alignment=0.1).applied(theirs, DARTS, SettingsChanges())
    assert weaker == replace(theirs, weight_step=LambdaHook(0.1, epsilon=1e-3))
    worst = changed("sdarts-rs", smoothing="adversarial", smoothing_start=0.1)
    assert worst.weight_step == AdversarialSmoothing(SmoothingRadius(0.1, 0.3))
    assert changed("sdarts-adv", smoothing_end=0.5).weight_step == AdversarialSmoothing(SmoothingRadius(end=0.5))
    assert changed("beta-darts", beta_weights=(2.0,)).regularizer == BetaDecay(LinearSchedule(end=50.0), (2.0,))
    assert changed("darts-minus", skip_shape="cosine").skip_schedule == SkipSchedule("cosine", 1.0)
    assert changed("darts-es", stop="eigenvalue", stop_delta=3).stopping == DominantEigenvalue(delta=3)
    assert changed("darts-pt", select="projection", projection_interval=2).projection == ProjectionSettings(2)


EFFECTS: dict[str, tuple[str, Any]] = {
    "second_order": ("darts", True),
    "mixed": ("darts-2nd", "exact"),
    "beta_slope": ("darts", 0.5),
    "beta_end": ("darts", 20.0),
    "beta_weights": ("beta-darts", (2.0,)),
    "alignment": ("darts", 0.25),
    "alignment_form": ("lambda-darts", "signcorr"),
    "alignment_epsilon": ("lambda-darts", 1e-3),
    "smoothing": ("darts", "random"),
    "smoothing_start": ("sdarts-rs", 0.1),
    "smoothing_end": ("sdarts-adv", 0.1),
    "partial_channels": ("darts", 2),
    "partial_scope": ("pc-darts", "cell"),
    "edge_normalization": ("pc-darts", False),
    "skip_strength": ("darts", 1.0),
    "skip_shape": ("darts-minus", "cosine"),
    "stop": ("darts", "skips"),
    "stop_frequency": ("darts-es", 1),
    "stop_window": ("darts-es", 3),
    "stop_delta": ("darts-es", 3),
    "stop_factor": ("darts-es", 1.5),
    "stop_earliest": ("darts-es", 2),
    "most_skips": ("skips", 1),
    "select": ("darts", "projection"),
    "projection_interval": ("darts-pt", 2),
    "projection_criterion": ("darts-pt", "loss"),
}
"""For each option a method and a value that changes it."""


@pytest.mark.parametrize("option", [each.name for each in dataclasses.fields(MethodChanges)])
def test_every_option_changes_the_method_that_reads_it(option: str) -> None:
    name, value = EFFECTS[option]
    before = changed("darts", stop="skips") if name == "skips" else method(name, NB201)
    after = MethodChanges(**{option: value}).applied(before, NB201, SettingsChanges())
    differing = [key for key, part in vars(after).items() if part != vars(before)[key]]
    assert len(differing) == 1
    assert repr(value).strip("'") in repr(after) or option in ("second_order", "smoothing", "stop", "select")


def test_every_change_has_something_to_change() -> None:
    assert [each.name for each in dataclasses.fields(A2MChanges)] == [each.name for each in dataclasses.fields(A2M)]
    renamed = {"final_learning_rate", "alpha_learning_rate", "alpha_weight_decay"}
    assert {each.name for each in dataclasses.fields(SettingsChanges)} - renamed <= {
        each.name for each in dataclasses.fields(SearchSettings)
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beta_weights": (1.0,)}, "nothing reads it without beta_slope or beta_end"),
        ({"alignment_form": "signcorr"}, "without alignment"),
        ({"alignment": 0.0, "alignment_epsilon": 0.1}, "without alignment"),
        ({"smoothing_end": 0.5}, "without smoothing"),
        ({"skip_shape": "cosine"}, "without skip_strength"),
        ({"most_skips": 1}, "without stop=skips"),
        ({"stop": "eigenvalue", "most_skips": 1}, "without stop=skips"),
        ({"stop_factor": 2.0}, "without stop=eigenvalue"),
        ({"partial_scope": "cell"}, "without partial_channels"),
        ({"projection_interval": 2}, "without select=projection"),
        ({"select": "projection", "stop": "eigenvalue"}, "choose one of the two"),
        ({"smoothing": "random", "alignment": 0.1}, "smoothing is set, but the method already has LambdaHook"),
        ({"beta_slope": 0.5, "beta_end": 50.0}, "Exactly one of slope and end"),
        ({"alignment": -0.25}, "alignment's strength must be finite and not negative, but got -0.25"),
        ({"skip_strength": math.nan}, "skip connection's start must be finite and not negative, but got nan"),
        ({"partial_channels": 0}, "one in two or more, but got one in 0"),
    ],
)
def test_changes_that_cannot_be_or_do_nothing_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed("darts", **given)


def test_options_do_not_throw_parts_away_that_they_do_not_know() -> None:
    own = Method(regularizer=Flat())
    with pytest.raises(ValueError, match="beta_end is set, but the method already has Flat in that place"):
        MethodChanges(beta_end=1.0).applied(own, NB201, SettingsChanges())
    with pytest.raises(ValueError, match="beta_weights is set, but nothing reads it without beta_slope or beta_end"):
        MethodChanges(beta_weights=(1.0,)).applied(own, NB201, SettingsChanges())
    kept = MethodChanges(alignment=0.25).applied(own, NB201, SettingsChanges())
    assert kept == Method(regularizer=Flat(), weight_step=LambdaHook(0.25))


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


@pytest.mark.parametrize("numbers", ["code", "a2m-code"])
def test_changes_of_a2m_win_over_the_numbers_of_the_code(numbers: Numbers) -> None:
    """Also those that are what would be recommended."""
    changes, darts = A2MChanges(curvature="exact", centre="alpha", perturb_regularizer=False), method("darts", NB201)
    assert changes.applied(method("beta-darts", NB201, numbers), numbers) == A2M()
    assert A2MChanges().applied(darts, numbers) == A2M_CODE
    assert A2MChanges(rho=0.3).applied(darts, numbers) == replace(A2M_CODE, rho=0.3)
    assert A2MChanges().applied(darts) == A2M()


def test_a_plug_in_that_a_method_brings_along_stays_and_is_changed() -> None:
    own = Method(flatness=A2M(curvature="none"))
    kept = with_plug_in(own, DARTS, "none", "recommended", A2MChanges(), NA())
    assert kept.flatness == A2M(0.1, "none")
    longer = with_plug_in(own, DARTS, "a2m", "recommended", A2MChanges(rho=0.3), NA())
    assert longer.flatness == A2M(0.3, "none")
    assert with_plug_in(own, DARTS, "na", "recommended", A2MChanges(), NA()).flatness == NA(distance=6)


def test_a_change_that_nothing_reads_is_refused_also_where_it_says_the_default() -> None:
    with pytest.raises(ValueError, match="stop_factor is set, but nothing reads it without stop=eigenvalue"):
        changed("darts", stop_factor=DominantEigenvalue.factor)


@pytest.mark.parametrize("name", ["alpha_learning_rate", "warmup", "search_batch_size", "update_order"])
def test_changes_of_an_architecture_that_rests_are_refused(name: str) -> None:
    value = "weights_first" if name == "update_order" else 1
    resting = SettingsChanges(learn_alphas=False, **{name: value})
    with pytest.raises(ValueError, match=f"{name} is set, but nothing reads it without learn_alphas"):
        MethodChanges().applied(method("darts", NB201), NB201, resting)


def test_projections_and_eigenvalues_read_batches_of_the_search_all_the_same() -> None:
    resting = SettingsChanges(learn_alphas=False, search_batch_size=8)
    assert MethodChanges().applied(method("darts-pt", NB201), NB201, resting).settings.search_batch_size == 8
    logged = replace(resting, eigenvalue_every=2, alpha_weight_decay=0.0, augment_search=False)
    assert MethodChanges().applied(method("darts", NB201), NB201, logged).settings.alphas.weight_decay == 0


def test_what_is_switched_off_takes_its_numbers_along() -> None:
    none, cellwise = SettingsChanges(), method("pc-darts", NB201, "a2m-code")
    assert MethodChanges(alignment=0.0).applied(method("lambda-darts", DARTS), DARTS, none) == Method()
    assert MethodChanges(partial_channels=1).applied(cellwise, NB201, none) == Method()
    for name, off in (
        ("sdarts-rs", {"smoothing": "none"}),
        ("darts-minus", {"skip_strength": 0.0}),
        ("darts-es", {"stop": "epochs"}),
        ("darts-pt", {"select": "weights"}),
        ("darts-2nd", {"second_order": False}),
        ("sdarts-adv", {"smoothing": "none", "alignment": 0.0}),
    ):
        assert changed(name, **off) == Method()
    swapped = changed("sdarts-rs", smoothing="none", alignment=0.25)
    assert swapped == Method(weight_step=LambdaHook(0.25))
    with pytest.raises(ValueError, match="alignment_form is set, but nothing reads it"):
        changed("lambda-darts", alignment=0.0, alignment_form="signcorr")


def test_no_rule_returns_an_architecture_that_has_not_moved_yet() -> None:
    warm = SettingsChanges(warmup=15)
    slow = MethodChanges(stop="eigenvalue").applied(method("pc-darts", NB201), NB201, warm)
    assert slow.parts(NB201).stopping == DominantEigenvalue(earliest=15)
    skips = MethodChanges(stop="skips").applied(method("pc-darts", DARTS), DARTS, warm)
    assert skips.parts(DARTS).stopping == SkipCount(2, cell="normal", earliest=15)


# --------------------------------------------------------------------------------------------------------------- record


def test_a_record_names_the_class_of_every_part() -> None:
    found = recorded(replace(method("beta-darts", NB201), flatness=A2M(0.5)))
    assert found["regularizer"] == {
        "class": "BetaDecay",
        "strength": {"class": "LinearSchedule", "slope": None, "end": 50.0},
        "weights": None,
    }
    assert found["weight_step"] == {"class": "Plain"}
    assert (found["flatness"]["class"], found["flatness"]["rho"], found["projection"]) == ("A2M", 0.5, None)
    assert recorded(Method(regularizer=Flat()))["regularizer"] == {"class": "Flat"}
    assert found.keys() == {field.name for field in dataclasses.fields(Method)}


def test_a_part_that_can_not_be_recorded_is_refused() -> None:
    class Stateful(Regularizer):
        loss = Flat.loss
        strength_at = Flat.strength_at

    with pytest.raises(ValueError, match=r"regularizer is a Stateful; put @dataclass\(frozen=True\) before its class"):
        recorded(Method(regularizer=Stateful()))


def test_a_description_says_what_is_otherwise_than_in_darts() -> None:
    assert described(Method()) == "50 epochs"
    assert described(method("lambda-darts", NB201)) == (
        "50 epochs, alphas=AlphaOptimization(learning_rate=0.0001), weight_step=LambdaHook(strength=0.25)"
    )
    shown = described(replace(method("beta-darts", NB201), flatness=NA(count=3).resolved(NB201)))
    assert shown == (
        "50 epochs, regularizer=BetaDecay(strength=LinearSchedule(end=50.0)), flatness=NA(count=3, distance=2)"
    )
