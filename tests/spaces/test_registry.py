from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from genas.spaces import SPACES, SearchSpace, space


def test_all_spaces_are_there() -> None:
    assert list(SPACES)[:7] == ["nasbench201", "darts", "darts7", "s1", "s2", "s3", "s4"]
    assert all(space(name).name == name for name in SPACES)


def test_unknown_space() -> None:
    with pytest.raises(KeyError, match=r"no search space named 'nasbench'. Did you mean 'nasbench201'\? Known: darts"):
        space("nasbench")


def test_not_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPACES._items, "wrong", dict)
    with pytest.raises(TypeError, match=r"'wrong' must be a subclass of genas.spaces.SearchSpace, but got dict"):
        space("wrong")


@pytest.mark.parametrize("name", list(SPACES))
class TestContract:
    """What every space promises, whatever its rules."""

    def test_is_a_value(self, name: str) -> None:
        made = space(name)
        made.sample(np.random.default_rng(0))
        assert made == space(name) == pickle.loads(pickle.dumps(made))  # noqa: S301
        assert hash(made) == hash(space(name))

    def test_vocabulary(self, name: str) -> None:
        made = space(name)
        assert made.operations[0] == "none"
        assert len(made.candidates) == len(made.choices) == made.num_genes
        for candidates, choices in zip(made.candidates, made.choices, strict=True):
            assert list(choices) == sorted({0, *candidates})
            assert list(candidates) == sorted(set(candidates))
            assert max(choices) < len(made.operations)

    def test_same_seed_same_draws(self, name: str) -> None:
        def draws(seed: int) -> list[tuple[int, ...]]:
            made, rng = space(name), np.random.default_rng(seed)
            first, second = made.sample(rng), made.sample(rng)
            return [first, second, made.mutate(first, rng), made.crossover(first, second, rng)]

        assert draws(0) == draws(0) != draws(1)

    def test_moves_stay_inside_the_space(self, name: str, rng: np.random.Generator) -> None:
        made = space(name)
        for _ in range(50):
            first, second = made.sample(rng), made.sample(rng)
            for child in (first, made.mutate(first, rng), made.crossover(first, second, rng), made.repair(first, rng)):
                assert made.check(child) == child
                assert all(type(gene) is int for gene in child)

    def test_valid_architectures_need_no_repair(self, name: str, rng: np.random.Generator) -> None:
        made = space(name)
        for _ in range(20):
            architecture = made.sample(rng)
            state = rng.bit_generator.state
            assert made.repair(architecture, rng) == architecture
            assert made.crossover(architecture, architecture, rng) == architecture
            assert made.check(np.array(architecture)) == architecture
            rng.bit_generator.state = state
            assert made.repair(architecture, rng) == architecture
            assert rng.bit_generator.state == state

    def test_mutation_always_changes(self, name: str, rng: np.random.Generator) -> None:
        made = space(name)
        parent = made.sample(rng)
        for rate in (0.0, 0.01, 0.1, 1.0):
            assert all(made.mutate(parent, rng, rate) != parent for _ in range(100))

    @pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
    def test_wrong_rate(self, name: str, rate: float, rng: np.random.Generator) -> None:
        made = space(name)
        with pytest.raises(ValueError, match=rf"rate must lie in \[0, 1\], but got {rate}"):
            made.mutate(made.sample(rng), rng, rate)

    def test_text_round_trip(self, name: str, rng: np.random.Generator) -> None:
        made = space(name)
        for _ in range(30):
            architecture = made.sample(rng)
            assert made.parse(made.format(architecture)) == architecture
            assert made.parse(str(architecture)) == made.parse(str(list(architecture))) == architecture
            assert made.parse(",".join(map(str, architecture))) == architecture

    def test_neighbors(self, name: str, rng: np.random.Generator) -> None:
        made = space(name)
        centre = made.sample(rng)
        near = list(made.neighbors(centre))
        assert len(set(near)) == len(near)
        assert list(made.neighbors(centre)) == near
        for neighbor in near:
            made.check(neighbor)
            assert made.distance(centre, neighbor) == made.distance(neighbor, centre) == 1
        assert centre in made.neighbors(near[len(near) // 2])

    def test_neighbors_reject_wrong_radius_at_once(self, name: str, rng: np.random.Generator) -> None:
        made = space(name)
        with pytest.raises(ValueError, match="radius must be at least 1, but got 0"):
            made.neighbors(made.sample(rng), radius=0)

    def test_distance_is_a_metric(self, name: str, rng: np.random.Generator) -> None:
        made = space(name)
        for _ in range(50):
            a, b, c = made.sample(rng), made.sample(rng), made.sample(rng)
            assert made.distance(a, a) == 0
            assert (made.distance(a, b) == 0) == (a == b)
            assert made.distance(a, b) == made.distance(b, a)
            assert made.distance(a, c) <= made.distance(a, b) + made.distance(b, c)

    def test_wrong_genes(self, name: str, rng: np.random.Generator) -> None:
        made = space(name)
        good = made.sample(rng)
        for method in (made.check, lambda genes: made.repair(genes, rng), made.format):
            with pytest.raises(ValueError, match=f"must have {len(good)} genes, but got {len(good) - 1}"):
                method(good[1:])
            with pytest.raises(
                ValueError, match=r"Gene 0 \(edge 0 -> [12] of the .*\) of .* must be one of 0 \(none\), .*got 9"
            ):
                method((9, *good[1:]))
            with pytest.raises(TypeError, match=r"Gene 1 must be an integer, but got 1\.5"):
                method((good[0], 1.5, *good[2:]))


def test_spaces_and_inspect_need_no_torch() -> None:
    code = "import sys, genas.spaces, genas.commands.inspect; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_base_class_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        SearchSpace()  # type: ignore[abstract]
