"""Weight noise: its size, its correlations, what it touches, and that everybody sees the same."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genas.metrics import Flatness, Noise, NoiseLevel, perturbed_parameters
from genas.metrics import context as metric_context
from genas.supernet import CellNetwork, Evaluation

STDS = (2e-3, 1e-2, 2e-2)
KINDS = ("independent", "shared", "cumulative")
WEIGHT = "blocks.3.conv_b.conv.weight"
"""The largest parameter of the tiny network: 8 x 8 x 3 x 3 = 576 numbers."""


@pytest.fixture(scope="session")
def small(shared_trained) -> CellNetwork:
    """A stand-alone network with few parameters, for many repeats."""
    return shared_trained().network.subnet((0,) * 6)


def offsets(network: CellNetwork, level: NoiseLevel, name: str = WEIGHT, seed: int = 0) -> Tensor:
    """The noise on one parameter, shape ``(repeats, numbers)``."""
    original = network.get_parameter(name).detach()
    return torch.stack([(new[name] - original).flatten() for new in perturbed_parameters(network, level, seed)])


def all_offsets(network: CellNetwork, noise: Noise, seed: int = 0) -> Tensor:
    """Shape ``(levels, repeats, numbers)``."""
    return torch.stack([offsets(network, level, seed=seed) for level in noise.levels])


# ---------------------------------------------------------------------------------------------------------------- size


@pytest.mark.parametrize(
    ("stds", "effective"),
    [
        ((2e-3, 1e-2, 2e-2), (2e-3, 8.246e-3, 1.296e-2)),
        ((2e-3, 2e-2, 4e-2), (2e-3, 1.811e-2, 2.698e-2)),
        ((5e-4, 1e-3, 2e-3), (5e-4, 7.071e-4, 1.225e-3)),
        ((1e-6, 5e-6, 1e-5), (1e-6, 4.123e-6, 6.481e-6)),
        ((1e-5, 5e-5, 1e-4), (1e-5, 4.123e-5, 6.481e-5)),
        ((1e-3, 3e-3, 6e-3), (1e-3, 2.236e-3, 3.742e-3)),
    ],
)
def test_effective_standard_deviations_of_the_published_sets(stds, effective) -> None:
    assert Noise(stds, "cumulative").effective_stds == pytest.approx(effective, rel=3e-4)
    assert Noise(stds, "shared").effective_stds == Noise(stds, "independent").effective_stds == stds


@pytest.mark.parametrize("kind", KINDS)
def test_the_noise_is_gaussian_with_the_effective_standard_deviation(kind, small) -> None:
    noise = Noise(STDS, kind, repeats=20)
    for drawn, std in zip(all_offsets(small, noise), noise.effective_stds, strict=True):
        standard = (drawn / std).flatten()
        n = len(standard)
        assert n == 11_520
        assert abs(standard.mean()) < 5 / math.sqrt(n)
        assert abs(standard.var() - 1) < 5 * math.sqrt(2 / n)
        assert abs((standard**3).mean()) < 5 * math.sqrt(15 / n)
        assert abs((standard**4).mean() - 3) < 5 * math.sqrt(96 / n)


@pytest.mark.parametrize("kind", KINDS)
def test_a_quadratic_loss_rises_by_half_the_variance_times_the_trace(kind, small) -> None:
    """At the minimum E L = c + s^2 tr(A) / 2 and Var L = s^4 tr(A^2) / 2, with s the effective standard deviation."""
    noise, constant, repeats = Noise((0.05, 0.2, 0.3), kind, repeats=200), 1.7, 200
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(576, 576)))[0]
    matrix = torch.from_numpy(basis @ np.diag(rng.uniform(0, 2, size=576)) @ basis.T)
    trace, trace_of_square = float(torch.trace(matrix)), float((matrix * matrix).sum())
    for drawn, std in zip(all_offsets(small, noise), noise.effective_stds, strict=True):
        losses = constant + 0.5 * ((drawn @ matrix) * drawn).sum(dim=1)
        variance = std**4 * trace_of_square / 2
        assert abs(losses.mean() - constant - std**2 * trace / 2) < 5 * math.sqrt(variance / repeats)
        assert losses.var() == pytest.approx(variance, rel=5 * math.sqrt(2.1 / repeats))


def test_a_linear_loss_under_shared_noise_has_equal_slopes(small) -> None:
    """All slopes are g xi, so the sum of their sizes is (t - 1) |g xi|."""
    gradient = torch.randn(576, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stds = (1e-3, 3e-3, 1e-2, 5e-2)
    losses = (5 + all_offsets(small, Noise(stds, "shared")) @ gradient).numpy()[:, 0]
    slopes = np.diff(losses) / np.diff(stds)
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-9)
    direction = float(offsets(small, Noise((1.0,), "shared").levels[0])[0] @ gradient)
    assert slopes[0] == pytest.approx(direction, rel=1e-9)
    assert np.abs(slopes).sum() == pytest.approx(3 * abs(direction), rel=1e-9)


def test_levels_share_a_direction_or_not(small) -> None:
    """Correlations between levels: 1, 0, and for a cumulative chain the ratio of the standard deviations."""
    for kind in KINDS:
        noise = Noise(STDS, kind, repeats=20)
        drawn = all_offsets(small, noise).flatten(1)
        for (i, first), (j, second) in itertools.combinations(enumerate(noise.effective_stds), 2):
            expected = {"shared": 1.0, "independent": 0.0, "cumulative": first / second}[kind]
            correlation = torch.corrcoef(drawn[[i, j]])[0, 1]
            assert abs(correlation - expected) < 5 / math.sqrt(drawn.shape[1]), kind
    torch.testing.assert_close(
        *(drawn / std for drawn, std in zip(all_offsets(small, Noise(STDS[:2], "shared")), STDS, strict=False)),
        rtol=1e-9,
        atol=1e-9,
    )


def test_a_cumulative_chain_adds_its_steps(small) -> None:
    """theta_i - theta_(i-1) = (sigma_i - sigma_(i-1)) xi_i with a direction of its own."""
    drawn = all_offsets(small, Noise(STDS, "cumulative", repeats=20)).flatten(1)
    steps = [drawn[0] / 2e-3, (drawn[1] - drawn[0]) / 8e-3, (drawn[2] - drawn[1]) / 1e-2]
    for step in steps:
        assert step.var() == pytest.approx(1, abs=5 * math.sqrt(2 / len(step)))
    for first, second in itertools.combinations(steps, 2):
        assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 5 / math.sqrt(len(first))


# ----------------------------------------------------------------------------------------------- common random numbers


@pytest.mark.parametrize("kind", KINDS)
def test_one_key_one_noise_another_key_another(kind, small) -> None:
    noise = Noise(STDS, kind, repeats=2)
    first, again, other = (all_offsets(small, noise, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert (first != other).all()
    assert (first[:, 0] != first[:, 1]).all(), "repeats differ"


def test_parameters_have_noise_of_their_own(small) -> None:
    (new,) = perturbed_parameters(small, Noise((1.0,)).levels[0], 0)
    draws = {}
    for name, parameter in small.named_parameters():
        draws[name] = round(float((new[name] - parameter.detach()).flatten()[0]), 9)
    assert len(set(draws.values())) == len(draws) > 20


@pytest.mark.parametrize("kind", ["shared", "independent"])
@pytest.mark.parametrize("stds", [(1e-2,), (1e-2, 5e-2), (2e-3, 5e-3, 1e-2)])
def test_a_level_is_the_same_in_whichever_set_it_stands(kind, stds, small) -> None:
    alone, inside = Noise((1e-2,), kind).levels[0], Noise(stds, kind).levels[stds.index(1e-2)]
    assert alone == inside
    assert torch.equal(offsets(small, alone), offsets(small, inside))


def test_a_cumulative_level_is_the_same_with_the_same_levels_before_it() -> None:
    longer, shorter = Noise(STDS, "cumulative").levels, Noise(STDS[:2], "cumulative").levels
    assert longer[:2] == shorter
    assert Noise((1e-3, 1e-2), "cumulative").levels[1] != shorter[1]


def test_more_repeats_begin_with_the_fewer(small) -> None:
    few, many = (offsets(small, Noise(repeats=repeats).levels[0]) for repeats in (2, 5))
    assert torch.equal(few, many[:2])


def test_a_subnet_sees_the_noise_of_its_supernet(shared_trained) -> None:
    network = shared_trained().network
    level = Noise().levels[1]
    (whole,) = perturbed_parameters(network, level, 3)
    (part,) = perturbed_parameters(network.subnet((3, 1, 2, 4, 3, 2)), level, 3)
    assert 0 < len(part) < len(whole)
    for name, tensor in part.items():
        assert torch.equal(tensor, whole[name]), name


def test_float32_weights_feel_the_same_noise_as_float64_ones(small) -> None:
    level = Noise((0.1,)).levels[0]
    (exact,) = perturbed_parameters(small, level, 0)
    (single,) = perturbed_parameters(small.subnet((0,) * 6).float(), level, 0)
    assert single[WEIGHT].dtype == torch.float32
    torch.testing.assert_close(single[WEIGHT].double(), exact[WEIGHT], rtol=1e-6, atol=1e-7)


def test_every_architecture_is_scored_on_the_same_perturbed_tensors(context, monkeypatch, draw) -> None:
    seen: list[dict[str, Tensor]] = []
    original = metric_context.evaluate

    def spied(network: CellNetwork, *arguments: Any, **options: Any) -> Evaluation:
        seen.append({name: tensor.clone() for name, tensor in network.named_parameters() if ".bn." not in name})
        return original(network, *arguments, **options)

    monkeypatch.setattr(metric_context, "evaluate", spied)
    monkeypatch.setattr(metric_context, "folded", contextlib.nullcontext)
    level = Noise(repeats=2).levels[0]
    for genes in draw(context.space, 3):
        context.evaluate(genes, level)
    assert len(seen) == 6
    for later in (2, 4):
        for repeat in (0, 1):
            shared = seen[repeat].keys() & seen[later + repeat].keys()
            assert "head.classifier.weight" in shared
            assert all(torch.equal(seen[repeat][name], seen[later + repeat][name]) for name in shared)
    assert not torch.equal(seen[0]["head.classifier.weight"], seen[1]["head.classifier.weight"])


# --------------------------------------------------------------------------------------------------------------- scope


@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_the_scope_cells_leaves_stem_fixed_blocks_and_head_alone(name, shared_trained) -> None:
    network = shared_trained(name).network
    (inside,) = perturbed_parameters(network, Noise(scope="cells").levels[0], 0)
    (everything,) = perturbed_parameters(network, Noise(scope="all").levels[0], 0)
    of_cells = {id(parameter) for cell in network.cells for parameter in cell.parameters()}
    assert inside.keys() == {name for name, parameter in network.named_parameters() if id(parameter) in of_cells}
    assert everything.keys() == dict(network.named_parameters()).keys()
    assert {name.split(".")[0] for name in everything} == {"stems", "blocks", "head"}
    for parameter, tensor in inside.items():
        assert not tensor.requires_grad
        assert (tensor != network.get_parameter(parameter)).all()


def test_block_eleven_is_not_taken_for_block_one(shared_trained) -> None:
    """Of the seventeen blocks 5 and 11 are residual; without its dot, the prefix of block 1 would take in block 11."""
    network = shared_trained(cells=5).network
    kinds = [block.kind for block in network.skeleton.blocks]
    (inside,) = perturbed_parameters(network, Noise(scope="cells").levels[0], 0)
    assert len(kinds) == 17
    assert {int(name.split(".")[1]) for name in inside} == {k for k, kind in enumerate(kinds) if kind == "cell"}


@pytest.mark.parametrize("genes", [(3, 1, 2, 4, 0, 3), (0, 0, 0, 2, 3, 3), (3, 2, 3, 0, 0, 0)])
def test_noise_off_the_path_leaves_the_loss_as_it_is_to_the_last_bit(genes, context, monkeypatch) -> None:
    network = context.supernet
    live = set(network.space.cell_types[0].live_edges(genes))

    def is_on_path(name: str) -> bool:
        parts = name.split(".")
        return "edges" not in parts or (
            int(parts[3]) in live and network.space.operations[genes[int(parts[3])]] in parts
        )

    (everything,) = perturbed_parameters(network, Noise((0.5,)).levels[0], 0)
    off = {name: tensor for name, tensor in everything.items() if not is_on_path(name)}
    assert 0 < len(off) < len(everything)
    monkeypatch.setattr("genas.metrics.noise.perturbed_parameters", lambda *_: iter([off]))
    assert context.evaluate(genes, Noise().levels[0]) == context.evaluate(genes)

    images = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    through_supernet = torch.func.functional_call(network, off, (images, network.path(genes)))
    assert torch.equal(through_supernet, network(images, network.path(genes)))
    if live:
        on = {name: tensor for name, tensor in everything.items() if name not in off}
        assert not torch.equal(torch.func.functional_call(network, on, (images, network.path(genes))), through_supernet)


@pytest.mark.parametrize("kind", KINDS)
def test_scoring_leaves_the_weights_and_the_global_generator_as_they_were(kind, context, state_of) -> None:
    before, generator = state_of(context.supernet), torch.get_rng_state()
    Flatness(Noise(kind=kind, repeats=2)).score(context, [(3, 1, 2, 4, 3, 3)])
    assert all(torch.equal(tensor, before[name]) for name, tensor in context.supernet.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


# ------------------------------------------------------------------------------------------------------------ settings


def test_numbers_of_numpy_and_lists_mean_the_same_as_floats() -> None:
    """Draws and store keys are made from the text of a level."""
    plain = Noise((1e-3, 2e-3), "independent")
    for stds in ((np.float64(1e-3), np.float64(2e-3)), [1e-3, 2e-3], np.array([1e-3, 2e-3])):
        other = Noise(stds, "independent")  # type: ignore[arg-type]
        assert other == plain
        assert hash(other) == hash(plain)
        assert repr(other.levels) == repr(plain.levels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stds": ()}, r"stds must be positive and strictly increasing, but got \[\]"),
        ({"stds": (1e-3, math.inf)}, "strictly increasing, but got"),
        ({"stds": (math.nan,)}, "strictly increasing, but got"),
        ({"stds": (1e-2, 1e-3)}, r"strictly increasing, but got \[0.01, 0.001\]"),
        ({"repeats": 0}, "repeats must be at least 1, but got 0"),
    ],
)
def test_wrong_settings_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        Noise(**settings)


def test_misspelt_words_are_refused_where_a_level_is_made() -> None:
    with pytest.raises(ValueError, match=r"kind must be one of .*Did you mean 'shared'"):
        NoiseLevel((1e-3,), "shraed", "all", 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scope must be one of all, cells"):
        NoiseLevel((1e-3,), "shared", "al", 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind must be one of independent, shared, cumulative, but got 'hessian'"):
        NoiseLevel((1e-3,), "hessian", "all", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("chain", "kind"), [((), "shared"), ((1e-3, 2e-3), "independent")])
def test_only_cumulative_noise_has_levels_before_it(chain, kind) -> None:
    with pytest.raises(ValueError, match="chain must be one level, or for cumulative noise all up to it, but got"):
        NoiseLevel(chain, kind, "all", 1)
