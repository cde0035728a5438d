"""A metric of the whole evaluation set: an object with update, compute and reset, as in torchmetrics."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from ..task.metrics import Accumulating, as_new, metric_name
from .averages import number
from .distributed import is_distributed


class WholeMetric:
    """A copy of the object, reset, on the device of the outputs; the caller's own keeps what it has seen.

    Raises: ValueError: several ranks, and it does not say (`sync_on_compute`) that `compute` is over all of them.
    """

    def __init__(self, metric: Accumulating, device: torch.device) -> None:
        self._name = metric_name(metric)
        if is_distributed() and not getattr(metric, "sync_on_compute", False):
            raise ValueError(
                f"the metric {self._name!r} sees one rank's part of the evaluation data, and parts cannot be added up; "
                "pass a metric of torchmetrics, which gathers them (sync_on_compute=True), or evaluate in one process"
            )
        self._own = as_new(metric)
        if callable(getattr(self._own, "to", None)):
            self._own = self._own.to(device)  # type: ignore[attr-defined]

    def update(self, outputs: Any, targets: Any) -> None:
        """One more batch."""
        self._own.update(outputs, targets)

    def value(self) -> float:
        """Over all batches so far. Raises: ValueError: it is no number."""
        return number(self._own.compute(), f"compute() of {self._name}")

    def try_out(self, outputs: Any, targets: Any) -> None:
        """One batch, so that a misfit shows. What fails for the batch alone (R2 of one sample) is no misfit."""
        self.update(outputs, targets)
        if is_distributed():
            return  # ranks may not all have a batch
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                value = self._own.compute()
            except Exception:
                return
        number(value, f"compute() of {self._name}")
