"""Independent jobs in local processes, one thread each: the same results whatever their number."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import Any, Literal

import torch

from ..cores import usable_cores
from ..runs import RunError
from ..training.allocator import keep_large_blocks
from ..training.distributed import is_distributed
from .ray_jobs import run_on_ray
from .stopping import SIGNALS, StopSignal

POLL_SECONDS = 0.2
ATTEMPTS = 3  # at one job; the last of them alone on the machine, which helps where memory was short

GUARD = (
    'a script that calls superconv needs `if __name__ == "__main__":` around what it does, since every worker imports '
    "the script; put the calls under it"
)

Workers = int | Literal["ray"] | None

_stop = StopSignal()  # of this process; a worker's is set from its parent


def check_workers(workers: Workers) -> None:
    """Refuse several workers under several ranks, which do every training together. Raises: ValueError."""
    if is_distributed() and workers not in (None, 1):
        raise ValueError(
            f"workers={workers} does not go with several ranks, which do every training together, one after another; "
            "leave it out, or start the command without torchrun"
        )


def run_jobs(
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    *,
    workers: Workers = None,
    stop: StopSignal | None = None,
) -> Iterator[tuple[int, Any]]:
    """Call `function(*job)` for every job; yield (its index, its result) as they finish.

    Every job runs on one thread, so that a result depends neither on `workers` nor on the number of cores. When
    `stop` says so no new job is begun, those that run are told (`stop_requested`), and what they return is yielded.
    A job whose process dies is done again in a new one, `ATTEMPTS` times in all, with a warning; the others go on.
    (An executor of the standard library gives up all its processes when one dies, and does not say at which job.)

    Args:
        function: at module level, with arguments and results that pickle.
        workers: processes; None: one a core; "ray": as many as a Ray cluster holds (`run_on_ray`).
    Raises: what a job raised; RunError, a ValueError: the processes of one job died `ATTEMPTS` times, or one could not
        start: the script that it imports failed, or starts workers itself.
    """
    stop = stop or StopSignal()
    if is_distributed():  # all ranks do every job together
        check_workers(workers)
        yield from _one_after_another(function, jobs, stop)
        return
    if workers == "ray":
        yield from run_on_ray(function, jobs, answer=_answer, stop=stop)
        return
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # still importing its parent's script
        raise RunError(f"a worker process came to start workers of its own: {GUARD}")
    context = multiprocessing.get_context("spawn")  # a forked process would inherit torch's threads, and their locks
    event = _Flag(context)
    count = max(1, min(workers or usable_cores(), len(jobs)))
    waiting = deque((index, 1) for index in range(len(jobs)))
    idle: list[_Worker] = []
    busy: _Busy = {}
    try:
        while busy or waiting:
            if stop.reason() is not None:
                event.set()
                waiting.clear()
            while waiting and len(busy) < count and not (busy and _wants_to_be_alone(waiting[0][1], busy)):
                index, attempt = waiting.popleft()
                worker = idle.pop() if idle else _Worker(context, function, event)
                busy[worker.connection] = worker, index, attempt
                worker.begin(jobs[index])
            for connection in wait(list(busy), timeout=POLL_SECONDS):
                worker, index, attempt = busy.pop(connection)
                try:
                    result = worker.result()
                except _Died as death:
                    waiting.appendleft((index, _next_attempt(attempt, death)))
                    continue
                idle.append(worker)
                yield index, result
    except KeyboardInterrupt:  # the second: it does not wait for jobs that may never ask
        for worker, _, _ in busy.values():
            worker.process.kill()
        raise
    finally:
        event.set()  # an error or a consumer that left: nothing goes on in the background
        for worker in (*idle, *(worker for worker, _, _ in busy.values())):
            worker.end()


def _one_after_another(
    function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], stop: StopSignal
) -> Iterator[tuple[int, Any]]:
    """The same in this process, on one thread too."""
    global _stop
    for index, job in enumerate(jobs):
        if stop.reason() is not None:
            return
        before, threads = _stop, torch.get_num_threads()
        _stop = stop
        torch.set_num_threads(1)
        try:
            result = function(*job)
        finally:
            _stop = before
            torch.set_num_threads(threads)
        yield index, result


def stop_requested() -> StopSignal:
    """For a job: its process's signal, to pass on to `run_arm` or to ask."""
    return _stop


_Busy = dict[Any, tuple["_Worker", int, int]]  # connection -> worker, index of its job, attempt


class _Flag:
    """What a parent tells its workers. Without the lock of an Event: a worker that is killed could take it along."""

    def __init__(self, context: Any) -> None:
        self._value = context.RawValue("b", 0)

    def is_set(self) -> bool:
        return bool(self._value.value)

    def set(self) -> None:
        self._value.value = 1


class _Died(Exception):
    """A worker's process ended in the middle of a job; the message says how."""


class _InWorker(Exception):
    """Where in a worker an error came from: the cause of the error that its parent raises."""

    def __str__(self) -> str:
        return f"in a worker process\n{self.args[0]}"


class _Worker:
    """A process that does one job after another, seen from its parent."""

    def __init__(self, context: Any, function: Callable[..., Any], event: Any) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function, event))
        with _signals_blocked():  # the new process inherits this, until it is prepared
            self.process.start()
        theirs.close()  # so that the end of the process is the end of the connection

    def begin(self, job: tuple[Any, ...]) -> None:
        """A process that is dead already is found so by `result`."""
        with suppress(OSError):
            self.connection.send_bytes(pickle.dumps(job))

    def result(self) -> Any:
        """Of the job that was begun. Raises: what the job raised; _Died; RunError: the process cannot live."""
        try:
            went_well, value, trace = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.end()
            if self.process.exitcode == 1:  # Python's own, and no job's error, which is answered: again is no use
                raise RunError(
                    f"a worker process {_ending(1)} before it could answer; its own error stands above. Most often: "
                    f"{GUARD}"
                ) from None
            raise _Died(_ending(self.process.exitcode)) from None
        if not went_well:
            self.end()
            raise value from _InWorker(trace)
        return value

    def end(self) -> None:
        """Its job is over or told to stop; the process ends when it finds nobody to talk to."""
        self.connection.close()
        try:
            self.process.join()
        except KeyboardInterrupt:
            self.process.kill()
            raise


def _wants_to_be_alone(attempt: int, busy: _Busy) -> bool:
    """Whether the next job, or one that runs, is at its last attempt."""
    return attempt == ATTEMPTS or any(running == ATTEMPTS for _, _, running in busy.values())


def _next_attempt(attempt: int, death: _Died) -> int:
    if attempt == ATTEMPTS:
        raise RunError(
            f"a worker process {death} {ATTEMPTS} times at the same job, perhaps for want of memory; use fewer "
            "workers, or run the same command again: it goes on where it stopped"
        ) from None
    warnings.warn(f"a worker process {death}; its job is done again", RuntimeWarning, stacklevel=3)
    return attempt + 1


def _ending(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        try:
            return f"was killed ({signal.Signals(-code).name})"
        except ValueError:
            return f"was killed (signal {-code})"
    return f"ended (exit status {code})"


def _serve(connection: Any, function: Callable[..., Any], event: Any) -> None:
    """A worker: jobs until the parent closes the connection, or is gone."""
    _prepare(event)
    while True:
        try:
            job = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            connection.send_bytes(_answer(function, job, _stop))
        except OSError:
            return


def _answer(function: Callable[..., Any], job: tuple[Any, ...], stop: StopSignal) -> bytes:
    """What a job gives, or its error, ready to travel."""
    global _stop
    before, _stop = _stop, stop
    try:
        return pickle.dumps((True, function(*job), ""))
    except Exception as error:
        return _failed(error)
    finally:
        _stop = before


def _failed(error: Exception) -> bytes:
    """An answer that holds the error, or what it says where the error itself does not travel."""
    trace = traceback.format_exc()
    try:
        answer = pickle.dumps((False, error, trace))
        pickle.loads(answer)
    except Exception:  # an error with arguments of its own pickles, and then cannot be made again
        kind = ValueError if isinstance(error, ValueError) else RuntimeError
        return pickle.dumps((False, kind(f"{type(error).__name__}: {error}"), trace))
    return answer


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait; where the system has no signal masks (Windows) they do not."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # else the first worker's start does it, which unblocks both in the end
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare(event: Any) -> None:
    """A worker: a signal to the whole group is the parent's, which tells its workers.

    One that gave way by itself would hand in an unfinished job, and its parent, told nothing, go on without it.
    """
    global _stop
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_stop_with_parent, args=(event,), daemon=True).start()
    torch.set_num_threads(1)
    keep_large_blocks()  # a spawned process does not inherit it
    _stop = StopSignal(event=event)


def _stop_with_parent(event: Any) -> None:
    """A worker: where the parent was killed nobody waits for the job, and its run directory is needed again."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        event.set()
