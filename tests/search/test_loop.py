"""The search loop and its result; resuming by replay from the score store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genas.errors import GenasError
from genas.scores import ScoreStore
from genas.search import Batch, Evolution, EvolutionConfig, RandomSearch, SearchResult, search
from genas.spaces import Architecture, NASBench201

CONFIG = EvolutionConfig(population=10, generations=6, parents=4, mutations=4, crossovers=4)


def histories_equal(first: SearchResult, second: SearchResult) -> bool:
    return len(first.history) == len(second.history) and all(
        a.number == b.number
        and a.architectures == b.architectures
        and np.array_equal(a.scores, b.scores, equal_nan=True)
        for a, b in zip(first.history, second.history, strict=True)
    )


class StoredScore:
    """Scores from a store; measures only what is not in it, and is killed after some measurements."""

    def __init__(self, store: ScoreStore, measurements_left: int) -> None:
        self.store = store
        self.measurements_left = measurements_left

    def __call__(self, architectures: list[Architecture]) -> np.ndarray:
        found = self.store.get("k", architectures)
        for architecture in architectures:
            if architecture not in found:
                if self.measurements_left == 0:
                    raise KeyboardInterrupt
                self.measurements_left -= 1
                value = np.nan if architecture[0] == 0 else np.sin(np.dot(architecture, [1, 2, 3, 5, 7, 11]))
                self.store.put("k", {architecture: np.array([value])})
        rows = self.store.get("k", architectures)
        return np.array([rows[architecture][0] for architecture in architectures])


@pytest.mark.parametrize("killed_after", [0, 13, 59])
def test_a_killed_search_replays_to_the_same_history(tmp_path: Path, killed_after: int) -> None:
    with ScoreStore(":memory:") as store:
        unbroken = search(Evolution(NASBench201(), seed=3, config=CONFIG), StoredScore(store, 60), progress=False)
    with ScoreStore(tmp_path / "s.sqlite") as store, pytest.raises(KeyboardInterrupt):
        search(Evolution(NASBench201(), seed=3, config=CONFIG), StoredScore(store, killed_after), progress=False)
    with ScoreStore(tmp_path / "s.sqlite") as store:
        assert store.count("k") == killed_after
        score = StoredScore(store, 60 - killed_after)
        resumed = search(Evolution(NASBench201(), seed=3, config=CONFIG), score, progress=False)
    assert score.measurements_left == 0
    assert histories_equal(unbroken, resumed)
    assert unbroken.top == resumed.top


def test_result_counts_and_ranks(all_cells) -> None:
    def score(batch: list[Architecture]) -> np.ndarray:
        return np.array([np.nan if architecture[0] == 0 else architecture[1] for architecture in batch])

    result = search(RandomSearch(NASBench201(), seed=0, evaluations=200), score, progress=False, keep=7)
    scored = [pair for batch in result.history for pair in zip(batch.architectures, batch.scores.tolist(), strict=True)]
    assert len(scored) == result.evaluations == 200
    assert result.failures == sum(architecture[0] == 0 for architecture, _ in scored) > 0
    fours = [architecture for architecture, value in scored if value == 4.0]
    assert result.top == tuple((architecture, 4.0) for architecture in fours[:7])  # of equal scores the first
    assert result.best == fours[0]
    assert [batch.number for batch in result.history] == [0, 1, 2, 3]


def test_top_is_the_best_of_all_generations(rugged) -> None:
    result = search(Evolution(NASBench201(), seed=0, config=CONFIG), rugged(0), progress=False, keep=1000)
    scores = np.concatenate([batch.scores for batch in result.history])
    assert [score for _, score in result.top] == sorted(scores.tolist(), reverse=True)
    assert [score for _, score in result.top] == rugged(0)([architecture for architecture, _ in result.top]).tolist()


def test_nothing_but_failures_is_an_error() -> None:
    searcher = RandomSearch(NASBench201(), seed=0, evaluations=30)
    with pytest.raises(GenasError, match=r"all 30 evaluations failed \(NaN\); check the supernet and the metric"):
        search(searcher, lambda batch: [np.nan] * len(batch), progress=False)


def test_a_searcher_that_was_used_is_told() -> None:
    searcher = RandomSearch(NASBench201(), seed=0, evaluations=3)
    search(searcher, lambda batch: [1.0] * len(batch), progress=False)
    with pytest.raises(GenasError, match=r"RandomSearch asked for none \(.+\); give every search a new searcher"):
        search(searcher, lambda batch: [1.0] * len(batch), progress=False)


def test_each_batch_is_reported_once_it_is_told() -> None:
    batches: list[Batch] = []
    result = search(
        RandomSearch(NASBench201(), seed=0, evaluations=30, batch=20),
        lambda batch: np.arange(len(batch)),
        progress=False,
        on_batch=batches.append,
    )
    assert tuple(batches) == result.history
    assert [batch.scores.tolist() for batch in batches] == [list(range(20)), list(range(10))]


def test_a_score_buffer_that_is_reused_does_not_change_the_history() -> None:
    buffer = np.zeros(10)

    def score(batch: list[Architecture]) -> np.ndarray:
        buffer[:] += 1
        return buffer

    result = search(RandomSearch(NASBench201(), seed=0, evaluations=20, batch=10), score, progress=False)
    assert [batch.scores[0] for batch in result.history] == [1, 2]


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    def run(progress: bool) -> tuple[str, str]:
        searcher = RandomSearch(NASBench201(), seed=0, evaluations=20, batch=10)
        search(searcher, lambda batch: [np.nan, *range(len(batch) - 1)], progress=progress)
        output = capsys.readouterr()
        return output.out, output.err

    assert run(progress=False) == ("", "")
    out, err = run(progress=True)
    assert out == ""
    assert "20/20" in err
    assert "best 8" in err


def test_errors_of_the_score_pass() -> None:
    def score(batch: list[Architecture]) -> np.ndarray:
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        search(RandomSearch(NASBench201(), seed=0, evaluations=5), score, progress=False)
    with pytest.raises(ValueError, match=r"scores must have shape \(5,\), one for each architecture, but got \(\)"):
        search(RandomSearch(NASBench201(), seed=0, evaluations=5), lambda _: 1.0, progress=False)


def test_keep_must_be_positive() -> None:
    with pytest.raises(ValueError, match="keep must be at least 1, but got 0"):
        search(RandomSearch(NASBench201(), seed=0, evaluations=5), lambda _: [0.0] * 5, keep=0)
