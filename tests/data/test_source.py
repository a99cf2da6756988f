from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genas.data import Pool, Request, Source


def pool(count: int = 4) -> Pool:
    return Pool.from_arrays("here", np.zeros((count, 2, 2), dtype=np.uint8), np.arange(count) % 2)


def test_contradictions() -> None:
    for valid, test in ((pool(), None), (None, pool())):
        with pytest.raises(ValueError, match="give them or those, not both"):
            Source(("a", "b"), pool(), valid, test, evaluation=pool())
    with pytest.raises(ValueError, match=r"mean and std go together, but got \(0.5,\) and None"):
        Source(("a", "b"), pool(), mean=(0.5,))


def test_paths_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert Request("npz:a.npz", "a.npz").path() == Path("a.npz")
    assert Request("npz:a.npz", "a.npz", Path("~/sets")).path() == Path("/home/me/sets/a.npz")
    assert Request("npz:~/a.npz", "~/a.npz", Path("sets")).path() == Path("/home/me/a.npz")
    assert Request("svhn", data_root=Path("~/sets")).root() == Path("/home/me/sets")


def test_grey_images_get_a_channel() -> None:
    assert pool().read(np.array([0, 3])).shape == (2, 2, 2, 1)
