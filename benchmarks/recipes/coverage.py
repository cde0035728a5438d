"""A stated speed-up from other tasks: prediction intervals over a reference class, tried on each task left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from superconv.analysis.student_t import critical_value

CONFIDENCE = 0.8


def prediction_interval(ratios: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Where the speed-up of one more task lies, if it is drawn as these were.

        exp(m +- t(confidence, n - 1) s sqrt(1 + 1 / n))        m, s: mean and standard deviation of the n log ratios

    Args:
        ratios: measured speed-ups, above 0.
        confidence: share of further tasks that the interval is to hold.
    Returns: (lower, upper); None below three tasks, where a spread of two would be read off one difference.
    Reference: Student's interval for a further observation, e.g. Hahn and Meeker 1991, Statistical Intervals, Sec. 4.7.
    Assumes: normal log ratios, and tasks that are exchangeable with the new one, which no test of ours can show.
    """
    if len(ratios) < 3:
        return None
    logs = [math.log(ratio) for ratio in ratios]
    middle, n = fmean(logs), len(logs)
    half = critical_value(confidence, n - 1) * stdev(logs) * math.sqrt(1.0 + 1.0 / n)
    return math.exp(middle - half), math.exp(middle + half)


def left_out(ratios: Mapping[str, float], families: Mapping[str, str]) -> dict[str, tuple[float, float] | None]:
    """Task -> the interval that tasks of other families state for it; a task that is its own family leaves out itself.

    Args:
        ratios: task -> measured speed-up.
        families: task -> what is left out together with it.
    """
    return {
        task: prediction_interval([r for other, r in ratios.items() if families[other] != families[task]])
        for task in ratios
    }


def covered(ratios: Mapping[str, float], stated: Mapping[str, tuple[float, float] | None]) -> tuple[int, int]:
    """How many of the tasks with an interval lie inside it, and how many have one."""
    intervals = {task: interval for task, interval in stated.items() if interval is not None}
    return sum(low <= ratios[task] <= high for task, (low, high) in intervals.items()), len(intervals)
