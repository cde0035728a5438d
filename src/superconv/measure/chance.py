"""What a guesser reaches: the level that tells a collapsed network from a trained one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..task import Metric, counting_metric, metric_name
from ..task.labels import counts
from ..training.distributed import gather_from_ranks

LARGE = 16  # labels in a batch; in smaller ones chance alone makes one class prevail


class ChanceLevel:
    """A metric that also counts the classes it sees, so that no extra pass over the evaluation data is needed.

    chance = samples of the largest class / samples: the accuracy of the best constant prediction. Only for
    "accuracy" (of images with a class per pixel it counts pixels); other metrics have the level that was given, or
    none. Negative labels and those of `ignored`, the loss's `ignore_index`, count neither above nor below the line,
    as in the accuracy.
    """

    def __init__(self, metric: str | Metric | None, given: float | None, ignored: int | None = None) -> None:
        self.name = metric_name(metric)
        self._measure = counting_metric(metric, ignored)
        self._ignored = ignored
        self._metric = metric
        self._given = given
        self._counting = isinstance(metric, str) and metric == "accuracy" and given is None
        self._counts: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # by class, on this rank
        self._samples = 0
        self._of_batches = 0  # samples of the largest class of their own batch
        self._batches = 0

    def level(self) -> float | None:
        """The metric of a guesser over all ranks' targets, so every rank must ask; None where it is not known."""
        if not self._counting:
            return self._given
        parts = gather_from_ranks((self._samples, self._counts))
        samples = sum(part[0] for part in parts)
        counts = np.zeros(max(len(part[1]) for part in parts), dtype=np.int64)
        for _, own in parts:
            counts[: len(own)] += own
        return float(counts.max() / samples) if counts.any() else None

    def sorted_by_class(self) -> tuple[float, float] | None:
        """Of this rank's batches (share of the batch's own largest class, of the largest class of all); or None.

        Not None where the first lies more than half-way from the second to 1, in batches of `LARGE` and more: shuffled
        batches of 16 from two equal classes have .60 on average, .75 would be half-way. Statistics of such batches
        belong to a class.
        """
        if self._samples < LARGE * self._batches or not self._counts.any():
            return None
        own, all_of_them = self._of_batches / self._samples, float(self._counts.max()) / self._samples
        return (own, all_of_them) if own > 0.5 * (1.0 + all_of_them) else None

    @property
    def metric(self) -> Any:
        """What to hand to `evaluate`: what needs no counting stays what it is."""
        return self if self._counting else self._metric

    def __call__(self, outputs: Any, targets: Any) -> Any:
        """What the metric itself returns."""
        assert self._measure is not None
        values = self._measure(outputs, targets)  # first, since it names what does not fit
        if self._counting:
            soft = targets.shape == outputs.shape
            labels = targets.argmax(1) if soft else targets
            self._count(labels[counts(labels, None if soft else self._ignored)], of_samples=labels.dim() == 1)
        return values

    def _count(self, labels: torch.Tensor, of_samples: bool) -> None:
        found = torch.bincount(labels.long(), minlength=len(self._counts)).cpu().numpy()
        if of_samples:
            self._of_batches += int(found.max(initial=0))
            self._batches += 1
        found[: len(self._counts)] += self._counts
        self._counts = found
        self._samples += len(labels)
