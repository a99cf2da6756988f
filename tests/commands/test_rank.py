"""``genas rank`` on tiny supernets and a made-up table."""

from __future__ import annotations

import csv
import json
import runpy
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from genas.cli import main
from genas.commands import evaluation, ranking_scores
from genas.commands.evaluation import ContextRecipe
from genas.commands.ranking_plan import other_data, split_expressions
from genas.commands.ranking_sample import sample, sampled_share
from genas.errors import RunError
from genas.metrics import Context, LiveEdges, ScoringSettings, kendall_tau, parse_metric
from genas.metrics import context as metric_context
from genas.runs import Run
from genas.scores import ScoreStore
from genas.spaces import Architecture, NASBench201, SearchSpace, space
from genas.supernet import Calibration
from genas.tables import Column, Table, load_table

SPACE = NASBench201()
TEST = Column("digits", "test", 5)
TRAIN = (
    *("--data", "digits", "--max-train", "128", "--channels", "2", "--cells", "1", "--epochs", "1"),
    *("--batch-size", "32", "--threads", "1", "--probe", "0", "--no-progress", "--device", "cpu"),
)
BARE = (
    *("--workers", "1", "--no-progress", "--device", "cpu", "--precision", "fp32", "--resamples", "20"),
    *("--samples", "12", "--no-figures"),
)
FAST = ("--valid-images", "32", "--calibration.images", "32", *BARE)


def run(*words: str | Path) -> int:
    return main([str(word) for word in words])


def result(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return read


def values(folder: Path, metric: str, statistic: str = "tau", ranking: int = 0) -> list[float]:
    metrics = result(folder)["rankings"][ranking]["metrics"]
    (found,) = (each for each in metrics if each["metric"] == metric and not each["baseline"])
    return [supernet[statistic]["value"] for supernet in found["supernets"]]


def scores(folder: Path) -> dict[str, np.ndarray]:
    rows = list(csv.DictReader((folder / "scores.csv").read_text().splitlines()))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0] if name != "architecture"}


def made_up_table(path: Path, search_space: Any = SPACE, count: int = 30) -> Path:
    """Accuracies that grow with the genes, of two seeds, and of another data set for some architectures."""
    rng = np.random.default_rng(0)
    architectures = list(dict.fromkeys(search_space.sample(rng) for _ in range(count)))
    truth = np.array([50 * np.mean(each) / max(map(max, architectures)) for each in architectures])
    readings = truth + rng.normal(20, 1, size=(2, len(truth)))
    values = {
        TEST: readings.mean(axis=0),
        Column("digits", "test", 5, 0): readings[0],
        Column("digits", "test", 5, 1): readings[1],
        Column("digits", "test", 1): readings[0] / 2,
        Column("digits", "valid", 5): readings[1],
        Column("cifar10", "test", 9): np.where(np.arange(len(truth)) < 20, readings[0], np.nan),
    }
    Table(search_space, "made-up", "made up", "0123", architectures, values).save(path)
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up_table(tmp_path_factory.mktemp("table") / "table.npz")


@pytest.fixture(scope="module")
def supernets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two trained supernets, without any score."""
    folder = tmp_path_factory.mktemp("supernets")
    for seed in range(2):
        assert run("train-supernet", folder / f"run{seed}", "--seed", str(seed), *TRAIN) == 0
    return [folder / f"run{seed}" for seed in range(2)]


@pytest.fixture
def own(supernets: list[Path], tmp_path: Path) -> Path:
    """A copy of the first supernet, for its store."""
    return Path(shutil.copytree(supernets[0], tmp_path / "run"))


def test_a_ranking_from_end_to_end(own: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rank", own, "--table", table, "--truth", "digits", "--metrics", "angle,loss,angle+flatness", *FAST]
    assert run(*words, "--figures") == 0
    (folder,) = (own / "rankings").iterdir()
    assert folder.name.startswith("made-up-12-")
    found, columns = result(folder), scores(folder)
    assert (found["architectures"], found["runs"], found["space"]) == (12, [own.name], "nasbench201")
    fingerprint = load_table(table).fingerprint
    assert found["table"] == {"name": "made-up", "source": "made up", "checksum": "0123", "fingerprint": fingerprint}
    (ranking,) = found["rankings"]
    assert [each["metric"] for each in ranking["metrics"]] == [
        *("angle", "-loss", "angle+flatness"),
        *("params", "macs", "count", "live_edges", "random"),
    ]
    assert ranking["noise_ceiling"]["trainings"] == 2
    for name in ("angle", "-loss", "angle+flatness"):
        assert values(folder, name) == [pytest.approx(kendall_tau(columns[name], columns["digits/test/5"]))]
    assert found["agreement"]["supernets"][0][0][1] == pytest.approx(kendall_tau(columns["angle"], columns["-loss"]))
    assert {path.name for path in (folder / "figures").iterdir()} == {"digits-test-5.svg", "digits-test-5.png"}
    printed = capsys.readouterr()
    assert "12 architectures of nasbench201 against made-up." in printed.out
    assert "[ ]: 95% bootstrap intervals over architectures; of regret, of its mean over samples of" in printed.out
    assert "[ ] of the noise ceiling: 95% over the" in printed.out
    assert "trained repeatedly. *: a baseline" in printed.out
    assert "±:" not in printed.out
    assert "tau-b between" in printed.out
    assert "note:" not in printed.err


def test_scores_are_those_of_the_metrics_and_truths_those_of_the_table(own: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("rank", own, "--table", table, "--truth", "digits", "--metrics", "loss", "--out", out, *FAST) == 0
    scoring = ScoringSettings(32, Calibration(images=32))
    with ScoreStore(own / "scores.sqlite") as store:
        context = ContextRecipe(own, scoring, 0, "cpu", "fp32").context(store)
        architectures = [SPACE.from_index(int(index)) for index in scores(out)["index"]]
        assert context.missing(parse_metric("loss").measurements[0], architectures) == []
        np.testing.assert_array_equal(scores(out)["-loss"], parse_metric("loss").score(context, architectures))
        expected = parse_metric("params").values(context, architectures)
        np.testing.assert_array_equal(scores(out)["params (baseline)"], expected)  # more is better
    np.testing.assert_array_equal(scores(out)["digits/test/5"], load_table(table).values(TEST, architectures))


def test_the_legend_explains_what_is_there(own: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rank", own, "--table", table, "--truth", "digits", "--metrics", "angle", *BARE, "--no-baselines"]
    assert run(*words, "--resamples", "0") == 0
    printed = capsys.readouterr().out
    assert "\nRegret in percentage points; failed: not finite, ranked last." in printed


def test_the_same_ranking_again_measures_nothing(
    own: Path, table: Path, tmp_path: Path, forbid_networks: Callable[[], None]
) -> None:
    words = ["rank", own, "--table", table, "--truth", "digits", "--metrics", "accuracy,flatness", *FAST, "--out"]
    assert run(*words, tmp_path / "first") == 0
    forbid_networks()
    assert run(*words, tmp_path / "second") == 0
    assert run(*words, tmp_path / "first") == 0
    for name in ("result.json", "scores.csv"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_an_interrupted_ranking_goes_on(
    own: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluations: list[Architecture]
) -> None:
    words = ["rank", own, "--table", table, "--truth", "digits", "--metrics", "loss", "--out", tmp_path / "out", *FAST]
    original = metric_context.evaluate

    def interrupted(*given: Any, **named: Any) -> Any:
        if len(evaluations) > 4:
            raise KeyboardInterrupt
        return original(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(metric_context, "evaluate", interrupted)
        assert run(*words) == 130
    assert not (tmp_path / "out" / "result.json").exists()
    assert run(*words) == 0
    assert len(evaluations) == len(set(evaluations)) + 1  # only the one that was under way


def recipe(name: str) -> list[str]:
    path = Path(__file__).resolve().parents[2] / "tools" / "recipes" / f"{name}.yaml"
    metrics: list[str] = yaml.safe_load(path.read_text(encoding="utf-8"))["metrics"]
    return metrics


@pytest.mark.parametrize(
    ("name", "each"),
    [("rank-genas-table6", 1 + 3), ("rank-genas-table8to10", 1 + 3), ("rank-genas-table5", 1 + 9)],
)
def test_sweeps_of_sigma_alpha_and_gamma_recombine_what_was_measured(
    own: Path, table: Path, tmp_path: Path, evaluations: list[Architecture], name: str, each: int
) -> None:
    words = ["rank", own, "--table", table, "--truth", "digits", "--out", tmp_path / "out", "--config", name, *FAST]
    assert run(*words, "--calibration.mode", "exact", "--samples", "4") == 0
    represented = {SPACE.supernet_representative(SPACE.from_index(int(i))) for i in scores(tmp_path / "out")["index"]}
    assert len(evaluations) == each * len(represented)  # the plain loss, and every level once
    assert "-loss" in scores(tmp_path / "out")
    assert len(recipe(name)) > 4


def test_several_supernets_have_mean_and_standard_deviation(
    supernets: list[Path], table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--table", table, "--truth", "digits", "--metrics", "angle", *BARE, "--out"]
    singles = []
    for place, each in enumerate(supernets):
        assert run("rank", each, *words, tmp_path / str(place)) == 0
        singles += values(tmp_path / str(place), "angle")
    capsys.readouterr()
    assert run("rank", f"{supernets[0]},{supernets[1]}", *words, tmp_path / "both") == 0
    assert values(tmp_path / "both", "angle") == singles
    (angle, *_) = result(tmp_path / "both")["rankings"][0]["metrics"]
    assert angle["mean"]["tau"] == pytest.approx(np.mean(singles))
    assert angle["std"]["tau"] == pytest.approx(np.std(singles, ddof=1))
    assert [each["run"] for each in angle["supernets"]] == [each.name for each in supernets]
    printed = capsys.readouterr().out
    assert "±: standard deviation over 2 supernets." in printed
    assert f"{np.mean(singles):.3f} ± {np.std(singles, ddof=1):.3f}" in printed
    assert f"angle of {supernets[1].name}" in scores(tmp_path / "both")


def test_workers_give_the_same_result(
    supernets: list[Path], table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads in the place of processes, which take seconds to start."""
    monkeypatch.setattr(evaluation, "process_pool", ThreadPoolExecutor)
    words = ["--table", table, "--truth", "digits", "--metrics", "accuracy+flatness", *FAST, "--out"]
    for workers, name in ((1, "one"), (2, "two")):
        copy = Path(shutil.copytree(supernets[0], tmp_path / f"run-{name}"))
        (copy / "scores.sqlite").unlink(missing_ok=True)
        assert run("rank", copy, *words, tmp_path / name, "--workers", str(workers), "--samples", "4") == 0
    assert (tmp_path / "one" / "scores.csv").read_bytes() == (tmp_path / "two" / "scores.csv").read_bytes()


def test_without_a_supernet(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["rank", "none", "--table", table, "--truth", "digits", *BARE, "--out"]
    assert run(*words, tmp_path / "bare") == 0
    labels = [each["metric"] for each in result(tmp_path / "bare")["rankings"][0]["metrics"]]
    assert labels == ["count", "live_edges", "random"]  # costs need the size of the images
    note = "note: without the size of the images params and macs are no baselines here; give it with --data.\n"
    assert capsys.readouterr().err == note
    trained_nothing = [*words, tmp_path / "images", "--data", "digits", "--metrics", "naswot,macs"]
    assert run(*trained_nothing) == 0
    assert capsys.readouterr().err == ""
    labels = [each["metric"] for each in result(tmp_path / "images")["rankings"][0]["metrics"]]
    assert labels == ["naswot", "-macs", "params", "macs", "count", "live_edges", "random"]
    np.testing.assert_array_equal(scores(tmp_path / "images")["-macs"], -scores(tmp_path / "images")["macs (baseline)"])
    before = scores(tmp_path / "images")["naswot"]
    with ScoreStore(tmp_path / "images" / "scores.sqlite") as store:
        assert sum(store.count(key) for key in store.keys()) > 0  # noqa: SIM118 (not a mapping)

    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(type(parse_metric("naswot").measurements[0]), "run", refuse)
    assert run(*trained_nothing) == 0
    np.testing.assert_array_equal(scores(tmp_path / "images")["naswot"], before)


def test_training_free_metrics_are_measured_once_for_all_supernets(
    supernets: list[Path], table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measurement = parse_metric("naswot").measurements[0]
    seen: list[Architecture] = []
    original = type(measurement).run

    def counted(self: Any, context: Context, architecture: Architecture) -> Any:
        seen.append(architecture)
        return original(self, context, architecture)

    monkeypatch.setattr(type(measurement), "run", counted)
    copies = [
        Path(shutil.copytree(each, tmp_path / each.name)) for each in (supernets[0], supernets[0].parent / "run1")
    ]
    shutil.rmtree(copies[1])
    shutil.copytree(supernets[0], copies[1])  # the same images, as its split is seeded by the supernet
    words = ["--table", table, "--truth", "digits", "--metrics", "naswot", "--out", tmp_path / "out", *BARE]
    assert run("rank", f"{copies[0]},{copies[1]}", *words) == 0
    assert len(seen) == len(set(seen)) > 0
    (shared,) = values(tmp_path / "out", "naswot")  # one for both, with its interval
    assert -1 <= shared <= 1


def test_by_default_the_mean_test_accuracies_of_the_longest_trainings(
    own: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("rank", own, "--table", table, "--metrics", "angle", "--out", tmp_path / "out", *BARE) == 0
    found = result(tmp_path / "out")["rankings"]
    assert [each["truth"] for each in found] == ["cifar10/test/9", "digits/test/5"]
    assert [each["noise_ceiling"] is None for each in found] == [True, False]
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]
    assert notes == ["note: the truth is of another data set: run saw digits, not the images of cifar10/test/9."]


def test_supernets_of_one_folder_name_are_noted_each() -> None:
    """The last one is no better than the first."""
    trained_on = [("net", "digits"), ("net", "cifar10")]
    for order in (trained_on, trained_on[::-1]):
        assert other_data(order, [Column("cifar10", "test", 9)]) == "net saw digits, not the images of cifar10/test/9"


def test_infinite_and_missing_scores_are_counted(
    own: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def some(self: object, context: Context, architectures: list[Architecture]) -> np.ndarray:
        return np.array([np.nan, np.inf, -np.inf, *range(len(architectures) - 3)])

    monkeypatch.setattr(LiveEdges, "values", some)
    words = ["--table", table, "--truth", "digits", "--metrics", "live_edges", "--out", tmp_path / "out", *BARE]
    assert run("rank", own, *words) == 0
    (metric, *_) = result(tmp_path / "out")["rankings"][0]["metrics"]
    assert metric["failures"] == [3]
    assert np.isnan(scores(tmp_path / "out")["live_edges"][:3]).all()


def test_the_sample_is_seeded_and_covered() -> None:
    rng = np.random.default_rng(0)
    architectures = [SPACE.from_index(index) for index in range(200)]
    readings = rng.uniform(10, 90, size=200)
    covered = np.where(np.arange(200) % 2, readings, np.nan)
    other = Column("cifar10", "test", 9)
    known = Table(SPACE, "t", "", "", architectures[::-1], {TEST: readings, other: covered})
    everything = sample(known, [TEST], "all", 0, unique=False)
    assert everything == sorted(architectures)  # in the order of RLNAS' code, whatever the table's is
    both = sample(known, [TEST, other], "all", 0, unique=False)
    assert set(both) == set(known.covered(other))
    first, again, another = (sample(known, [TEST], 20, seed, unique=False) for seed in (1, 1, 2))
    assert first == again != another
    assert first == sorted(first)
    unique = sample(known, [TEST], "all", 0, unique=True)
    keys = [SPACE.unique_key(each) for each in unique]
    assert len(set(keys)) == len(keys) == len({SPACE.unique_key(each) for each in architectures}) < 200


def test_a_table_of_classes_serves_all_their_members() -> None:
    first: dict[Any, Architecture] = {}
    for index in range(SPACE.size):
        first.setdefault(SPACE.unique_key(SPACE.from_index(index)), SPACE.from_index(index))
    rows = list(first.values())
    known = Table(SPACE, "t", "", "", rows, {TEST: np.linspace(0, 100, len(rows))}, isomorphic=True)
    assert len(sample(known, [TEST], "all", 0, unique=False)) == 15_625
    assert sample(known, [TEST], "all", 0, unique=True) == sorted(rows)


def test_of_a_class_the_cell_is_scored_that_was_trained() -> None:
    last = {SPACE.unique_key(SPACE.from_index(index)): SPACE.from_index(index) for index in range(SPACE.size)}
    rows = sorted(last.values(), key=SPACE.index)
    known = Table(SPACE, "t", "", "", rows, {TEST: np.linspace(0, 100, len(rows))}, isomorphic=True)
    assert sample(known, [TEST], "all", 0, unique=True) == sorted(rows)


def test_a_whole_space_has_no_intervals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = list({SPACE.unique_key(each): each for each in SPACE.architectures()}.values())
    accuracies = np.linspace(0, 100, len(classes))
    for rows, whole in ((len(classes), True), (len(classes) - 1, False)):
        assert sampled_share(SPACE, classes[:rows]) == pytest.approx(rows / len(classes))
        path, out = tmp_path / f"{rows}.npz", tmp_path / str(rows)
        Table(SPACE, "t", "", "", classes[:rows], {TEST: accuracies[:rows]}, isomorphic=True).save(path)
        words = ["--table", path, "--out", out, "--samples", "all", "--resamples", "5", "--no-figures"]
        assert run("rank", "none", *words, "--workers", "1", "--device", "cpu") == 0
        text = capsys.readouterr().out
        intervals = "bootstrap intervals over architectures, 99% of the space; of" in text
        assert ("no intervals" in text, intervals) == (whole, not whole)
        (first, *_) = result(out)["rankings"][0]["metrics"]
        tau = first["supernets"][0]["tau"]
        assert (tau["low"] is None) is whole
        assert whole or tau["high"] - tau["low"] < 0.001, "one cell of thousands is left to chance"


def test_the_share_of_a_sample() -> None:
    cells = list(SPACE.architectures())
    classes = list({SPACE.unique_key(each): each for each in cells}.values())
    assert sampled_share(SPACE, classes[:100]) == 100 / 6466
    assert sampled_share(SPACE, cells[:5000]) == 5000 / 15_625, "some are isomorphic, so cells were drawn"
    assert sampled_share(SPACE, classes) == sampled_share(SPACE, cells) == 1
    assert sampled_share(space("darts"), [space("darts").sample(np.random.default_rng(0))]) == 0


def test_a_training_counts_once_unless_all_its_cells_are_asked_for(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(3, 0, 0, 0, 0, 0), (3, 3, 3, 3, 3, 3), (1, 3, 3, 3, 3, 3)]  # of the first there are many
    Table(SPACE, "classes", "", "", rows, {TEST: [10.0, 20.0, 30.0]}, isomorphic=True).save(tmp_path / "t.npz")
    words = ["rank", own, "--table", tmp_path / "t.npz", "--metrics", "angle", *BARE, "--samples", "all", "--out"]
    assert run(*words, tmp_path / "out") == 0
    assert result(tmp_path / "out")["architectures"] == 3
    assert run(*words, tmp_path / "every", "--no-unique") == 0
    assert result(tmp_path / "every")["architectures"] > 100


def test_a_table_that_changed_is_another_ranking(own: Path, table: Path, tmp_path: Path) -> None:
    words = ["rank", own, "--table", tmp_path / "t.npz", "--truth", "digits", "--metrics", "angle", *BARE]
    for count in (30, 40):
        made_up_table(tmp_path / "t.npz", count=count)
        assert run(*words) == 0
    assert len(list((own / "rankings").iterdir())) == 2


def test_what_changes_a_ranking_gives_it_another_folder(
    supernets: list[Path], table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: set[Path] = set()

    def refuse(folder: Path, *_: object) -> None:
        folders.add(folder)
        raise RunError("its folder is known; that is enough")

    monkeypatch.setattr(Run, "create", refuse)
    words = ["rank", supernets[0], "--table", table, "--truth", "digits", "--metrics", "loss,angle+loss", *FAST]
    options = [
        (),
        ("--seed", "5"),
        ("--sample-seed", "5"),
        ("--valid-images", "16"),
        ("--samples", "11"),
        ("--resamples", "21"),
        ("--top", "0.2"),
        ("--join", "standardized"),
        ("--unique",),
        ("--no-baselines",),
        ("--metrics", "loss,angle+flatness"),
        ("--truth", "digits/valid"),
    ]
    for count, option in enumerate(options, start=1):
        assert run(*words, *option) == 1
        assert len(folders) == count, option


def test_what_a_table_in_a_metric_holds_is_part_of_a_ranking(own: Path, table: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(table, tmp_path / "other.npz"))
    words = [
        "rank",
        own,
        "--table",
        table,
        "--truth",
        "digits",
        "--metrics",
        f"table(column='digits/valid', path='{path}')",
        *BARE,
    ]
    assert run(*words) == 0
    known = load_table(path)
    column, cells = known.find("digits/valid"), list(known.architectures)
    Table(SPACE, "other", "", "", cells, {column: 100 - known.values(column, cells)}).save(path)
    assert run(*words) == 0
    first, second = (values(folder, words[7])[0] for folder in sorted((own / "rankings").iterdir()))
    assert first == pytest.approx(-second)


def test_other_images_are_another_ranking(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "rank",
        "none",
        "--table",
        table,
        "--truth",
        "digits",
        "--metrics",
        "naswot",
        *BARE,
        "--out",
        tmp_path / "a",
    ]
    assert run(*words, "--data", "digits", "--max-train", "100") == 0
    assert run(*words, "--data", "digits", "--max-train", "200") == 1
    assert "data_options.max_train: 100 in the folder, 200 now" in capsys.readouterr().err
    assert run(*words, "--data", "cluttered-digits") == 1
    printed = capsys.readouterr().err
    assert "data: digits in the folder, cluttered-digits now" in printed
    assert "untrained networks saw cluttered-digits, not the images of digits/test/5" in printed


def test_seeds_of_the_noise_and_of_the_sample(own: Path, table: Path, tmp_path: Path) -> None:
    words = ["rank", own, "--table", table, "--truth", "digits", "--metrics", "flatness", *FAST, "--out"]
    for name, options in {"a": [], "noise": ["--seed", "3"], "sample": ["--sample-seed", "3"]}.items():
        assert run(*words, tmp_path / name, *options) == 0
    found = {name: scores(tmp_path / name) for name in ("a", "noise", "sample")}
    assert np.array_equal(found["a"]["index"], found["noise"]["index"])
    assert not np.array_equal(found["a"]["index"], found["sample"]["index"])
    assert (found["a"]["flatness"] != found["noise"]["flatness"]).all()
    for name, options in {"all": [], "bootstrap": ["--sample-seed", "3"]}.items():
        assert run(*words, tmp_path / name, "--samples", "all", *options) == 0
    first, second = (result(tmp_path / name)["rankings"][0] for name in ("all", "bootstrap"))
    for known, other in (
        (first["metrics"][0]["supernets"][0]["tau"], second["metrics"][0]["supernets"][0]["tau"]),
        (first["noise_ceiling"], second["noise_ceiling"]),
    ):
        assert known["low"] != other["low"]
    assert values(tmp_path / "all", "flatness") == values(tmp_path / "bootstrap", "flatness")


def test_a_ranking_moves_with_its_supernet(own: Path, table: Path, tmp_path: Path) -> None:
    words = ["--table", table, "--truth", "digits", "--metrics", "angle", *BARE]
    assert run("rank", own, *words) == run("rank", own, *words, "--out", own / "rankings" / "mine") == 0
    moved = own.rename(tmp_path / "moved")
    assert run("rank", moved, *words) == run("rank", moved, *words, "--out", moved / "rankings" / "mine") == 0
    assert len(list((moved / "rankings").iterdir())) == 2


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("loss,count(operation=nor_conv3x3)", "operation of count must be one of"),
        ("angle+loss,table(column='digits/test/5', path='{table}')", "no value"),
        ("neighborhood(loss),loss+table(column='digits/test/5', path='{table}')", "no value"),
    ],
)
def test_what_can_not_be_scored_is_refused_before_anything_is_measured(
    own: Path,
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    evaluations: list[Architecture],
    metrics: str,
    message: str,
) -> None:
    whole = made_up_table(tmp_path / "whole.npz", count=60)
    words = ["rank", own, "--table", whole, "--truth", "digits/test/5", "--metrics", metrics.format(table=table), *FAST]
    assert run(*words) == 1
    assert message in capsys.readouterr().err
    assert not evaluations
    assert not (own / "rankings").exists()


def test_a_term_that_needs_a_supernet_is_missed_before_a_folder_is_bound(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["rank", "none", "--data", "digits", "--table", table, "--truth", "digits", "--out", tmp_path / "a", *BARE]
    assert run(*words, "--metrics", "naswot+angle") == 1
    assert "needs a trained supernet" in capsys.readouterr().err
    assert run(*words, "--metrics", "neighborhood(naswot(channels=3), samples=2)") == 1
    assert "channels must be even" in capsys.readouterr().err
    assert run(*words, "--metrics", "naswot") == 0


@pytest.mark.parametrize("samples", ["all", "5", None])
def test_truths_that_no_two_architectures_have_together(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], samples: str | None
) -> None:
    first, second = np.array([1.0, 2.0, 3.0, np.nan]), np.array([np.nan, np.nan, 3.0, 4.0])
    cells = [SPACE.from_index(index) for index in range(4)]
    Table(SPACE, "t", "", "", cells, {TEST: first, Column("cifar10", "test", 9): second}).save(tmp_path / "t.npz")
    words = ["rank", own, "--table", tmp_path / "t.npz", "--metrics", "angle"]
    assert run(*words, *(["--samples", samples] if samples else [])) == 1
    assert "At least two architectures must have all the truths, but 1 of t have: " in capsys.readouterr().err


def test_by_default_300_architectures_or_all_of_fewer(table: Path, tmp_path: Path) -> None:
    words = [word for word in BARE if word not in ("--samples", "12")]
    assert run("rank", "none", "--table", table, "--truth", "digits", *words, "--out", tmp_path / "out") == 0
    assert len(scores(tmp_path / "out")["live_edges (baseline)"]) == 30


def test_other_spaces_are_ranked_as_their_tables_have_them(tmp_path: Path) -> None:
    darts = space("darts")
    table = made_up_table(tmp_path / "darts.npz", darts)
    words = ["--table", table, "--truth", "digits", "--metrics", "count(operation=sep_conv_3x3)", *BARE, "--out"]
    assert run("rank", "none", *words, tmp_path / "out") == 0
    labels = [each["metric"] for each in result(tmp_path / "out")["rankings"][0]["metrics"]]
    assert labels == ["count(operation=sep_conv_3x3)", "live_edges", "random"]


def test_joined_by_ranks(own: Path, table: Path, tmp_path: Path) -> None:
    words = ["--table", table, "--truth", "digits", "--join", "rank", "--metrics", "angle,angle+macs", *BARE, "--out"]
    assert run("rank", own, *words, tmp_path / "out") == 0
    assert 0 <= scores(tmp_path / "out")["angle+macs"].min() < scores(tmp_path / "out")["angle+macs"].max() <= 2
    assert scores(tmp_path / "out")["angle"].max() <= np.pi


def test_the_join_reaches_into_neighbourhoods(own: Path, table: Path, tmp_path: Path) -> None:
    words = ["--table", table, "--truth", "digits", "--metrics", "neighborhood(angle+macs)", *BARE]
    for join in ("sum", "standardized"):
        assert run("rank", own, *words, "--join", join, "--out", tmp_path / join) == 0
    sums, standardized = (scores(tmp_path / join)["neighborhood(angle+macs)"] for join in ("sum", "standardized"))
    assert not np.allclose(sums, standardized)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("angle", ["angle"]),
        (" angle , loss", ["angle", "loss"]),
        ("flatness(stds=[1e-3,2e-3], alpha=2),angle", ["flatness(stds=[1e-3,2e-3], alpha=2)", "angle"]),
        ("neighborhood(angle, distance=2)+loss", ["neighborhood(angle, distance=2)+loss"]),
        ("angle,", ["angle", ""]),
    ],
)
def test_metrics_are_split_at_outer_commas(text: str, parts: list[str]) -> None:
    assert split_expressions(text) == parts


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metrics", "flatnes"], "Did you mean 'flatness'"),
        (["--metrics", "angle,angle"], "'angle' was given twice"),
        (["--metrics", "angle+macs,angle + macs"], "'angle + macs' was given twice"),
        (["--metrics", "angle,"], "must look like"),
        (["--truth", "digits,digits/test/5"], "'digits/test/5' is digits/test/5 again"),
        (["--resamples", "0", "--level", "0.5"], "belongs to intervals, but resamples is 0"),
        (["--metrics", "angle", "--join", "rank"], "joins several metrics in one"),
        (["--truth", "digitz"], "has no column digitz"),
        (["--samples", "1"], r"samples must lie in 2 .. 30"),
        (["--samples", "31"], r"samples must lie in 2 .. 30"),
        (["--data", "digits"], "data and its options are for runs none"),
        (["--workers", "0"], "workers must be at least 1"),
        (["--level", "1"], "level must lie between 0 and 1"),
        (["--seed", "-1"], "seed must not be negative"),
    ],
)
def test_wrong_requests(
    own: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    given = ["--table", table, "--truth", "digits", "--out", tmp_path / "out", *FAST]
    assert run("rank", own, *given, *words) in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.parametrize(
    ("runs", "words", "message"),
    [
        ("none", ["--out", "x", "--no-baselines"], "must be a metric or a baseline"),
        ("none", [], "needs a folder for its results"),
        ("none", ["--out", "x", "--metrics", "random,angle"], "angle: This metric needs a trained supernet"),
        ("none", ["--out", "x", "--data", "digits", "--metrics", "loss"], "needs a trained supernet"),
        ("none", ["--out", "x", "--metrics", "naswot"], "needs images"),
        ("none", ["--out", "x", "--metrics", "macs"], "needs images"),
        ("none", ["--out", "x", "--max-train", "99"], "options of the data set, but no --data; leave out data_options"),
        ("none", ["--out", "x", "--valid-images", "99"], "but no metric here evaluates them; leave out scoring."),
        ("none,a", ["--out", "x"], "runs must be folders separated by commas, or none"),
        ("a,,b", ["--out", "x"], "runs must be folders separated by commas, or none"),
        ("a,a", ["--out", "x"], "Each run must be given once"),
        ("a", ["--out", "x"], "A run folder has a config.yaml"),
    ],
)
def test_wrong_runs(
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    runs: str,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("rank", runs, "--table", table, "--truth", "digits", *BARE, *words) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_an_unfinished_supernet_is_refused_before_anything_is_measured(
    own: Path,
    table: Path,
    tmp_path: Path,
    evaluations: list[Architecture],
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = Path(shutil.copytree(own, tmp_path / "other"))
    (other / "weights.safetensors").unlink()
    words = ["--table", table, "--truth", "digits", "--metrics", "loss", *FAST, "--out", tmp_path / "out"]
    assert run("rank", f"{own},{other}", *words) == 1
    assert f"{other} must hold a finished supernet" in capsys.readouterr().err
    assert not evaluations
    assert not (tmp_path / "out").exists()


def test_a_table_of_another_space(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = made_up_table(tmp_path / "darts.npz", space("darts"))
    assert run("rank", own, "--table", table, "--truth", "digits", *FAST) == 1
    assert "is of nasbench201 and the table of darts; give another --table" in capsys.readouterr().err


def test_the_tool_is_the_verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tool = Path(__file__).resolve().parents[2] / "tools" / "kendall_tau.py"
    monkeypatch.setattr("sys.argv", ["kendall_tau.py", "--help"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(tool), run_name="__main__")
    assert caught.value.code == 0
    assert "usage: genas rank RUNS" in capsys.readouterr().out


def test_a_supernet_is_a_supernet_whatever_its_scores() -> None:
    same = [np.zeros(3), np.zeros(3)]
    assert len(ranking_scores._by_supernet(parse_metric("accuracy"), same)) == 2
    assert len(ranking_scores._by_supernet(parse_metric("neighborhood(loss)"), same)) == 2
    assert len(ranking_scores._by_supernet(parse_metric("naswot"), same)) == 1
    assert len(ranking_scores._by_supernet(parse_metric("count"), same)) == 1


def test_a_supernet_that_is_gone_is_told_before_the_first_is_measured(
    supernets: list[Path],
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    evaluations: list[Architecture],
) -> None:
    broken = Path(shutil.copytree(supernets[1], tmp_path / "broken"))
    (broken / "initial.safetensors").unlink()
    words = ["--table", table, "--truth", "digits", "--metrics", "loss", *FAST, "--out", tmp_path / "out"]
    assert run("rank", f"{supernets[0]},{broken}", *words) == 1
    assert "initial.safetensors" in capsys.readouterr().err
    assert not evaluations


def test_all_members_of_a_class_in_a_space_of_ones_own() -> None:
    class Own(NASBench201):
        index = SearchSpace.index

    known = Table(Own(), "t", "", "", [(3, 0, 0, 0, 0, 0), (3,) * 6], {TEST: [10.0, 20.0]}, isomorphic=True)
    assert len(sample(known, [TEST], "all", 0, unique=True)) == 2
    assert len(sample(known, [TEST], "all", 0, unique=False)) > 100
