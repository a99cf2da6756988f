from __future__ import annotations

import itertools
import pickle
import random
from typing import Any

import pytest

from genas.tables import Column, dataset_of, is_part
from genas.tables.column import read_parts

EXAMPLES = {
    "cifar10/test/200": Column("cifar10", "test", 200),
    "cifar10-valid/valid/12": Column("cifar10-valid", "valid", 12),
    "cifar10-valid/valid/200/seed=888/at=90": Column("cifar10-valid", "valid", 200, 888, 90),
    "imagenet16-120/valtest/200/at=1": Column("imagenet16-120", "valtest", 200, at=1),
    "cifar10/test/200/seed=any": Column("cifar10", "test", 200, "any"),
    "2024/test/10": Column("2024", "test", 10),
    "cluttered-digits/test/5/seed=0": Column("cluttered-digits", "test", 5, seed=0),
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_text_form(text: str) -> None:
    assert Column.parse(text) == EXAMPLES[text]
    assert str(EXAMPLES[text]) == text
    assert Column.parse(f" {text}\n") == EXAMPLES[text]


def test_data_sets_and_readings_are_not_confused() -> None:
    apart = [*EXAMPLES.values(), Column("cifar10", "valid", 12), Column("cifar10-valid", "test", 200)]
    assert len({*apart}) == len(apart)
    assert pickle.loads(pickle.dumps(apart)) == apart  # noqa: S301 - our own


def test_order() -> None:
    """By data set, kind, length; then the end of the training first, means first, seeds by number."""
    texts = [
        "a/test/12",
        "a/test/200",
        "a/test/200/seed=any",
        "a/test/200/seed=0",
        "a/test/200/seed=3",
        "a/test/200/seed=20",
        "a/test/200/at=9",
        "a/test/200/seed=1/at=9",
        "a/test/200/at=90",
        "a/valid/1",
        "b/test/1",
    ]
    columns = [Column.parse(text) for text in texts]
    random.Random(0).shuffle(shuffled := [*columns])
    assert [str(each) for each in sorted(shuffled)] == texts
    for first, second in itertools.combinations(columns, 2):
        assert first < second
        assert not second <= first
    with pytest.raises(TypeError, match="not supported between"):
        _ = columns[0] < "a"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cifar10",
        "cifar10/test",
        "cifar10/200",
        "cifar10/test/200/888",
        "cifar10/test/200/at=9/seed=1",
        "cifar10/test/200/seed=-1",
        "cifar10/test/200/seed=all",
        "cifar10/test/-200",
        "cifar10/test/200/",
        "/test/200",
        "cifar10/test/1e2",
    ],
)
def test_other_texts(text: str) -> None:
    with pytest.raises(ValueError, match=r"must look like DATASET/KIND/EPOCHS.*but got '"):
        Column.parse(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("ImageNet16-120", "test", 200), r"lower-case letters.*got 'ImageNet16-120'. Write 'imagenet16-120'"),
        (("a b", "test", 200), "lower-case letters.*got 'a b'.$"),
        (("cifar10", "tests", 200), "kind must be one of valid, test, valtest, but got 'tests'. Did you mean 'test'"),
        (("cifar10", "test", 0), "epochs must be at least 1, but got 0"),
        (("cifar10", "test", 12, -1), r"seed must lie in 0 \.\. 10\^19 - 1, but got -1"),
        (("cifar10", "test", 12, 10**19), r"seed must lie in 0 \.\. 10\^19 - 1"),  # text of a column could not be read
        (("cifar10", "test", 12, "888"), "seed must be a number, 'any' or None, but got '888'"),
        (("cifar10", "test", 12, None, 12), "less than the 12 epochs .*, but got 12; leave it out for the end"),
        (("cifar10", "test", 12, None, 0), "at must be at least 1 and less than the 12 epochs .*, but got 0"),
    ],
)
def test_values_that_can_not_be(values: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Column(*values)


def test_parts_of_a_text() -> None:
    assert read_parts("cifar10") == {"dataset": "cifar10"}
    assert read_parts("cifar10/12") == {"dataset": "cifar10", "epochs": 12}
    assert read_parts("c/valid/seed=any/at=3") == {"dataset": "c", "kind": "valid", "seed": "any", "at": 3}


@pytest.mark.parametrize(
    ("share", "name"), [(1 / 8, "-valid0.125"), (0.4996, "-valid"), (0.1002, "-valid0.1"), (0, "")]
)
def test_names_of_parts_count_in_thousandths(share: float, name: str) -> None:
    assert dataset_of("c", held_out=share) == f"c{name}"


@pytest.mark.parametrize("held_out", [0, 0.5, 0.001, 0.1, 0.125, 0.37, 0.999, 0.9999])
@pytest.mark.parametrize("max_train", [None, 7, 50_000])
@pytest.mark.parametrize("image_size", [None, 8, 224])
def test_every_name_of_a_part_is_known_as_one(held_out: float, max_train: int | None, image_size: int | None) -> None:
    name = dataset_of("npz:flowers-102.npz", held_out=held_out, max_train=max_train, image_size=image_size)
    assert is_part(name, "flowers-102")
    assert not is_part(name, "flowers")
    Column(name, "test", 1)


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ("my-photos", "my"),
        ("cifar10-c", "cifar10"),
        ("cifar100", "cifar10"),
        ("cifar100-valid", "cifar10"),
        ("flowers-102", "flowers"),
        ("imagenet16-120", "imagenet16"),
        ("c-valid300", "c"),
        ("c-valid0.1234", "c"),
        ("c-valid-", "c"),
        ("c-validation", "c"),
        ("c-max", "c"),
        ("c-px", "c"),
        ("c-8px-max7", "c"),
        ("c-max7-valid", "c"),
        ("c-valid-c", "c"),
        ("c", "c-valid"),
        ("x-valid", "."),
    ],
)
def test_names_that_only_begin_alike_are_no_parts(other: str, name: str) -> None:
    assert not is_part(other, name)
