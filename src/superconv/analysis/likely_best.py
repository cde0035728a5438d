"""Where the best of a few learning rates lies, when neighbours tie within noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class LikelyBest:
    """A mean of learning rates and what noise leaves open around it.

    Args:
        lr: weighted geometric mean.
        interval: the central 90% of the weight, within the rates that were tried; reaches to `lr` at least.
    """

    lr: float
    interval: tuple[float, float]


def likely_best(lrs: ArrayLike, scores: ArrayLike, *, error: float) -> LikelyBest:
    """Mean of log LR, each LR weighted by how likely it is the best one.

        weight(lr) = exp(-(best - score(lr)) / error) x the stretch of log LR that it stands for

    The argmax of several rates that are equally good is the luckiest of them, not the best, and lands anywhere among
    them: normalised networks are equally good over one or two decades.

    Args:
        lrs: (n,) positive rates, ascending; the scores of equal ones are averaged.
        scores: (n,) higher is better; NaN has no weight.
        error: noise of a difference between two scores; positive.
    """
    x, y = _merged(np.log(np.asarray(lrs, dtype=np.float64)), np.asarray(scores, dtype=np.float64))
    alive = np.isfinite(y)
    if alive.sum() == 1:
        only = float(np.exp(x[alive][0]))
        return LikelyBest(only, (only, only))
    best = float(y[alive].max())
    cells = np.gradient(x)  # half the distance between the neighbours; all of it at the ends
    weight = np.where(alive, np.exp(-(best - np.where(alive, y, best)) / error), 0.0) * cells
    weight /= weight.sum()
    lr, (low, high) = float(np.exp((weight * x).sum())), _central(x, weight)
    # Where rates lie unevenly a cell's rate is not in its middle, and a heavy one's may lie outside its own 90%.
    return LikelyBest(lr, (min(low, lr), max(high, lr)))


def _merged(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each position once, with the mean of its finite scores: equal ones would have cells of no width."""
    positions, where = np.unique(x, return_inverse=True)
    alive = np.isfinite(y)
    counts = np.bincount(where[alive], minlength=len(positions))
    sums = np.bincount(where[alive], weights=y[alive], minlength=len(positions))
    return positions, np.divide(sums, counts, out=np.full(len(positions), np.nan), where=counts > 0)


def _central(x: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """5% and 95% points of a density that is even over each rate's cell."""
    middles = 0.5 * (x[:-1] + x[1:])
    ends = np.concatenate([[2 * x[0] - middles[0]], middles, [2 * x[-1] - middles[-1]]])
    points = np.interp((0.05, 0.95), np.concatenate([[0.0], np.cumsum(weight)]), ends)
    low, high = np.exp(np.clip(points, x[0], x[-1]))
    return float(low), float(high)
