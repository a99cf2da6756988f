"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from genas.metrics import Context
from genas.spaces import Architecture


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tiny networks are slower on several threads, above all beside other workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real CIFAR images and NAS-Bench-201 accuracies; its tests are skipped where it is missing."""
    folder = Path(os.environ.get("GENAS_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set GENAS_SHARED_DATA to its folder")
    return folder


@pytest.fixture
def forbid_networks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it makes every further evaluation of a subnet an error."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network ran")

    return lambda: monkeypatch.setattr("genas.metrics.context.evaluate", refuse)


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[Architecture]:
    """The architectures that contexts have evaluated since, one entry per call."""
    seen: list[Architecture] = []
    original = Context.evaluate

    def counted(self: Context, architecture: Architecture, *noise: Any) -> Any:
        seen.append(architecture)
        return original(self, architecture, *noise)

    monkeypatch.setattr(Context, "evaluate", counted)
    return seen
