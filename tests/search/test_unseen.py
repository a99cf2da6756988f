"""No architecture twice, none that is not allowed, none missing in a small space, and always an end."""

from __future__ import annotations

import collections
import itertools
from types import SimpleNamespace

import pytest

from genas.errors import InfeasibleError
from genas.search import Constraint
from genas.search.unseen import Unseen
from genas.seeding import generator
from genas.spaces import DARTS, Cost, NASBench201


class ThreeBits:
    """Vectors of three bits, of which two are set: a space in which not every vector is valid."""

    name = "three-bits"
    choices = ((0, 1),) * 3

    def check(self, genes):
        if sum(genes) != 2:
            raise ValueError("two bits must be set")
        return genes

    def sample(self, rng):
        return [(0, 1, 1), (1, 0, 1), (1, 1, 0)][rng.integers(3)]


def drain(unseen: Unseen, seed: int = 0) -> list[tuple[int, ...]]:
    rng = generator(seed)
    return list(iter(lambda: unseen.sample(rng), None))


def genes_as_cost(architecture: tuple[int, ...]) -> Cost:
    return Cost(params=sum(architecture), macs=1 + sum(architecture))


def test_small_space_is_drained_to_the_last() -> None:
    unseen = Unseen(ThreeBits())
    assert sorted(drain(unseen)) == [(0, 1, 1), (1, 0, 1), (1, 1, 0)]
    assert unseen.exhausted_because == "all 3 architectures of three-bits were proposed"


def test_of_each_class_of_equal_architectures_one_is_proposed() -> None:
    unseen = Unseen(ThreeBits(), dedup_key=lambda genes: genes[0])
    assert sorted(genes[0] for genes in drain(unseen)) == [0, 1]
    assert unseen.exhausted_because == "all 2 classes of equal architectures of three-bits were proposed"


def test_listing_finds_what_sampling_does_not() -> None:
    never = SimpleNamespace(**{"name": "x", "choices": ((0, 1),) * 3, "check": tuple, "sample": lambda _: (0, 0, 0)})
    orders = {tuple(drain(Unseen(never), seed)) for seed in range(20)}
    assert all(sorted(order) == list(itertools.product((0, 1), repeat=3)) for order in orders)
    assert len(orders) > 10


def test_order_is_uniform() -> None:
    orders = collections.Counter(tuple(drain(Unseen(ThreeBits(), patience=9), seed)) for seed in range(600))
    assert len(orders) == 6
    assert all(abs(count - 100) < 5 * (600 * 1 / 6 * 5 / 6) ** 0.5 for count in orders.values())


def test_claim_takes_once() -> None:
    unseen = Unseen(NASBench201())
    assert unseen.claim((1,) * 6)
    assert not unseen.claim((1,) * 6)
    assert unseen.claim((2,) * 6)


def test_equal_keys_count_as_one() -> None:
    unseen = Unseen(NASBench201(), dedup_key=sum)
    assert unseen.claim((1, 0, 0, 0, 0, 0))
    assert not unseen.claim((0, 1, 0, 0, 0, 0))
    assert {sum(architecture) for architecture in drain(unseen)} == {0, *range(2, 25)}


def test_what_is_not_allowed_does_not_use_up_its_key() -> None:
    limit = Constraint(lambda architecture: Cost(macs=1 + architecture[0]), max_macs=1)
    unseen = Unseen(NASBench201(), constraint=limit, dedup_key=sum)
    assert not unseen.claim((1, 0, 0, 0, 0, 0))
    assert unseen.claim((0, 1, 0, 0, 0, 0))


def test_forty_allowed_architectures_are_all_found() -> None:
    limit = Constraint(lambda architecture: Cost(macs=1 + int("".join(map(str, architecture)), 5)), max_macs=40)
    unseen = Unseen(NASBench201(), constraint=limit)
    assert sorted(drain(unseen)) == list(itertools.islice(NASBench201().architectures(), 40))
    assert unseen.exhausted_because == "all 40 architectures of nasbench201 with macs <= 40 were proposed"


def test_large_space_ends_after_patience() -> None:
    space, rng = DARTS(), generator(0)
    few = [space.sample(rng) for _ in range(5)]
    limit = Constraint(lambda architecture: Cost(macs=1 if architecture in few else 2), max_macs=1)
    unseen = Unseen(space, constraint=limit, patience=50)
    assert unseen.claim(few[0])
    assert unseen.sample(rng) is None
    assert unseen.exhausted_because == "50 random architectures of darts had no new one with macs <= 1 among them"


def test_infeasible_small_space_names_the_smallest_of_all() -> None:
    unseen = Unseen(NASBench201(), constraint=Constraint(lambda arch: Cost(sum(arch) + 7, sum(arch) + 5), 4, 100))
    message = (
        "must have macs <= 4 and params <= 100, but none of all architectures of nasbench201 does: "
        "the smallest macs is 5, the smallest params is 7. Raise the limit"
    )
    with pytest.raises(InfeasibleError, match=message):
        unseen.sample(generator(0))


def test_infeasible_large_space_names_the_smallest_seen() -> None:
    unseen = Unseen(DARTS(), constraint=Constraint(genes_as_cost, max_params=1), patience=30)
    message = r"params <= 1, but none of 30 random architectures of darts does: the smallest params is \d\d\."
    with pytest.raises(InfeasibleError, match=message):
        unseen.sample(generator(0))


def test_patience_must_be_positive() -> None:
    with pytest.raises(ValueError, match="patience must be at least 1, but got 0"):
        Unseen(NASBench201(), patience=0)
