"""Evolutionary search as in SPOS, RLNAS and GeNAS: children of the best architectures so far, none of them twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from deap import base, tools

from genas.choices import check_choices
from genas.search.constraint import Constraint
from genas.search.operators import crossed, deap_random, mutated
from genas.search.searcher import Searcher
from genas.search.unseen import Unseen
from genas.seeding import generator
from genas.spaces.base import Architecture, SearchSpace


@dataclass(frozen=True)
class EvolutionConfig:
    """Settings of the evolutionary search.

    Every generation is scored, so a search makes ``population * generations`` evaluations. The published codes make as
    many: they still generate children of the last generation, but do not score them.

    Args:
        population: Architectures per generation.
        generations: Number of generations, the random first one included.
        parents: Parents are drawn uniformly from this many best architectures of all generations.
        mutations: Children by mutation in each generation; by default half of the population.
        crossovers: Children by crossover in each generation; by default half of the population. Random architectures
            complete it.
        mutation_rate: Probability that a mutation redraws a gene; the redraw may hit the old value.
        mutated_genes: ``all``, or ``normal``: only those of the first cell type, as in GeNAS' code on DARTS.
        mutation_excludes_none: Whether to never mutate to ``none``, as in RLNAS' code on NAS-Bench-201.
        tries: Draws per wanted child after which random architectures replace missing mutations and crossovers.

    Raises:
        ValueError: If a number is out of range, or would do nothing.
    """

    population: int = 50
    generations: int = 20
    parents: int = 10
    mutations: int | None = None
    crossovers: int | None = None
    mutation_rate: float = 0.1
    mutated_genes: Literal["all", "normal"] = "all"
    mutation_excludes_none: bool = False
    tries: int = 10

    def __post_init__(self) -> None:
        for name in ("population", "generations", "parents", "tries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but got {getattr(self, name)}.")
        mutations, crossovers = self.children
        if min(mutations, crossovers) < 0 or mutations + crossovers > self.population:
            raise ValueError(
                f"mutations and crossovers must not be negative and fit into the population of {self.population}, "
                f"but got {mutations} + {crossovers}; set both, or neither for half of the population each."
            )
        if not 0 <= self.mutation_rate <= 1:
            raise ValueError(f"mutation_rate must lie in [0, 1], but got {self.mutation_rate}.")
        for name in ("mutation_rate", "mutated_genes", "mutation_excludes_none"):
            if not mutations and getattr(self, name) != getattr(EvolutionConfig, name):
                raise ValueError(f"{name} would do nothing with mutations=0; leave it out.")
        for name in ("parents", "tries"):
            if not mutations + crossovers and getattr(self, name) != getattr(EvolutionConfig, name):
                raise ValueError(f"{name} would do nothing without mutations and crossovers; leave it out.")
        check_choices(self)

    @property
    def children(self) -> tuple[int, int]:
        """Numbers of mutations and of crossovers in a generation."""
        half = self.population // 2
        return half if self.mutations is None else self.mutations, half if self.crossovers is None else self.crossovers


@final
class Evolution(Searcher):
    """Evolution with an archive of the best architectures so far (DEAP's hall of fame) as parents.

    The first generation is random. A later one is made of mutations and crossovers of parents, and of random
    architectures in place of those that could not be found. When the space is exhausted, generations shrink and the
    search ends early.

    Args:
        space: The search space.
        seed: Root seed.
        config: Settings.
        constraint: Limits on the cost; ``None``: no limits.
        dedup_key: Architectures with equal keys are scored once, such as ``space.supernet_key``.

    Reference:
        Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling, ECCV 2020, algorithm 1.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        config: EvolutionConfig = EvolutionConfig(),
        constraint: Constraint | None = None,
        dedup_key: Callable[[Architecture], Hashable] | None = None,
    ) -> None:
        super().__init__()
        if config.mutated_genes == "normal" and len(space.cell_types) == 1:
            raise ValueError(f"mutated_genes=normal needs several cell types, but {space.name} has one; leave it out.")
        self._space = space
        self._config = config
        self._rng = generator(seed, "search", "evolution")
        self._unseen = Unseen(space, constraint=constraint, dedup_key=dedup_key)
        self._archive = tools.HallOfFame(config.parents)
        self._generation = 0

    @property
    def budget(self) -> int:
        """``population * generations``."""
        return self._config.population * self._config.generations

    @property
    def archive(self) -> list[tuple[Architecture, float]]:
        """The parents of the next generation and their scores, best first."""
        return [(member.architecture, member.fitness.values[0]) for member in self._archive]

    def propose(self) -> list[Architecture]:
        """Return the next generation."""
        if self._generation == self._config.generations:
            scored = "1 generation was" if self._generation == 1 else f"{self._generation} generations were"
            return self.finish(f"{scored} scored")
        self._generation += 1
        children: list[Architecture] = []
        if len(self._archive):
            with deap_random(self._rng):
                for draw, wanted in zip((self._mutation, self._crossover), self._config.children, strict=True):
                    children += self._children(draw, wanted)
        while len(children) < self._config.population:
            architecture = self._unseen.sample(self._rng)
            if architecture is None:
                break
            children.append(architecture)
        return children or self.finish(self._unseen.exhausted_because)

    def learn(self, architectures: Sequence[Architecture], scores: np.ndarray) -> None:
        """Update the archive.

        Args:
            architectures: Architectures of the last generation whose evaluation succeeded.
            scores: Their scores.
        """
        pairs = zip(architectures, scores.tolist(), strict=True)
        self._archive.update([_Individual(architecture, _Score((score,))) for architecture, score in pairs])

    def _children(self, draw: Callable[[], Architecture], wanted: int) -> list[Architecture]:
        children: list[Architecture] = []
        for _ in range(self._config.tries * wanted):
            if len(children) == wanted:
                break
            child = draw()
            if self._unseen.claim(child):
                children.append(child)
        return children

    def _mutation(self) -> Architecture:
        config = self._config
        return mutated(
            self._space,
            self._parent(),
            self._rng,
            rate=config.mutation_rate,
            genes=len(self._space.cell_types[0].edges) if config.mutated_genes == "normal" else None,
            excludes_none=config.mutation_excludes_none,
        )

    def _crossover(self) -> Architecture:
        return crossed(self._space, self._parent(), self._parent(), self._rng)

    def _parent(self) -> Architecture:
        parent: Architecture = self._archive[int(self._rng.integers(len(self._archive)))].architecture
        return parent


class _Score(base.Fitness):  # type: ignore[misc]
    """DEAP's fitness: higher is better."""

    weights = (1.0,)


@dataclass(frozen=True)
class _Individual:
    """An architecture with the ``fitness`` that DEAP's tools expect."""

    architecture: Architecture
    fitness: _Score
