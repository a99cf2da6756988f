"""``genas compare``: pairing by seeds, intervals, other truths, refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from genas.cli import main
from genas.runs import Run
from genas.spaces import NASBench201
from genas.tables import Column, Table


def searched(
    folder: Path,
    title: str,
    found: Mapping[int, int],
    *,
    truth: str | None = "digits/test/10",
    images: str = "those",
    table: str = "one table",
    **config: Any,
) -> Path:
    """A folder as ``genas search --seeds`` leaves it, in which a seed has found the cell of an index."""
    space = NASBench201()
    runs = [
        {
            "seed": seed,
            "best": {
                "genes": list(space.from_index(index)),
                "truth": {} if truth is None else {truth: {"accuracy": index / 200}},
            },
        }
        for seed, index in found.items()
    ]
    name, _, flatness = title.partition(" + ")
    settings = {"command": "search", "space": "nasbench201", "network": {"cells": 5}, "precision": "fp32"}
    settings |= {"name": name, "flatness": flatness or "none"}
    with Run.create(folder, settings | config) as run:
        summary = {"title": title, "runs": runs, "disconnected": 1, "truth": truth}
        summary["table"] = None if truth is None else {"name": "accuracies", "fingerprint": table}
        run.result.write_text(json.dumps(summary))
    for seed in found:
        Run.create(folder / f"seed-{seed}", {"data_fingerprint": images}).close()
    return folder


def compare(*words: str | Path) -> int:
    return main(["compare", *map(str, words)])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Accuracies that are half of the index in percent; the first cell is not in it."""
    found = NASBench201()
    values = {arch: found.index(arch) / 400 for arch in found.architectures() if found.index(arch)}
    Table.from_accuracies(found, "indices", "a formula", "", {Column("digits", "test", 200): values}).save(
        tmp_path / "table.npz"
    )
    return tmp_path / "table.npz"


def test_differences_are_paired_by_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = searched(tmp_path / "a", "darts", {0: 2000, 1: 10000, 2: 6000})
    other = searched(tmp_path / "b", "darts + a2m", {2: 6800, 0: 2200, 1: 10000})
    assert compare(f"{base},{other}", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["digits/test/10"]
    assert (first["search"], first["mean"], first["difference"]) == ("darts", 30, None), "it is what others differ from"
    assert second["accuracies"] == {"2": 34, "0": 11, "1": 50}
    assert (second["better"], second["equal"], second["worse"], second["disconnected"]) == (2, 1, 0, 1)
    # Differences 1, 0, 4: mean 5/3, sample deviation sqrt(13/3); Student's 97.5 % point with two degrees is 4.302653.
    half = 4.3026527 * (13 / 3) ** 0.5 / 3**0.5
    assert second["difference"] == pytest.approx(5 / 3)
    assert (second["low"], second["high"]) == pytest.approx((5 / 3 - half, 5 / 3 + half))
    assert compare(f"{base},{other}", "--level", "0.5") == 0
    out = capsys.readouterr().out
    assert "mean  seed 0  seed 1  seed 2" in out
    assert "31.67 ± 19.60   11.00   50.00   34.00" in out
    assert "+1.67 [+0.69, +2.65]" in out  # 0.8164966 standard errors
    assert "difference [50%]" in out


def test_results_are_looked_up_in_another_table(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = searched(tmp_path / "a", "darts", {0: 2000, 1: 0}, truth=None)
    other = searched(tmp_path / "b", "beta-darts", {0: 4000, 1: 8000})
    assert compare(f"{base},{other}", "--table", table, "--truth", "digits", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["digits/test/200"]
    assert first["accuracies"] == {"0": 5, "1": None}
    assert (first["mean"], first["std"]) == (5, None)
    assert (second["mean"], second["difference"], second["low"]) == (15, 5, None), "one pair has no interval"


def test_a_table_without_a_column_means_its_test_accuracies(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [searched(tmp_path / name, name, {0: 2000, 1: 0}, truth=None) for name in ("darts", "beta-darts")]
    assert compare(f"{folders[0]},{folders[1]}", "--table", table, "--json") == 0
    shown = capsys.readouterr()
    assert [each["mean"] for each in json.loads(shown.out)["digits/test/200"]] == [5, 5]
    assert "note: 2 of 4 results are not in the table's digits/test/200.\n" in shown.err


def test_what_differs_besides_the_method_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = searched(tmp_path / "a", "darts", {0: 2000, 1: 4000})
    other = searched(
        tmp_path / "b",
        "pc-darts",
        {1: 4200, 7: 8000},
        images="others",
        network={"cells": 1},
        method={"flatness": {"rho": 1}},
    )
    assert compare(f"{base},{other}") == 0
    shown = capsys.readouterr()
    assert "note: pc-darts and darts differ in images, network.cells.\n" in shown.err
    assert "different seeds; common ones are paired" in shown.err
    assert "+1.00  " in shown.out


def test_a_plug_in_is_compared_with_the_same_method_and_what_else_differs_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pair that differs in more than the plug-in says nothing about the plug-in."""
    plain = {"settings": {"learning_rate": {"start": 0.025}, "nesterov": False}, "flatness": None}
    flat = {"settings": {"learning_rate": {"start": 0.1}, "nesterov": False}, "flatness": {"class": "A2M", "rho": 0.1}}
    base = searched(tmp_path / "a", "darts", {0: 2000}, method=plain)
    other = searched(tmp_path / "b", "darts + a2m", {0: 4000}, method=flat)
    assert compare(f"{base},{other}") == 0
    said = "note: darts + a2m and darts differ in method.settings.learning_rate.start.\n"
    assert said in capsys.readouterr().err


def test_searches_of_one_title_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"small": {"flatness": {"rho": 0.01}}, "large": {"flatness": {"rho": 0.1}}}
    base, other = (searched(tmp_path / name, "darts", {0: 2000}, method=each) for name, each in settings.items())
    assert compare(f"{base},{other}", "--level", "0.995") == 0
    shown = capsys.readouterr()
    assert "darts (small)" in shown.out
    assert "[99.5%]" in shown.out
    assert "darts (large) and darts (small) differ in method.flatness.rho" in shown.err


def test_searches_of_one_title_and_one_folder_name_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (searched(tmp_path / place / "run", "darts", {0: 2000}) for place in "ab")
    assert compare(f"{first},{second}") == 0
    shown = capsys.readouterr().out
    assert f"darts ({first})" in shown
    assert f"darts ({second})" in shown


def test_wrong_folders_and_columns_are_refused(tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = searched(tmp_path / "a", "darts", {0: 2000})
    twin = searched(tmp_path / "a2", "darts", {0: 2000})
    strange, stranger = (searched(tmp_path / name, "darts", {0: 2000}, space="s1") for name in ("b", "b2"))
    elsewhere = searched(tmp_path / "c", "darts", {0: 2000}, truth="other/test/10")
    rebuilt = searched(tmp_path / "e", "darts", {0: 2000}, table="another table")
    Run.create(tmp_path / "d", {"command": "search"}).close()
    damaged = searched(tmp_path / "f", "darts", {0: 2000})
    Run.open(damaged).result.write_text("")
    for words, message in [
        ([str(base)], "At least two folders must be given to compare"),
        ([f"{base},{base}"], "each once"),
        ([f"{base},{tmp_path / 'none'}"], "none"),
        ([f"{base},{tmp_path / 'd'}"], "search with --seeds first"),
        ([f"{base},{damaged}"], "result.json is damaged (Expecting value: line 1 column 1 (char 0)); make it again"),
        ([f"{base},{strange}"], "in one space, but darts (a) was in nasbench201 and darts (b) in s1"),
        ([f"{base},{elsewhere}"], "looked up in the same column"),
        ([f"{base},{rebuilt}"], "of the same table, but were not; give --table"),
        ([f"{base},{twin}", "--truth", "digits"], "give --table"),
        ([f"{base},{twin}", "--table", str(table), "--truth", "cifar10"], "cifar10"),
        (
            [f"{strange},{stranger}", "--table", str(table), "--truth", "digits"],
            "must be of the space that is searched, s1",
        ),
        ([f"{base},{twin}", "--level", "1"], "between 0 and 1"),
    ]:
        assert compare(*words) == 1
        assert message in capsys.readouterr().err


def test_real_searches_can_be_compared(tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--data digits --max-train 20 --max-valid 20 --cells 1 --channels 4 --batch-size 10 --epochs 1 --threads 1"
    for method in ("darts", "pc-darts"):
        options = ["--method", method, "--seeds", "0,1", "--table", str(table), "--no-progress", "--device", "cpu"]
        assert main(["search", str(tmp_path / method), *words.split(), *options]) == 0
    capsys.readouterr()
    assert compare(f"{tmp_path / 'darts'},{tmp_path / 'pc-darts'}") == 0
    shown = capsys.readouterr()
    assert "pc-darts" in shown.out
    assert not shown.err
