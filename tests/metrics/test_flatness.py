"""The flatness formula in closed forms, and flatness of subnets from stored losses."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from genas.metrics import Flatness, Loss, Noise, NoisyLosses, flatness
from genas.scores import ScoreStore

STDS = (2e-3, 1e-2, 2e-2)
GENES = (3, 1, 2, 4, 3, 2)

# ------------------------------------------------------------------------------------------------------------- formula


def test_the_formula_of_the_paper_term_by_term() -> None:
    first, second, third = 1.3, 1.1, 2.6
    bracket = abs((second - first) / 8e-3) + abs((third - second) / 1e-2) + 0.7 * abs(first / 2e-3)
    assert flatness(np.array([first, second, third]), STDS, alpha=0.7) == pytest.approx(1 / bracket, rel=1e-14)
    assert flatness(np.array([first, second, third]), STDS, alpha=0.7, epsilon=5.0) == pytest.approx(1 / (bracket + 5))


@pytest.mark.parametrize(("alpha", "epsilon"), list(itertools.product((0.25, 1.0, 4.0), (0.0, 1e-5, 3.0))))
def test_a_constant_loss_leaves_its_first_term(alpha, epsilon) -> None:
    c = math.log(10)
    found = flatness(np.full(3, c), STDS, alpha=alpha, epsilon=epsilon)
    assert found == pytest.approx(1 / (alpha * c / STDS[0] + epsilon), rel=1e-14)


def test_a_constant_loss_without_its_first_term_is_as_flat_as_epsilon_lets_it() -> None:
    assert flatness(np.full(3, 2.0), STDS, alpha=0, epsilon=1e-5) == pytest.approx(1e5)
    assert flatness(np.full(3, 2.0), STDS, alpha=0) == math.inf


def test_a_linear_loss_has_equal_slopes() -> None:
    """L_i = c + g sigma_i: the bracket is (t - 1) |g| + alpha (c + g sigma_1) / sigma_1."""
    levels = np.array([0.1, 0.15, 0.4, 0.5])
    for g in (3.0, -3.0):
        losses = 10 + g * levels
        assert flatness(losses, levels, alpha=0) == pytest.approx(1 / (3 * 3.0), rel=1e-12)
        assert flatness(losses, levels) == pytest.approx(1 / (9 + losses[0] / 0.1), rel=1e-12)


def test_one_level_is_the_inverse_loss() -> None:
    assert flatness(np.array([0.5]), [0.01], alpha=2) == pytest.approx(0.01)


def test_flatness_falls_with_every_slope_with_the_first_loss_and_with_alpha() -> None:
    base, steps = np.array([1.0, 1.2, 1.5]), np.diff(STDS)
    plain = flatness(base, STDS)
    for level in (1, 2):
        for sign in (1, -1):  # a loss that falls with noise is no flatter than one that rises
            slopes = np.diff(base) / steps
            slopes[level - 1] = sign * (slopes[level - 1] + 1)
            losses = base[0] + np.concatenate([[0], np.cumsum(slopes * steps)])
            assert flatness(losses, STDS) < plain
    assert flatness(base + 0.1, STDS) < plain, "same slopes, larger first loss"
    by_alpha = [float(flatness(base, STDS, alpha=alpha)) for alpha in (0, 0.1, 1, 2, 50)]
    assert by_alpha == sorted(by_alpha, reverse=True)
    assert len(set(by_alpha)) == 5


def test_many_architectures_at_once_equal_one_by_one() -> None:
    losses = np.random.default_rng(0).uniform(1, 3, size=(4, 5, 3))
    together = flatness(losses, STDS, alpha=0.5, epsilon=1e-5)
    assert together.shape == (4, 5)
    for row, column in np.ndindex(4, 5):
        assert together[row, column] == flatness(losses[row, column], STDS, alpha=0.5, epsilon=1e-5)
    assert flatness(np.empty((0, 3)), STDS).shape == (0,)


def test_a_failed_loss_gives_nan_and_no_warning() -> None:
    losses = np.array([[1.0, np.nan, 1.0], [np.inf, np.inf, np.inf], [np.nan, 1.0, 1.0], [1.0, 1.1, 1.2]])
    assert np.isnan(flatness(losses, STDS)).tolist() == [True, True, True, False]
    assert flatness(np.array([1.0, 1.0, np.inf]), STDS) == 0.0, "an infinite slope is as sharp as can be"


@pytest.mark.parametrize("stds", [(2e-3, 2e-3, 1e-2), (1e-2, 2e-3, 2e-2), (0.0, 1e-2, 2e-2), (-1e-3, 1e-3, 1e-2)])
def test_levels_that_do_not_increase_from_above_zero_are_refused(stds) -> None:
    with pytest.raises(ValueError, match="stds must be positive and strictly increasing, but got"):
        flatness(np.ones(3), stds)
    with pytest.raises(ValueError, match="stds must be positive and strictly increasing, but got"):
        Noise(stds)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stds": (1e-3, 2e-3)}, r"losses must end in the 2 levels of stds, but have shape \(3,\)"),
        ({"stds": (1e-3, math.nan, 1.0)}, "strictly increasing, but got"),
        ({"alpha": -1.0}, "alpha and epsilon must be finite and not negative, but got -1.0 and 0.0"),
        ({"alpha": math.nan}, "must be finite and not negative, but got nan"),
        ({"alpha": math.inf}, "must be finite and not negative, but got inf"),
        ({"epsilon": -1e-5}, "must be finite and not negative, but got 1.0 and -1e-05"),
    ],
)
def test_wrong_numbers_are_refused(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        flatness(np.ones(3), **{"stds": STDS, "alpha": 1.0, "epsilon": 0.0, **changes})


def test_no_level_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stds must be positive and strictly increasing, but got \[\]"):
        flatness(np.ones((4, 0)), ())


def test_the_metric_refuses_wrong_numbers_before_any_network_runs() -> None:
    with pytest.raises(ValueError, match="alpha and epsilon must be finite and not negative"):
        Flatness(alpha=-0.5)
    with pytest.raises(ValueError, match="alpha and epsilon must be finite and not negative"):
        Flatness(epsilon=math.nan)
    with pytest.raises(ValueError, match=r"alpha=0 leaves only the slopes .* but got \[0.01\]; give more, or another"):
        Flatness(Noise(stds=(0.01,)), alpha=0.0)


# ------------------------------------------------------------------------------------------------------------- subnets


@pytest.mark.parametrize("kind", ["shared", "independent", "cumulative"])
def test_a_network_whose_loss_is_log_k_under_any_noise(kind, make_trained, make_context) -> None:
    """A classifier of zeros outside the scope of the noise: F = 1 / (alpha log K / sigma_1 + epsilon)."""
    trained = make_trained(classes=7)
    with torch.no_grad():
        trained.network.head.classifier.weight.zero_()
        trained.network.head.classifier.bias.zero_()
    context = make_context(trained)
    for alpha, epsilon in ((1.0, 0.0), (1.5, 1e-5), (0.1, 50.0)):
        metric = Flatness(Noise(STDS, kind, "cells"), alpha, epsilon)
        values = metric.values(context, [(0, 0, 0, 0, 0, 0), GENES])
        np.testing.assert_allclose(values, 1 / (alpha * math.log(7) / STDS[0] + epsilon), rtol=1e-12)


def test_a_disconnected_cell_feels_no_noise_inside_the_cells(context) -> None:
    """Its logits are the head's constant: same loss at all levels, whatever that loss is."""
    dead = (3, 0, 0, 0, 0, 2)
    loss = Loss().values(context, [dead])[0]
    values = Flatness(Noise(STDS, scope="cells")).values(context, [dead, GENES])
    # the fixed blocks behind a dead cell do run, but the noise leaves them alone
    assert values[0] == pytest.approx(STDS[0] / loss, rel=1e-12)
    assert values[1] != pytest.approx(STDS[0] / Loss().values(context, [GENES])[0], rel=1e-3)


def test_flatness_is_the_formula_on_the_losses_of_the_levels(context) -> None:
    metric = Flatness(Noise(STDS, "independent", repeats=3), alpha=0.5, epsilon=1e-5)
    architectures = [GENES, (2, 3, 0, 1, 4, 3)]
    losses = np.stack(
        [[[e.loss for e in context.evaluate(genes, level)] for level in metric.noise.levels] for genes in architectures]
    )
    assert losses.shape == (2, 3, 3), "architectures, levels, repeats"
    expected = flatness(losses.mean(axis=2), STDS, alpha=0.5, epsilon=1e-5)
    np.testing.assert_allclose(metric.values(context, architectures), expected, rtol=1e-14)
    assert len({round(loss, 9) for loss in losses.ravel()}) == losses.size, "every level, repeat, architecture its own"


def test_alpha_epsilon_and_subsets_of_levels_come_from_stored_losses(make_context, draw, forbid_networks) -> None:
    """Recombined without a network they equal a direct evaluation in a context that knows nothing."""
    direct = {}
    metrics = [
        Flatness(Noise(stds, kind, repeats=2), alpha, epsilon)
        for kind, subsets in {
            "shared": [(2e-3,), (1e-2, 2e-2), (2e-3, 2e-2)],
            "independent": [(1e-2,), (2e-3, 1e-2)],
            "cumulative": [(2e-3,), (2e-3, 1e-2)],  # a chain can lose its end only
        }.items()
        for stds, (alpha, epsilon) in zip(subsets, [(0.2, 1e-5), (1.0, 0.0), (3.0, 0.1)], strict=False)
    ]
    architectures = draw(make_context().space, 2)
    known = make_context()
    for metric in metrics:
        direct[metric] = metric.score(make_context(), architectures)
        Flatness(replace(metric.noise, stds=STDS)).score(known, architectures)
    forbid_networks()
    for metric in metrics:
        np.testing.assert_array_equal(metric.score(known, architectures), direct[metric])
    with pytest.raises(AssertionError, match="a network ran"):
        Flatness(Noise((2e-3, 2e-2), "cumulative", repeats=2)).score(known, architectures)


def test_small_noise_measures_the_inverse_loss(context, draw) -> None:
    """With sigma 1e-6 .. 1e-5 beta F is 1 / loss but for sigma_1 times the slopes, here below a percent."""
    metric, architectures = Flatness(Noise((1e-6, 5e-6, 1e-5))), draw(context.space, 3)
    beta_f, losses = metric.scale * metric.score(context, architectures), Loss().values(context, architectures)
    np.testing.assert_allclose(beta_f, 1 / losses, rtol=1e-2)


def test_a_failed_network_has_no_flatness(make_trained, make_context) -> None:
    trained = make_trained()
    with torch.no_grad():
        trained.network.cells[0].operation(3, 3).conv.weight[0] = math.nan
    values = Flatness().values(make_context(trained), [(0, 0, 0, 3, 0, 0), (0, 0, 0, 2, 0, 0)])
    assert np.isnan(values).tolist() == [True, False]


def test_facts() -> None:
    metric = Flatness(Noise((5e-4, 1e-3), "cumulative"))
    assert metric.scale == pytest.approx(2000)
    assert metric.higher_is_better
    assert metric.cost_hint == "forward"
    assert metric.measurements == tuple(NoisyLosses(level) for level in metric.noise.levels)
    assert Flatness().noise.stds == STDS
    assert NoisyLosses(Noise(repeats=3).levels[0]).columns == ("loss_0", "loss_1", "loss_2")


def test_no_architectures_have_no_flatness(context) -> None:
    assert Flatness().score(context, []).shape == (0,)


def test_losses_are_kept_per_level(make_context) -> None:
    with ScoreStore(":memory:") as store:
        Flatness().score(make_context(store=store), [GENES])
        assert len(store.keys()) == 3
        Flatness(alpha=0.1).score(make_context(store=store), [GENES])
        Flatness(Noise(STDS[:2])).score(make_context(store=store), [GENES])
        assert len(store.keys()) == 3
