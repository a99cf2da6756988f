"""Neural architecture search that prefers flat minima.

Sub-packages, from the lowest layer up: :mod:`genas.spaces` (architectures), :mod:`genas.data` (images on the device),
:mod:`genas.supernet` (networks and their training), :mod:`genas.metrics` (scores of subnets), :mod:`genas.search`
(searchers).
"""

from __future__ import annotations

from genas.version import __version__

__all__ = ["__version__"]
