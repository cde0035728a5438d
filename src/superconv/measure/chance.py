"""What a guesser reaches: the level that tells a collapsed network from a trained one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..task import metric_function


class ChanceLevel:
    """A metric that also counts the classes it sees, so that no extra pass over the evaluation data is needed.

    chance = share of the largest class: the accuracy of the best constant prediction. Only for "accuracy"; other
    metrics have the level that was given, or none.
    """

    def __init__(self, metric: str | Callable[[Any, Any], Any] | None, given: float | None) -> None:
        self.name = metric if isinstance(metric, str) else getattr(metric, "__name__", "metric") if metric else "none"
        self._measure = metric_function(metric)
        self._metric = metric
        self._given = given
        self._counting = metric == "accuracy" and given is None
        self._counts = torch.zeros(0, dtype=torch.long)

    @property
    def level(self) -> float | None:
        """The metric of a guesser; None where it is not known."""
        if self._given is not None or not self._counting or self._counts.sum() == 0:
            return self._given
        return float(self._counts.max() / self._counts.sum())

    @property
    def metric(self) -> Any:
        """What to hand to `evaluate`: "loss" and None stay what they are."""
        return self if self._measure is not None else self._metric

    def __call__(self, outputs: Any, targets: Any) -> Any:
        if self._counting and isinstance(targets, torch.Tensor) and targets.ndim == 1 and not targets.is_floating_point():
            counts = torch.bincount(targets.cpu(), minlength=len(self._counts))
            counts[: len(self._counts)] += self._counts
            self._counts = counts
        assert self._measure is not None
        return self._measure(outputs, targets)
