from __future__ import annotations

import json
from typing import Any

import pytest

from genas.commands.inspect import inspect
from genas.spaces import GENOTYPES

ALL_3X3 = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"


def facts(capsys: pytest.CaptureFixture[str], architecture: str, **options: Any) -> dict[str, Any]:
    inspect(architecture, json=True, **options)
    printed = json.loads(capsys.readouterr().out)
    assert isinstance(printed, dict)
    return printed


@pytest.mark.parametrize("notation", [ALL_3X3, "1462", "3,3,3,3,3,3"])
def test_golden_values(capsys: pytest.CaptureFixture[str], notation: str) -> None:
    printed = facts(capsys, notation)
    assert (printed["index"], printed["params"], printed["macs"]) == (1462, 1531546, 220119690)
    assert (printed["space"], printed["string"], printed["genes"]) == ("nasbench201", ALL_3X3, [3] * 6)
    assert printed["live_macs"] == printed["macs"]
    assert printed["live_edges"][-1] == {"cell": "cell", "source": 2, "target": 3, "operation": "nor_conv_3x3"}
    assert len(printed["live_edges"]) == 6
    assert printed["angle_key"] == [[0, 3, 2], [1, 3, 1], [2, 3, 1], [3, 3, 1], [4, 3, 1], [5, 3, 2]]
    assert printed["skeleton"]["channels"] == 16


def test_dead_edges_count_in_macs_but_are_not_live(capsys: pytest.CaptureFixture[str]) -> None:
    printed = facts(capsys, "3,0,0,1,0,0")
    assert [edge["operation"] for edge in printed["live_edges"]] == ["skip_connect"]
    assert printed["macs"] - printed["live_macs"] == 35_389_440
    assert printed["supernet_key"] == "x"


def test_darts(capsys: pytest.CaptureFixture[str]) -> None:
    printed = facts(capsys, "DARTS_V2", space="darts")
    assert printed["params"] == 3_349_342
    assert "index" not in printed
    assert len(printed["live_edges"]) == 16
    assert printed["skeleton"]["kind"] == "darts-cifar"
    assert " ".join(map(str, printed["genes"][:14])) == GENOTYPES["DARTS_V2"].split(" / ")[0]


def test_options_reach_the_skeleton(capsys: pytest.CaptureFixture[str]) -> None:
    printed = facts(capsys, "DARTS_V2", space="darts", num_classes=1000, image_size=224, channels=48)
    assert (printed["params"], printed["macs"]) == (4_718_752, 529_911_552)
    subnet = facts(capsys, "DARTS_V2", space="darts", network="supernet", channels=8, cells=4, image_channels=1)
    expected = {"kind": "darts-search", "channels": 8, "cells": 4, "image_channels": 1, "affine": True}
    assert subnet["skeleton"].items() >= expected.items()


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    inspect("1462")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "space         nasbench201",
        "index         1462",
        f"string        {ALL_3X3}",
        "genes         3,3,3,3,3,3",
    ]
    assert "params        1,531,546" in lines
    assert "macs          220,119,690" in lines
    assert lines[-6:] == [
        "live_edges    cell 0 -> 1 nor_conv_3x3",
        "              cell 0 -> 2 nor_conv_3x3",
        "              cell 1 -> 2 nor_conv_3x3",
        "              cell 0 -> 3 nor_conv_3x3",
        "              cell 1 -> 3 nor_conv_3x3",
        "              cell 2 -> 3 nor_conv_3x3",
    ]


def test_disconnected_cell(capsys: pytest.CaptureFixture[str]) -> None:
    inspect("1651")
    assert "live_edges    none: input and output are not connected" in capsys.readouterr().out


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="but got 'nor_conv_3x3'"):
        inspect("nor_conv_3x3")
    with pytest.raises(KeyError, match="Did you mean 'nasbench201'"):
        inspect("1462", space="nasbench101")
