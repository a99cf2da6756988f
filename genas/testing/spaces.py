"""Tests that every search space must pass."""

from __future__ import annotations

import abc
import itertools
import math
import pickle
from collections.abc import Callable, Hashable

import numpy as np

from genas.seeding import generator
from genas.spaces import Architecture, SearchSpace, Skeleton
from genas.testing.global_generators import check_globals_do_not_matter
from genas.testing.refusals import refuses

_FEW = 20_000


class SpaceContract(abc.ABC):
    """Tests for every search space. One of at most 20,000 gene vectors is also compared with its full list."""

    @abc.abstractmethod
    def make(self) -> SearchSpace:
        """Return the space."""

    def samples(self, count: int, seed: int = 0) -> list[Architecture]:
        """Return random architectures of the space."""
        rng, space = generator(seed, "testing"), self.make()
        return [space.sample(rng) for _ in range(count)]

    def everything(self) -> list[Architecture] | None:
        """Return all valid architectures by trying all vectors, or ``None`` if there are too many."""
        space = self.make()
        if math.prod(len(choices) for choices in space.choices) > _FEW:
            return None
        return [genes for genes in itertools.product(*space.choices) if _accepts(space.check, genes)]

    def test_genes_fit_the_cells(self) -> None:
        """There is one gene per edge, and its choices are increasing positions in the vocabulary."""
        space = self.make()
        assert space.operations[0] == "none"
        assert len(set(space.operations)) == len(space.operations)
        assert len(space.choices) == len(space.candidates) == space.num_genes
        for gene in (*space.choices, *space.candidates):
            assert list(gene) == sorted(set(gene)) != []
            assert 0 <= gene[0] <= gene[-1] < len(space.operations)

    def test_samples_are_valid_and_differ(self) -> None:
        """Random architectures pass ``check`` unchanged, as Python integers."""
        space, samples = self.make(), self.samples(100)
        for architecture in samples:
            checked = space.check(np.array(architecture).tolist())
            assert checked == architecture
            assert all(type(gene) is int for gene in (*architecture, *checked))
        assert len(set(samples)) > min(100, space.size) // 2

    def test_size_and_sampling_agree_with_the_full_list(self) -> None:
        """``size`` is exact, and each operation is drawn as often as a uniform draw would."""
        everything = self.everything()
        if everything is None:
            return
        assert self.make().size == len(everything)
        truth, drawn = np.array(everything), np.array(self.samples(2000))
        for operation in range(len(self.make().operations)):
            expected, seen = (truth == operation).mean(axis=0), (drawn == operation).mean(axis=0)
            assert np.all(np.abs(seen - expected) <= 5 * np.sqrt(expected * (1 - expected) / len(drawn)))

    def test_bad_genes_are_refused(self) -> None:
        """Too few, too many, and unknown genes raise a ``ValueError``."""
        space, architecture = self.make(), self.samples(1)[0]
        for genes in (architecture[:-1], (*architecture, 0), (-1, *architecture[1:]), (10**6, *architecture[1:]), ()):
            with refuses(ValueError):
                space.check(genes)
            with refuses(ValueError):
                space.repair(genes, generator(0))

    def test_repair_leaves_valid_genes_and_mends_others(self) -> None:
        """``repair`` changes only invalid genes."""
        space, rng = self.make(), generator(1)
        for architecture in self.samples(20):
            assert space.repair(architecture, rng) == architecture
            genes = [int(rng.choice(choices)) for choices in space.choices]
            repaired = space.repair(genes, rng)
            assert space.check(repaired) == repaired

    def test_mutation_changes_every_gene_sooner_or_later(self) -> None:
        """A mutant is valid and never its parent, and every gene can change."""
        space, rng = self.make(), generator(2)
        parent = self.samples(1)[0]
        children = [space.mutate(parent, rng, rate) for rate in (0.0, 0.1, 1.0) for _ in range(100)]
        assert all(space.check(child) == child != parent for child in children)
        changed = np.array(children) != np.array(parent)
        free = np.array([len(choices) > 1 for choices in space.choices])
        assert np.array_equal(changed.any(axis=0), free)
        for rate in (-0.1, 1.1):
            with refuses(ValueError):
                space.mutate(parent, rng, rate)

    def test_crossover_of_equals_is_the_parent(self) -> None:
        """Children are valid; equal parents have only themselves as a child."""
        space, rng = self.make(), generator(3)
        for first, second in itertools.pairwise(self.samples(20)):
            assert space.crossover(first, first, rng) == first
            child = space.crossover(first, second, rng)
            assert space.check(child) == child

    def test_neighbors_are_valid_distinct_and_nearest_first(self) -> None:
        """``neighbors`` is repeatable, and in step with ``distance``."""
        space, centre = self.make(), self.samples(1)[0]
        for radius in (1, 2):
            found = list(itertools.islice(space.neighbors(centre, radius), _FEW))
            assert found == list(itertools.islice(space.neighbors(centre, radius), _FEW))
            assert len(set(found)) == len(found) > 0
            distances = [space.distance(centre, neighbor) for neighbor in found]
            assert distances == sorted(distances)
            assert 1 <= distances[0] <= distances[-1] <= radius
            assert all(space.check(neighbor) == neighbor for neighbor in found[:200])
        with refuses(ValueError):
            list(space.neighbors(centre, 0))

    def test_neighbors_agree_with_the_full_list(self) -> None:
        """No neighbour is missing; in a large space, the relation is symmetric."""
        space, everything = self.make(), self.everything()
        centre = self.samples(1)[0]
        near = set(space.neighbors(centre))
        if everything is None:
            assert all(centre in set(space.neighbors(neighbor)) for neighbor in list(near)[:10])
        else:
            assert near == {other for other in everything if space.distance(centre, other) == 1}

    def test_distance_is_a_metric(self) -> None:
        """Identity, symmetry and the triangle inequality hold."""
        space = self.make()
        samples = self.samples(60)
        for first, second, third in zip(samples, samples[1:], samples[2:], strict=False):
            assert space.distance(first, first) == 0
            assert space.distance(first, second) == space.distance(second, first)
            assert (space.distance(first, second) == 0) == (first == second)
            assert space.distance(first, third) <= space.distance(first, second) + space.distance(second, third)

    def test_text_round_trip(self) -> None:
        """``parse`` inverts ``format``, and refuses nonsense."""
        space = self.make()
        for architecture in self.samples(20):
            assert space.parse(space.format(architecture)) == architecture
        for text in ("", "no such architecture"):
            with refuses(ValueError):
                space.parse(text)

    def test_keys_are_equal_for_equal_architectures(self) -> None:
        """The three keys are hashable, and the same in a space made anew."""
        space, other = self.make(), self.make()
        for architecture in self.samples(20):
            for name in ("unique_key", "supernet_key", "angle_key"):
                key, again = getattr(space, name)(architecture), getattr(other, name)(architecture)
                assert key == again
                assert hash(key) == hash(again)

    def test_a_representative_is_of_the_same_class(self) -> None:
        """One member of each class of equal supernet keys stands for all of them, itself included."""
        space = self.make()
        chosen: dict[Hashable, Architecture] = {}
        for architecture in self.samples(200):
            representative = space.supernet_representative(architecture)
            assert space.supernet_key(representative) == space.supernet_key(architecture)
            assert space.supernet_representative(representative) == representative
            assert chosen.setdefault(space.supernet_key(architecture), representative) == representative

    def test_skeletons_have_cells_of_the_space(self) -> None:
        """Both networks use every cell type."""
        space = self.make()
        for skeleton in (space.supernet_skeleton(10, 32), space.standalone_skeleton(10, 32)):
            assert isinstance(skeleton, Skeleton)
            kinds = {block.cell_type for block in skeleton.blocks if block.kind == "cell"}
            assert kinds == set(range(len(space.cell_types)))

    def test_randomness_comes_from_the_argument_alone(self) -> None:
        """No global generator is read or left changed."""
        space, parents = self.make(), self.samples(2)

        def draws() -> list[Architecture]:
            rng = generator(4)
            moves = [space.sample(rng), space.mutate(parents[0], rng), space.crossover(parents[0], parents[1], rng)]
            return [*moves, space.repair([choices[-1] for choices in space.choices], rng)]

        check_globals_do_not_matter(draws)

    def test_travels_to_other_processes(self) -> None:
        """A pickled copy is the same space."""
        space = self.make()
        copy = pickle.loads(pickle.dumps(space))  # noqa: S301 - of our own making
        assert copy.name == space.name
        assert [copy.sample(generator(5)) for _ in range(3)] == [space.sample(generator(5)) for _ in range(3)]


def _accepts(check: Callable[[Architecture], object], genes: Architecture) -> bool:
    try:
        check(genes)
    except ValueError:
        return False
    return True
