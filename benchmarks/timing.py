"""Seconds a step of several contenders, measured in turns so that a slow moment of the machine meets all of them."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

Block = Callable[[], float]  # runs a block of steps, returns the mean seconds of one


def clock() -> float:
    """Seconds: CPU time of this process where torch has one thread, else the time on the wall.

    On an idle machine the first equals the second; on a busy one it is not stretched by other programs' turns.
    Waiting for a disk is not in it.
    """
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


class StepClock:
    """A loss function that notes when it is called: once a step, in every tool, at the same place."""

    def __init__(self, loss_fn: Callable[[Any, Any], Any]) -> None:
        self.loss_fn = loss_fn
        self.calls: list[float] = []
        self.watch: Callable[[], None] | None = None  # called in the third step
        self.fail_at: int | None = None  # steps that succeed before `error` is raised
        self.error: type[BaseException] = RuntimeError

    def __call__(self, outputs: Any, targets: Any) -> Any:
        """Note the time, fail where that was asked for, else the loss."""
        self.calls.append(clock())
        if self.watch is not None and len(self.calls) == 3:
            self.watch()
        if self.fail_at is not None and len(self.calls) > self.fail_at:
            raise self.error("stopped by the benchmark")
        return self.loss_fn(outputs, targets)

    def mean_step(self, warm_up: int) -> float:
        """Mean seconds between calls, without the first `warm_up` intervals: what a tool sets up is not counted."""
        timed = self.calls[warm_up:]
        return (timed[-1] - timed[0]) / (len(timed) - 1)

    def fastest_step(self, warm_up: int) -> float:
        """Least seconds between calls: where steps are long, other programs only ever add to them."""
        timed = self.calls[warm_up:]
        return min(later - earlier for earlier, later in itertools.pairwise(timed))


def interleaved(blocks: Mapping[str, Block], rounds: int) -> dict[str, list[float]]:
    """Mean seconds a step of every block of every round; a round runs all contenders, the next begins with another."""
    names = list(blocks)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            seconds[name].append(blocks[name]())
    return seconds


def paired_difference(values: list[float], reference: list[float]) -> tuple[float, float, float]:
    """Median of the paired differences, with a 95% interval from order statistics (the sign test's).

    Needs at least six pairs for an interval; with fewer it is the range.
    """
    differences = sorted(a - b for a, b in zip(values, reference, strict=True))
    n = len(differences)
    tail, outside = 0.0, 0  # how many of either end can be left out
    for k in range(n // 2):
        tail += 2 * math.comb(n, k) / 2**n
        if tail > 0.05:
            break
        outside = k
    return statistics.median(differences), differences[outside], differences[n - 1 - outside]


def within(limit: float, interval: tuple[float, float, float]) -> bool | None:
    """Whether a value is at most `limit`: None where its interval (middle, low, high) reaches to both sides."""
    _, low, high = interval
    return True if high <= limit else False if low > limit else None


def median_with_quartiles(values: list[float]) -> tuple[float, float, float]:
    """(median, lower, upper quartile) of at least two values."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high
