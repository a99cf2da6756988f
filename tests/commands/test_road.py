"""The whole one-shot road through the command line: train, search, resume."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from genas.cli import main
from genas.commands.paths import absolute_data
from genas.errors import RunError
from genas.metrics import Accuracy, Angle, CostOf, ScoringSettings, architecture_cost, parse_metric
from genas.metrics import context as metric_context
from genas.runs import Run
from genas.scores import ScoreStore
from genas.search import RandomSearch, search
from genas.spaces import NASBench201, space
from genas.supernet.supernet_run import load_supernet
from genas.tables import Column, Table

TRAIN = [
    "--data",
    "digits",
    "--max-train",
    "128",
    "--channels",
    "2",
    "--cells",
    "1",
    "--epochs",
    "2",
    "--batch-size",
    "32",
    "--threads",
    "1",
    "--probe",
    "2",
    "--no-progress",
    "--device",
    "cpu",
]
ANGLES = [
    "--population",
    "6",
    "--generations",
    "3",
    "--parents",
    "3",
    "--mutations",
    "2",
    "--crossovers",
    "2",
    "--workers",
    "1",
    "--no-progress",
    "--device",
    "cpu",
    "--top",
    "4",
]
EXHAUSTIVE = ["--metric", "angle", "--searcher", "exhaustive", "--no-progress", "--device", "cpu", "--top", "4"]
EVOLVE = ["--valid-images", "32", "--calibration.images", "32", *ANGLES]


def run(*words: str | Path) -> int:
    return main([str(word) for word in words])


def result(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return read


@pytest.fixture(scope="session")
def supernet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a trained NAS-Bench-201 supernet. Tests that score in it give their own seed or copy it."""
    folder = tmp_path_factory.mktemp("supernet") / "run"
    assert run("train-supernet", folder, *TRAIN) == 0
    return folder


def test_a_training_beyond_the_horizon_of_its_learning_rate_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*TRAIN, "--max-train", "32", "--epochs", "2", "--probe", "0", "--horizon"]
    assert run("train-supernet", tmp_path / "a", *words, "2") == 0
    assert "note" not in capsys.readouterr().err
    assert run("train-supernet", tmp_path / "b", *words, "1") == 0
    assert "note: the learning rate is 0.001 after epoch 1, its horizon, of 2." in capsys.readouterr().err


def test_training_leaves_a_whole_run(supernet: Path) -> None:
    names = {path.name for path in supernet.iterdir() if not path.name.startswith(".")}
    assert names >= {
        "config.yaml",
        "environment.json",
        "initial.safetensors",
        "log.jsonl",
        "result.json",
        "weights.safetensors",
    }
    assert "state.pt" not in names
    assert [record["epoch"] for record in Run.open(supernet).read_log()] == [1, 2]
    before, after = load_file(supernet / "initial.safetensors"), load_file(supernet / "weights.safetensors")
    assert before.keys() == after.keys()
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    assert 0 <= result(supernet)["subnets"]["mean_accuracy"] <= 1


@pytest.mark.parametrize(
    ("accuracies", "failures", "least", "told"),
    [
        ([0.5, math.nan], 1, 0.5, "validation accuracy of 1 random subnets: 50.0% on average"),
        ([math.nan, math.nan], 2, None, "supernet: "),
    ],
)
def test_subnets_that_fail_are_counted_and_lose_no_training(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    accuracies: list[float],
    failures: int,
    least: float | None,
    told: str,
) -> None:
    monkeypatch.setattr(Accuracy, "values", lambda *_: np.array(accuracies))
    assert run("train-supernet", tmp_path / "run", *TRAIN, "--max-train", "32", "--epochs", "1") == 0
    printed = capsys.readouterr()
    assert told in printed.out
    assert f"note: the outputs of {failures} of 2 random subnets are not finite." in printed.err
    found = result(tmp_path / "run")["subnets"]
    assert (found["count"], found["failures"], found["min_accuracy"]) == (2, failures, least)


def test_an_exhaustive_search_ranks_the_whole_space(
    supernet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--metric", "angle+2*count(live=True)", "--searcher", "exhaustive", "--join", "rank"]
    cells = list(NASBench201().architectures())
    truths = {Column(name, "test", 200): {cell: 50 + sum(cell) for cell in cells} for name in ("digits", "other")}
    table = Table.from_accuracies(NASBench201(), "sums", "", "", truths)
    table.save(tmp_path / "sums.npz")
    words += ["--table", str(tmp_path / "sums.npz"), "--truth", "digits,other"]
    assert run("evolve", supernet, *words, "--out", tmp_path / "out", *EVOLVE[-5:]) == 0
    found = result(tmp_path / "out")
    assert found["evaluations"] == len(cells)
    context = metric_context.Context(load_supernet(supernet), ScoringSettings())
    expected = parse_metric("angle+2*count(live=True)", join="rank").score(context, cells)
    assert found["best"]["score"] == expected[cells.index(tuple(found["best"]["genes"]))] == expected.max()
    accuracy = 50 + sum(found["best"]["genes"])
    place = {"accuracy": accuracy, "rank": 1 + sum(50 + sum(cell) > accuracy for cell in cells), "of": len(cells)}
    assert found["best"]["truth"] == {"digits/test/200": place, "other/test/200": place}
    assert f"other/test/200: {accuracy:.2f} %, rank {place['rank']:,} of 15,625" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--join", "rank"], "join=rank needs the searcher exhaustive"),
        (["--join", "log_rank"], "join=log_rank needs the searcher exhaustive"),
        (["--searcher", "exhaustive", "--generations", "3"], "a search that is not exhaustive; leave out evolution."),
    ],
)
def test_ranks_and_lists_go_together(
    supernet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run("evolve", supernet, "--out", tmp_path / "out", *words) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_search_finds_the_best_of_what_it_scored(supernet: Path, tmp_path: Path) -> None:
    assert run("evolve", supernet, "--out", tmp_path / "out", "--seed", "1", *EVOLVE) == 0
    found = result(tmp_path / "out")
    assert found["evaluations"] == 18
    assert found["failures"] == 0
    scores = [entry["score"] for entry in found["top"]]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)
    best = found["best"]
    assert best["score"] == pytest.approx(best["metrics"]["angle"] / np.pi + best["metrics"]["flatness"] / 2e-3)
    assert NASBench201().parse(best["architecture"]) == tuple(best["genes"]) == NASBench201().from_index(best["index"])
    best_of_log = max(record["best"] for record in Run.open(tmp_path / "out").read_log())
    assert best_of_log == best["score"]
    assert {path.suffix for path in (tmp_path / "out" / "figures").iterdir()} == {".svg", ".png"}


def test_a_search_by_an_expression(supernet: Path) -> None:
    """Settings in the text, two copies of one metric, neighbourhoods."""
    metric = "flatness(alpha=0.5) + flatness + 2*neighborhood(accuracy, samples=3)"
    words = ["evolve", supernet, "--metric", metric, "--seed", "6", *EVOLVE, "--population", "4", "--generations", "2"]
    assert run(*words, "--mutations", "1", "--crossovers", "1", "--stds", "[0.002,0.01]") == 0
    name = "flatness_alpha=0.5_+flatness+2xneighborhood_accuracy_samples=3"
    found = result(supernet / "searches" / f"{name}-6")
    assert found["metric"] == metric
    values = found["best"]["metrics"]
    assert list(values) == ["flatness(alpha=0.5)", "flatness", "neighborhood(accuracy, samples=3)"]
    halved, whole, around = values.values()
    assert halved > whole
    assert found["best"]["score"] == pytest.approx((halved + whole) / 2e-3 + 2 * around)


def test_same_search_again_runs_no_network(supernet: Path, tmp_path: Path, forbid_networks: Callable[[], None]) -> None:
    assert run("evolve", supernet, "--out", tmp_path / "first", "--seed", "2", *EVOLVE) == 0
    forbid_networks()
    assert run("evolve", supernet, "--out", tmp_path / "second", "--seed", "2", *EVOLVE) == 0
    assert result(tmp_path / "first") == result(tmp_path / "second")


def test_worker_processes_give_the_same_result(supernet: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"  # with a store of its own
    shutil.copytree(supernet, copy)
    (copy / "scores.sqlite").unlink(missing_ok=True)
    words = ["--seed", "3", *EVOLVE, "--generations", "2"]
    assert run("evolve", supernet, "--out", tmp_path / "one", *words) == 0
    assert run("evolve", copy, "--out", tmp_path / "two", *words, "--workers", "2") == 0
    assert result(tmp_path / "one") == result(tmp_path / "two")


@pytest.mark.parametrize("name", ["darts", "s4"])
def test_the_road_on_darts_spaces(name: str, tmp_path: Path) -> None:
    options = [
        word if word != "1" or before != "--cells" else "3" for before, word in zip(["", *TRAIN], TRAIN, strict=False)
    ]
    assert run("train-supernet", tmp_path / "run", "--space", name, *options) == 0
    assert run("evolve", tmp_path / "run", "--metric", "angle+accuracy+flatness", *EVOLVE, "--generations", "2") == 0
    found = result(tmp_path / "run" / "searches" / "angle+accuracy+flatness-0")
    assert found["space"] == name
    space(name).check(found["best"]["genes"])


def test_limits_hold_and_an_infeasible_one_is_an_error(
    supernet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evolve", supernet, "--out", tmp_path / "a", "--metric", "angle", "--max-params", "100000", *ANGLES) == 0
    assert all(entry["params"] <= 100_000 for entry in result(tmp_path / "a")["top"])
    assert run("evolve", supernet, "--out", tmp_path / "b", "--metric", "angle", "--max-params", "10", *ANGLES) == 1
    assert "params" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metric", "flatnes"], "Did you mean 'flatness'"),
        (["--metric", "flatness(alpa=1)"], "Did you mean 'alpha'"),
        (
            ["--metric", "neighborhood(angle)", "--alpha", "2"],
            "alpha is read by flatness, which is not part of the metric",
        ),
        (["--join", "best"], "join must be"),
        (["--noise.stds", "[0.1, 0.05]"], "strictly increasing"),
        (["--workers", "0"], "workers must be at least 1"),
        (["--population", "0"], "population must be at least 1"),
    ],
)
def test_wrong_arguments_say_what_to_do(
    supernet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run("evolve", supernet, "--out", tmp_path / "out", *EVOLVE, *words) != 0
    assert message in capsys.readouterr().err


def test_other_settings_in_the_same_folder_are_refused(supernet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train-supernet", supernet, *TRAIN, "--epochs", "3") == 1
    assert "training.epochs: 2 in the folder, 3 now" in capsys.readouterr().err


def test_an_unfinished_supernet_cannot_be_searched(
    supernet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(supernet, tmp_path / "run")
    (tmp_path / "run" / "weights.safetensors").unlink()
    assert run("evolve", tmp_path / "run", *EVOLVE) == 1
    assert "must hold a finished supernet" in capsys.readouterr().err


def test_a_search_folder_is_no_supernet(supernet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evolve", supernet, "--out", tmp_path / "out", "--metric", "angle", *ANGLES) == 0
    assert run("evolve", tmp_path / "out", "--metric", "angle", *ANGLES) == 1
    assert "must be a run of genas train-supernet" in capsys.readouterr().err


def killed(words: list[str], when: Callable[[], bool]) -> None:
    """Start ``genas`` in a process of its own and kill it (SIGKILL) as soon as ``when`` holds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "genas", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    try:
        while not when():
            assert process.poll() is None, "it finished before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def newer(path: Path) -> Callable[[], bool]:
    """Whether a file has been written since now."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    return lambda: path.exists() and path.stat().st_mtime_ns > before


def test_killed_training_ends_in_the_same_files(tmp_path: Path) -> None:
    words = ["train-supernet", *TRAIN, "--epochs", "12", "--probe", "0"]
    assert run("train-supernet", tmp_path / "unbroken", *words[1:]) == 0
    broken = tmp_path / "broken"
    for _ in range(2):
        resumed = [words[0], str(broken), *words[1:], "--checkpoint-seconds", "0"]
        killed(resumed, newer(broken / "state.pt"))
        assert not (broken / "weights.safetensors").exists()
    assert run("train-supernet", broken, *words[1:]) == 0
    for name in ("initial.safetensors", "weights.safetensors", "result.json", "config.yaml"):
        assert (broken / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes(), name
    logs = [
        [
            {key: value for key, value in record.items() if key not in ("time", "seconds")}
            for record in Run.open(folder).read_log()
        ]
        for folder in (broken, tmp_path / "unbroken")
    ]
    assert logs[0] == logs[1]


def test_killed_search_ends_in_the_same_files(supernet: Path, tmp_path: Path) -> None:
    stores = {}
    for name in ("broken", "unbroken"):
        shutil.copytree(supernet, tmp_path / name)
        (tmp_path / name / "scores.sqlite").unlink(missing_ok=True)
        words = ["evolve", str(tmp_path / name), "--seed", "4", *EVOLVE]
        scores = tmp_path / name / "scores.sqlite"
        if name == "broken":
            killed(words, lambda scores=scores: stored(scores) >= 5)
            assert not (tmp_path / name / "searches" / "angle+flatness-4" / "result.json").exists()
        assert run(*words) == 0
        with ScoreStore(scores) as store:
            stores[name] = {key: store.count(key) for key in store.keys()}  # noqa: SIM118 (not a mapping)
    assert stores["broken"] == stores["unbroken"]
    folders = [tmp_path / name / "searches" / "angle+flatness-4" for name in ("broken", "unbroken")]
    for file in ("result.json", "figures/best.svg", "figures/best.png"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes(), file


def stored(path: Path) -> int:
    if not path.exists():
        return 0
    with ScoreStore(path) as store:
        return sum(store.count(key) for key in store.keys())  # noqa: SIM118 (not a mapping)


def test_a_supernet_is_tied_to_its_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.random.default_rng(0).integers(256, size=(80, 8, 8), dtype=np.uint8)
    labels = np.arange(80) % 2
    np.savez(tmp_path / "x.npz", x_train=images, y_train=labels)
    words = [f"npz:{tmp_path / 'x.npz'}" if word == "digits" else word for word in TRAIN]
    assert run("train-supernet", tmp_path / "run", *words, "--max-train", "40") == 0
    np.savez(tmp_path / "x.npz", x_train=255 - images, y_train=labels)
    assert run("evolve", tmp_path / "run", "--metric", "angle", *ANGLES) == 1
    assert "was trained on other images" in capsys.readouterr().err
    assert run("train-supernet", tmp_path / "run", *words, "--max-train", "40") == 1
    assert "data_fingerprint" in capsys.readouterr().err


def test_a_relative_path_works_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "x.npz", x_train=np.arange(5120, dtype=np.uint8).reshape(80, 8, 8), y_train=np.arange(80) % 2)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    words = ["npz:x.npz" if word == "digits" else word for word in TRAIN]
    assert run("train-supernet", "run", *words, "--max-train", "40") == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("evolve", "../run", "--metric", "angle", *ANGLES) == 0


def test_a_split_file_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = {"train": list(range(0, 80, 2)), "valid": list(range(1, 80, 2))}
    (tmp_path / "split.json").write_text(json.dumps(half))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", x_train=np.arange(5120, dtype=np.uint8).reshape(80, 8, 8), y_train=np.arange(80) // 2 % 2)
    words = ["npz:x.npz" if word == "digits" else word for word in TRAIN]
    assert run("train-supernet", "run", *words, "--max-train", "40", "--split", "file:split.json") == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("evolve", "../run", "--metric", "angle", *ANGLES) == 0
    (tmp_path / "split.json").unlink()
    with pytest.raises(RunError, match=r"must be where they were when it was trained, .* write their new place into"):
        load_supernet(tmp_path / "run")


def test_what_follows_the_colon_of_another_packages_data_is_its_own() -> None:
    assert absolute_data("scans:blood", Path("somewhere")) == "scans:blood"
    assert absolute_data("npz:x.npz", Path("/somewhere")) == "npz:/somewhere/x.npz"


def test_a_tilde_after_a_colon_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell leaves it as it is."""
    (tmp_path / "home").mkdir()
    pixels = np.arange(5120, dtype=np.uint8).reshape(80, 8, 8)
    np.savez(tmp_path / "home" / "x.npz", x_train=pixels, y_train=np.arange(80) % 2)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    words = ["npz:~/x.npz" if word == "digits" else word for word in TRAIN]
    assert run("train-supernet", tmp_path / "run", *words, "--max-train", "40") == 0
    assert Run.open(tmp_path / "run").config["data"] == f"npz:{tmp_path / 'home' / 'x.npz'}"


def test_searches_move_with_their_supernet_and_limits_have_folders_of_their_own(supernet: Path, tmp_path: Path) -> None:
    shutil.copytree(supernet, tmp_path / "before")
    words = ["--metric", "angle", "--seed", "9", *ANGLES]
    assert run("evolve", tmp_path / "before", *words) == 0
    assert run("evolve", tmp_path / "before", *words, "--max-params", "100000") == 0
    (tmp_path / "before").rename(tmp_path / "after")
    assert run("evolve", tmp_path / "after", *words) == 0
    names = {"angle-9", "angle-max_params=100000-9"}
    assert names <= {folder.name for folder in (tmp_path / "after" / "searches").iterdir()}
    found = result(tmp_path / "after" / "searches" / "angle-9")
    assert (found["join"], found["searcher"], found["seed"], found["cost_of"]) == ("sum", "evolution", 9, "standalone")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metric", "angle"], "but no metric here evaluates them; leave out scoring."),
        (["--searcher", "random"], "leave out evolution.parents, evolution.mutations, evolution.crossovers."),
        (["--metric", "accuracy", "--alpha", "2"], "leave out noise, alpha, epsilon."),
        (
            ["--metric", "flatness(alpha=0.5)", "--alpha", "2"],
            "each flatness in the metric has its own alpha; leave out alpha.",
        ),
        (
            ["--metric", "flatness(stds=[1e-3])", "--noise.stds", "[2e-3]"],
            "each flatness in the metric has its own noise.stds; leave out noise.stds.",
        ),
        (
            ["--metric", "accuracy", "--repeat-dilated-weight"],
            "is read by angle, which is not part of the metric; leave out repeat_",
        ),
        (["--top", "0"], "top must be at least 1"),
        (["--cost-of", "subnet", "--standalone.cells", "3"], "whose cost counts; leave out standalone."),
        (["--truth", "digits"], "give --table, too, for digits"),
        (["--mutated-genes", "normal"], "mutated_genes=normal needs several cell types"),
        (["--metric", "flatness", "--join", "standardized"], "join=standardized joins several metrics in one"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    supernet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run("evolve", supernet, "--out", tmp_path / "out", *EVOLVE, *words) == 1
    assert message in capsys.readouterr().err


def test_a_recipe_may_be_used_with_another_metric_or_searcher(
    supernet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", "demo-evolve", "--metric", "angle", "--searcher", "random", *EVOLVE[-7:], "--generations", "1"]
    assert run("evolve", supernet, "--out", tmp_path / "out", *words) == 0
    shown = capsys.readouterr().err
    assert "left out of the configuration file: scoring sets how subnets are evaluated" in shown
    assert "left out of the configuration file: a random search has population and generations" in shown
    assert result(tmp_path / "out")["evaluations"] == 20
    assert Run.open(tmp_path / "out").config["scoring"]["valid_images"] != 400


@pytest.mark.parametrize(
    ("limited", "of", "size"), [("macs", "standalone", {"channels": 8, "cells": 2}), ("params", "subnet", {})]
)
def test_a_limit_is_on_the_network_that_it_is_meant_for(
    supernet: Path, tmp_path: Path, of: CostOf, limited: str, size: dict[str, int]
) -> None:
    context = metric_context.Context(load_supernet(supernet), ScoringSettings())

    def cost(genes: Sequence[int]) -> int:
        return getattr(architecture_cost(context, tuple(genes), of, **size), limited)  # type: ignore[no-any-return]

    limit = sorted(cost(context.space.sample(np.random.default_rng(seed))) for seed in range(30))[10]
    words = ["--metric", "angle", *ANGLES, "--top", "18", "--cost-of", of, f"--max-{limited}", str(limit)]
    words += [f"--standalone.{name}={number}" for name, number in size.items()]
    assert run("evolve", supernet, "--out", tmp_path / "out", *words) == 0
    found = result(tmp_path / "out")
    assert len(found["top"]) == found["evaluations"] == 18
    assert all(entry[limited] <= limit for entry in found["top"])
    assert found["standalone"] == {"channels": None, "cells": None, **size}
    assert [entry[limited] for entry in found["top"]] == [cost(entry["genes"]) for entry in found["top"]]


def test_twins_may_be_skipped(supernet: Path, tmp_path: Path) -> None:
    assert run("evolve", supernet, "--out", tmp_path / "out", *EXHAUSTIVE, "--skip-twins") == 0
    space = NASBench201()
    assert result(tmp_path / "out")["evaluations"] == len(set(map(space.supernet_key, space.architectures())))


def test_searches_that_differ_in_their_own_seed_share_what_they_measure(
    supernet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(supernet, tmp_path / "run", ignore=shutil.ignore_patterns("scores.sqlite", "searches")))
    words = ["--metric", "loss", *EVOLVE[2:], "--search-seed"]
    assert run("evolve", copy, *words, "0") == 0
    assert run("evolve", copy, *words, "1") == 0
    folders = sorted((copy / "searches").iterdir())
    assert [folder.name for folder in folders] == ["loss-0", "loss-search_seed=1-0"]
    first, second = ({str(e["genes"]): e["score"] for e in result(folder)["top"]} for folder in folders)
    assert first.keys() != second.keys()
    assert all(first[genes] == second[genes] for genes in first.keys() & second.keys())
    with ScoreStore(copy / "scores.sqlite") as store:
        assert len(store.keys()) == 1, "one key: the images and the noise are the same"
    assert run("evolve", copy, "--metric", "angle", "--searcher", "exhaustive", "--search-seed", "1") == 1
    assert "an exhaustive search needs no seed of its own; leave out search_seed" in capsys.readouterr().err


def test_a_supernet_of_somebody_else_can_be_searched_and_ranked(
    supernet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    forbid_networks: Callable[[], None],
) -> None:
    copy = Path(shutil.copytree(supernet, tmp_path / "run", ignore=shutil.ignore_patterns("scores.sqlite", "searches")))
    before = sorted(copy.rglob("*"))
    monkeypatch.setattr(os, "access", lambda path, _: copy != path)  # root may write everywhere
    assert run("evolve", copy, "--metric", "loss", *EVOLVE[2:], "--out", tmp_path / "out") == 0
    assert f"note: {copy} cannot be written, so measurements are kept in" in capsys.readouterr().err
    with ScoreStore(tmp_path / "out" / "scores.sqlite") as store:
        assert len(store.keys()) == 1
    words = ["--metrics", "loss", "--samples", "5", "--table", "shipped", *EVOLVE[2:4], "--no-figures", "--no-progress"]
    assert run("rank", copy, *words, "--workers", "1", "--resamples", "5", "--out", tmp_path / "ranking") == 0
    with ScoreStore(tmp_path / "ranking" / "scores.sqlite") as store:
        assert len(store.keys()) == 1
    assert sorted(copy.rglob("*")) == before
    shutil.copy(tmp_path / "out" / "scores.sqlite", copy)
    forbid_networks()
    assert run("evolve", copy, "--metric", "loss", *EVOLVE[2:], "--out", tmp_path / "again") == 0
    assert result(tmp_path / "again")["best"] == result(tmp_path / "out")["best"]


def test_random_search(supernet: Path, tmp_path: Path) -> None:
    words = ["--metric", "angle", "--searcher", "random", "--population", "6", "--generations", "3", "--seed", "2"]
    assert run("evolve", supernet, "--out", tmp_path / "out", *words, *EVOLVE[-5:]) == 0
    angles = Angle().score(
        metric_context.Context(load_supernet(supernet), ScoringSettings()), list(NASBench201().architectures())
    )
    by_cell = dict(zip(NASBench201().architectures(), angles, strict=True))
    expected = search(
        RandomSearch(NASBench201(), seed=2, evaluations=18, batch=6),
        lambda cells: [by_cell[cell] for cell in cells],
        progress=False,
    )
    assert [tuple(entry["genes"]) for entry in result(tmp_path / "out")["top"]] == [
        cell for cell, _ in expected.top[:4]
    ]


def test_how_many_are_reported_is_no_part_of_the_search(supernet: Path, tmp_path: Path) -> None:
    words = ["--metric", "angle", "--out", tmp_path / "out", *ANGLES]
    assert run("evolve", supernet, *words) == 0
    first = result(tmp_path / "out")["top"]
    assert run("evolve", supernet, *words, "--top", "6") == 0
    assert result(tmp_path / "out")["top"][:4] == first
    assert len(result(tmp_path / "out")["top"]) == 6


def test_a_configuration_of_the_users_own_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("# mine\nseed: 3\n")
    assert run("train-supernet", tmp_path, *TRAIN, "--config", tmp_path / "config.yaml") == 1
    assert "config.yaml must be that of a run of genas train-supernet, but is not; move it" in capsys.readouterr().err
    assert (tmp_path / "config.yaml").read_text() == "# mine\nseed: 3\n"


def test_a_finished_run_without_its_log(supernet: Path, tmp_path: Path) -> None:
    shutil.copytree(supernet, tmp_path / "run")
    (tmp_path / "run" / "log.jsonl").unlink()
    assert run("train-supernet", tmp_path / "run", *TRAIN) == 0
    assert result(tmp_path / "run") == {**result(supernet), "train_loss": None}


def test_a_refused_metric_does_not_bind_the_folder(
    supernet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evolve", supernet, "--out", tmp_path / "search", "--workers", "2", "--no-progress"]
    assert run(*words, "--metric", "naswot(channels=3, cells=1)") == 1
    assert "channels must be even" in capsys.readouterr().err
    cells = list(NASBench201().architectures())[1:]
    table = Table.from_accuracies(
        NASBench201(), "most", "", "", {Column("digits", "test", 2): dict.fromkeys(cells, 9.0)}
    )
    table.save(tmp_path / "most.npz")
    assert run(*words, "--metric", f"angle+table(column='digits', path='{tmp_path / 'most.npz'}')") == 1
    assert "needs the accuracy of every architecture, but digits/test/2 of most has 15,624" in capsys.readouterr().err
    assert not (tmp_path / "search").exists()


def test_a_refused_limit_does_not_bind_the_folder(supernet: Path, tmp_path: Path) -> None:
    words = ["evolve", supernet, "--out", tmp_path / "out", "--metric", "angle", *ANGLES]
    assert run(*words, "--max-params", "10") == 1
    assert run(*words, "--standalone.channels", "5") == 1
    assert run(*words, "--max-params", "1000000") == 0


@pytest.mark.parametrize(
    ("option", "value"), [("--threads", "0"), ("--threads", "1025"), ("--probe", "-1"), ("--checkpoint-seconds", "-1")]
)
def test_numbers_of_training_are_checked_first(tmp_path: Path, option: str, value: str) -> None:
    assert run("train-supernet", tmp_path / "run", *TRAIN, option, value) == 1
    assert not (tmp_path / "run").exists()
