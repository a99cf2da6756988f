"""Stopping rules on scripted epochs: the exact epoch of the decision, and the epoch whose architecture is returned."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from genas.search.differentiable.selection import Collapse
from genas.search.differentiable.stopping import (
    DominantEigenvalue,
    EpochSummary,
    Fixed,
    Outcome,
    SkipCount,
    Stopping,
    final_outcome,
)
from genas.spaces import space


def epochs_of(values: Iterable[float], frequency: int = 2) -> list[EpochSummary]:
    """A history in which every ``frequency``-th epoch has the next value."""
    history = []
    for value in values:
        history.append(EpochSummary((len(history),), Collapse({}, {}, False), value))
        history += [EpochSummary((len(history) + k,), Collapse({}, {}, False)) for k in range(frequency - 1)]
    return history


def stopped(rule: Stopping, history: list[EpochSummary]) -> tuple[int, int] | None:
    """The epoch (from 0) after which the rule stops, and the epoch that it returns."""
    for epoch in range(len(history)):
        outcome = rule.outcome(history[: epoch + 1])
        if outcome is not None:
            return epoch, outcome.epoch
    return None


def reference(values: list[float]) -> tuple[int, int] | None:
    """The published rule step by step: averages of three, four, then five values; 1.3; four values; epoch 10."""
    averages: list[float] = []
    for number in range(len(values)):
        seen = values[: number + 1]
        if len(seen) < 3:
            continue
        averages.append(sum(seen) / len(seen) if len(seen) < 5 else sum(seen[-5:]) / 5)
        centre = 2 * number - 4
        if centre - 8 >= 10 and averages[-1] / averages[-5] > 1.3:
            return 2 * number, centre - 8
    return None


def test_a_jump_after_eight_values_stops_after_epoch_22_with_epoch_10() -> None:
    """The first decision that is allowed: averages 0.18 and 0.1."""
    assert stopped(DominantEigenvalue(), epochs_of([0.1] * 8 + [0.2] * 17)) == (22, 10)


def test_a_flat_or_falling_sequence_never_stops() -> None:
    for values in ([0.1] * 25, [1 / (k + 1) for k in range(25)], [0.1 * 1.02**k for k in range(25)]):
        assert stopped(DominantEigenvalue(), epochs_of(values)) is None


@pytest.mark.parametrize("jump", range(3, 22))
def test_scripted_jumps_against_the_rule_written_out(jump: int) -> None:
    for height in (0.13, 0.132, 0.2, 1.0):
        values = [0.1] * jump + [height] * (25 - jump)
        assert stopped(DominantEigenvalue(), epochs_of(values)) == reference(values), height


def test_growth_of_a_third_in_four_values_is_the_border() -> None:
    below, above = [1.3 ** (k / 4) * 0.9999**k for k in range(25)], [1.3 ** (k / 4) * 1.0001**k for k in range(25)]
    assert stopped(DominantEigenvalue(), epochs_of(below)) is None
    assert stopped(DominantEigenvalue(), epochs_of(above)) == (22, 10)


def test_other_numbers_move_the_decision() -> None:
    rule = DominantEigenvalue(frequency=1, window=3, delta=2, factor=2.0, earliest=0)
    # Averages (from the second value on) 1, 1, 1, 4, 7: 4 / 1 > 2 at the fifth value, number 4.
    assert stopped(rule, epochs_of([1, 1, 1, 1, 10, 10], 1)) == (4, 1)
    assert rule.outcome(epochs_of([1, 1, 1, 1, 10], 1)) == Outcome(
        1, "the dominant eigenvalue grew from 1 to 4, by more than 2, until epoch 5"
    )


def test_an_average_that_is_not_positive_stops_nothing() -> None:
    assert stopped(DominantEigenvalue(), epochs_of([-1.0] * 25)) is None
    assert stopped(DominantEigenvalue(), epochs_of([0.0] * 25)) is None


def test_eigenvalues_are_asked_for_every_second_epoch_from_the_first() -> None:
    assert [epoch for epoch in range(7) if DominantEigenvalue().wants_eigenvalue(epoch)] == [0, 2, 4, 6]
    assert not Fixed().wants_eigenvalue(0)
    with pytest.raises(ValueError, match="1 of 1 are missing"):
        DominantEigenvalue().outcome([EpochSummary((0,), Collapse({}, {}, False))])


def skips(*counts: int) -> list[EpochSummary]:
    return [EpochSummary((), Collapse({"normal": count, "reduction": 0}, {}, False)) for count in counts]


def test_too_many_skips_return_the_epoch_before() -> None:
    assert stopped(SkipCount(), skips(0, 1, 2, 2, 3, 3)) == (4, 3)
    assert stopped(SkipCount(), skips(0, 2, 2)) is None
    assert stopped(SkipCount(most=0), skips(0, 1)) == (1, 0)
    assert SkipCount().outcome(skips(0, 3)) == Outcome(
        0, "more than 2 skip connections after epoch 2: 3 in the normal cell"
    )


def test_the_rule_must_have_been_kept_before_it_can_be_broken() -> None:
    assert stopped(SkipCount(), skips(3, 3, 4)) is None
    assert stopped(SkipCount(), skips(3, 2, 3)) == (2, 1)
    assert SkipCount().outcome(skips(1, 5, 5)) == Outcome(
        0, "more than 2 skip connections after epoch 3: 5 in the normal cell"
    )
    assert stopped(SkipCount(earliest=2), skips(0, 3, 3)) is None, "what was random counts neither way"
    assert stopped(SkipCount(earliest=2), skips(0, 0, 1, 3)) == (3, 2)


def test_skips_may_be_counted_in_one_cell_only() -> None:
    assert stopped(SkipCount(cell="reduction"), skips(0, 9)) is None
    assert stopped(SkipCount(cell="normal"), skips(0, 9)) == (1, 0)
    with pytest.raises(ValueError, match="cell must be one of normal, reduction, but got 'reduce'"):
        SkipCount(cell="reduce").check(space("darts"))
    SkipCount(cell="reduction").check(space("darts"))


@pytest.mark.parametrize(
    ("rule", "first"),
    [(DominantEigenvalue(), 23), (DominantEigenvalue(earliest=0), 13), (DominantEigenvalue(1, 1, 1, earliest=0), 2)],
)
def test_a_search_that_is_too_short_for_eigenvalues_says_so(rule: DominantEigenvalue, first: int) -> None:
    """The first epoch after which growth without bound ends the search is the one that is named."""
    history = epochs_of((10.0**epoch for epoch in range(first)), frequency=rule.frequency)[:first]
    assert rule.outcome(history) is not None
    assert rule.outcome(history[:-1]) is None
    assert final_outcome(rule, history[:-1]).because.endswith(f"; eigenvalues can end a search from epoch {first} on")
    flat = epochs_of([1.0] * first, frequency=rule.frequency)[:first]
    assert final_outcome(rule, flat).because == f"all {first} epochs were run"


def test_without_a_stop_the_last_epoch_is_the_result() -> None:
    assert final_outcome(Fixed(), skips(0, 9, 9)) == Outcome(2, "all 3 epochs were run")
    assert final_outcome(SkipCount(), skips(0, 9)).epoch == 0
    assert final_outcome(SkipCount(), skips(0, 2)) == Outcome(1, "all 2 epochs were run")
    assert final_outcome(SkipCount(), skips(9, 9)) == Outcome(
        1, "all 2 epochs were run; none kept to 2 skip connections, the last has 9 in the normal cell"
    )


def test_summaries_survive_the_log() -> None:
    summary = EpochSummary((1, 0, 3), Collapse({"cell": 1}, {"cell": 1}, True), 0.25)
    assert EpochSummary.from_record(summary.record()) == summary
    assert EpochSummary.from_record(skips(2)[0].record()) == skips(2)[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DominantEigenvalue(frequency=0), "frequency must be at least 1"),
        (lambda: DominantEigenvalue(window=4), "window must be odd"),
        (lambda: DominantEigenvalue(delta=0), "delta must be at least 1"),
        (lambda: DominantEigenvalue(factor=0), "factor must be positive"),
        (lambda: DominantEigenvalue(earliest=-1), "earliest must not be negative"),
        (lambda: SkipCount(most=-1), "most must not be negative"),
        (lambda: SkipCount(earliest=-1), "earliest must not be negative"),
    ],
)
def test_wrong_numbers_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
