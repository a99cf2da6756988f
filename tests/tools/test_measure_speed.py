"""The slow reference of ``tools/measure_speed.py`` computes what genas computes; nothing is timed here."""

from __future__ import annotations

import copy
import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from genas.data import ImageData, Split
from genas.metrics import Flatness
from genas.spaces import Architecture
from genas.spaces import space as space_of
from genas.supernet import SupernetTrainer, TrainingSettings
from genas.supernet.supernet_run import NetworkOptions, SupernetConfig, TrainedSupernet

TOOLS = Path(__file__).resolve().parents[2] / "tools"
SPACES = {"nasbench201": 1, "darts": 3}
"""Spaces and the number of cells of their tiny supernets."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Loads a file of tools/ by its path; what it imports from beside it is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(TOOLS))

    def module(path: str) -> ModuleType:
        name = path.removesuffix(".py").replace("/", ".")
        spec = importlib.util.spec_from_file_location(name, TOOLS / path)
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, loaded)
        spec.loader.exec_module(loaded)
        return loaded

    return module


@pytest.fixture(params=SPACES)
def trained(request: pytest.FixtureRequest) -> TrainedSupernet:
    """A tiny supernet that was trained for a few steps on random images; no test changes it."""
    return _trained(request.param)


@pytest.fixture
def one_trained() -> TrainedSupernet:
    """The one that is quicker to copy."""
    return _trained("nasbench201")


@functools.cache
def _trained(space: str) -> TrainedSupernet:
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        pixels = rng.integers(256, size=(count, 8, 8, 3), dtype=np.uint8)
        return Split.from_arrays(pixels, np.arange(count) % 5)

    names = tuple("abcde")
    data = ImageData(
        "random", names, (0.5, 0.4, 0.6), (0.3, 0.2, 0.3), split(150), split(80), None, True, 1, "synthetic"
    )
    config = SupernetConfig(space, "random", network=NetworkOptions(4, SPACES[space]))
    initial = config.initial_network(data)
    network = copy.deepcopy(initial)
    trainer = SupernetTrainer(network, data, TrainingSettings(batch_size=32), seed=0)
    for _ in range(6):
        trainer.step()
    return TrainedSupernet(config, network.eval(), initial.eval(), data, torch.float32)


def _architectures(trained: TrainedSupernet, count: int) -> list[Architecture]:
    rng = np.random.default_rng(1)
    return [trained.network.space.sample(rng) for _ in range(count)]


def test_scores_are_the_same(load: Callable[[str], ModuleType], trained: TrainedSupernet) -> None:
    architectures = _architectures(trained, 2)
    if trained.network.space.name == "nasbench201":  # nothing alive; a dead end; a source that is always zero
        architectures += [(0,) * 6, (3, 0, 2, 4, 0, 0), (0, 3, 3, 1, 2, 4)]
    load("speed/check.py").check_same_scores(trained, architectures)


def test_training_is_the_same(load: Callable[[str], ModuleType], trained: TrainedSupernet) -> None:
    load("speed/check.py").check_same_training(trained, steps=3)


@pytest.mark.parametrize("name", ["logits", "angle", "accuracy", "flatness"])
def test_a_wrong_score_is_noticed(
    load: Callable[[str], ModuleType], one_trained: TrainedSupernet, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = load("speed/check.py")
    if name == "logits":
        right = check.reference_of
        monkeypatch.setattr(check, "reference_of", lambda network: _with_other_classifier(right(network)))
    else:
        right = getattr(check, name)
        monkeypatch.setattr(check, name, lambda *arguments: 1.01 * right(*arguments))
    with pytest.raises(ValueError, match=f"must compute the same {name}"):
        check.check_same_scores(one_trained, _architectures(one_trained, 1))


def _with_other_classifier(supernet: nn.Module) -> nn.Module:
    with torch.no_grad():
        supernet.classifier.weight.mul_(1.1)
    return supernet


def test_other_noise_gives_another_flatness(load: Callable[[str], ModuleType], one_trained: TrainedSupernet) -> None:
    check, reference = load("speed/check.py"), load("speed/reference.py")
    everything = torch.arange(64)
    loader = check.loader_of(one_trained.data.train, one_trained.data, everything)
    supernet, (architecture,) = check.reference_of(one_trained.network), _architectures(one_trained, 1)

    def score(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        draw = lambda network, std: reference.gaussian_noise(generator, network, std)
        return reference.flatness(supernet, architecture, loader, loader, Flatness().noise.stds, draw)

    assert score(0) == score(0) != score(1)


def test_another_optimiser_is_noticed(
    load: Callable[[str], ModuleType], one_trained: TrainedSupernet, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = load("speed/check.py")
    plain = lambda supernet: torch.optim.SGD(supernet.parameters(), lr=0.025, momentum=0.9, weight_decay=5e-4)
    monkeypatch.setattr(check, "make_optimizer", plain)
    with pytest.raises(ValueError, match="must compute the same training step"):
        check.check_same_training(one_trained)


def test_the_reference_never_changes_the_supernet(
    load: Callable[[str], ModuleType], one_trained: TrainedSupernet
) -> None:
    check, reference = load("speed/check.py"), load("speed/reference.py")
    loader = check.loader_of(one_trained.data.train, one_trained.data, torch.arange(16))
    supernet, (architecture,) = check.reference_of(one_trained.network), _architectures(one_trained, 1)
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    reference.accuracy(supernet, architecture, loader, loader)
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())


@pytest.mark.parametrize("job", ["one-shot", "search"])
def test_every_option_is_documented(load: Callable[[str], ModuleType], job: str) -> None:
    function = load("measure_speed.py").JOBS[job]
    assert all(f"        {name}: " in function.__doc__ for name in inspect.signature(function).parameters)


@pytest.mark.parametrize("space", SPACES)
def test_the_timed_subnet_is_valid(load: Callable[[str], ModuleType], space: str) -> None:
    bench = load("speed/bench.py")
    assert space_of(space).parse(bench.MIXED[space])


# --------------------------------------------------------------------------------------------- differentiable searches


@pytest.mark.parametrize(
    ("space", "method"),
    [
        *[("nasbench201", method) for method in ("darts", "a2m", "a2m-exact", "beta", "lambda", "sdarts", "pc")],
        *[("darts", method) for method in ("a2m-exact", "beta", "pc")],
    ],
)
def test_search_steps_are_the_same(load: Callable[[str], ModuleType], space: str, method: str) -> None:
    bench = load("speed/search_bench.py")
    bench.check_same_search(bench.SearchSetting(space, 8, SPACES[space], method, 1, batch_size=3, image_size=8))


@pytest.mark.parametrize(
    ("method", "number", "which"),
    [
        ("a2m", "RHO", "architecture"),
        ("a2m-exact", "RHO", "architecture"),
        ("beta", "BETA", "architecture"),
        ("lambda", "LAMBDA", "weights"),
    ],
)
def test_another_search_is_noticed(
    load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, method: str, number: str, which: str
) -> None:
    bench, textbook = load("speed/search_bench.py"), sys.modules["speed.textbook_search"]
    monkeypatch.setattr(textbook, number, 1.1 * getattr(textbook, number))
    with pytest.raises(ValueError, match=f"must compute the same gradient of the {which}"):
        bench.check_same_search(bench.SearchSetting("nasbench201", 4, 1, method, 1, batch_size=3, image_size=8))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "--methods", "darts,dart"], "methods must be some of darts,a2m,"),
        (["search", "--images", "100"], "--images"),  # an option of the other job is not swallowed
        (["evolve"], "the first word must be one-shot or search, but got 'evolve'"),
        ([], "the first word must be one-shot or search, but got ''"),
    ],
)
def test_wrong_words_are_refused(
    load: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert load("measure_speed.py").main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
