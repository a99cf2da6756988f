"""Every metric against the conformance suite."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from genas.metrics import METRICS, parse_metric
from genas.testing import MetricContract

SMALL = "(channels=4, cells=1)"
EXPRESSIONS = {
    **{name: name for name in METRICS if name not in ("table", "neighborhood")},
    **{name: name + SMALL for name in ("naswot", "synflow", "log_synflow", "grad_norm", "jacob_cov")},
    "mean_angle": "neighborhood(angle)",
    "random_neighbors": "neighborhood(params, samples=4, distance=2, aggregate=median)",
    "hessian_flatness": "flatness(kind=hessian)",
}


for _name, _expression in EXPRESSIONS.items():
    globals()[f"Test_{_name}"] = type(
        f"Test_{_name}", (MetricContract,), {"make": lambda _, expression=_expression: parse_metric(expression)}
    )


def test_the_loop_above_saw_the_metrics() -> None:
    assert {"Test_angle", "Test_flatness", "Test_naswot", "Test_macs", "Test_mean_angle"} <= set(globals())


def test_the_metric_of_the_contributing_guide_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = [each for each in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "WorstAccuracy" in each]
    (tmp_path / "worst_of_the_guide.py").write_text("\n".join(blocks), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    suite = importlib.import_module("worst_of_the_guide").TestWorstAccuracy()
    tests = [name for name in dir(suite) if name.startswith("test_")]
    assert len(tests) == 8
    for name in tests:
        getattr(suite, name)()
