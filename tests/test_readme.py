"""The commands and listings of README.md for one's own images and for use as a library, at a tiny size."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genas.cli import main

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
TINY = {
    "train-supernet": "--image-size 8 --epochs 1 --channels 2 --cells 1 --batch-size 16 --probe 0 --threads 1",
    "evolve": "--population 4 --generations 2 --parents 2 --mutations 1 --crossovers 1 --workers 1",
}
SMALLER = {"image_size=32": "image_size=8", "epochs=100": "epochs=1", '"auto"': '"cpu"', "runs/demo": "runs/photos"}


def section(title: str) -> str:
    (found,) = re.findall(rf"^## {title}\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    return str(found)


def listings(title: str) -> list[str]:
    text = section(title)
    for ours, tiny in SMALLER.items():
        text = text.replace(ours, tiny)
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_listings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("birds", "cats", "dogs"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(256, size=(9, 11, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    commands = re.findall(r"^    genas (.*)$", section("Your own images"), re.MULTILINE)
    for command in commands:
        words = shlex.split(command, comments=True)
        assert main([*words, *TINY[words[0]].split(), "--device", "cpu", "--no-progress"]) == 0
    capsys.readouterr()

    train, _ = listings("Your own images")
    names: dict[str, Any] = {}
    exec(train, names)  # noqa: S102 (ours)
    assert 0 <= float(capsys.readouterr().out) <= 1
    assert names["scores"].shape == (len(names["images"]), 3)

    score, search = listings("As a library")
    exec(score, names)  # noqa: S102
    exec(search, names)  # noqa: S102
    *_, best = capsys.readouterr().out.splitlines()
    assert names["space"].parse(best) == names["found"].best
