"""``genas search``: files, resume, several seeds, looking up the truth, refusals."""

from __future__ import annotations

import gc
import itertools
import json
import re
import weakref
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import genas.registry
from genas.cli import main
from genas.commands.method_options import MethodChanges
from genas.commands.search_differentiable import search_differentiable
from genas.commands.search_summary import report_runs, summarize
from genas.commands.truth import Truth
from genas.errors import TrainingDiverged
from genas.runs import Run
from genas.search.differentiable import METHODS, DifferentiableSearch
from genas.spaces import NASBench201, space
from genas.supernet.training import Trainer
from genas.tables import Column, Table, load_table

COMMON = "--data digits --max-train 20 --max-valid 20 --cells 1 --batch-size 10 --threads 1 --no-progress --device cpu"
WORDS = [*COMMON.split(), "--channels", "4", "--epochs", "2"]


def run(*words: str | Path) -> int:
    return main([str(word) for word in words])


def result(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return read


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of all of NAS-Bench-201, in which the accuracy is the index."""
    found, path = NASBench201(), tmp_path_factory.mktemp("table") / "table.npz"
    values = {arch: found.index(arch) / 200 for arch in found.architectures()}
    columns = {Column("digits", "test", 10): values, Column("other", "test", 10): dict.fromkeys(values, 50.0)}
    Table.from_accuracies(found, "indices", "a formula", "", columns).save(path)
    return path


def test_a_search_leaves_a_whole_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert run("search", folder, "--method", "beta-darts", "--flatness", "a2m", *WORDS) == 0
    shown = capsys.readouterr().out
    found, log = result(folder), Run.open(folder).read_log()
    assert shown.startswith(
        "beta-darts + a2m on nasbench201: 2 epochs, batch_size=10, "
        "regularizer=BetaDecay(strength=LinearSchedule(end=50.0)), flatness=A2M(rho=0.01)\n"
    )
    assert "beta-darts + a2m, seed 0: all 2 epochs were run" in shown
    assert found["best"]["architecture"] in shown
    assert found["best"] == found["top"][0]
    assert found["best"]["genes"] == log[-1]["genes"]
    assert NASBench201().from_index(found["best"]["index"]) == tuple(found["best"]["genes"])
    assert (found["method"], found["flatness"], found["epoch"], len(log)) == ("beta-darts", "a2m", 2, 2)
    assert [line["regularizer_strength"] for line in log] == [0, 25], "50 after all epochs"
    assert {"a2m_relative_change", "regularizer", "search_loss", "skips", "nones", "disconnected"} <= log[0].keys()
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".svg", ".png"}
    assert load_file(folder / "weights.safetensors")["alphas.0"].shape == (6, 5)
    config = Run.open(folder).config
    assert config["method"]["regularizer"]["strength"]["end"] == 50
    assert config["network"]["affine"] is False
    assert config["method"]["flatness"]["rho"] == 0.01


def test_an_architecture_that_does_not_learn_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("search", tmp_path / "run", "--method", "darts", "--no-learn-alphas", *WORDS[:-1], "1") == 0
    assert (
        "note: the architecture does not learn and is read off by its random initial weights" in capsys.readouterr().err
    )


def test_the_same_command_again_writes_the_same_result(tmp_path: Path) -> None:
    """A process that died before it wrote the result finds all it needs."""
    folder = tmp_path / "run"
    assert run("search", folder, *WORDS) == 0
    before = (folder / "result.json").read_bytes()
    (folder / "result.json").unlink()
    assert run("search", folder, *WORDS) == 0
    assert (folder / "result.json").read_bytes() == before


def test_a_log_that_lacks_an_epoch_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("search", tmp_path / "run", *WORDS) == 0
    opened = Run.open(tmp_path / "run")
    opened.result.unlink()
    opened.log_path.write_text(opened.log_path.read_text(encoding="utf-8").split("\n", 1)[1], encoding="utf-8")
    assert run("search", tmp_path / "run", *WORDS) == 1
    assert "log.jsonl must have every epoch once, in order, but has [2]" in capsys.readouterr().err


def test_several_seeds_are_summarised_with_every_value(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search", tmp_path / "runs", "--table", table, *WORDS]
    assert run(*words, "--seeds", "0,4") == 0
    summary = result(tmp_path / "runs")
    values = [result(tmp_path / "runs" / f"seed-{seed}")["best"]["index"] / 200 for seed in (0, 4)]
    assert summary["values"] == pytest.approx(values)
    assert summary["truth"] == "digits/test/10"
    assert summary["table"] == {"name": load_table(str(table)).name, "fingerprint": load_table(str(table)).fingerprint}
    assert summary["mean"] == pytest.approx(sum(values) / 2)
    assert summary["std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert summary["disconnected"] == sum(each["disconnected"] for each in summary["runs"])
    assert [each["seed"] for each in summary["runs"]] == [0, 4]
    assert f"{summary['mean']:.2f} ± {summary['std']:.2f} %" in capsys.readouterr().out
    assert run(*words, "--seeds", "0,4,5") == 0, "more seeds go on from those that are there"
    assert result(tmp_path / "runs")["values"][:2] == summary["values"]
    assert "note" not in capsys.readouterr().err
    assert run(*words, "--seeds", "4") == 0
    assert f"the summary is of --seeds 4; {tmp_path / 'runs'} also has the results of 0,5." in capsys.readouterr().err
    assert run("search", tmp_path / "alone", "--seed", "4", *WORDS) == 0
    assert result(tmp_path / "alone")["best"]["genes"] == summary["runs"][1]["best"]["genes"]


def test_an_interrupted_list_of_seeds_goes_on_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--seeds", "0,4", "--checkpoint-seconds", "0", *WORDS]
    assert run("search", tmp_path / "whole", *words) == 0
    steps, step = itertools.count(), Trainer.step

    def interrupted(trainer: Trainer) -> None:
        if next(steps) == 5:  # two epochs of two steps each: within the second seed
            raise KeyboardInterrupt
        step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        assert run("search", tmp_path / "broken", *words) == 130
    assert not (tmp_path / "broken" / "seed-4" / "result.json").exists()
    assert run("search", tmp_path / "broken", *words) == 0
    assert result(tmp_path / "broken") == result(tmp_path / "whole")
    weights, expected = (load_file(tmp_path / name / "seed-4" / "weights.safetensors") for name in ("broken", "whole"))
    assert all(np.array_equal(weights[name], expected[name]) for name in expected)


def test_a_search_that_diverges_does_not_keep_the_others_from_their_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check = DifferentiableSearch.check_finite
    begun: list[weakref.ref[DifferentiableSearch]] = []

    def diverging(search: DifferentiableSearch) -> None:
        if all(each() is not search for each in begun):
            gc.collect()
            assert all(each() is None for each in begun), "one search at a time is enough for the memory"
            begun.append(weakref.ref(search))
        if search.seed == 1:
            raise TrainingDiverged("The training loss must stay finite.")
        check(search)

    monkeypatch.setattr(DifferentiableSearch, "check_finite", diverging)
    assert run("search", tmp_path / "runs", *WORDS, "--seeds", "0,1,2") == 1
    shown = capsys.readouterr().err
    assert len(begun) == 3
    assert "those with seed 1 in" in shown
    assert "leave them out: --seeds 0,2." in shown
    assert not (tmp_path / "runs" / "result.json").exists()
    assert run("search", tmp_path / "runs", *WORDS, "--seeds", "0,2") == 0
    assert [each["seed"] for each in result(tmp_path / "runs")["runs"]] == [0, 2]


def test_the_loss_of_a_second_order_search_has_its_own_name(tmp_path: Path) -> None:
    assert run("search", tmp_path / "run", "--method", "darts-2nd", *WORDS) == 0
    found = result(tmp_path / "run")
    assert found["search_loss_ahead"] > 0
    assert "search_loss" not in found


def test_the_truth_may_be_another_column(tmp_path: Path, table: Path) -> None:
    assert run("search", tmp_path / "run", "--table", table, "--truth", "other", *WORDS) == 0
    assert result(tmp_path / "run")["best"]["truth"] == {"other/test/10": {"accuracy": 50.0, "rank": 1, "of": 15625}}


def test_the_table_that_comes_with_genas(tmp_path: Path) -> None:
    words = [*WORDS, "--data", "cluttered-digits", "--table", "shipped", "--seeds", "0,1"]
    assert run("search", tmp_path / "runs", *words) == 0
    summary = result(tmp_path / "runs")
    shipped = load_table("shipped")
    truth = shipped.find("cluttered-digits")
    assert summary["truth"] == str(truth)
    expected = shipped.values(truth, [tuple(run["best"]["genes"]) for run in summary["runs"]], missing="nan")
    assert [np.nan if value is None else value for value in summary["values"]] == pytest.approx(expected, nan_ok=True)
    known = shipped.covered(truth)[0]
    assert Truth(shipped, truth).place(known)["accuracy"] == shipped.values(truth, [known])[0]


def test_the_mean_says_which_results_are_not_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    lacking, there = ({"genes": [1], "truth": {"digits/test/10": {"accuracy": value}}} for value in (None, 60.0))
    entry = {"best": lacking, "seed": 0, "epoch": 1, "skips": {}, "disconnected": False}
    known = {**entry, "best": there, "seed": 1}
    column = Column("digits", "test", 10)
    truth = Truth(Table.from_accuracies(NASBench201(), "one", "", "", {column: {(1,) * 6: 60.0}}), column)
    summary = summarize("darts", [0, 1], [entry, known], truth)
    assert (summary["known"], summary["mean"], summary["std"]) == (1, 60.0, None)
    report_runs(summary)
    assert "60.00 % without the 1 that the table does not know" in capsys.readouterr().out
    report_runs(summarize("darts", [0, 2], [entry, entry], truth))
    assert "digits/test/10: the table knows none of the results" in capsys.readouterr().out


def test_a_search_of_darts_cells(tmp_path: Path) -> None:
    words = [*WORDS, "--space", "s1", "--cells", "3", "--epochs", "1"]
    assert run("search", tmp_path / "run", "--numbers", "code", *words) == 0
    found = result(tmp_path / "run")
    space("s1").check(found["best"]["genes"])
    assert found["skips"].keys() == {"normal", "reduction"}


def test_the_codes_numbers_reach_a2m_unless_they_are_changed(tmp_path: Path) -> None:
    words = ["--method", "darts", "--flatness", "a2m", "--numbers", "code", "--a2m.epsilon", "0.1", *WORDS]
    assert run("search", tmp_path / "run", *words) == 0
    chosen = Run.open(tmp_path / "run").config["method"]["flatness"]
    assert (chosen["curvature"], chosen["centre"], chosen["epsilon"]) == ("central_fd", "alpha_tilde", 0.1)


def test_the_method_of_the_contributing_guide_runs_from_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With parts of its own, A²M around them, and a record that tells them apart."""
    guide = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "Method(" in block]
    (tmp_path / "guide_package.py").write_text(example, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    offer = EntryPoint("decided-darts", "guide_package:decided_darts", "genas.methods")
    monkeypatch.setattr(genas.registry, "entry_points", lambda **wanted: EntryPoints([offer]).select(**wanted))
    monkeypatch.setattr(METHODS, "_items", dict(METHODS._items))  # forgets the method afterwards
    words = ["search", tmp_path / "run", "--method", "decided-darts", "--flatness", "a2m", *WORDS]
    assert run(*words) == 0
    opened = Run.open(tmp_path / "run")
    log, chosen = opened.read_log(), opened.config["method"]
    assert [line["regularizer_strength"] for line in log] == pytest.approx([0, 0.05])
    assert 0 < log[1]["regularizer"] <= 0.05 * np.log(5)
    assert log[1]["a2m_relative_change"] > 0
    assert chosen["regularizer"] == {"class": "Entropy", "strength": 0.1}
    assert chosen["weight_step"] == {"class": "SignDescent", "length": 1e-3}
    opened.result.unlink()
    assert run(*words) == 0, "the same settings continue the run"
    with pytest.raises(ValueError, match="beta_end is set, but the method already has Entropy in that place"):
        search_differentiable(tmp_path / "other", "decided-darts", parts=MethodChanges(beta_end=1.0))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "bta-darts"], "Did you mean 'beta-darts'"),
        (["--flatness", "sam"], "flatness must be one of none, a2m, na"),
        (["--method", "darts-2nd", "--flatness", "a2m"], "must wrap a first-order gradient"),
        (["--space", "s2", "--flatness", "na", "--neighbors", "multiplicative"], "choose additive neighbours"),
        (["--rho", "0.1"], "options of a2m, but flatness is none, not a2m; leave out a2m."),
        (["--na.count", "3"], "options of na, but flatness is none, not na; leave out na."),
        (["--smoothing-end", "0.2"], "nothing reads it without smoothing"),
        (["--truth", "digits"], "give --table"),
        (["--table", "nowhere.npz"], "nowhere.npz"),
        (["--seeds", "1,1"], "seeds must be different"),
        (["--seeds", "0,-1"], "seeds must be different numbers from 0 on"),
        (["--threads", "0"], "threads must be at least 1 and at most 1,024, but got 0"),
        (["--checkpoint-seconds", "-1"], "checkpoint_seconds must not be negative, but got -1"),
        (["--warmup", "2"], "warmup must not be negative and leave some of the 2 epochs"),
        (["--seed", "1", "--seeds", "1,2"], "both are given; choose one"),
        (["--flatness", "a2m", "--precision", "bf16"], "choose precision fp32"),
        (["--method", "lambda-darts", "--space", "s2", "--cells", "3"], "at least two cells"),
        (["--method", "pc-darts", "--channels", "6", "--seeds", "0,1"], "must divide the 6 channels"),
        (["--table", "shipped", "--data", "digits"], "Say which column is the truth with --truth"),
    ],
)
def test_wrong_arguments_say_what_to_do_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run("search", tmp_path / "run", *WORDS, *words) != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_table_of_another_space_is_refused(tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("search", tmp_path / "run", "--space", "s1", "--table", table, *WORDS, "--cells", "3") == 1
    assert "must be of the space that is searched, s1, but indices is of nasbench201" in capsys.readouterr().err


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("search", tmp_path / "run", *WORDS) == 0
    assert run("search", tmp_path / "run", *WORDS, "--method", "sdarts-rs") == 1
    assert "method.weight_step.class: Plain in the folder, RandomSmoothing now" in capsys.readouterr().err
