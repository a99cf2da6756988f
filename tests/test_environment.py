"""What a run remembers of its surroundings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from genas import __version__
from genas.environment import environment, source_commit


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_versions_and_machine_are_plain_values() -> None:
    facts = environment()
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["genas"], facts["torch"], facts["numpy"]) == (__version__, version("torch"), version("numpy"))
    known = {"argv", "directory", "python", "genas", "commit", "torch", "numpy", "platform", "cpu", "cpu_count"}
    assert facts.keys() == known


def test_the_command_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["genas", "evolve", "run with spaces"])
    facts = environment()
    assert (facts["argv"], facts["directory"]) == (["genas", "evolve", "run with spaces"], str(tmp_path))


def test_names_that_are_no_unicode_can_be_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["genas", os.fsdecode(b"caf\xe9 \xc3\xa9")])
    assert environment()["argv"] == ["genas", "caf\\xe9 é"]


def test_commit_is_that_of_a_tracked_file(tmp_path: Path) -> None:
    try:
        git(tmp_path, "init", "--quiet")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    tracked, untracked = tmp_path / "tracked.py", tmp_path / "untracked.py"
    tracked.write_text("1")
    untracked.write_text("1")
    assert source_commit(tracked) is None
    git(tmp_path, "add", "tracked.py")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    git(tmp_path, "tag", "v1")
    assert source_commit(tracked) == commit
    assert source_commit(untracked) is None
    tracked.write_text("2")
    assert source_commit(tracked) == f"{commit}-dirty"


def test_no_commit_outside_a_repository_or_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file.py").write_text("1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert source_commit(tmp_path / "file.py") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert source_commit(tmp_path / "file.py") is None
