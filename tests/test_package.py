"""The package as a whole: what ``import genas`` gives."""

from __future__ import annotations

import subprocess
import sys

import pytest

import genas


def test_sub_packages_are_imported_when_they_are_asked_for() -> None:
    script = (
        "import sys, genas; assert 'torch' not in sys.modules and 'genas.spaces' not in sys.modules;"
        "assert genas.spaces.space('nasbench201').size == 15_625; assert 'torch' not in sys.modules;"
        "assert genas.metrics.METRICS['angle'] is genas.metrics.Angle"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_names_that_are_no_sub_packages_are_unknown() -> None:
    assert {"metrics", "supernet", "__version__"} <= set(dir(genas))
    with pytest.raises(AttributeError, match="module 'genas' has no attribute 'metric'"):
        _ = genas.metric
