"""Many trainings of one task, in local processes or one after another, with the same results."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..task import Task
from .config import Arm
from .runner import run_arm
from .stopping import StopSignal
from .workers import run_jobs, stop_requested

Summary = Mapping[str, Any]
MakeTask = Callable[[], Task]


class Training(NamedTuple):
    """One training of a sweep."""

    arm: Arm
    seed: int
    read_test: bool = True


def run_trainings(
    task: Task | MakeTask,
    trainings: Sequence[Training],
    *,
    root: str | Path = "runs",
    experiment: str,
    device: str | None = None,
    workers: int | None = None,
    stop: StopSignal | None = None,
) -> Iterator[tuple[int, Summary | None]]:
    """Train every one that is not finished yet; yield (index, summary), None where it was told to stop.

    A task that can be made again in another process (a function that pickles, such as a partial of `named_task` or
    `load_task`) is spread over `workers` processes; a `Task` itself is trained here, one training after another. Each
    training has one thread on a CPU either way, so that the results are the same. What is finished is not done again.

    Args:
        workers: processes; None: one a core; 1: this process.
        stop: asked between two steps.
    Raises: ValueError: a training that does not fit the task. RunError: the worker processes of one training died
        again and again (`run_jobs`); call again to go on.
    """
    stop = stop or StopSignal()
    where = (str(root), experiment, device)
    if isinstance(task, Task) or workers == 1:
        made = task if isinstance(task, Task) else task()
        yield from _here(made, trainings, where, stop)
        return
    maker = pickle.dumps(task)
    jobs = [(maker, training, where) for training in trainings]
    yield from run_jobs(_in_worker, jobs, workers=workers, stop=stop)


def _here(
    task: Task, trainings: Sequence[Training], where: tuple[str, str, str | None], stop: StopSignal
) -> Iterator[tuple[int, Summary | None]]:
    threads = torch.get_num_threads()
    for index, training in enumerate(trainings):
        if stop.reason() is not None:
            yield index, None
            continue
        torch.set_num_threads(1)  # as in a worker
        try:
            summary = _train(task, training, where, stop)
        finally:
            torch.set_num_threads(threads)
        yield index, summary


def _in_worker(maker: bytes, training: Training, where: tuple[str, str, str | None]) -> Summary | None:
    return _train(_made(maker), training, where, stop_requested())


@cache
def _made(maker: bytes) -> Task:
    task: Task = pickle.loads(maker)()
    return task


def _train(task: Task, training: Training, where: tuple[str, str, str | None], stop: StopSignal) -> Summary | None:
    root, experiment, device = where
    return run_arm(
        task, training.arm, training.seed, root=root, experiment=experiment, device=device,
        read_test=training.read_test, stop=stop,
    ).summary  # fmt: skip
