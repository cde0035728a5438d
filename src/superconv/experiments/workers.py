"""Independent jobs in local processes, one thread each: the same results whatever their number."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import torch

from ..runs import RunError
from .stopping import StopSignal

POLL_SECONDS = 0.2
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_stop = StopSignal()  # of this process; a worker's is set from its parent


def run_jobs(
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    *,
    workers: int | None = None,
    stop: StopSignal | None = None,
) -> Iterator[tuple[int, Any]]:
    """Call `function(*job)` for every job; yield (its index, its result) as they finish.

    Every job runs on one thread, so that a result depends neither on `workers` nor on the number of cores. When
    `stop` says so no new job is begun, those that run are told (`stop_requested`), and what they return is yielded.

    Args:
        function: at module level, with arguments and results that pickle.
        workers: processes; None: one a core.
    Raises: what a job raised; RunError, a ValueError: a worker was killed.
    """
    stop = stop or StopSignal()
    context = multiprocessing.get_context("spawn")  # a forked process would inherit torch's threads, and their locks
    event = context.Event()
    count = max(1, min(workers or os.cpu_count() or 1, len(jobs)))
    waiting = list(enumerate(jobs))[::-1]
    running: dict[Future[Any], int] = {}
    with ProcessPoolExecutor(count, mp_context=context, initializer=_prepare, initargs=(event,)) as pool:
        try:
            while running or waiting:
                if stop.reason() is not None:
                    event.set()
                    waiting.clear()
                while waiting and len(running) < count:
                    index, job = waiting.pop()
                    with _signals_blocked():  # a worker that starts inherits this, until it is prepared
                        running[pool.submit(function, *job)] = index
                done, _ = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
        except BrokenProcessPool:
            raise RunError(
                "a worker process was killed, perhaps for want of memory; run the same command again: it goes on "
                "where it stopped"
            ) from None
        finally:
            event.set()  # an error or a consumer that left: nothing goes on in the background
            pool.shutdown(cancel_futures=True)


def stop_requested() -> StopSignal:
    """For a job: its process's signal, to pass on to `run_arm` or to ask."""
    return _stop


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait; where the system has no signal masks (Windows) they do not."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare(event: Any) -> None:
    """A worker: Ctrl-C reaches the parent alone, which tells its workers."""
    global _stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: event.set())  # a scheduler tells the whole group
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    torch.set_num_threads(1)
    _stop = StopSignal(event=event)
