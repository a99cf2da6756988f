"""The learning rate: values of the published schedules, warm-up, limits."""

from __future__ import annotations

import itertools
import math

import pytest

from genas.supernet import LearningRate


def rates(schedule: LearningRate, epochs: int, steps: int) -> list[float]:
    return [
        schedule.at(epoch=epoch, step=step, steps_per_epoch=steps, epochs=epochs)
        for epoch in range(epochs)
        for step in range(steps)
    ]


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0.025), (124, 0.01315079), (125, 0.013), (249, 0.00100095)])
def test_rlnas_nasbench201(epoch, rate) -> None:
    """Lr(e) = 0.001 + 0.012 (1 + cos(pi e / 250)), constant inside an epoch."""
    schedule = LearningRate(0.025, 0.001)
    for step in (0, 200, 390):
        found = schedule.at(epoch=epoch, step=step, steps_per_epoch=391, epochs=250)
        assert found == pytest.approx(rate, abs=5e-9)


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0.02499905), (124, 0.013), (249, 0.001)])
def test_genas_anneals_before_its_first_epoch(epoch, rate) -> None:
    schedule = LearningRate(0.025, 0.001, lead=1)
    assert schedule.at(epoch=epoch, step=7, steps_per_epoch=391, epochs=250) == pytest.approx(rate, abs=5e-9)
    assert schedule.at(epoch=249, step=0, steps_per_epoch=391, epochs=250) == 0.001, "exactly"


def test_rlnas_imagenet_falls_linearly_with_every_step() -> None:
    schedule = LearningRate(0.1, 5e-4, shape="linear", every="step")
    found = rates(schedule, epochs=5, steps=4)
    assert found == pytest.approx([5e-4 + (0.1 - 5e-4) * (1 - k / 20) for k in range(20)])


def test_a_constant_rate_is_constant() -> None:
    assert set(rates(LearningRate(0.05, 0.05, shape="constant"), 3, 4)) == {0.05}
    assert set(rates(LearningRate(0.05, 0.0, shape="constant"), 3, 4)) == {0.05}
    assert set(rates(LearningRate(0.0005, shape="constant"), 3, 4)) == {0.0005}, "below the default of end"


@pytest.mark.parametrize("shape", ["cosine", "linear"])
@pytest.mark.parametrize("every", ["epoch", "step"])
def test_rates_never_rise_and_stay_between_start_and_end(shape, every) -> None:
    found = rates(LearningRate(0.3, 0.02, shape=shape, every=every), 6, 3)
    assert found[0] == 0.3
    assert all(later <= earlier for earlier, later in itertools.pairwise(found))
    assert min(found) > 0.02
    assert len(set(found)) == (6 if every == "epoch" else 18)


def test_cosine_and_linear_meet_in_the_middle_and_differ_at_a_quarter() -> None:
    cosine, linear = LearningRate(1.0, 0.0, shape="cosine"), LearningRate(1.0, 0.0, shape="linear")
    middle = {"epoch": 2, "step": 0, "steps_per_epoch": 1, "epochs": 4}
    assert cosine.at(**middle) == pytest.approx(linear.at(**middle)) == pytest.approx(0.5)
    quarter = middle | {"epoch": 1}
    assert cosine.at(**quarter) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert linear.at(**quarter) == 0.75


def test_a_horizon_cuts_or_ends_the_schedule() -> None:
    """A shorter training takes the first part of the schedule; after the horizon the rate stays at the end."""
    long = rates(LearningRate(0.025, 0.001), 250, 1)
    assert rates(LearningRate(0.025, 0.001, horizon=250), 10, 1) == long[:10]
    assert rates(LearningRate(0.025, 0.001, horizon=250), 10, 1) != rates(LearningRate(0.025, 0.001), 10, 1)
    assert rates(LearningRate(0.025, 0.001, horizon=2), 5, 1)[2:] == pytest.approx([0.001] * 3)


def test_warmup_grows_linearly_over_its_steps_and_then_leaves_the_schedule_alone() -> None:
    plain = rates(LearningRate(0.5, 0.0, shape="constant"), 8, 4)
    warm = rates(LearningRate(0.5, 0.0, shape="constant", warmup=2), 8, 4)
    assert warm[:8] == pytest.approx([0.5 * (k + 1) / 8 for k in range(8)])
    assert warm[8:] == plain[8:]
    cosine = rates(LearningRate(0.5, 0.0, warmup=1.5), 4, 2)
    assert cosine[:3] == pytest.approx(
        [rate * (k + 1) / 3 for k, rate in enumerate(rates(LearningRate(0.5, 0.0), 4, 2)[:3])]
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": 0.0}, r"must start above 0, but got start=0.0"),
        ({"start": math.nan}, "got start=nan"),
        ({"start": math.inf}, "got start=inf"),
        ({"end": 0.1}, r"must end in \[0, start\], but got start=0.025, end=0.1"),
        ({"end": -0.1}, r"end=-0.1"),
        ({"end": math.nan}, r"end=nan"),
        ({"horizon": 0}, "horizon must be at least one epoch, but got 0"),
        ({"lead": -1.0}, r"lead and warmup must not be negative, but got -1.0 and 0.0"),
        ({"lead": math.nan}, r"lead and warmup .* got nan and 0.0"),
        ({"warmup": -0.5}, r"but got 0.0 and -0.5"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        LearningRate(**settings)
