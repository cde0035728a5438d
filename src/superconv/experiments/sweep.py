"""Many trainings of one task, in local processes or one after another, with the same results."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from ..runs import RunLocked, experiment_path
from ..task import Task
from ..training.distributed import is_distributed
from .config import Arm
from .device import choose_device
from .monitoring import Monitoring
from .runner import RunResult, run_arm
from .stopping import StopSignal
from .workers import Workers, check_workers, run_jobs, stop_requested

Summary = Mapping[str, Any]
MakeTask = Callable[[], Task]
KEPT = 2  # tasks in a worker's memory
Locked = Literal["refuse", "leave", "wait"]
POLL_SECONDS = 1.0  # between two looks at a training that another process is at


class Training(NamedTuple):
    """One training of a sweep.

    `locked`: what to do where another process is at it: "refuse" (an error), "leave" it to that one, or "wait" for
    it. `monitoring`: its LR.
    """

    arm: Arm
    seed: int
    read_test: bool = True
    locked: Locked = "refuse"
    monitoring: Monitoring | None = None


def task_of(task: Task | MakeTask) -> Task:
    """The task, made where a function was given. Raises: TypeError: neither; the function gave something else."""
    made = task() if callable(task) and not isinstance(task, Task) else task
    if not isinstance(made, Task):
        raise TypeError(f"task must be a superconv.Task or a function without arguments that gives one, got {made!r}")
    return made


def check_callers(stop: object, report: object) -> None:
    """Refuse what cannot be asked, or called. Raises: TypeError."""
    if stop is not None and not isinstance(stop, StopSignal):
        raise TypeError(f"stop must be a StopSignal or None, got {stop!r}")
    if report is not None and not callable(report):
        raise TypeError(f"report must be a function or None, got {report!r}")


def run_trainings(
    task: Task | MakeTask,
    trainings: Sequence[Training],
    *,
    root: str | Path = "runs",
    experiment: str,
    device: str | None = None,
    workers: Workers = None,
    stop: StopSignal | None = None,
) -> Iterator[tuple[int, Summary | None]]:
    """Train every one that is not finished yet; yield (index, summary), None where it was told to stop.

    A task that can be made again in another process (a function that pickles, such as a partial of `named_task` or
    `load_task`) is spread over `workers` processes; a `Task` itself is trained here, one training after another. Each
    training has one thread on a CPU either way, so that the results are the same. What is finished is not done again.

    Args:
        workers: processes; None: one a core, one on a GPU; 1: this process; "ray": a Ray cluster's (`run_on_ray`), on
            which `root` must be a folder that all machines share.
        stop: asked between two steps.
    Raises: ValueError: a training that does not fit the task; several workers under several ranks. RunError: the worker
        processes of one training died again and again (`run_jobs`); call again to go on.
    """
    jobs = [(task, training) for training in trainings]
    for index, result in run_each(jobs, root=root, experiment=experiment, device=device, workers=workers, stop=stop):
        yield index, result.summary if result is not None else None


def run_each(
    jobs: Sequence[tuple[Task | MakeTask, Training]],
    *,
    root: str | Path = "runs",
    experiment: str,
    device: str | None = None,
    workers: Workers = None,
    stop: StopSignal | None = None,
) -> Iterator[tuple[int, RunResult | None]]:
    """As `run_trainings`, for trainings of several tasks, with each whole result; None where it was not begun here.

    Jobs of one task should stand together: a process keeps few tasks in memory.
    """
    stop = stop or StopSignal()
    experiment_path(root, experiment)  # before any process is started
    where = (str(root), experiment, device)
    check_workers(workers)
    if workers is None and choose_device(device).type != "cpu":
        workers = 1  # a GPU is one
    if workers == 1 or is_distributed() or any(isinstance(task, Task) for task, _ in jobs):
        yield from _here(jobs, where, stop)
        return
    pickled = {id(task): pickle.dumps(task) for task, _ in jobs}
    yield from run_jobs(
        _in_worker, [(pickled[id(task)], training, where) for task, training in jobs], workers=workers, stop=stop
    )


def _here(
    jobs: Sequence[tuple[Task | MakeTask, Training]], where: tuple[str, str, str | None], stop: StopSignal
) -> Iterator[tuple[int, RunResult | None]]:
    threads, last, made = torch.get_num_threads(), None, None
    for index, (task, training) in enumerate(jobs):
        if stop.reason() is not None:
            yield index, None
            continue
        if task is not last:
            last, made = task, task_of(task)
        assert made is not None
        torch.set_num_threads(1)  # as in a worker
        try:
            result = _train(made, training, where, stop)
        finally:
            torch.set_num_threads(threads)
        yield index, result


def _in_worker(maker: bytes, training: Training, where: tuple[str, str, str | None]) -> RunResult | None:
    return _train(_made(maker), training, where, stop_requested())


@lru_cache(maxsize=KEPT)
def _made(maker: bytes) -> Task:
    task: Task = pickle.loads(maker)()
    return task


def _train(task: Task, training: Training, where: tuple[str, str, str | None], stop: StopSignal) -> RunResult | None:
    root, experiment, device = where
    while True:
        try:
            return run_arm(
                task, training.arm, training.seed, root=root, experiment=experiment, device=device,
                read_test=training.read_test, monitoring=training.monitoring, stop=stop,
            )  # fmt: skip
        except RunLocked:
            if training.locked == "refuse":
                raise
            if training.locked == "leave" or stop.reason() is not None:
                return None
        time.sleep(POLL_SECONDS)
