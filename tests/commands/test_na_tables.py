"""The tables of Neighborhood-Aware NAS: on made-up landscapes with a known outcome, and on the real table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genas.cli import main
from genas.commands import na_experiments as experiments
from genas.commands.na_experiments import Landscape
from genas.commands.na_published import DATASETS, PUBLISHED
from genas.spaces import DARTS, NASBench201
from genas.spaces.listing import all_architectures
from genas.spaces.neighborhoods import AGGREGATES, aggregated_everywhere, variance_everywhere
from genas.tables import Column, Table, load_table
from genas.tables.nasbench201_csv import import_nasbench201_csv

SPACE = NASBench201()
SHAPE = (5,) * 6
SMALL = ["--searches", "3", "--steps", "10", "--repeats", "2", "--architectures", "30", "--best", "20"]


def smooth(seed: int) -> np.ndarray:
    """Errors that are a sum over genes, between 0 and 60 percent."""
    gains = np.random.default_rng(seed).uniform(0, 10, size=(6, 5))
    return np.sum(np.stack(np.meshgrid(*gains, indexing="ij")), axis=0)


@pytest.fixture(scope="module")
def landscape() -> Landscape:
    """The truth is smooth, the search sees it through noise."""
    truth = smooth(0)
    seen = truth + np.random.default_rng(1).normal(0, 8, size=SHAPE)
    return Landscape(SPACE, seen, {"one": truth, "two": truth**2})


def test_noise_is_averaged_away(landscape) -> None:
    taus = experiments.rankings(landscape, seed=0)
    assert list(taus) == ["baseline", *AGGREGATES]
    assert taus["mean"]["one"].shape == (10,)
    for name in ("one", "two"):
        assert np.all(taus["mean"][name] > taus["baseline"][name])
    np.testing.assert_allclose(taus["mean"]["one"], taus["mean"]["two"])  # a monotone map changes no rank


def test_samples_are_paired_and_seeded(landscape) -> None:
    first, again, other = (experiments.rankings(landscape, seed, 20, 4) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first["mean"]["one"], again["mean"]["one"])
    assert not np.array_equal(first["mean"]["one"], other["mean"]["one"])
    twins = Landscape(SPACE, landscape.search, {"x": landscape.search})
    np.testing.assert_allclose(experiments.rankings(twins, 0)["baseline"]["x"], 1.0)


def test_flat_and_sharp_halve_the_best_by_variance(landscape) -> None:
    rows = experiments.flat_and_sharp(landscape, best=10)
    best = np.argsort(landscape.search.ravel())[:10]
    variance = variance_everywhere(landscape.search).ravel()
    flat, sharp = np.split(best[np.argsort(variance[best])], 2)
    for name, half in (("flat", flat), ("sharp", sharp)):
        assert rows[name]["search"][0] == pytest.approx(landscape.search.ravel()[half].mean())
        assert rows[name]["variance"][0] == pytest.approx(variance[half].mean())
        assert rows[name]["std"][0] == pytest.approx(np.sqrt(variance[half]).mean())
        assert rows[name]["two"][0] == pytest.approx(landscape.truths["two"].ravel()[half].mean())
    assert rows["flat"]["variance"] < rows["sharp"]["variance"]


def test_the_best_of_each_criterion(landscape) -> None:
    rows = experiments.best_by_criterion(landscape, best=1)
    assert rows["baseline"]["search"] == landscape.search.min()
    for how, errors in landscape.criteria.items():
        assert rows[how]["one"] == landscape.truths["one"].ravel()[errors.argmin()]
    with pytest.raises(ValueError, match=r"best must lie in 1 \.\. 15625, but got 0"):
        experiments.best_by_criterion(landscape, best=0)


def test_an_exhaustive_search_finds_the_optimum(landscape) -> None:
    plain = experiments.random_searches(landscape, 0, evaluations=20_000, repeats=1)
    assert plain["evaluations"].tolist() == [15_625]
    assert plain["one"] == landscape.truths["one"].ravel()[landscape.search.argmin()]


def test_neighbourhood_searches_are_judged_by_the_truth(landscape) -> None:
    rows = experiments.neighborhood_searches(landscape, 0, steps=30, samples=10, aggregate="mean", repeats=4)
    assert rows["one"].shape == (4,)
    assert np.all(rows["evaluations"] <= 300)
    np.testing.assert_allclose(rows["one"] ** 2, rows["two"])
    plain = experiments.random_searches(landscape, 0, evaluations=300, repeats=4)
    for found in (rows, plain):
        assert found["one"].mean() < np.quantile(landscape.truths["one"], 0.1)


def test_each_aggregate_chooses_by_itself_among_the_same_neighbourhoods() -> None:
    noise = np.random.default_rng(3).uniform(0, 100, size=SHAPE)
    rugged = Landscape(SPACE, noise, {"cell": np.arange(float(SPACE.size)).reshape(SHAPE)}, distance=1, penalty=0.5)
    found = {
        how: int(experiments.neighborhood_searches(rugged, 0, 200, 25, how, repeats=1)["cell"][0]) for how in AGGREGATES
    }
    for how, chosen in found.items():
        criterion = -aggregated_everywhere(-noise, how, distance=1, penalty=0.5).ravel()
        assert criterion[chosen] == min(criterion[each] for each in found.values())
    assert len(set(found.values())) > 2


# --------------------------------------------------------------------------------------------------------- command line


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables: one with columns like those of NAS-Bench-201, one with a single validation column, one of DARTS."""
    folder, cells = tmp_path_factory.mktemp("tables"), all_architectures(SPACE)
    rng = np.random.default_rng(2)
    truth = 100 - smooth(0).ravel()
    columns = {Column.parse(f"{name}/test/200"): truth for name in DATASETS}
    seen = np.clip(truth + rng.normal(0, 3, truth.size), 0, 100)
    columns |= {Column.parse("cifar10-valid/valid/12"): seen, Column.parse("cifar100/valid/12"): seen}
    columns |= {Column.parse("cifar10/test/12"): seen, Column.parse("cifar10/test/200/seed=7"): truth}
    Table(SPACE, "like", "made up", "", cells, columns).save(str(folder / "like.npz"))
    own = {Column.parse("own/valid/5"): seen, Column.parse("own/test/5"): truth, Column.parse("own/test/2"): seen}
    Table(SPACE, "own", "made up", "", cells, own).save(folder / "own.npz")
    both = {Column.parse("own/valid/5"): seen, Column.parse("else/valid/5"): seen}
    Table(SPACE, "both", "made up", "", cells, both).save(folder / "both.npz")
    darts = DARTS().sample(rng)
    Table(
        DARTS(), "few", "made up", "", [darts], {Column("own", "valid", 5): [1.0], Column("own", "test", 5): [1.0]}
    ).save(folder / "few.npz")
    return folder


def na_tables(table: Path | str, *words: str) -> int:
    return main(["na-tables", str(table), *SMALL, *words])


def test_tables_are_printed_and_written(files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert na_tables(files / "like.npz", "--out", str(tmp_path / "na.json")) == 0
    text = capsys.readouterr().out
    result: dict[str, Any] = json.loads((tmp_path / "na.json").read_text())
    assert result["columns"] == {
        "search": "cifar10-valid/valid/12",
        **{name: f"{name}/test/200" for name in DATASETS},
    }
    assert list(result["results"]) == list("ABCDE")
    taus = result["results"]["B"]["mean"]["cifar10"]
    assert np.mean(taus["values"]) == pytest.approx(taus["mean"])
    assert np.std(taus["values"], ddof=1) == pytest.approx(taus["std"])
    assert set(result["results"]["D"]) == {"random search", *(f"{how} of 10" for how in AGGREGATES)}
    plain = result["results"]["D"]["random search"]
    assert plain["evaluations"]["values"] == [10 * 10] * 3, "as many as the neighbourhoods have members"
    like = Landscape.of(
        load_table(str(files / "like.npz")),
        Column.parse("cifar10-valid/valid/12"),
        {"cifar10": Column.parse("cifar10/test/200")},
        distance=1,
        penalty=1.0,
    )
    expected = experiments.random_searches(like, 0, evaluations=100, repeats=3)
    assert plain["cifar10"]["values"] == expected["cifar10"].tolist()
    assert set(result["results"]["E"]) == {"mean of 10", "mean of 25", "median of 10", "median of 25"}
    assert "0.66±0.03  0.66±0.02       0.64±0.03" in text  # the paper's baseline of table B
    assert "What differs from the paper: the search-time error is that of cifar10-valid/valid/12 instead of" in text
    assert "architectures 30 instead of 100; repeats 2 instead of 10; steps 10 instead of 100" in text
    assert "neighbors" not in text
    assert result["published"]["A"]["sharp"]["imagenet16-120"] == [56.41, None]


def test_distance_and_penalty_are_those_of_all_tables(files, tmp_path: Path) -> None:
    words = ["--distance", "2", "--penalty", "0.5", "--neighbors", "40", "--out", str(tmp_path / "na.json")]
    assert na_tables(files / "own.npz", *words) == 0
    results: dict[str, Any] = json.loads((tmp_path / "na.json").read_text())["results"]
    own, cells = load_table(str(files / "own.npz")), all_architectures(SPACE)
    errors = (100 - own.values(Column("own", "valid", 5), cells)).reshape(SHAPE)
    variance = variance_everywhere(errors, 2).ravel()
    for how in AGGREGATES:
        criterion = -aggregated_everywhere(-errors, how, distance=2, penalty=0.5)
        best = np.argsort(criterion.ravel(), kind="stable")[:20]
        assert results["C"][how]["search"]["mean"] == pytest.approx(errors.ravel()[best].mean())
        assert results["C"][how]["variance"]["mean"] == pytest.approx(variance[best].mean())
    landscape = Landscape(SPACE, errors, {"own": errors}, distance=2, penalty=0.5)
    for how in AGGREGATES:
        again = experiments.neighborhood_searches(landscape, 0, 10, 40, how, repeats=3)
        assert results["D"][f"{how} of 40"]["evaluations"]["values"] == again["evaluations"].tolist()


def test_the_same_seed_gives_the_same_numbers(files, tmp_path: Path) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert na_tables(files / "own.npz", "--seed", seed, "--out", str(tmp_path / name)) == 0
    first, again, other = (json.loads((tmp_path / name).read_text())["results"] for name in "abc")
    assert first == again
    assert first["B"] != other["B"]
    assert first["C"] == other["C"]


def test_another_table_has_no_published_numbers_beside_it(files, capsys: pytest.CaptureFixture[str]) -> None:
    assert na_tables(files / "own.npz", "--neighbors", "4") == 0
    text = capsys.readouterr().out
    assert "own: a search sees own/valid/5; it is judged by own/test/5." in text
    assert "paper" not in text
    assert "median of 4" in text


def test_the_shipped_table_has_all_that_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert na_tables("shipped") == 0
    seen, judge = "cluttered-digits/valid/1", "cluttered-digits/test/1"
    assert f"cluttered-digits: a search sees {seen}; it is judged by {judge}." in capsys.readouterr().out


def test_columns_can_be_chosen(files, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--search", "cifar100/valid", "--truth", "cifar10/test/200/seed=7,cifar10"]
    assert na_tables(files / "like.npz", *words) == 0
    text = capsys.readouterr().out
    assert "a search sees cifar100/valid/12; it is judged by cifar10/test/200/seed=7, cifar10/test/200." in text


def test_another_judge_than_the_papers_is_named(files, capsys: pytest.CaptureFixture[str]) -> None:
    assert na_tables(files / "like.npz", "--truth", "cifar10/test/200/seed=7") == 0
    assert "cifar10/test/200/seed=7 is the judge instead of cifar10/test/200;" in capsys.readouterr().out
    assert na_tables(files / "like.npz", "--truth", "cifar10/test/200") == 0
    assert "is the judge" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("table", "words", "message"),
    [
        ("both", [], "Choose what a search sees with --search: both has else/valid/5, own/valid/5"),
        ("both", ["--search", "own/valid"], "choose a truth among else/valid/5"),
        ("like", ["--search", "cifar100"], "judged by, but sees cifar100/test/200; choose another truth, or a search"),
        (
            "like",
            ["--search", "cifar10/test/200/seed=7"],
            "but sees cifar10/test/200/seed=7, which has accuracies of cifar10/test/200;",
        ),
        ("few", [], "must have every combination of genes and at most 131,072 of them"),
        ("like", ["--truth", "cifar11"], "The table like has no column cifar11"),
        ("like", ["--best", "7"], "best must be an even number, to be halved into flat and sharp, but got 7"),
        ("like", ["--architectures", "1"], "architectures must lie in 2 .. 15625, but got 1"),
        ("like", ["--searches", "0"], "must be at least 1, but got 2, 10, 0 and"),
        ("like", ["--neighbors", "[0]"], "must be at least 1"),
        ("like", ["--neighbors", "10,26"], "neighbors must be at most 25, all that lie within distance 1, but got 26"),
        ("like", ["--distance", "0"], "distance must lie in 1 .. 6, the number of genes, but got 0"),
        ("like", ["--distance", "7"], "distance must lie in 1 .. 6, the number of genes, but got 7"),
        ("like", ["--penalty", "-1"], "penalty must be a non-negative number, but got -1.0"),
        ("like", ["--truth", "cifar10,cifar10/test/200"], "Each truth must be given once, but 'cifar10/test/200' is"),
        ("nowhere", [], "no table at"),
        ("like", ["--out", "."], "out must be a file, but . is a folder; give na.json."),
    ],
)
def test_wrong_arguments_say_what_to_do(
    files, table: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert na_tables(files / f"{table}.npz", *words) == 1
    assert message in capsys.readouterr().err


def test_a_table_with_gaps_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {Column("own", kind, 5): [1.0] for kind in ("valid", "test")}
    Table(SPACE, "one cell", "", "", [(0,) * 6], values).save(tmp_path / "one.npz")
    assert na_tables(tmp_path / "one.npz") == 1
    assert "a table of all 15,625 architectures, but own/test/5 of one cell lacks 15,624" in capsys.readouterr().err


def test_errors_that_tie_have_no_tau(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = all_architectures(SPACE)
    values = {Column("own", kind, 5): np.full(len(cells), 50.0) for kind in ("valid", "test")}
    Table(SPACE, "level", "", "", cells, values).save(tmp_path / "level.npz")
    assert na_tables(tmp_path / "level.npz", "--out", str(tmp_path / "new" / "out.json")) == 0
    found = json.loads((tmp_path / "new" / "out.json").read_text())["results"]["B"]["baseline"]["own"]
    assert found == {"mean": None, "std": None, "values": [None, None]}
    assert "nan" not in capsys.readouterr().out


def test_another_truth_beside_the_papers_does_not_hide_its_numbers(
    files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    like, cells = load_table(str(files / "like.npz")), all_architectures(SPACE)
    more = {column: like.values(column, cells) for column in like.columns}
    more[Column("cifar10-valid", "test", 200)] = more[Column("cifar10", "test", 200)]
    Table(SPACE, "more", "made up", "", cells, more).save(tmp_path / "more.npz")
    assert na_tables(tmp_path / "more.npz") == 0
    shown = capsys.readouterr().out
    assert "cifar10-valid/test/200" in shown
    assert "paper" in shown


# ------------------------------------------------------------------------------------------------------------ real data


def test_published_rows_are_those_of_the_tables() -> None:
    for letter, rows in {"A": 2, "B": 5, "C": 5, "D": 5, "E": 4}.items():
        assert len(PUBLISHED[letter]) == rows
        assert all(set(DATASETS) <= row.keys() for row in PUBLISHED[letter].values())


def test_neighbourhood_means_rank_better_on_nasbench201(shared_data: Path) -> None:
    """The paper's direction, with the validation accuracy after 12 epochs as what a search sees."""
    table = import_nasbench201_csv(shared_data / "nasbench201.csv.gz")
    truths = {name: table.find(name) for name in DATASETS}
    landscape = Landscape.of(table, table.find("cifar10-valid/valid/12"), truths, distance=1, penalty=1.0)
    taus = experiments.rankings(landscape, seed=0, architectures=100, repeats=10)
    for name, least in zip(DATASETS, (0.03, 0.04, 0.04), strict=True):
        gains = taus["mean"][name] - taus["baseline"][name]
        assert gains.shape == (10,)
        assert gains.mean() > least
        assert np.count_nonzero(gains > 0) >= 9
        assert gains.mean() > 3 * gains.std(ddof=1) / np.sqrt(10)
        assert taus["worst"][name].mean() < taus["baseline"][name].mean()  # as in the paper
