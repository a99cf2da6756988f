"""Measuring architectures in several processes, with the same rows as in one, in order of completion."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from multiprocessing.connection import Connection

import numpy as np

from genas.devices import keep_freed_memory
from genas.errors import GenasError, is_refusal
from genas.spaces.base import Architecture

_MOST_WORKERS = 61 if sys.platform == "win32" else sys.maxsize
"""Windows waits for no more processes at once."""

Rows = Mapping[Architecture, np.ndarray]
"""For each architecture its measurement, an array of shape ``(numbers,)``."""


def measure_in_parallel(
    executor: Executor,
    measure: Callable[[Sequence[Architecture]], Rows],
    architectures: Sequence[Architecture],
    chunk_size: int,
) -> Iterator[Rows]:
    """Measure chunks of architectures in an executor's workers.

    If each yielded chunk is put into the score store at once, a kill loses only the chunks in progress. When a worker
    fails, its error is raised here with a note that names the architectures (and, unless it is a message to the user,
    the worker's traceback); chunks not yet begun are dropped.

    Args:
        executor: Any executor: :func:`process_pool`, a cluster's, or a thread pool.
        measure: Called in the workers, so it must be picklable: a function of a module, with fixed arguments bound by
            ``functools.partial``. Its result for an architecture must not depend on the others in the chunk.
        architectures: The architectures to measure.
        chunk_size: Largest number of architectures per call.

    Yields:
        The rows of one chunk, in order of completion.

    Raises:
        ValueError: If ``chunk_size`` is not positive.
        GenasError: If a worker process died.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, but got {chunk_size}.")
    chunks = [architectures[start : start + chunk_size] for start in range(0, len(architectures), chunk_size)]
    futures: dict[Future[Rows | Exception], Sequence[Architecture]] = {}
    try:
        for chunk in chunks:
            futures[executor.submit(_measured, measure, chunk)] = chunk
        for future in as_completed(futures):
            try:
                rows = future.result()
                if isinstance(rows, Exception):
                    raise rows
            except BrokenExecutor:
                raise
            except Exception as error:
                error.add_note(f"while measuring the architectures {list(futures[future])}")
                raise
            yield rows
    except BrokenExecutor as error:  # a worker may also have died between two calls
        raise GenasError(
            "A worker process died, probably because memory ran out (use fewer workers; the same command continues "
            "where it stopped), or because a script that is no command has no \"if __name__ == '__main__':\" around it."
        ) from error
    finally:
        for future in futures:
            future.cancel()


def _measured(
    measure: Callable[[Sequence[Architecture]], Rows], architectures: Sequence[Architecture]
) -> Rows | Exception:
    """Measure in a worker; refusals are returned, to be raised in the main process without the worker's traceback."""
    try:
        return measure(architectures)
    except Exception as error:
        if not _can_be_sent(error):  # on its way it would break the pool, and what it says be lost
            raise RuntimeError("".join(traceback.format_exception(error))) from None
        if is_refusal(error):
            return error
        raise


def _can_be_sent(error: Exception) -> bool:
    """Whether an error survives the way to another process; a class with an ``__init__`` of its own may not."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    except Exception:  # noqa: BLE001 - whatever its own methods raise
        return False
    return True


@contextlib.contextmanager
def process_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Start worker processes for :func:`measure_in_parallel`, within a ``with`` block.

    Each is a fresh interpreter (threads and CUDA do not survive a fork) that computes with one torch thread and leaves
    Ctrl-C to this process. When the block ends with an error or an interrupt, the workers stop at once, whatever they
    are doing: delivered results are kept, and the rest is not waited for. They also end when this process dies, even by
    a kill. As they import the main module, a script must call this below ``if __name__ == "__main__":``.

    Args:
        workers: Number of processes; on Windows never more than 61.

    Yields:
        The executor.
    """
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)  # closing the writer, which death does too, is the signal to stop
    with reader, writer:
        pool = ProcessPoolExecutor(
            min(workers, _MOST_WORKERS), mp_context=context, initializer=_prepare_worker, initargs=(reader,)
        )
        try:
            yield pool
        except BaseException:
            writer.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare_worker(stop: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_at, args=(stop,), daemon=True).start()
    import torch  # takes seconds, in which a Ctrl-C may come

    torch.set_num_threads(1)
    keep_freed_memory()


def _end_at(stop: Connection) -> None:
    """Exit when the other end of the pipe is closed; otherwise a worker would finish its chunk, or wait forever."""
    try:
        stop.poll(None)  # on Windows it raises if the other end was closed before
    finally:
        os._exit(1)
