"""What a search depends on, before there is a supernet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genas.commands.evolve_plan import EvolvePlan
from genas.commands.standalone_network import StandaloneNetwork
from genas.errors import UnreadSettingError
from genas.metrics import Context, Noise, ScoringSettings
from genas.search import EvolutionConfig
from genas.spaces import space

DEFAULTS: dict[str, Any] = {
    "run": Path("/runs/a"),
    "metric": "angle+flatness",
    "join": "sum",
    "noise": Noise(),
    "alpha": 1.0,
    "epsilon": 0.0,
    "repeat_dilated_weight": False,
    "scoring": ScoringSettings(),
    "searcher": "evolution",
    "evolution": EvolutionConfig(),
    "max_macs": None,
    "max_params": None,
    "cost_of": "standalone",
    "standalone": StandaloneNetwork(),
    "skip_twins": False,
    "seed": 0,
    "search_seed": 0,
    "device": "cpu",
    "precision": "fp32",
}


def plan(**changed: Any) -> EvolvePlan:
    return EvolvePlan(**(DEFAULTS | changed))


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({}, "angle+flatness-0"),
        ({"seed": 3, "search_seed": 3}, "angle+flatness-3"),
        ({"seed": 3, "search_seed": 4}, "angle+flatness-search_seed=4-3"),
        ({"metric": "angle + 2*flatness(alpha=0.5)"}, "angle+2xflatness_alpha=0.5-0"),
        ({"searcher": "random", "max_macs": 5, "max_params": 6}, "angle+flatness-random-max_macs=5-max_params=6-0"),
        ({"metric": "angle+loss", "join": "log_rank", "searcher": "exhaustive"}, "angle+loss-log_rank-exhaustive-0"),
    ],
)
def test_folders_are_named_after_what_is_unusual(changed: dict[str, Any], name: str) -> None:
    assert plan(**changed).folder_name == name


def test_long_metrics_have_folders_with_short_names() -> None:
    terms = "+".join(f"flatness(alpha=0.{number})" for number in range(1, 10))
    names = [plan(metric=f"{terms}+{last}", max_macs=10**9).folder_name for last in ("loss", "angle")]
    assert len(set(names)) == 2
    assert max(map(len, names)) < 200


def test_all_settings_are_part_of_the_run() -> None:
    """A search goes on in a folder only if every one of them is the same."""
    settings = plan(max_params=7).settings(Path("/elsewhere"))
    assert settings == DEFAULTS | {"max_params": 7, "command": "evolve", "tables in metrics": []}
    assert plan().settings(Path("/runs/a/searches/b"))["run"] == "../.."


@pytest.mark.parametrize(
    ("changed", "message", "settings"),
    [
        (
            {"cost_of": "subnet", "standalone": StandaloneNetwork(8)},
            "standalone is the size of another",
            ("standalone",),
        ),
        ({"metric": "angle", "alpha": 2.0}, "alpha is read by flatness", ("noise", "alpha", "epsilon")),
        ({"metric": "flatness(alpha=0.5)", "alpha": 2.0}, "each flatness in the metric has its own alpha", ("alpha",)),
        ({"metric": "angle", "scoring": ScoringSettings(9)}, "scoring sets how subnets are", ("scoring",)),
        ({"metric": "angle", "join": "standardized"}, "join=standardized joins several metrics", ("join",)),
        ({"searcher": "exhaustive", "search_seed": 1}, "needs no seed of its own", ("search_seed",)),
        ({"searcher": "exhaustive", "evolution": EvolutionConfig(9)}, "of a search that is not exhau", ("evolution",)),
        ({"searcher": "random", "evolution": EvolutionConfig(tries=9)}, "no other settings", ("evolution.tries",)),
    ],
)
def test_what_nothing_reads_is_refused(changed: dict[str, Any], message: str, settings: tuple[str, ...]) -> None:
    with pytest.raises(UnreadSettingError, match=message) as error:
        plan(**changed)
    assert error.value.settings == settings


def test_where_no_two_architectures_are_twins_there_are_none_to_skip() -> None:
    context = Context.untrained(space("darts"))
    plan(run=Path("run")).make_searcher(context)
    with pytest.raises(UnreadSettingError, match="no two architectures of darts are the same path of a supernet"):
        plan(run=Path("run"), skip_twins=True).make_searcher(context)


def test_ranks_need_all_architectures_at_once() -> None:
    with pytest.raises(ValueError, match="join=rank needs the searcher exhaustive"):
        plan(join="rank")
