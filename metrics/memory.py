"""Storage of measurements in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import final

import numpy as np

from genas.spaces import Architecture


@final
class MemoryStore:
    """The default store of a context: it is lost with the context, and any thread may use it, unlike SQLite's."""

    def __init__(self) -> None:
        self._rows: defaultdict[str, dict[Architecture, np.ndarray]] = defaultdict(dict)

    def get(self, key: str, architectures: Iterable[Architecture]) -> dict[Architecture, np.ndarray]:
        """As :meth:`genas.scores.ScoreStore.get`."""
        rows = self._rows[key]
        return {architecture: rows[architecture] for architecture in architectures if architecture in rows}

    def put(self, key: str, rows: Mapping[Architecture, np.ndarray]) -> None:
        """As :meth:`genas.scores.ScoreStore.put`."""
        self._rows[key].update(rows)
