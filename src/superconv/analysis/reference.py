"""The best constant learning rate of a grid, read robustly: neighbouring rates often tie within noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .likely_best import likely_best


def best_constant(
    lrs: Sequence[float], metrics: Sequence[float | None], *, samples: int | None = None, higher_is_better: bool = True
) -> float | None:
    """Mean of log LR over the grid, each LR weighted by how likely it is the best one (`likely_best`).

        error = sqrt(best (1 - best) / samples), the binomial standard error of one evaluation (accuracies),
                at least 1% of the distance between the best and the worst LR

    Normalised networks are equally good over one or two decades of constant rates; the plain argmax lands anywhere in
    there, and the tolerance measured against it is as arbitrary. Rates of a grid that was refined around its
    best count by the stretch of log LR they stand for.

    Args:
        lrs: rates tried, any order.
        metrics: final metric of each; None or NaN where the training diverged.
        samples: samples behind each metric; None: only the 1% count.
        higher_is_better: direction of the metric.
    Returns: the rate, or None where no training stayed finite.
    Raises: ValueError: different lengths, or a rate that is not positive.
    """
    if len(lrs) != len(metrics) or any(not lr > 0.0 for lr in lrs):
        raise ValueError(f"one metric for each positive learning rate, got {len(metrics)} for {list(lrs)}")
    order = np.argsort(lrs)
    x = np.log(np.asarray(lrs, dtype=np.float64)[order])
    y = np.array([math.nan if m is None else m for m in metrics], dtype=np.float64)[order]
    y = y if higher_is_better else -y
    alive = np.isfinite(y)
    if not alive.any():
        return None
    best, worst = float(y[alive].max()), float(y[alive].min())
    error = math.sqrt(best * (1.0 - best) / samples) if samples and 0.0 < best < 1.0 else 0.0
    return likely_best(np.exp(x), y, error=max(error, 0.01 * (best - worst), 1e-12)).lr
