"""Checks that randomness comes from arguments alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def check_globals_do_not_matter(draw: Callable[[], Any]) -> None:
    """Check that something neither depends on the global generators of Python, numpy and torch nor changes them.

    Args:
        draw: Called twice, under different global seeds; its results must be equal.

    Raises:
        AssertionError: If they are not, or a global generator has moved.
    """
    python_state, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        results = []
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
            before = _global_states()
            results.append(draw())
            assert before == _global_states(), "a global generator was used or left changed"
        assert results[0] == results[1]
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)


def _global_states() -> tuple[object, str, list[int]]:
    return random.getstate(), str(np.random.get_state(legacy=False)), torch.get_rng_state().tolist()  # noqa: NPY002
