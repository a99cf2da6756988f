from __future__ import annotations

import pickle

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
class TestEverySpace:
    """What the spaces of genas have beyond the contract of all spaces."""

    def test_is_a_value(self, name: str) -> None:
        made = space(name)
        made.sample(np.random.default_rng(0))
        assert made == space(name) == pickle.loads(pickle.dumps(made))  # noqa: S301
        assert hash(made) == hash(space(name))

    def test_a_valid_architecture_needs_no_randomness_to_be_repaired(self, name: str, rng: np.random.Generator) -> None:
        made = space(name)
        architecture = made.sample(rng)
        state = rng.bit_generator.state
        made.repair(architecture, rng)
        assert rng.bit_generator.state == state

    @pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
    def test_wrong_rate(self, name: str, rate: float, rng: np.random.Generator) -> None:
        made = space(name)
        with pytest.raises(ValueError, match=rf"rate must lie in \[0, 1\], but got {rate}"):
            made.mutate(made.sample(rng), rng, rate)

    def test_genes_as_text(self, name: str, rng: np.random.Generator) -> None:
        made = space(name)
        architecture = made.sample(rng)
        for text in (str(architecture), str(list(architecture)), ",".join(map(str, architecture))):
            assert made.parse(text) == architecture

    def test_neighbors_reject_wrong_radius_at_once(self, name: str, rng: np.random.Generator) -> None:
        made = space(name)
        with pytest.raises(ValueError, match="radius must be at least 1, but got 0"):
            made.neighbors(made.sample(rng), radius=0)

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


def test_base_class_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        SearchSpace()  # type: ignore[abstract]
