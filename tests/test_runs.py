"""Run folders: same settings continue, others are refused, one process at a time, and nothing is left in halves."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from genas import locks
from genas.errors import RunError
from genas.runs import Run

HOLDER = """
import sys, time
from genas.runs import Run
run = Run.create(sys.argv[1], {"seed": 0})
run.log({"step": 1})
print("held", flush=True)
time.sleep(60)
"""


@dataclass(frozen=True)
class Settings:
    rate: float = 0.1
    sizes: tuple[int, ...] = (1, 2)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that works in ``tmp_path / "run"``."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_new_folder_has_config_and_environment(tmp_path: Path) -> None:
    config = {"space": "nasbench201", "training": Settings(), "data": Path("images"), "limit": None, "flip": True}
    with Run.create(tmp_path / "deep" / "run", config, {"device": "cpu", "seed": 3}) as run:
        assert run.path == tmp_path / "deep" / "run"
    plain = {
        "space": "nasbench201",
        "training": {"rate": 0.1, "sizes": [1, 2]},
        "data": "images",
        "limit": None,
        "flip": True,
    }
    text = (run.path / "config.yaml").read_text()
    assert yaml.safe_load(text) == plain == run.config == Run.open(run.path).config
    assert [line.split(":")[0] for line in text.splitlines() if line[0] not in " -"] == list(config)
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["seed"] == 3
    assert environment["device"] == "cpu"
    assert {"python", "torch", "numpy", "genas", "platform", "cpu", "commit", "started"} <= set(environment)
    assert environment["resumed"] == []


def test_equal_settings_continue_the_run(tmp_path: Path) -> None:
    with Run.create(tmp_path, {"training": Settings(sizes=(3,)), "rate": np.float64(1e-5)}, {"device": "cpu"}) as run:
        run.log({"step": 1})
        config = (run.path / "config.yaml").read_bytes()
    same = {"rate": 1e-5, "training": {"sizes": [3], "rate": 0.1}}
    with Run.create(tmp_path, same, {"device": "cuda:0"}) as run:
        run.log({"step": 2})
        assert [record["step"] for record in run.read_log()] == [1, 2]
    assert (run.path / "config.yaml").read_bytes() == config
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["device"] == "cpu"
    assert [session["device"] for session in environment["resumed"]] == ["cuda:0"]
    Run.create(tmp_path, same, {"device": "mps"}).close()
    environment = json.loads((run.path / "environment.json").read_text())
    assert [session["device"] for session in environment["resumed"]] == ["cuda:0", "mps"]


def test_other_settings_are_refused_and_each_is_named(tmp_path: Path) -> None:
    with Run.create(tmp_path, {"seed": 0, "training": {"rate": 0.1, "epochs": 5}, "old": 1, "same": 2}) as run:
        run.log({"epoch": 1})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunError) as error:
        Run.create(tmp_path, {"seed": 1, "training": {"rate": 0.1, "epochs": 6}, "new": None, "same": 2})
    assert str(error.value).splitlines() == [
        f"{tmp_path} holds a run with other settings:",
        "  seed: 0 in the folder, 1 now",
        "  training.epochs: 5 in the folder, 6 now",
        "  old: 1 in the folder, (not set) now",
        "  new: (not set) in the folder, None now",
        "Choose another folder (--out, if the command has one), or the same settings to continue this run.",
    ]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    Run.create(tmp_path, {"seed": 0, "training": {"rate": 0.1, "epochs": 5}, "old": 1, "same": 2}).close()


def test_a_run_of_another_command_is_told_in_one_line(tmp_path: Path) -> None:
    with Run.create(tmp_path, {"command": "evolve", "metric": "angle"}) as run:
        run.log({"generation": 1})
    with pytest.raises(RunError) as error:
        Run.create(tmp_path, {"command": "search", "method": "darts"})
    assert str(error.value) == f"{tmp_path} holds a run of genas evolve, not of genas search; choose another folder."


def test_a_run_that_did_nothing_does_not_bind_the_next(tmp_path: Path) -> None:
    Run.create(tmp_path, {"seed": 0}).close()
    with Run.create(tmp_path, {"seed": 1}) as run:
        assert run.config == Run.open(tmp_path).config == {"seed": 1}
        assert json.loads((tmp_path / "environment.json").read_text())["resumed"] == []


def test_starting_again_leaves_the_files_of_runs_inside_alone(tmp_path: Path) -> None:
    with Run.create(tmp_path, {"seed": 0}) as run:
        run.log({"epoch": 1})
    (tmp_path / "searches" / "a").mkdir(parents=True)
    (tmp_path / "figures").mkdir()
    busy, left = tmp_path / "searches" / "a" / ".x.1.unfinished.json", tmp_path / "figures" / ".y.1.unfinished.png"
    busy.write_text("half")
    left.write_text("half")
    Run.create(tmp_path, {"seed": 0}).close()
    assert busy.exists()
    assert not left.exists()


def test_settings_must_be_plain(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"plain value, but training\.loss is a function; give its name"):
        Run.create(tmp_path / "run", {"training": {"loss": lambda: 0}})
    assert not (tmp_path / "run").exists()


def test_foreign_places_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match=r"needs an empty folder, but .* has 'thesis.tex' in it; choose another"):
        Run.create(tmp_path, {})
    with pytest.raises(RunError, match="is a file; choose another name"):
        Run.create(tmp_path / "thesis.tex", {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_damaged_files_are_clear_errors(tmp_path: Path) -> None:
    with Run.create(tmp_path, {"seed": 0}) as run:
        run.log({"epoch": 1})
    (tmp_path / "environment.json").write_text("{")
    with pytest.raises(RunError, match=r"environment\.json is damaged: .* Delete it"):
        Run.create(tmp_path, {"seed": 0})
    for text in ("seed: [", "- 1", "seed: 1\nseed: 2", "seed: 2024-13-45", "seed: !!int x", "seed: !!bool x"):
        (tmp_path / "config.yaml").write_text(text)
        for use in (Run.open, lambda path: Run.create(path, {"seed": 0})):
            with pytest.raises(RunError, match=r"(?s)config\.yaml (is damaged|must be a mapping).* Restore it"):
                use(tmp_path)


def test_open_needs_a_run(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match=r"A run folder has a config\.yaml, but .* has none"):
            Run.open(path)


def test_reading_does_not_write(tmp_path: Path) -> None:
    with Run.create(tmp_path, {}) as run:
        run.log({"step": 1})
    for reader in (run, Run.open(tmp_path)):
        assert len(reader.read_log()) == 1
        with pytest.raises(RunError, match=r"open for reading only; Run\.create opens it"):
            reader.log({"step": 2})
        with pytest.raises(RunError, match="open for reading only"):
            reader.keep_log(lambda _: True)


def test_files_of_a_run_have_fixed_places(tmp_path: Path) -> None:
    with Run.create(tmp_path, {}) as run:
        places = [run.initial, run.weights, run.state, run.scores, run.result, run.figures, run.log_path]
    assert [place.relative_to(tmp_path).as_posix() for place in places] == [
        "initial.safetensors",
        "weights.safetensors",
        "state.pt",
        "scores.sqlite",
        "result.json",
        "figures",
        "log.jsonl",
    ]


def test_one_process_at_a_time(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(RunError, match=f"run is in use by process {holder.pid}; wait for it to end, or choose another"):
        Run.create(tmp_path / "run", {"seed": 0})
    assert len(Run.open(tmp_path / "run").read_log()) == 1
    Run.create(tmp_path / "other", {"seed": 0}).close()


def test_one_holder_in_a_process(tmp_path: Path) -> None:
    with Run.create(tmp_path, {}), pytest.raises(RunError, match="in use by this process itself; close what"):
        Run.create(tmp_path, {})
    Run.create(tmp_path, {}).close()


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_a_file_system_without_locks_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(locks, "_lock", refuse)
    with pytest.raises(RunError, match=r"\.lock cannot be locked \(Function not implemented\): the file system has no"):
        Run.create(tmp_path / "a", {})


def test_a_full_disk_releases_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, text: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "write", refuse)
        with pytest.raises(OSError, match="No space left"):
            locks.FileLock(tmp_path / ".lock")
    locks.FileLock(tmp_path / ".lock").release()


def test_kill_releases_the_lock(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with Run.create(tmp_path / "run", {"seed": 0}) as run:
        assert [record["step"] for record in run.read_log()] == [1]


def test_half_written_last_line_is_dropped(tmp_path: Path) -> None:
    with Run.create(tmp_path, {}) as run:
        run.log({"step": 1})
        run.log({"step": 2, "name": "größer"})
    content = run.log_path.read_bytes()
    start_of_second = content.index(b"\n") + 1
    for end in range(start_of_second, len(content)):  # a kill can cut anywhere, inside a letter too
        run.log_path.write_bytes(content[:end])
        assert [record["step"] for record in Run.open(tmp_path).read_log()] == [1]
    with Run.create(tmp_path, {}) as run:
        run.log({"step": 3})
        assert [record["step"] for record in run.read_log()] == [1, 3]


def test_damaged_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    with Run.create(tmp_path, {}) as run:
        for line in ('{"st', "5", "[" * 100_000):
            run.log_path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
            with pytest.raises(RunError, match=r"log\.jsonl: line 2 is damaged .*delete this line"):
                run.read_log()


def test_a_resumed_log_equals_an_unbroken_one(tmp_path: Path) -> None:
    def train(run: Run, steps: range) -> None:
        for step in steps:
            run.log({"step": step, "loss": 1 / (step + 1)})

    with Run.create(tmp_path / "unbroken", {}) as unbroken:
        train(unbroken, range(10))
    with Run.create(tmp_path / "broken", {}) as broken:
        train(broken, range(7))
    with Run.create(tmp_path / "broken", {}) as broken:
        broken.keep_log(lambda record: record["step"] < 5)  # the checkpoint
        train(broken, range(5, 10))
    untimed = [
        [{name: value for name, value in record.items() if name != "time"} for record in run.read_log()]
        for run in (unbroken, broken)
    ]
    assert untimed[0] == untimed[1]
    assert len(untimed[0]) == 10


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    with Run.create(tmp_path, {}) as run:
        assert run.read_log() == []
        run.keep_log(lambda _: False)
        assert run.read_log() == []


def test_the_log_refuses_nan(tmp_path: Path) -> None:
    with Run.create(tmp_path, {}) as run:
        with pytest.raises(ValueError, match="give None instead"):
            run.log({"loss": float("nan")})
        assert run.read_log() == []


def test_leftovers_of_a_kill_do_not_stay(tmp_path: Path) -> None:
    Run.create(tmp_path, {}).close()
    before = set(tmp_path.iterdir())
    (tmp_path / ".result.0123abcd.unfinished.json").write_text("{")
    Run.create(tmp_path, {}).close()
    assert set(tmp_path.iterdir()) == before


def test_a_kill_before_the_config_leaves_a_usable_folder(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("1")
    (tmp_path / ".config.0123abcd.unfinished.yaml").write_text("se")
    with Run.create(tmp_path, {"seed": 1}) as run:
        assert run.config == {"seed": 1}
