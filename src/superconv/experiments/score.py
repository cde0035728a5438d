"""What a finished training is worth: its final metric, or what a guesser reaches where it diverged."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..task import Task, metric_name
from .sweep import Summary


class Score:
    """Reads the metric of a task's trainings.

    Args:
        task: whose metric and number of classes count.
    Attributes:
        worst: an infinity, worse than every value.
        diverged: what a diverged training counts as: chance, 1 / classes, for an accuracy; without a known chance
            level `worst`.
    """

    def __init__(self, task: Task) -> None:
        self.metric = metric_name(task.metric)
        self.worst = -math.inf if task.higher_is_better else math.inf
        self.diverged = 1.0 / task.data.num_classes if self.metric == "accuracy" else self.worst

    def measured(self, summary: Summary, split: str) -> float | None:
        """The metric on one split; None where the training diverged.

        Raises: ValueError: it is not a number though the training went well.
        """
        return self.checked((summary[split] or {}).get("metric"), split) if summary["stop"] == "completed" else None

    def checked(self, value: float | None, split: str) -> float:
        """A metric that has to be a number. Raises: ValueError: it is none."""
        if value is None or not math.isfinite(value):
            raise ValueError(
                f"the metric {self.metric!r} is not a number on {split} data after a training that went well: "
                "correct it"
            )
        return float(value)

    def of(self, summary: Summary, split: str) -> float:
        """The metric on one split, or what a diverged training counts as."""
        value = self.measured(summary, split)
        return self.diverged if value is None else value

    def validation(self, summary: Summary) -> float:
        """What settings are chosen by."""
        return self.of(summary, "validation")

    def finite(self, values: Sequence[float]) -> list[float]:
        """The values with infinite ones replaced by the worst that was measured."""
        known = [value for value in values if math.isfinite(value)]
        if not known:
            raise ValueError("every compared training diverged: search smaller learning rates")
        worst = min(known) if self.worst < 0 else max(known)
        return [value if math.isfinite(value) else worst for value in values]
