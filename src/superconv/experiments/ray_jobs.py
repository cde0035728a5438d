"""Independent jobs on a Ray cluster, one thread each: the same results as in local processes."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from ..error_lines import line_of
from ..runs import RunError
from ..training.allocator import keep_large_blocks
from .stopping import StopSignal

POLL_SECONDS = 0.5
RETRIES = 2  # of a job whose process or machine was lost


def run_on_ray(
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    *,
    answer: Callable[..., bytes],
    stop: StopSignal,
) -> Iterator[tuple[int, Any]]:
    """`run_jobs` on the cluster at RAY_ADDRESS, on one that runs on this machine, or on one that is started for it.

    A job takes one CPU, and one GPU where the cluster has any. Folders that jobs write lie on the machine where they
    run: give the runs a folder that all machines share, which is also where a lost machine's runs are gone on with.

    Args:
        answer: (function, job, stop signal) -> a pickled (went well, value or error, trace).
        stop: asked between jobs, and passed on to those that run.
    Raises: ModuleNotFoundError: Ray is not installed. RunError: a job was lost again and again; what a job raised.
    """
    ray = _connected()
    flag = ray.remote(_Flag).options(num_cpus=0, max_restarts=1).remote()
    needs = {"num_cpus": 1, "num_gpus": 1 if ray.cluster_resources().get("GPU") else 0, "max_retries": RETRIES}
    remote = ray.remote(_do).options(**needs)
    place = os.getcwd()
    running = {remote.remote(function, job, answer, place, flag): index for index, job in enumerate(jobs)}
    told = False
    try:
        while running:
            if not told and stop.reason() is not None:
                told = True
                ray.get(flag.set.remote())
            ready, _ = ray.wait(list(running), timeout=POLL_SECONDS)
            for reference in ready:
                index = running.pop(reference)
                outcome = _received(ray, reference)
                if outcome is not None:
                    yield index, outcome[0]
    finally:
        for reference in running:  # an error, or a consumer that left
            ray.cancel(reference, force=True)
        ray.kill(flag)


def _connected() -> Any:
    try:
        import ray
    except ModuleNotFoundError:
        raise ModuleNotFoundError("workers='ray' needs Ray; run: pip install 'superconv[ray]'", name="ray") from None
    if not ray.is_initialized():
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        try:
            ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), **options)
        except ConnectionError:
            if "RAY_ADDRESS" in os.environ:
                raise ValueError(
                    f"there is no Ray cluster at RAY_ADDRESS={os.environ['RAY_ADDRESS']}; start one with `ray start "
                    "--head`, or unset the variable to have one on this machine"
                ) from None
            ray.init(include_dashboard=False, **options)
    return ray


def _received(ray: Any, reference: Any) -> tuple[Any] | None:
    """A job's value; None: not begun any more. Raises: what it raised; RunError: it was lost, or could not begin."""
    try:
        answer = ray.get(reference)
    except ray.exceptions.RayTaskError as error:  # no job's own, which is answered
        raise RunError(
            f"a Ray worker could not begin its job ({line_of(error, which=-1)}); every machine of the cluster needs "
            "the superconv that is here"
        ) from None
    except ray.exceptions.RayError as error:
        raise RunError(
            f"a Ray worker was lost {RETRIES + 1} times at the same job ({line_of(error)}); the same command goes on"
        ) from None
    if answer is None:
        return None
    went_well, value, trace = pickle.loads(answer)
    if not went_well:
        value.add_note(f"in a Ray worker\n{trace}")
        raise value
    return (value,)


class _Flag:
    """Whether to stop: an actor that all workers can ask."""

    def __init__(self) -> None:
        self.up = False

    def set(self) -> None:
        self.up = True

    def is_set(self) -> bool:
        return self.up


def _do(
    function: Callable[..., Any], job: tuple[Any, ...], answer: Callable[..., bytes], place: str, flag: Any
) -> bytes | None:
    """In a worker: one job, which is told within half a second that it should stop."""
    import ray

    if ray.get(flag.is_set.remote()):
        return None
    if os.path.isdir(place):  # relative folders mean what they mean to the caller
        os.chdir(place)
    torch.set_num_threads(1)
    keep_large_blocks()
    event, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(POLL_SECONDS):
            try:
                if ray.get(flag.is_set.remote()):
                    event.set()
            except Exception:  # the caller is gone, and the flag with it
                event.set()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        return answer(function, job, StopSignal(event=event))
    finally:
        over.set()
        thread.join()
