from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genas.cli import main
from genas.commands import build_table as module
from genas.commands import table_training
from genas.commands.build_table import build_table
from genas.commands.known_trainings import known_rows
from genas.commands.standalone_network import StandaloneNetwork
from genas.commands.table_training import TrainingPlan, train_rows
from genas.data import DataOptions
from genas.errors import RunError, TrainingDiverged
from genas.runs import Run
from genas.scores import ScoreStore
from genas.spaces import DARTS, Architecture, NASBench201
from genas.supernet import CellNetwork, LearningRate, StandaloneSettings, StandaloneTrainer, evaluate, train_standalone
from genas.tables import Column, Table, load_table

PART = "digits-valid-max64"
"""What columns call the half of the images that is not set aside for validation, limited to 64."""

TINY = {
    "data": "digits",
    "data_options": DataOptions(max_train=64, max_valid=40, max_test=40),
    "network": StandaloneNetwork(4, 1),
    "training": StandaloneSettings(epochs=1, batch_size=32),
    "workers": 1,
    "progress": False,
}


def built(out: Path, **changed: object) -> Table:
    build_table(out, **(TINY | changed))  # type: ignore[arg-type]
    return load_table(str(out / "table.npz"))


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[int, ...]]]:
    """Train in this process, and note every (seed, architecture) that is trained."""
    made: list[tuple[int, tuple[int, ...]]] = []

    def measure(
        _: object, train: Callable[..., dict[tuple[int, ...], np.ndarray]], members: list[tuple[int, ...]], **__: object
    ) -> object:
        for each in members:
            made.append((train.args[1], each))  # type: ignore[attr-defined]
            yield train([each])

    monkeypatch.setattr(module, "measure_in_parallel", measure)
    return made


def fake(monkeypatch: pytest.MonkeyPatch, accuracy: Callable[[int, Architecture], float]) -> None:
    """Take both accuracies of every network, fractions, from a function of seed and architecture."""

    def rows(_: TrainingPlan, seed: int, members: list[Architecture]) -> dict[Architecture, np.ndarray]:
        return {each: np.full(2, accuracy(seed, each)) for each in members}

    monkeypatch.setattr(module, "train_rows", rows)


def test_a_table_grows_and_is_never_trained_twice(tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]]) -> None:
    small = built(tmp_path / "run", architectures=2, repeated=1, repeats=2)
    assert len(trainings) == 3
    large = built(tmp_path / "run", architectures=3, repeated=2, repeats=2)
    assert len(trainings) == len(set(trainings)) == 5
    built(tmp_path / "run", architectures=3, repeated=2, repeats=2)
    assert len(trainings) == 5
    assert large.architectures[:2] == small.architectures
    mean, first, second = (Column(PART, "test", 1, seed) for seed in (None, 0, 1))
    assert set(large.columns) >= {mean, first, second}
    repeated = large.covered(second)
    assert repeated == large.architectures[:2]
    both = (large.values(first, repeated) + large.values(second, repeated)) / 2
    assert np.allclose(large.values(mean, repeated), both)
    alone = large.architectures[2:]
    assert np.array_equal(large.values(mean, alone), large.values(first, alone))


def test_a_row_is_a_plain_training(tmp_path: Path) -> None:
    table = built(tmp_path / "run", architectures=1)
    (architecture,) = table.architectures
    plan = TrainingPlan("nasbench201", "digits", TINY["data_options"], PART, TINY["network"], TINY["training"], 0)  # type: ignore[arg-type]
    data = plan.load_data()
    network = plan.initial_network(data, 0).subnet(architecture)
    train_standalone(network, data, plan.training, seed=0)
    expected = evaluate(network, data.normalize(data.valid.images), data.valid.labels).accuracy
    assert table.accuracy(architecture, PART, "valid") == pytest.approx(100 * expected)


def test_isomorphic_architectures_share_a_row(tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]]) -> None:
    """Any cell can be looked up, also one that was not itself trained."""
    space = NASBench201()
    table = built(tmp_path / "run", architectures=4)
    keys = {each: space.unique_key(each) for each in space.architectures()}
    own = {keys[row]: row for row in table.architectures}
    twins = [each for each in keys if keys[each] in own]
    column = table.find(PART)
    assert len(own) == 4 < len(twins)
    assert np.array_equal(table.values(column, twins), table.values(column, [own[keys[each]] for each in twins]))


def test_equal_edges_start_equally_and_seeds_differ() -> None:
    plan = TrainingPlan("nasbench201", "digits", TINY["data_options"], PART, TINY["network"], TINY["training"], 0)  # type: ignore[arg-type]
    data = plan.load_data()

    def first_edge(seed: int, *rest: int) -> torch.Tensor:
        network: CellNetwork = plan.initial_network(data, seed).subnet((3, *rest))
        return network.cells[0].operation(0, 3).conv.weight

    assert torch.equal(first_edge(0, 0, 0, 1, 0, 0), first_edge(0, 3, 3, 3, 2, 1))
    assert not torch.equal(first_edge(0, 0, 0, 1, 0, 0), first_edge(1, 0, 0, 1, 0, 0))


def test_training_follows_the_settings() -> None:
    plan = TrainingPlan("nasbench201", "digits", TINY["data_options"], PART, TINY["network"], TINY["training"], 0)  # type: ignore[arg-type]
    data = plan.load_data()
    network = plan.initial_network(data, 0).subnet((3,) * 6)
    trainer = StandaloneTrainer(network, data, plan.training, seed=0)
    assert trainer.total_steps == 2
    before = [parameter.detach().clone() for parameter in network.parameters()]
    trainer.step()
    assert trainer.paths(0) == (None,)
    moved = [not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)]
    assert all(moved), "every weight of a stand-alone network is trained"


def test_a_space_too_large_to_list(tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]]) -> None:
    with pytest.raises(ValueError, match="darts is too large to train all of it; say how many architectures"):
        built(tmp_path / "all", space="darts")
    table = built(tmp_path / "run", space="darts", architectures=1, network=StandaloneNetwork(4, 3))
    assert DARTS().check(table.architectures[0])


def test_a_training_that_diverges_is_left_out_and_counted(
    tmp_path: Path,
    trainings: list[tuple[int, tuple[int, ...]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def diverging(network: CellNetwork, *given: object, seed: int) -> CellNetwork:
        if seed == 0 and len(trainings) == 2:
            raise TrainingDiverged("too high a rate")
        return train_standalone(network, *given, seed=seed)  # type: ignore[arg-type]

    monkeypatch.setattr(table_training, "train_standalone", diverging)
    table = built(tmp_path / "run", architectures=3)
    assert len(table) == 2
    lost = NASBench201().format(trainings[1][1])
    assert f"diverged: 1 networks of seed 0, such as {lost}" in capsys.readouterr().out
    built(tmp_path / "run", architectures=3)
    assert len(trainings) == 3, "it would diverge again"


def test_a_mean_needs_no_training_of_the_first_seed(
    tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def accuracy(seed: int, _: Architecture) -> float:
        return np.nan if seed == 0 and len(trainings) == 1 else (0.25, 0.75)[seed]

    fake(monkeypatch, accuracy)
    table = built(tmp_path / "run", architectures=2, repeated=2, repeats=2)
    (_, lost), (_, kept), *_ = trainings
    mean, first, second = (Column(PART, "test", 1, seed) for seed in (None, 0, 1))
    assert table.covered(first) == (kept,)
    assert table.values(second, [kept, lost]).tolist() == [75, 75]
    assert table.values(mean, [kept, lost]).tolist() == [50, 75]
    assert table.architectures == (kept, lost)


def test_a_network_that_cannot_be_built_binds_no_folder(
    tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]]
) -> None:
    with pytest.raises(ValueError, match="channels must be even"):
        built(tmp_path / "run", architectures=1, network=StandaloneNetwork(5, 1))
    assert not (tmp_path / "run").exists()


def test_a_diverged_training_stops_at_the_end_of_its_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = TrainingPlan(
        "nasbench201", "digits", TINY["data_options"], PART, StandaloneNetwork(4, 1), StandaloneSettings(), 0
    )
    data = plan.load_data()
    settings = StandaloneSettings(epochs=50, batch_size=32, learning_rate=LearningRate(1e30, 0.0))
    steps = []
    step = StandaloneTrainer.step
    monkeypatch.setattr(StandaloneTrainer, "step", lambda trainer: (steps.append(1), step(trainer)))
    with pytest.raises(TrainingDiverged, match="by step 2 of 100"):
        train_standalone(plan.initial_network(data, 0).subnet((3,) * 6), data, settings, seed=0)
    assert len(steps) == 2


def test_no_training_at_all_is_an_error(
    tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(*_: object, **__: object) -> None:
        raise TrainingDiverged("too high a rate")

    monkeypatch.setattr(table_training, "train_standalone", diverging)
    with pytest.raises(TrainingDiverged, match="No training kept its loss finite; lower the learning rate"):
        built(tmp_path / "run", architectures=1)


def test_a_relative_path_does_not_bind(
    tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "My Own.npz", x_train=images, y_train=np.arange(40) % 4)
    monkeypatch.chdir(tmp_path)
    table = built(tmp_path / "run", architectures=1, data="npz:My Own.npz", data_options=DataOptions())
    assert {column.dataset for column in table.columns} == {"my-own-valid"}
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    built(tmp_path / "run", architectures=1, data=f"npz:{tmp_path / 'My Own.npz'}", data_options=DataOptions())
    assert len(trainings) == 1


def test_fewer_repeats_drop_no_seed(tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]]) -> None:
    before = built(tmp_path / "run", architectures=2, repeated=1, repeats=3)
    after = built(tmp_path / "run", architectures=2, repeated=1, repeats=2)
    assert after.columns == before.columns
    assert len(trainings) == 4
    assert after.fingerprint == before.fingerprint


@pytest.mark.parametrize(("space", "cells"), [("nasbench201", 1), ("darts", 3)])
def test_fewer_architectures_drop_no_row(
    tmp_path: Path,
    trainings: list[tuple[int, tuple[int, ...]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    space: str,
    cells: int,
) -> None:
    fake(monkeypatch, lambda _, __: len(trainings) / 100)
    given = {"space": space, "network": StandaloneNetwork(4, cells)}
    before = built(tmp_path / "run", architectures=4, repeated=2, repeats=2, **given)
    capsys.readouterr()
    after = built(tmp_path / "run", architectures=1, **given)
    assert len(trainings) == 6
    assert after.architectures == before.architectures
    assert after.fingerprint == before.fingerprint
    assert f"{PART}/test/1: 4 architectures, from 3.00 % to 4.00 %" in capsys.readouterr().out


def test_fewer_architectures_drop_no_diverged_network_from_the_report(
    tmp_path: Path,
    trainings: list[tuple[int, tuple[int, ...]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake(monkeypatch, lambda _, __: np.nan if len(trainings) == 2 else 0.5)
    for count in (2, 1):
        built(tmp_path / "run", architectures=count)
        assert "diverged: 1 networks of seed 0" in capsys.readouterr().out


def test_what_comes_much_later_in_a_space_too_large_to_list_is_kept(
    tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a run is interrupted, or another table knows only those."""
    fake(monkeypatch, lambda _, __: 0.5)
    given = {"space": "darts", "network": StandaloneNetwork(4, 3)}
    first = built(tmp_path / "run", architectures=1, **given)
    late = module._order(DARTS(), 9, seed=0)[7:]
    with ScoreStore(Run.open(tmp_path / "run").scores) as store:
        store.put(module._key(0), dict.fromkeys(late, np.array([0.5, 0.5])))
    assert built(tmp_path / "run", architectures=1, **given).architectures == (*first.architectures, *sorted(late))


def test_a_space_with_too_few_architectures_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    darts = DARTS()
    only = darts.sample(np.random.default_rng(0))
    monkeypatch.setattr(DARTS, "sample", lambda *_: only)
    with pytest.raises(ValueError, match="2,000 random architectures of darts have only 1 different ones, but 2"):
        module._order(darts, 2, seed=0)


def test_a_known_table_is_gone_on_from(
    tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """What it has is not trained again, and comes out as if it had been, to the last bit."""
    built(tmp_path / "old", architectures=2, repeated=1, repeats=2)
    known = str(tmp_path / "old" / "table.npz")
    capsys.readouterr()
    continued = built(tmp_path / "new", architectures=3, repeated=2, repeats=2, known=known)
    assert "taken over from old: 3 networks" in capsys.readouterr().out
    assert len(trainings) == len(set(trainings)) == 5
    whole = built(tmp_path / "whole", architectures=3, repeated=2, repeats=2)
    assert continued.fingerprint == whole.fingerprint
    built(tmp_path / "new", architectures=3, repeated=2, repeats=2, known=known)
    assert "taken over" not in capsys.readouterr().out
    assert len(Run.open(tmp_path / "new").read_log()) == 1


def test_percentages_that_are_taken_over_come_out_to_the_last_bit() -> None:
    """Of 1,000 images; 100 times a hundredth of a number is not in general that number, such as 25.000000000000004."""
    plan = TrainingPlan("nasbench201", "digits", TINY["data_options"], PART, TINY["network"], TINY["training"], 0)  # type: ignore[arg-type]
    order = module._order(plan.search_space, 1001, seed=0)
    accuracies = {each: 100 * (right / 1000) for right, each in enumerate(order)}
    columns = [plan.column(kind, seed) for kind in ("valid", "test") for seed in (0, None)]
    table = Table.from_accuracies(plan.search_space, "t", "", "", dict.fromkeys(columns, accuracies), isomorphic=True)
    rows = known_rows(table, plan, plan.load_data(), order)[0]
    assert [(100 * row).tolist() for row in rows.values()] == [[value, value] for value in accuracies.values()]
    assert np.allclose(list(rows.values()), np.arange(1001)[:, None] / 1000, rtol=1e-15)


def test_a_known_table_never_replaces_what_is_there(
    tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]]
) -> None:
    own = built(tmp_path / "run", architectures=1)
    other = Table.from_accuracies(
        own.space,
        "other",
        own.source,
        own.checksum,
        {column: {own.architectures[0]: 12.5} for column in own.columns},
        isomorphic=True,
    )
    other.save(tmp_path / "other.npz")
    assert built(tmp_path / "run", architectures=1, known=str(tmp_path / "other.npz")).fingerprint == own.fingerprint


def test_a_data_set_without_test_images(tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", x_train=images, y_train=np.arange(40) % 4)
    only = {"data": f"npz:{tmp_path / 'own.npz'}", "data_options": DataOptions()}
    old = built(tmp_path / "old", architectures=1, **only)
    new = built(tmp_path / "new", architectures=1, known=str(tmp_path / "old" / "table.npz"), **only)
    assert {column.kind for column in new.columns} == {"valid"}
    assert new.fingerprint == old.fingerprint
    assert len(trainings) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"training": StandaloneSettings(epochs=1, batch_size=16)}, "must have the training of this one, .*, but"),
        ({"network": StandaloneNetwork(2, 1)}, "must have the training of this one, .*, but"),
        ({"seed": 1}, "must have the training of this one, .*, but"),
        ({"space": "darts", "architectures": 1}, "must have the space of this one, 'darts', but .* has 'nasbench201'"),
        (
            {"data_options": DataOptions(max_train=64, max_valid=30, max_test=40)},
            "must have the fingerprint of the images of this one",
        ),
    ],
)
def test_a_known_table_of_other_networks_is_refused(
    tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]], changed: dict[str, object], message: str
) -> None:
    built(tmp_path / "old", architectures=1)
    with pytest.raises(ValueError, match=message):
        built(tmp_path / "new", **({"architectures": 1, "known": str(tmp_path / "old" / "table.npz")} | changed))
    assert not (tmp_path / "new").exists()


def test_a_worker_trains_in_full_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA, torch would run convolutions in TF32."""
    asked = []
    monkeypatch.setattr(table_training, "resolve_precision", lambda *given: asked.append(given))
    plan = TrainingPlan("nasbench201", "digits", TINY["data_options"], PART, TINY["network"], TINY["training"], 0)  # type: ignore[arg-type]
    plan.initial_network(plan.load_data(), seed=0)
    assert asked == [("fp32", torch.device("cpu"))]


def test_a_known_table_of_another_augmentation_is_refused(
    tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings leave it to the data set, and the same images may come from a loader that mirrors them, or not."""
    built(tmp_path / "old", architectures=1)
    load = DataOptions.load
    monkeypatch.setattr(DataOptions, "load", lambda self, *args, **seed: replace(load(self, *args, **seed), flip=True))
    with pytest.raises(ValueError, match=r'must have the training of this one, .*"flip": true.* but .*"flip": false'):
        built(tmp_path / "new", architectures=1, known=str(tmp_path / "old" / "table.npz"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--architectures", "0"], "architectures must be at least 1, but got 0"),
        (["--repeats", "0"], "repeats must be at least 1, but got 0"),
        (["--architectures", "6467", "--data", "digits"], "nasbench201 has 6466 different architectures, but got 6467"),
        (["--compare", "nowhere.npz"], "nowhere.npz"),
        (["--known", "nowhere.npz"], "nowhere.npz"),
        (
            ["--compare", "shipped"],
            "must have digits-valid/valid/1 or digits-valid/test/1, but shipped has cluttered-digits/",
        ),
        (["--compare", "shipped", "--space", "darts"], "must be of darts, but shipped is of nasbench201"),
        (["--repeated", "3", "--repeats", "1"], "repeats must be at least 2 to train 3 architectures repeatedly"),
        (["--repeats", "2"], "repeats is the number of seeds of repeated architectures, but repeated is 0; leave out"),
        (["--architectures", "2", "--repeated", "3"], "repeated must be at most the number of architectures, 2"),
    ],
)
def test_bad_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(["build-table", str(tmp_path / "run"), "--data", "digits", "--epochs", "1", *words]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_other_settings_need_another_folder(tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]]) -> None:
    built(tmp_path / "run", architectures=1)
    with pytest.raises(RunError, match=r"training\.epochs: 1 in the folder, 2 now"):
        built(tmp_path / "run", architectures=1, training=StandaloneSettings(epochs=2, batch_size=32))


def test_workers_and_this_process_agree(tmp_path: Path, trainings: list[tuple[int, tuple[int, ...]]]) -> None:
    table = built(tmp_path / "run", architectures=1)
    plan = TrainingPlan("nasbench201", "digits", TINY["data_options"], PART, TINY["network"], TINY["training"], 0)  # type: ignore[arg-type]
    row = train_rows(plan, 0, table.architectures)[table.architectures[0]]
    assert 100 * row[1] == pytest.approx(table.accuracy(table.architectures[0], PART, "test"))


def test_comparison(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    trainings: list[tuple[int, tuple[int, ...]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake(monkeypatch, lambda _, __: 0.5)
    own = built(tmp_path / "run", architectures=3)
    shifts = {own.architectures[0]: 2.0, own.architectures[1]: -0.5}
    accuracies = {column: {each: 50 + shift for each, shift in shifts.items()} for column in own.columns}
    other = Table.from_accuracies(own.space, "other", "", "", accuracies, isomorphic=True)
    other.save(tmp_path / "other.npz")
    capsys.readouterr()
    built(tmp_path / "run", architectures=3, compare=str(tmp_path / "other.npz"))
    assert "minus other: -0.750 points on average over 2 architectures, 2.000 at most" in capsys.readouterr().out
    accuracies = {column: {(4,) * 6: 50.0} for column in own.columns}
    Table.from_accuracies(own.space, "stranger", "", "", accuracies, isomorphic=True).save(tmp_path / "other.npz")
    built(tmp_path / "run", architectures=3, compare=str(tmp_path / "other.npz"))
    assert "stranger has none of these architectures" in capsys.readouterr().out
