"""The training loop: files, log, resume after every kind of interruption."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load_file, save

from genas.errors import RunError, TrainingDiverged
from genas.runs import Run
from genas.spaces import space
from genas.supernet import CellNetwork, LearningRate, SupernetTrainer, TrainingSettings, fit, fitting
from genas.supernet.tensor_files import save_tensors

NEVER = 1e9
"""Seconds between checkpoints: none is written."""

MakeTrainer = Callable[..., SupernetTrainer]


class Interruption(BaseException):
    """Stands for Ctrl-C, or any other sudden end."""


@pytest.fixture
def make_trainer(make_data) -> MakeTrainer:
    """New trainers of two epochs of three steps, all equal."""

    def make(name: str = "nasbench201", **changed: Any) -> SupernetTrainer:
        search_space = space(name)
        skeleton = search_space.supernet_skeleton(4, 8, channels=2, cells=1 if name == "nasbench201" else 3)
        network = CellNetwork.initialised(search_space, skeleton, 0)
        defaults = {"epochs": 2, "batch_size": 8, "learning_rate": LearningRate(0.1, 0.01)}
        return SupernetTrainer(network, make_data(), TrainingSettings(**(defaults | changed)), seed=3)

    return make


@pytest.fixture
def folder(tmp_path) -> Callable[[str], Any]:
    """Opens a run folder of that name for writing."""

    @contextlib.contextmanager
    def open_run(name: str) -> Iterator[Run]:
        with Run.create(tmp_path / name, {"seed": 3}) as run:
            yield run

    return open_run


def interrupted_after(trainer: SupernetTrainer, steps: int) -> SupernetTrainer:
    """The trainer, which dies instead of taking another step."""
    step, taken = trainer.step, 0

    def dying() -> None:
        nonlocal taken
        if taken == steps:
            raise Interruption
        taken += 1
        step()

    trainer.step = dying  # type: ignore[method-assign]
    return trainer


def log_of(run: Run) -> list[dict[str, Any]]:
    """The log without what differs between two equal trainings."""
    return [
        {key: value for key, value in record.items() if key not in ("time", "seconds")} for record in run.read_log()
    ]


def assert_same_files(first: Run, second: Run) -> None:
    assert first.weights.read_bytes() == second.weights.read_bytes()
    assert first.initial.read_bytes() == second.initial.read_bytes()
    assert log_of(first) == log_of(second)
    assert sorted(p.name for p in first.path.iterdir()) == sorted(p.name for p in second.path.iterdir())


# ---------------------------------------------------------------------------------------------------- unbroken training


def test_a_training_leaves_initial_and_trained_weights_and_a_line_per_epoch(folder, make_trainer) -> None:
    trainer = make_trainer()
    start = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    with folder("run") as run:
        fit(trainer, run, progress=False)
        initial, trained = load_file(run.initial), load_file(run.weights)
        assert not run.state.exists()
        log = run.read_log()
    assert all(torch.equal(initial[name], tensor) for name, tensor in start.items())
    assert all(torch.equal(trained[name], tensor) for name, tensor in trainer.network.state_dict().items())
    assert set(initial) == set(trained) == set(start)
    assert any(not torch.equal(initial[name], trained[name]) for name in initial)
    assert [(record["epoch"], record["step"]) for record in log] == [(1, 3), (2, 6)]
    assert [record["learning_rate"] for record in log] == pytest.approx([0.1, 0.055])
    assert all(0.1 < record["train_loss"] < 10 for record in log)
    assert 0 < log[0]["seconds"] < log[1]["seconds"]


def test_each_epochs_loss_is_its_own(folder, make_trainer) -> None:
    """A sum that was not reset would double in the second epoch."""
    with folder("run") as run:
        fit(
            make_trainer(learning_rate=LearningRate(1e-9, 1e-9), flip=False, crop_padding=0, batch_size=20),
            run,
            progress=False,
        )
        losses = [record["train_loss"] for record in run.read_log()]
    assert len(losses) == 2
    assert losses[1] < 1.5 * losses[0]


def test_checkpoints_are_so_many_seconds_apart(folder, make_trainer, monkeypatch) -> None:
    seconds = itertools.count()
    monkeypatch.setattr(fitting.time, "monotonic", lambda: next(seconds))
    written = []
    monkeypatch.setattr(fitting, "atomic_write", lambda path, _: written.append(path.name))
    with folder("run") as run:
        fit(make_trainer(epochs=10), run, checkpoint_seconds=20, progress=False)
    # A step asks for the time once, the end of an epoch thrice and a checkpoint once: some fifty seconds.
    assert written.count("state.pt") == 2


def test_the_time_between_checkpoints_must_not_be_negative(folder, make_trainer) -> None:
    with folder("run") as run, pytest.raises(ValueError, match="checkpoint_seconds must not be negative, but got -1"):
        fit(make_trainer(), run, checkpoint_seconds=-1, progress=False)


def test_a_finished_training_is_not_repeated(folder, make_trainer) -> None:
    with folder("run") as run:
        fit(make_trainer(), run, progress=False)
        before = run.weights.read_bytes(), run.log_path.read_bytes()
        run.state.write_bytes(b"left by a process that was killed between the last two lines")
        again = interrupted_after(make_trainer(), 0)
        fit(again, run, progress=False)
        assert (run.weights.read_bytes(), run.log_path.read_bytes()) == before
        assert not run.state.exists()
        trained = load_file(run.weights)
    assert again.finished
    assert all(torch.equal(trained[name], tensor) for name, tensor in again.network.state_dict().items())


@pytest.mark.parametrize(
    ("content", "reason"), [(b"damaged", ""), (save({"other": torch.zeros(1)}), r"Missing key\(s\) in state_dict")]
)
def test_a_finished_training_whose_weights_are_others_is_refused(content, reason, folder, make_trainer) -> None:
    """If they are deleted it goes on from the state that a kill in the last moment left."""
    with folder("run") as run:
        run.weights.write_bytes(content)
        run.state.write_bytes(b"left")
        with pytest.raises(RunError, match=rf"not hold the tensors of this run \(.*{reason}.*\); restore it, or"):
            fit(make_trainer(), run, progress=False)
        assert run.state.exists()


def test_the_progress_bar_goes_to_standard_error_or_nowhere(folder, make_trainer, capsys) -> None:
    with folder("seen") as run:
        fit(make_trainer(), run, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "train" in shown.err
    assert "6/6" in shown.err
    assert "loss=" in shown.err
    with folder("silent") as run:
        fit(make_trainer(), run, progress=False)
    assert capsys.readouterr() == ("", "")


# --------------------------------------------------------------------------------------------------------------- resume


@pytest.mark.parametrize(
    ("checkpoint_seconds", "decay_unsampled", "stops"),
    [(0.0, True, range(6)), (0.0, False, (2, 4)), (NEVER, True, (1, 4))],
)
def test_interrupted_at_any_step_and_resumed_equals_unbroken_bit_for_bit(
    checkpoint_seconds, decay_unsampled, stops, folder, make_trainer
) -> None:
    """Without a checkpoint the training starts again, and its log must, too."""
    with folder("unbroken") as unbroken:
        fit(make_trainer(decay_unsampled=decay_unsampled), unbroken, progress=False)
        for steps in stops:
            with folder(f"stopped-{steps}") as run, contextlib.suppress(Interruption):
                trainer = interrupted_after(make_trainer(decay_unsampled=decay_unsampled), steps)
                fit(trainer, run, checkpoint_seconds=checkpoint_seconds, progress=False)
            with folder(f"stopped-{steps}") as run:
                assert not run.weights.exists()
                assert run.state.exists() is (checkpoint_seconds == 0.0 and steps > 0)
                fit(make_trainer(decay_unsampled=decay_unsampled), run, progress=False)
                assert_same_files(run, unbroken)


def test_interrupted_at_every_step_in_turn_equals_unbroken(folder, make_trainer) -> None:
    with folder("unbroken") as unbroken:
        fit(make_trainer("s4", labels="random"), unbroken, progress=False)
        for _ in range(6):
            with folder("stopped") as run, contextlib.suppress(Interruption):
                trainer = interrupted_after(make_trainer("s4", labels="random"), 1)
                fit(trainer, run, checkpoint_seconds=0.0, progress=False)
        with folder("stopped") as run:
            fit(make_trainer("s4", labels="random"), run, progress=False)
            assert_same_files(run, unbroken)


def test_a_stop_between_log_and_checkpoint_logs_the_epoch_once(folder, make_trainer, monkeypatch) -> None:
    with folder("unbroken") as unbroken:
        fit(make_trainer(), unbroken, progress=False)
        write = fitting.atomic_write

        def dying(path: Path, writer: Any) -> None:
            if path.name == "state.pt" and (path.parent / "log.jsonl").exists():
                raise Interruption
            write(path, writer)

        monkeypatch.setattr(fitting, "atomic_write", dying)
        with folder("stopped") as run, contextlib.suppress(Interruption):
            fit(make_trainer(), run, checkpoint_seconds=0.0, progress=False)
        monkeypatch.undo()
        with folder("stopped") as run:
            assert [record["epoch"] for record in run.read_log()] == [1], "logged before it was saved"
            fit(make_trainer(), run, progress=False)
            assert_same_files(run, unbroken)


# ----------------------------------------------------------------------------------------------------------- divergence


def ruined_after(trainer: SupernetTrainer, steps: int, what: str) -> SupernetTrainer:
    """The trainer, whose loss or weights turn to NaN in its step of that number."""
    step = trainer.step

    def ruining() -> None:
        step()
        if trainer.step_number == steps:
            if what == "loss":
                trainer.loss_sum += float("nan")
            else:
                with torch.no_grad():
                    trainer.network.head.classifier.bias += float("nan")

    trainer.step = ruining  # type: ignore[method-assign]
    return trainer


@pytest.mark.parametrize("what", ["loss", "weights"])
@pytest.mark.parametrize("steps", [1, 3, 4, 6])
def test_divergence_keeps_the_last_good_checkpoint(what, steps, folder, make_trainer) -> None:
    """The step that ruins the weights still has a finite loss: it must not be saved either."""
    with folder("run") as run:
        with pytest.raises(TrainingDiverged, match=rf"by step {steps} of 6 .*it is the last good one"):
            fit(ruined_after(make_trainer(), steps, what), run, checkpoint_seconds=0.0, progress=False)
        assert not run.weights.exists()
        assert run.initial.exists()
        assert run.state.exists() is (steps > 1)
        if steps > 1:
            state = torch.load(run.state, weights_only=True)
            assert state["step_number"] == steps - 1
            assert all(torch.isfinite(tensor).all() for tensor in state["network"].values())
        log = run.log_path.read_text() if run.log_path.exists() else ""
        assert all("train_loss" in json.loads(line) for line in log.splitlines())
        assert len(log.splitlines()) == (steps - 1) // 3


def test_a_learning_rate_that_is_too_high_ends_in_divergence_every_time(folder, make_trainer) -> None:
    wild = {"learning_rate": LearningRate(1e30, 1e30), "gradient_clip": 0.0}
    for _ in range(2):
        with folder("run") as run, pytest.raises(TrainingDiverged, match=r"must stay finite.*Lower the learning rate"):
            fit(make_trainer(**wild), run, progress=False)


def test_divergence_is_noticed_between_epochs_and_checkpoints(folder, make_trainer, monkeypatch) -> None:
    monkeypatch.setattr(fitting, "CHECK_STEPS", 2)
    with folder("run") as run, pytest.raises(TrainingDiverged, match="by step 2 of 40"):
        fit(ruined_after(make_trainer(batch_size=1), 1, "loss"), run, checkpoint_seconds=NEVER, progress=False)


# -------------------------------------------------------------------------------------------------------- damaged state


@pytest.mark.parametrize(
    ("place", "name", "error"), [(torch, "load", MemoryError), (Path, "read_bytes", PermissionError)]
)
def test_a_failure_of_the_machine_is_no_damage(place, name, error, folder, make_trainer, monkeypatch) -> None:
    with folder("run") as run, contextlib.suppress(Interruption):
        fit(interrupted_after(make_trainer(), 2), run, checkpoint_seconds=0.0, progress=False)
    with folder("run") as run:
        monkeypatch.setattr(place, name, Mock(side_effect=error))
        with pytest.raises(error):
            fit(make_trainer(), run, progress=False)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_is_an_error_of_the_system(folder, make_trainer) -> None:
    """A limit on the size of files stands in for it, of which the writers of both libraries say something else."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with folder("run") as run:
            fit(make_trainer(), run, progress=False)
            trainer, files = make_trainer(), (run.weights, run.state)
            writes = (
                lambda file: save_tensors(file, trainer.learnt()),
                lambda file: fitting._save_state(trainer, file),
            )
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
            for write, file in zip(writes, files, strict=True):
                before = file.exists() and file.read_bytes()
                with pytest.raises(OSError, match="too large"):
                    write(file)
                assert (file.exists() and file.read_bytes()) == before, "what was there is kept"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "code"])
def test_a_damaged_state_is_refused_with_the_cure(damage, folder, make_trainer) -> None:
    with folder("run") as run, contextlib.suppress(Interruption):
        fit(interrupted_after(make_trainer(), 2), run, checkpoint_seconds=0.0, progress=False)
    with folder("run") as run:
        whole = run.state.read_bytes()
        if damage == "code":  # a pickle that would run a function
            torch.save({"step_number": os.getcwd}, run.state)
        else:
            run.state.write_bytes(
                {"truncated": whole[: len(whole) // 2], "garbage": b"no archive" * 50, "empty": b""}[damage]
            )
        with pytest.raises(
            RunError, match=r"state\.pt cannot be read \(\w+\); delete it to train from the start"
        ) as caught:
            fit(make_trainer(), run, progress=False)
        assert "weights_only" not in str(caught.value), "torch's advice to run foreign code is not handed on"
        run.state.unlink()
        fit(make_trainer(), run, progress=False)
        assert run.weights.exists()
