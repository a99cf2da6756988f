"""Every shipped recipe is read by its verb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from genas.arguments import read_command_line
from genas.cli import main
from genas.commands.evolve import evolve
from genas.configuration_files import recipes
from genas.search import EvolutionConfig

FOLDER = Path(__file__).resolve().parents[1] / "tools" / "recipes"


def test_all_are_shipped() -> None:
    assert list(recipes()) == sorted(path.stem for path in FOLDER.glob("*.yaml"))
    assert {"demo", "demo-evolve"} <= set(recipes())


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_its_verb_reads_it_whole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, verb = recipes()[name].split()
    assert program == "genas"
    assert main([verb, "runs/x", "--config", name, "--print-config"]) == 0
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert_part(yaml.safe_load(text), yaml.safe_load(capsys.readouterr().out))


def assert_part(recipe: dict[str, Any], settings: dict[str, Any]) -> None:
    """Every value of the recipe has arrived."""
    for name, value in recipe.items():
        if isinstance(value, dict):
            assert_part(value, settings[name])
        else:
            assert settings[name] == value


@pytest.mark.parametrize(
    ("name", "population", "parents", "other"),
    [
        ("spos", 50, 10, {}),
        ("rlnas-nasbench201", 100, 30, {"mutation_excludes_none": True}),
        ("genas-darts", 50, 10, {"mutated_genes": "normal"}),
    ],
)
def test_searches_have_the_published_numbers(name: str, population: int, parents: int, other: dict[str, Any]) -> None:
    arguments = read_command_line(evolve, "genas evolve", ["run", "--config", f"evolve-{name}"]).arguments
    assert arguments["evolution"] == EvolutionConfig(population, 20, parents, mutation_rate=0.1, **other)
    assert arguments["evolution"].children == (population // 2, population // 2)
