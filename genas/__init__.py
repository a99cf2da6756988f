"""Neural architecture search that prefers flat minima.

Sub-packages, from the lowest layer up: :mod:`genas.spaces` (architectures), :mod:`genas.data` (images on the device),
:mod:`genas.supernet` (networks and their training), :mod:`genas.metrics` (scores of subnets), :mod:`genas.search`
(searchers).
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from genas.version import __version__

__all__ = ["__version__"]

_PACKAGES = ("data", "metrics", "report", "search", "spaces", "supernet", "tables", "testing")


def __getattr__(name: str) -> ModuleType:
    """Import a sub-package when it is first asked for, so that ``import genas`` stays quick and needs no torch."""
    if name in _PACKAGES:
        return import_module(f"genas.{name}")
    raise AttributeError(f"module 'genas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PACKAGES])
