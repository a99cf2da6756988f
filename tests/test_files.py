"""Files are the old one or the new one, never half of one."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from genas.files import atomic_write, remove_unfinished, write_json, write_text


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_text("old")

    def write(temporary: Path) -> None:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".bin"
        temporary.write_text("half")
        assert path.read_text() == "old"
        temporary.write_text("new")

    atomic_write(path, write)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda *paths: (events.append("replace"), replace(*paths))[1])
    write_text(tmp_path / "a.txt", "x")
    assert events[:2] == ["fsync", "replace"]


@pytest.mark.skipif(os.name != "posix", reason="Windows cannot open folders")
def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network folders have no such operation; any other failure is told."""
    reasons = iter([errno.EINVAL, errno.ENOTSUP, errno.EIO])
    fsync = os.fsync

    def refusing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(next(reasons), "refused")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refusing)
    for text in ("a", "b"):
        write_text(tmp_path / "file", text)
        assert (tmp_path / "file").read_text() == text
    with pytest.raises(OSError, match="refused"):
        write_text(tmp_path / "file", "c")


def test_files_have_ordinary_rights(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    save_file({"a": np.zeros(1)}, tmp_path / "private")
    atomic_write(tmp_path / "weights", lambda path: save_file({"a": np.zeros(1)}, path))
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "plain", "weights", "private")}
    assert modes["ours"] == modes["weights"] == modes["plain"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has other rights, and links for administrators only")
def test_a_replaced_file_keeps_its_rights_and_links_to_it(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    file, link = tmp_path / "there" / "file", tmp_path / "link"
    file.write_text("old")
    file.chmod(0o600)
    link.symlink_to(file)
    write_text(link, "new")
    assert (link.is_symlink(), file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (True, "new", 0o600)
    assert [entry.name for entry in tmp_path.iterdir() if entry.name not in ("there", "link")] == []


def test_json_is_plain_utf8(tmp_path: Path) -> None:
    value = {"name": "größer", "scores": [1.5, None], "nested": {"a": 1}}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_bytes().decode("utf-8")
    assert json.loads(text) == value
    assert "größer" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_json_refuses_what_json_has_not(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="no NaN and no infinity; give None"):
        write_json(tmp_path / "a.json", {"score": number})
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_kill_are_removed(tmp_path: Path) -> None:
    def die(temporary: Path) -> None:
        temporary.write_text("half")
        os.link(temporary, temporary.with_name(temporary.name + "x"))  # what a kill would have left

    (tmp_path / "figures").mkdir()
    for path in (tmp_path / "a.json", tmp_path / "figures" / "b.png", tmp_path / "state"):
        atomic_write(path, die)
    (tmp_path / ".lock").write_text("1")
    assert len(list(tmp_path.rglob("*"))) == 8
    remove_unfinished(tmp_path)
    assert len(list((tmp_path / "figures").iterdir())) == 2, "another run may be writing there"
    remove_unfinished(tmp_path / "figures")
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {"a.json", "figures", "figures/b.png", "state", ".lock"}
