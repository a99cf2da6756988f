"""Conformance suites: inherit one, define ``make``, and pytest runs the tests that every such plug-in must pass.

Example::

    class TestMyMetric(MetricContract):
        def make(self):
            return MyMetric(std=0.02)
"""

from __future__ import annotations

from genas.testing.metrics import MetricContract
from genas.testing.refusals import refuses
from genas.testing.searchers import SearcherContract
from genas.testing.spaces import SpaceContract
from genas.testing.supernets import tiny_supernet

__all__ = ["MetricContract", "SearcherContract", "SpaceContract", "refuses", "tiny_supernet"]
