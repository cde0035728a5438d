"""What a finished training is worth: its final metric, or what a guesser reaches where it diverged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..task import Task, metric_name
from .sweep import Summary

UNNUMBERED = 3  # trainings in a row without a number, and none with one: then it is the metric, not the trainings


class Score:
    """Reads the metric of a task's trainings.

    A training that ended well with a metric that is no number (the exponential of a huge loss, for one) counts as
    diverged, like one whose loss or weights are no numbers.

    Args:
        task: whose metric and number of classes count.
    Attributes:
        worst: an infinity, worse than every value.
        diverged: what a diverged training counts as: the task's chance, or 1 / classes for an accuracy; where neither
            is known, `worst`.
    """

    def __init__(self, task: Task) -> None:
        self.metric = metric_name(task.metric)
        self.worst = -math.inf if task.higher_is_better else math.inf
        classes = task.data.num_classes
        self.diverged = self.worst if task.chance is None else float(task.chance)
        if task.chance is None and self.metric == "accuracy" and classes:
            self.diverged = 1.0 / classes
        self._unnumbered: int | None = 0  # in a row so far; None: some training had a number

    def measured(self, summary: Summary, split: str) -> float | None:
        """The metric on one split; None where the training diverged.

        Raises: ValueError: of the first three trainings that went well none has a number.
        """
        if summary["stop"] != "completed":
            return None
        value = (summary[split] or {}).get("metric")
        if value is not None and math.isfinite(value):
            self._unnumbered = None
            return float(value)
        if self._unnumbered is not None:
            self._unnumbered += 1
            if self._unnumbered >= UNNUMBERED:
                self.refuse(split)
        return None

    def refuse(self, split: str) -> None:
        """Say that the metric is no number. Raises: ValueError."""
        raise ValueError(
            f"the metric {self.metric!r} is not a number on {split} data after a training that went well: correct it"
        )

    def of(self, summary: Summary, split: str) -> float:
        """The metric on one split, or what a diverged training counts as."""
        value = self.measured(summary, split)
        return self.diverged if value is None else value

    def validation(self, summary: Summary) -> float:
        """What settings are chosen by."""
        return self.of(summary, "validation")

    def finite(self, values: Sequence[float], untrained: Callable[[], float | None]) -> list[float]:
        """The values, infinite ones replaced by the untrained network's, or by the worst measured where that is worse.

        The worst of trainings that went well may be a good one, and would make an arm better that diverges.

        Args:
            untrained: asked where it is needed.
        Raises: ValueError: every training diverged.
        """
        known = [value for value in values if math.isfinite(value)]
        if not known:
            raise ValueError("every compared training diverged: search smaller learning rates")
        if len(known) == len(values):
            return list(values)
        level = untrained()
        known += [] if level is None else [level]
        worst = min(known) if self.worst < 0 else max(known)
        return [value if math.isfinite(value) else worst for value in values]
