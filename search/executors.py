"""Measuring architectures in several processes: the same rows as in one, in whatever order they are done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, as_completed

import numpy as np

from genas.devices import keep_freed_memory
from genas.errors import GenasError
from genas.spaces.base import Architecture

Rows = Mapping[Architecture, np.ndarray]
"""For each architecture its measurement, an array of shape ``(numbers,)``."""


def measure_in_parallel(
    executor: Executor,
    measure: Callable[[Sequence[Architecture]], Rows],
    architectures: Sequence[Architecture],
    chunk_size: int,
) -> Iterator[Rows]:
    """Measure chunks of architectures in an executor's workers.

    Put each yielded chunk into the score store at once, and a kill costs only the chunks that were under way. When a
    worker fails, its error is raised here with a note that names the architectures; chunks not yet begun are dropped.

    Args:
        executor: Any executor: :func:`process_pool`, a cluster's, or a thread pool.
        measure: Called in the workers, so it must be picklable: a function of a module, with fixed arguments bound by
            ``functools.partial``. Its result for an architecture must not depend on the others in the chunk.
        architectures: What to measure.
        chunk_size: Most architectures per call.

    Yields:
        The rows of one chunk, in the order in which the chunks are done.

    Raises:
        ValueError: If ``chunk_size`` is not positive.
        GenasError: If a worker process died.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, but got {chunk_size}.")
    chunks = [architectures[start : start + chunk_size] for start in range(0, len(architectures), chunk_size)]
    futures = {executor.submit(measure, chunk): chunk for chunk in chunks}
    try:
        for future in as_completed(futures):
            try:
                rows = future.result()
            except BrokenExecutor as error:
                raise GenasError(
                    "A worker process died, probably because memory ran out. Use fewer workers; the same command "
                    "continues where it stopped."
                ) from error
            except Exception as error:
                error.add_note(f"while measuring the architectures {list(futures[future])}")
                raise
            yield rows
    finally:
        for future in futures:
            future.cancel()


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Start worker processes for :func:`measure_in_parallel`.

    Each is a fresh interpreter (threads and CUDA do not survive a fork) that computes with one torch thread, leaves
    Ctrl-C to this process, and ends when this process dies, even by a kill.

    Args:
        workers: Number of processes.

    Returns:
        The executor, to be used in a ``with`` statement.
    """
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_worker)


def _prepare_worker() -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    keep_freed_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave when the parent is gone: an idle worker would wait for its next chunk for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
