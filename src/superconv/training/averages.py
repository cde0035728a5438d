"""The sums behind an evaluation: kept on the device, where it knows float64, and read once, at its end."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..double import double, has_double
from ..records import Evaluation
from ..task.labels import LabelCount
from ..task.metrics import Counted
from .distributed import sum_over_ranks

_SAMPLES, _LOSS, _LOSS_OF_LABELS, _LABEL_WEIGHT, _LABELS, _LABEL_PLACES, _BY_CLASS = range(7)
_METRIC, _METRIC_OF_COUNTED, _COUNTED, _PLACES, _MEANS, _VALUES, _W2, _W2V, _W2VV = range(7, 16)


class Averages:
    """Means over the samples of all batches, or, where some labels are ignored, over the places that count.

        nothing ignored   sum_n v_n / samples          v_n: a sample's loss or metric (its mean over places)
        else              sum_n c_n v_n / sum_n c_n    c_n: the places of sample n that count; for the loss, of a batch

    A loss with weights by class is a mean in the second form, with these as c_n, whether any is ignored or not.

    The standard error of the metric is that of such a ratio over independent samples, sqrt(sum_n c_n^2 (v_n - m)^2
    n / (n - 1)) / sum_n c_n. Where every v_n is 0 or 1 and all count it is the binomial one, and None is given.
    """

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(16, dtype=torch.double, device=device if has_double(device) else "cpu")

    def add_loss(self, loss: Tensor, count: int, labels: LabelCount | None) -> Tensor:
        """A mean over a batch of `count` samples. Returns: the sum over them."""
        loss = double(loss)
        total = loss * count
        self.sums[_SAMPLES] += count
        self.sums[_LOSS] += total
        if labels is None:
            self.sums[_LOSS_OF_LABELS] += total
            self.sums[_LABEL_WEIGHT:_BY_CLASS] += count
        else:  # the mean over no labels is NaN in torch
            weight = double(labels.weight)
            self.sums[_LOSS_OF_LABELS] += torch.where(weight > 0, loss * weight, 0.0)
            self.sums[_LABEL_WEIGHT] += weight
            self.sums[_LABELS] += double(labels.counted)
            self.sums[_LABEL_PLACES] += labels.places
            self.sums[_BY_CLASS] += labels.weight is not labels.counted
        return total

    def add_metric(self, values: Any, count: int) -> None:
        """What a metric returned for a batch of `count` samples.

        Raises: ValueError: neither one value per sample (with counted places or without) nor one number.
        """
        if isinstance(values, Counted):
            self._add_values(_per_sample(values.values, count), double(values.counted), values.places)
            return
        if isinstance(values, (list, tuple, np.ndarray)):
            values = _numbers(values)
        if not isinstance(values, Tensor):
            self._add_mean(number(values, "the metric"), count)
            return
        values = double(values)
        if values.ndim == 0 or (values.numel() == 1 and count != 1):  # of a lone sample it is the sample's own
            self._add_mean(values.reshape(()), count)
        else:
            self._add_values(_per_sample(values, count), None, 1)

    def _add_mean(self, mean: Any, count: int) -> None:
        self.sums[_METRIC] += mean * count
        self.sums[_METRIC_OF_COUNTED] += mean * count
        self.sums[_COUNTED] += count
        self.sums[_PLACES] += count
        self.sums[_MEANS] += 1

    def _add_values(self, values: Tensor, counted: Tensor | None, places: int) -> None:
        weight = torch.ones_like(values) if counted is None else counted
        values = torch.where(weight > 0, values, 0.0)
        self.sums[_METRIC] += values.sum()
        self.sums[_METRIC_OF_COUNTED] += (values * weight).sum()
        self.sums[_COUNTED] += weight.sum()
        self.sums[_PLACES] += len(values) * places
        self.sums[_VALUES] += (weight > 0).sum()
        squared = weight * weight
        self.sums[_W2] += squared.sum()
        self.sums[_W2V] += (squared * values).sum()
        self.sums[_W2VV] += (squared * values * values).sum()

    def evaluation(self, evaluate_with: str) -> Evaluation | None:
        """The means over all ranks' samples, so every rank must ask; None where there were no samples."""
        total = sum_over_ranks(self.sums).tolist()
        samples = int(total[_SAMPLES])
        if samples == 0:
            return None
        loss = total[_LOSS] / samples
        if total[_BY_CLASS] or total[_LABELS] != total[_LABEL_PLACES]:
            loss = _ratio(total[_LOSS_OF_LABELS], total[_LABEL_WEIGHT])
        ignored = total[_COUNTED] != total[_PLACES]
        metric = _ratio(total[_METRIC_OF_COUNTED], total[_COUNTED]) if ignored else total[_METRIC] / samples
        return Evaluation(loss, metric, samples, evaluate_with, _standard_error(total, metric, ignored))


def _per_sample(values: Tensor, count: int) -> Tensor:
    values = double(values)
    if values.ndim == 0 or values.shape[0] != count:
        raise ValueError(
            f"the metric returned {tuple(values.shape)} for {count} samples; it must return one value per sample, or "
            "their mean"
        )
    return values.reshape(count, -1).mean(dim=1)


def _ratio(total: float, weight: float) -> float:
    return total / weight if weight else math.nan


def _standard_error(total: list[float], metric: float, ignored: bool) -> float | None:
    values = total[_VALUES]
    if total[_MEANS] or values < 2 or not math.isfinite(metric):
        return None
    if not ignored and total[_W2VV] == total[_W2V]:  # only so where every value is 0 or 1
        return None
    scatter = total[_W2VV] - 2.0 * metric * total[_W2V] + metric * metric * total[_W2]
    return math.sqrt(max(0.0, scatter) * values / (values - 1.0)) / total[_COUNTED]


def number(value: Any, what: str) -> float:
    """The one number that it is. Raises: ValueError: it is something else."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        got = f"{tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise ValueError(
            f"{what} returned {got}; a metric is one number, or one a sample: return the one to judge by"
        ) from None


def _numbers(values: Any) -> Tensor:
    try:
        return torch.tensor(values, dtype=torch.double)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"the metric returned a {type(values).__name__} that does not hold one number a sample; return a tensor "
            "(samples,), or their mean"
        ) from None
