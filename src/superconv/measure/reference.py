"""The best constant learning rate of a short training: what the verdict measures tolerance against."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..schedules import constant
from ..training.batch_source import BatchSource
from .ramp import Probe

GRID_POINTS = 8
GRID_FACTOR = 10**0.5  # half a decade: what tells 3 from 1 is seen, and a grid stays short


@dataclass(frozen=True)
class Reference:
    """A grid of constant learning rates and the metric after the same number of steps at each.

    Args:
        lr: the one with the best metric; None where no training stayed finite.
        lrs, metrics: the grid, ascending; NaN where it diverged.
    """

    lr: float | None
    lrs: tuple[float, ...]
    metrics: tuple[float, ...]


def find_reference(
    probe: Probe, source: BatchSource, *, end_lr: float, steps: int, higher_is_better: bool = True
) -> Reference:
    """Train clones of the state at constant learning rates below `end_lr` for `steps` each, and take the best.

    Grid: end_lr / GRID_FACTOR^k, k = 0 .. GRID_POINTS - 1. Of equal metrics the smallest rate is taken, so that the
    tolerance measured against it is not understated. Everything is as before afterwards.
    """
    lrs = tuple(end_lr / GRID_FACTOR**k for k in reversed(range(GRID_POINTS)))
    metrics = []
    for lr in lrs:
        final, losses = probe.branch(source, constant(steps, lr=lr))
        finite = all(map(math.isfinite, losses)) and final is not None
        metrics.append(final.metric if finite and final is not None else math.nan)
    scores = np.array(metrics) * (1.0 if higher_is_better else -1.0)
    best = None if np.isnan(scores).all() else lrs[int(np.nanargmax(scores))]
    return Reference(best, lrs, tuple(metrics))
