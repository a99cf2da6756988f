"""What a search of a supernet's subnets is made of; what would do nothing, or fail later, is refused."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, final

from genas.commands.metric_checks import check_inputs, refuse_needless_join, refuse_unread
from genas.commands.standalone_network import StandaloneNetwork
from genas.errors import UnreadSettingError
from genas.metrics import (
    POOL_JOINS,
    Angle,
    Context,
    CostOf,
    Flatness,
    Join,
    Macs,
    Metric,
    Noise,
    Params,
    ScoringSettings,
    TableAccuracy,
    architecture_cost,
    parse_metric,
    parse_terms,
    table_fingerprints,
    within,
)
from genas.runs import leaves
from genas.search import Constraint, Evolution, EvolutionConfig, RandomSearch, Searcher
from genas.seeding import generator
from genas.spaces import Architecture, Cost, SearchSpace
from genas.spaces.listing import is_listable

SearcherName = Literal["evolution", "random", "exhaustive"]

_LONGEST_EXPRESSION = 120
"""Letters of a metric in the name of a folder; file systems allow 255 for the whole name."""


@final
@dataclass(frozen=True)
class EvolvePlan:
    """Everything that the result of ``genas evolve`` depends on; the fields are described at its command.

    Raises:
        UnreadSettingError: If nothing reads a setting.
        ValueError: If the settings do not fit together.
    """

    run: Path
    metric: str
    join: Join
    noise: Noise
    alpha: float
    epsilon: float
    repeat_dilated_weight: bool
    scoring: ScoringSettings
    searcher: SearcherName
    evolution: EvolutionConfig
    max_macs: int | None
    max_params: int | None
    cost_of: CostOf
    standalone: StandaloneNetwork
    skip_twins: bool
    seed: int
    search_seed: int
    device: str
    precision: str

    def __post_init__(self) -> None:
        if self.cost_of == "subnet" and self.standalone != StandaloneNetwork():
            raise UnreadSettingError(
                "standalone is the size of another network than the subnet, whose cost counts", "standalone"
            )
        _refuse_unused(self.scored_by, self._own)
        refuse_unread(self.scoring, [self.scored_by])
        refuse_needless_join(self.join, [self.scored_by])
        _refuse_partial_tables(self.scored_by)
        self._check_searcher()

    @functools.cached_property
    def _own(self) -> Mapping[str, Metric]:
        """The metrics that have options of their own, by name."""
        size = self.standalone.channels, self.standalone.cells
        return {
            "angle": Angle(self.repeat_dilated_weight),
            "flatness": Flatness(self.noise, self.alpha, self.epsilon),
            "macs": Macs(self.cost_of, *size),
            "params": Params(self.cost_of, *size),
        }

    @functools.cached_property
    def scored_by(self) -> Metric:
        """The metric."""
        return parse_metric(self.metric, settings=self._own, join=self.join)

    @functools.cached_property
    def parts(self) -> Mapping[str, Metric]:
        """The metrics that it is made of, by name; one of weight 0 is not."""
        terms = parse_terms(self.metric, settings=self._own, join=self.join)
        return {name: term.metric for name, term in terms.items() if term.gamma > 0}

    @property
    def folder_name(self) -> str:
        """Name of the folder, like ``neighborhood_angle_distance=2-max_macs=50000000-0``."""
        expression = self.metric.replace(" ", "").replace("*", "x")
        expression = re.sub(r"[^\w.+=-]+", "_", expression).strip("_")  # no shell reads it
        if len(expression) > _LONGEST_EXPRESSION:
            digest = hashlib.sha256(self.metric.encode()).hexdigest()[:8]
            expression = f"{expression[:_LONGEST_EXPRESSION]}-{digest}"
        numbers = {
            "max_macs": self.max_macs,
            "max_params": self.max_params,
            "search_seed": None if self.search_seed == self.seed else self.search_seed,
        }
        unusual = [each for each in (self.join, self.searcher) if each not in ("sum", "evolution")]
        given = [f"{name}={value}" for name, value in numbers.items() if value is not None]
        return "-".join([expression, *unusual, *given, str(self.seed)])

    def settings(self, folder: Path) -> dict[str, Any]:
        """The settings of a run in a folder."""
        # A search that lies in its supernet's folder moves with it.
        place = folder.resolve()
        run = os.path.relpath(self.run, place) if place.is_relative_to(self.run) else self.run
        known = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"command": "evolve", **known, "run": run, "tables in metrics": table_fingerprints([self.scored_by])}

    def cost(self, context: Context) -> Callable[[Architecture], Cost]:
        """The cost that counts, of each architecture."""
        channels, cells = self.standalone.channels, self.standalone.cells
        return functools.partial(architecture_cost, context, of=self.cost_of, channels=channels, cells=cells)

    def make_searcher(self, context: Context) -> Searcher:
        """A new searcher of the context's space; one that would list a space too large for it is refused."""
        space = context.space
        limited = self.max_macs is not None or self.max_params is not None
        constraint = Constraint(self.cost(context), self.max_macs, self.max_params) if limited else None
        if self.skip_twins and type(space).supernet_representative is SearchSpace.supernet_representative:
            raise UnreadSettingError(
                f"no two architectures of {space.name} are the same path of a supernet", "skip_twins"
            )
        key = space.supernet_key if self.skip_twins else None
        if self.searcher == "evolution":
            return Evolution(space, seed=self.search_seed, config=self.evolution, constraint=constraint, dedup_key=key)
        evaluations, batch = self._size(space)
        return RandomSearch(
            space,
            seed=self.search_seed,
            evaluations=evaluations,
            batch=batch,
            constraint=constraint,
            dedup_key=key,
        )

    def try_out(self, context: Context) -> None:
        """Refuse what would fail only later: missing inputs, sizes without a network, limits that nothing satisfies."""
        example = context.space.sample(generator(self.seed, "input check"))
        check_inputs(context, [self.scored_by], [example])
        self.cost(context)(example)
        searcher = self.make_searcher(context)
        if self.max_macs is not None or self.max_params is not None:
            searcher.ask()

    def _size(self, space: SearchSpace) -> tuple[int, int]:
        """Numbers of evaluations, and of those in a batch, of a search that is no evolution."""
        if self.searcher == "random":
            return self.evolution.population * self.evolution.generations, self.evolution.population
        if not is_listable(space):
            raise ValueError(
                f"An exhaustive search needs a space that can be listed, but {space.name} cannot; evolve it."
            )
        return space.size, space.size

    def _check_searcher(self) -> None:
        """Refuse settings of another searcher."""
        if self.join in POOL_JOINS and self.searcher != "exhaustive":
            raise ValueError(
                f"A rank belongs to architectures that are scored together: join={self.join} needs the searcher "
                "exhaustive."
            )
        if self.searcher == "exhaustive" and self.search_seed != self.seed:
            raise UnreadSettingError("an exhaustive search needs no seed of its own", "search_seed")
        if self.searcher == "exhaustive" and self.evolution != EvolutionConfig():
            raise UnreadSettingError("evolution has settings of a search that is not exhaustive", "evolution")
        default = EvolutionConfig(self.evolution.population, self.evolution.generations)
        given = vars(self.evolution).items()
        others = [f"evolution.{name}" for name, value in given if value != getattr(default, name)]
        if self.searcher == "random" and others:
            raise UnreadSettingError(
                "a random search has population and generations, but no other settings of the evolution", *others
            )


def _refuse_unused(metric: Metric, own: Mapping[str, Metric]) -> None:
    """An option of a metric that is not used, or that sets its own value in the text, would do nothing."""
    for name, options in {"angle": ["repeat_dilated_weight"], "flatness": ["noise", "alpha", "epsilon"]}.items():
        used = [_settings(each) for each in within(metric) if each.name == name]
        default = _settings(type(own[name])())
        for option, value in _settings(own[name]).items():
            if value == default[option]:
                continue
            if not used:
                raise UnreadSettingError(f"{option} is read by {name}, which is not part of the metric", *options)
            if all(each.get(option, default[option]) != value for each in used):
                raise UnreadSettingError(f"each {name} in the metric has its own {option}", option)


def _refuse_partial_tables(metric: Metric) -> None:
    """A search may come to any architecture: a table that lacks some would end it in the middle."""
    for each in within(metric):
        if isinstance(each, TableAccuracy) and not each.is_total:
            raise ValueError(
                f"A search by a table needs the accuracy of every architecture, but {each.column} of "
                f"{each.table.name} has {len(each.table.covered(each.column)):,}; choose another metric or table."
            )


def _settings(metric: Metric) -> dict[str, Any]:
    """The arguments of a metric by their full names, like ``noise.kind``."""
    return dict(leaves(dataclasses.asdict(cast(Any, metric))))
