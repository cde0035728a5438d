"""The best constant learning rate of a grid: neighbouring rates tie within noise, and it may lie off the grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from .binomial import standard_error
from .likely_best import likely_best

GridEdge = Literal["lowest", "highest", "nothing"]
"""Why a grid does not show its best rate: it is the lowest or highest tried, or nothing was learned at any."""


def best_constant(
    lrs: Sequence[float], metrics: Sequence[float | None], *, samples: int | None = None, higher_is_better: bool = True,
    measured: float | None = None,
) -> float | None:  # fmt: skip
    """Mean of log LR over the grid, each LR weighted by how likely it is the best one (`likely_best`).

        error = the standard error of one evaluation (`binomial.standard_error`; accuracies),
                at least 1% of the distance between the best and the worst LR

    Normalised networks are equally good over one or two decades of constant rates; the plain argmax lands anywhere in
    there, and the tolerance measured against it is as arbitrary. Rates of a grid that was refined around its
    best count by the stretch of log LR they stand for.

    Args:
        lrs: rates tried, any order.
        metrics: final metric of each; None or NaN where the training diverged.
        samples: samples behind each metric; None: only the 1% count.
        higher_is_better: direction of the metric.
        measured: standard error of one evaluation, where a sample is no single trial; None: the binomial one.
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
    error = standard_error(best, samples) if samples and 0.0 < best <= 1.0 else 0.0
    error = measured if samples and measured is not None else error
    return likely_best(np.exp(x), y, error=max(error, 0.01 * (best - worst), 1e-12)).lr


def grid_edge(
    lrs: Sequence[float], metrics: Sequence[float | None], *, chance: float | None = None, higher_is_better: bool = True
) -> GridEdge | None:
    """Whether the best rate may lie off the grid; None where it is enclosed by others that are no better.

    What `best_constant` reads is then a bound at most: it averages over the rates that were tried.

    Args:
        lrs, metrics, higher_is_better: as in `best_constant`.
        chance: metric of a guesser: where no rate is better than that, none is the best one. None: not known.
    Returns: "lowest" or "highest" where that rate alone has the best metric, "nothing" where none learned.
    """
    sign = 1.0 if higher_is_better else -1.0
    known = [(lr, math.nan if metric is None else sign * metric) for lr, metric in zip(lrs, metrics, strict=True)]
    alive = [(value, lr) for lr, value in known if math.isfinite(value)]
    best = max((value for value, _ in alive), default=-math.inf)
    if best <= (-math.inf if chance is None else sign * chance):
        return "nothing"
    at = {lr for value, lr in alive if value == best}
    if at == {min(lrs)}:
        return "lowest"
    return "highest" if at == {max(lrs)} else None


def stored_grid_edge(grid: Any, *, chance: float | None = None, higher_is_better: bool = True) -> GridEdge | None:
    """`grid_edge` of what a range test keeps in settings["reference_grid"]; None where it holds no grid."""
    try:
        pairs = [(float(lr), None if m is None else float(m)) for lr, m in zip(grid["lr"], grid["metric"], strict=True)]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not pairs:
        return None
    lrs, metrics = zip(*pairs, strict=True)
    return grid_edge(lrs, metrics, chance=chance, higher_is_better=higher_is_better)
