"""Several workers give what one gives, fail loudly, and leave nobody behind."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from genas.errors import GenasError, is_refusal
from genas.search import measure_in_parallel, process_pool
from genas.spaces import NASBench201

ARCHITECTURES = list(itertools.islice(NASBench201().architectures(), 5000, 5060))

# Workers import the function that they run, so the search in several processes is a script of its own.
SCRIPT = """
import functools, glob, json, os, signal, sys, time
import numpy as np
from genas.scores import ScoreStore
from genas.search import Evolution, EvolutionConfig, measure_in_parallel, process_pool, search
from genas.spaces import NASBench201

def measure(factor, architectures):
    return {arch: np.array([factor * np.sin(np.dot(arch, range(1, 7)))]) for arch in architectures}

def about_me(architectures):
    import torch
    open(f"worker-{os.getpid()}", "w").close()
    while len(glob.glob("worker-*")) < 2:  # so that each worker takes one
        time.sleep(0.01)
    ignores = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return {architectures[0]: np.array([os.getpid(), torch.get_num_threads(), ignores])}

def run(rows_of):
    config = EvolutionConfig(population=12, generations=4, parents=4, mutations=5, crossovers=5)
    with ScoreStore(":memory:") as store:
        def score(architectures):
            for rows in rows_of(architectures):
                store.put("k", rows)
            found = store.get("k", architectures)
            return np.array([found[architecture][0] for architecture in architectures])
        result = search(Evolution(NASBench201(), seed=0, config=config), score, progress=False)
    return [[list(batch.architectures), batch.scores.tolist()] for batch in result.history]

if __name__ == "__main__":
    bound = functools.partial(measure, 2.0)
    with process_pool(2) as pool:
        facts = [row.tolist() for rows in measure_in_parallel(pool, about_me, [(0,), (1,)], 1)
                 for row in rows.values()]
        many = run(lambda architectures: measure_in_parallel(pool, bound, architectures, 5))
        one = run(lambda architectures: [bound(architectures)])
        print(json.dumps({"same": many == one, "generations": len(one), "facts": facts}), flush=True)
        time.sleep(60)
"""


def rows_of(architectures) -> dict[tuple[int, ...], np.ndarray]:
    return {architecture: np.array([sum(architecture)], dtype=float) for architecture in architectures}


def late_first(architectures) -> dict[tuple[int, ...], np.ndarray]:
    if ARCHITECTURES[0] in architectures:
        time.sleep(0.05)
    return rows_of(architectures)


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_all_rows_come_in_chunks(chunk_size: int) -> None:
    with ThreadPoolExecutor(3) as pool:
        chunks = list(measure_in_parallel(pool, late_first, ARCHITECTURES, chunk_size))
    assert all(len(rows) <= chunk_size for rows in chunks)
    assert len(chunks) == -(-len(ARCHITECTURES) // chunk_size)
    assert {architecture: row.tolist() for rows in chunks for architecture, row in rows.items()} == {
        architecture: [float(sum(architecture))] for architecture in ARCHITECTURES
    }
    if chunk_size == 7:
        assert ARCHITECTURES[0] not in chunks[0]  # done chunks do not wait for a slow one


def test_nothing_to_measure_is_no_chunk() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert list(measure_in_parallel(pool, rows_of, [], 5)) == []


def test_failure_names_the_architectures_and_stops_the_rest() -> None:
    begun: list[tuple[int, ...]] = []
    go_on = threading.Event()

    def fail_on_third(architectures):
        begun.extend(architectures)
        if ARCHITECTURES[2] in architectures:
            raise FloatingPointError("overflow")
        if len(begun) > 4:
            go_on.wait(10)
        return rows_of(architectures)

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(FloatingPointError, match="overflow") as error:
            list(measure_in_parallel(pool, fail_on_third, ARCHITECTURES, 2))
        go_on.set()
    assert error.value.__notes__ == [f"while measuring the architectures {ARCHITECTURES[2:4]}"]
    assert len(begun) <= 6


def test_what_a_worker_refuses_is_a_message_here() -> None:
    """``check`` takes the chunk for an architecture and refuses it on purpose: the command line needs no traceback."""
    with process_pool(1) as pool, pytest.raises(ValueError, match="must have 6 genes, but got 1") as error:
        list(measure_in_parallel(pool, NASBench201().check, ARCHITECTURES[:1], 1))  # type: ignore[arg-type]
    assert is_refusal(error.value)
    assert error.value.__cause__ is None


class Odd(Exception):
    """Its arguments are not those of its ``__init__``, so it cannot be copied."""

    def __init__(self, file: str, line: int) -> None:
        super().__init__(f"line {line} of {file}")


def fail_oddly(architectures):
    raise Odd("a.txt", 7)


def test_an_error_that_cannot_be_sent_is_told_all_the_same() -> None:
    """Between processes it would break the pool, as if memory had run out."""
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match=r"(?s)raise Odd.*line 7 of a\.txt"):
        list(measure_in_parallel(pool, fail_oddly, ARCHITECTURES[:1], 1))


def test_leaving_the_loop_drops_what_has_not_begun() -> None:
    begun: list[int] = []
    go_on = threading.Event()

    def wait_after_first(architectures):
        begun.append(len(begun))
        if len(begun) > 1:
            go_on.wait(10)
        return rows_of(architectures)

    with ThreadPoolExecutor(1) as pool:
        chunks = measure_in_parallel(pool, wait_after_first, ARCHITECTURES, 1)
        next(chunks)
        chunks.close()
        go_on.set()
    assert len(begun) <= 3


def test_chunk_size_must_be_positive() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="chunk_size must be at least 1, but got 0"):
        next(measure_in_parallel(pool, rows_of, ARCHITECTURES, 0))


def test_pool_needs_a_worker() -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        process_pool(0).__enter__()


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_processes_give_the_same_search_and_die_with_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    threads = {**os.environ, "OMP_NUM_THREADS": "2"}  # so that a single one is the pool's doing
    with subprocess.Popen(
        [sys.executable, script], cwd=tmp_path, env=threads, stdout=subprocess.PIPE, text=True
    ) as driver:
        try:
            assert driver.stdout is not None
            report = json.loads(driver.stdout.readline())
            assert report["same"]
            assert report["generations"] == 4
            workers = {int(pid) for pid, _, _ in report["facts"]}
            assert len(workers) == 2
            assert driver.pid not in workers
            assert all((threads, ignores) == (1, 1) for _, threads, ignores in report["facts"])
        finally:
            driver.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(is_alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_alive(worker) for worker in workers)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be collected does not."""
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(status.strip()) and not status.strip().startswith("Z")


def test_a_worker_that_died_between_two_calls_is_told() -> None:
    with process_pool(1) as pool:
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        with pytest.raises(BrokenExecutor):
            pool.submit(time.sleep, 30).result()
        with pytest.raises(GenasError, match=r"A worker process died, .*use fewer workers.* no .*__main__"):
            list(measure_in_parallel(pool, str, [(0,)], chunk_size=1))  # type: ignore[arg-type]


def test_an_interrupt_stops_the_workers_in_the_middle_of_their_work() -> None:
    with pytest.raises(KeyboardInterrupt), process_pool(2) as pool:  # noqa: PT012
        assert pool.submit(os.getpid).result() != os.getpid()
        futures = [pool.submit(time.sleep, 30) for _ in range(4)]
        raise KeyboardInterrupt
    assert all(future.cancelled() or isinstance(future.exception(), BrokenExecutor) for future in futures)
