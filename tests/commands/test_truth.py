"""Accuracies and ranks of what a search has found."""

from __future__ import annotations

from pathlib import Path

import pytest

from genas.commands.truth import Truth
from genas.spaces import NASBench201
from genas.tables import Column, Table

SPACE = NASBench201()
A, B = Column("cifar10", "test", 200), Column("cifar100", "test", 200)
FOUR = [SPACE.from_index(index) for index in (100, 200, 300, 400)]


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of four cells, two are equally good; the second column lacks one."""
    place = tmp_path_factory.mktemp("table") / "four.npz"
    columns = {
        A: dict(zip(FOUR, (90.0, 93.0, 93.0, 91.0), strict=True)),
        B: dict(zip(FOUR[:3], (70.0, 60.0, 50.0), strict=True)),
    }
    Table.from_accuracies(SPACE, "four", "", "", columns).save(place)
    return str(place)


def test_equal_accuracies_share_the_better_rank(path: str) -> None:
    (truth,) = Truth.load(path, [], SPACE, "cifar10")
    assert truth.column == A
    assert [truth.place(cell)["rank"] for cell in FOUR] == [4, 1, 1, 3]
    assert truth.text(FOUR[3]) == "cifar10/test/200: 91.00 %, rank 3 of 4"


def test_what_the_table_lacks_has_no_rank(path: str) -> None:
    _, truth = Truth.load(path, ["cifar10", "cifar100"], SPACE, "digits")
    assert truth.place(FOUR[3]) == {"accuracy": None, "rank": None, "of": 3}
    assert truth.text(FOUR[3]) == "cifar100/test/200: the table does not have this architecture"


def test_a_truth_is_given_once(path: str) -> None:
    with pytest.raises(ValueError, match="Each truth must be given once, but 'cifar10/test' is cifar10/test/200 again"):
        Truth.load(path, ["cifar10", "cifar10/test"], SPACE, "digits")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cifar10-valid"], "cifar10-valid"),  # trained on a part of it, the only one that is known
        (["cifar10", "cifar10-valid"], "cifar10"),
        (["cifar10-valid", "cifar10-valid0.3"], None),
        (["svhn"], None),
    ],
)
def test_by_default_the_truth_is_of_the_data_set_that_was_searched_on(
    names: list[str], expected: str | None, tmp_path: Path
) -> None:
    columns = {Column(name, "test", 200): {FOUR[0]: 90.0} for name in names}
    Table.from_accuracies(SPACE, "one", "", "", columns).save(tmp_path / "one.npz")
    if expected is None:
        with pytest.raises(KeyError, match="Say which column is the truth with --truth"):
            Truth.load(str(tmp_path / "one.npz"), [], SPACE, "cifar10")
    else:
        (truth,) = Truth.load(str(tmp_path / "one.npz"), [], SPACE, "cifar10")
        assert truth.column.dataset == expected


def test_a_table_without_test_accuracies_judges_by_the_validation_accuracy(tmp_path: Path) -> None:
    """As one that genas build-table makes of a folder of images."""
    both = {Column("photos-valid", kind, 30): {FOUR[0]: 90.0} for kind in ("valid", "test")}
    for columns, kind in ((both, "test"), ({Column("photos-valid", "valid", 30): {FOUR[0]: 90.0}}, "valid")):
        Table.from_accuracies(SPACE, "own", "", "", columns).save(tmp_path / "own.npz")
        (truth,) = Truth.load(str(tmp_path / "own.npz"), [], SPACE, "folder:somewhere/photos")
        assert truth.column.kind == kind


def test_ranks_of_a_table_of_classes_are_among_classes() -> None:
    table = Table.from_accuracies(SPACE, "one", "", "", {A: {FOUR[0]: 90.0}}, isomorphic=True)
    assert Truth(table, A).text(FOUR[0]) == "cifar10/test/200: 90.00 %, rank 1 of 1 classes"
