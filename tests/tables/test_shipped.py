"""The table that comes with genas is what training its networks again gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from genas.commands.known_trainings import check_known
from genas.commands.standalone_network import StandaloneNetwork
from genas.commands.table_training import TrainingPlan, train_rows
from genas.data import DataOptions, load_data
from genas.spaces import NASBench201
from genas.spaces.nasbench201_cell import OPERATIONS
from genas.supernet import LearningRate, StandaloneSettings
from genas.tables import Column, Table, shipped_table

RECIPE = Path(__file__).resolve().parents[2] / "tools" / "recipes" / "table-cluttered-digits.yaml"


@pytest.fixture(scope="module")
def table() -> Table:
    return shipped_table()


@pytest.fixture(scope="module")
def plan() -> TrainingPlan:
    """What the recipe says."""
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    training = StandaloneSettings(
        **{**recipe["training"], "learning_rate": LearningRate(**recipe["training"]["learning_rate"])}
    )
    network = StandaloneNetwork(**recipe["network"])
    return TrainingPlan(recipe["space"], recipe["data"], DataOptions(), recipe["data"], network, training, seed=0)


def test_its_recipe_goes_on_from_it(table: Table, plan: TrainingPlan) -> None:
    known = check_known("shipped", plan, plan.load_data())
    assert known.fingerprint == table.fingerprint


def test_it_belongs_to_the_images_that_genas_makes(table: Table) -> None:
    assert table.checksum == load_data("cluttered-digits").fingerprint
    assert isinstance(table.space, NASBench201)
    assert table.isomorphic


def test_its_accuracies_are_plausible(table: Table) -> None:
    valid, test = (Column("cluttered-digits", kind, 1) for kind in ("valid", "test"))
    rows = table.covered(test)
    assert rows == table.covered(valid) == table.architectures
    assert len(rows) == 6_466, "every cell, but for isomorphic ones"
    assert np.ptp(table.values(test, rows)) > 10
    assert table.values(test, rows).max() > 88
    assert np.corrcoef(table.values(test, rows), table.values(valid, rows))[0, 1] > 0.95
    assert len(table.seeds(test)) == 3


def test_training_again_gives_the_same_within_the_noise_of_seeds(table: Table, plan: TrainingPlan) -> None:
    repeated = table.covered(table.find("cluttered-digits/seed=1"))
    readings = np.stack([table.values(each, repeated) for each in table.seeds(table.find("cluttered-digits"))])
    spread = readings.std(axis=0, ddof=1)
    convolutions = [sum(OPERATIONS[op].startswith("nor_conv") for op in cell) for cell in repeated]
    steady = [row for row in np.argsort(readings.mean(axis=0)) if spread[row] < 1 and convolutions[row] < 2]  # light
    rows = [steady[0], steady[-1]]
    torch.set_num_threads(1)
    again = train_rows(plan, 0, [repeated[row] for row in rows])
    found, expected = np.array([100 * again[repeated[row]][1] for row in rows]), readings[:, rows].mean(axis=0)
    assert np.diff(expected) > 12, "so that one is not within the noise of the other"
    assert (np.abs(found - expected) < 6).all()
