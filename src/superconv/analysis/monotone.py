"""Monotone fits of a curve measured at a few abscissae, and where such a fit first reaches a level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROUNDING = 64 * np.finfo(np.float64).eps
"""Share of a curve's size by which equal means may differ: their sums were rounded in another order."""


def isotonic(values: Array, weights: Array | None = None) -> Array:
    """The non-decreasing sequence closest to `values` in weighted least squares, along the last axis.

    fit_i = max over j <= i of min over k >= i of mean_w(values_j .. values_k)

    The max-min form gives what pooling adjacent violators gives, for a whole stack of curves at once; its cost grows
    with the cube of the number of points, which is a handful of planned lengths here.

    Args:
        values: (..., K) finite.
        weights: (K,) positive; None: equal.
    Returns: (..., K), non-decreasing along the last axis, with the weighted mean of `values`.
    Raises: ValueError: no points, or weights that are not positive, or not one per point.
    Reference: Barlow, Bartholomew, Bremner and Brunk 1972, Statistical Inference under Order Restrictions, Sec. 1.2.
    Example:
        >>> isotonic(np.array([1.0, 3.0, 2.0])).tolist()
        [1.0, 2.5, 2.5]
    """
    values = np.asarray(values, dtype=np.float64)
    count = values.shape[-1] if values.ndim else 0
    weights = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    if count == 0 or weights.shape != (count,) or not np.all(weights > 0):
        raise ValueError(f"isotonic needs one positive weight per point, got {weights.tolist()} for {count} points")
    zero = np.zeros((*values.shape[:-1], 1))
    mass = np.concatenate([[0.0], np.cumsum(weights)])
    total = np.concatenate([zero, np.cumsum(values * weights, axis=-1)], axis=-1)
    fit = np.empty_like(values)
    for i in range(count):
        best = np.full(values.shape[:-1], -np.inf)
        for j in range(i + 1):
            means = (total[..., i + 1 :] - total[..., j : j + 1]) / (mass[i + 1 :] - mass[j])
            best = np.maximum(best, means.min(axis=-1))
        fit[..., i] = best
    return np.maximum.accumulate(fit, axis=-1)  # rounding alone could leave a step down of one last place


def first_reach(x: Array, fit: Array, level: Array) -> tuple[Array, NDArray[np.int8]]:
    """Smallest abscissa at which piecewise-linear, non-decreasing curves reach a level.

    Args:
        x: (K,) increasing.
        fit: (..., K) non-decreasing along the last axis.
        level: (...) one per curve. Heights that differ from it by no more than rounding are equal to it.
    Returns: the abscissa (...) and how it was found (...): 0 inside the range; -1 reached at the first point already,
        strictly above it (the abscissa is x[0], an upper bound); +1 never reached (x[-1], a lower bound).
    """
    level = np.asarray(level, dtype=np.float64)
    slack = ROUNDING * np.maximum(np.abs(fit).max(axis=-1), np.abs(level))
    reached = fit >= (level - slack)[..., None]
    index = np.where(reached.any(axis=-1), reached.argmax(axis=-1), -1)
    right = np.clip(index, 1, None)
    left = right - 1
    low = np.take_along_axis(fit, left[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(fit, right[..., None], axis=-1)[..., 0]
    rise = np.where(high > low, high - low, 1.0)
    share = np.clip((level - low) / rise, 0.0, 1.0)
    where = x[left] + share * (x[right] - x[left])
    where = np.where(index == 0, x[0], np.where(index < 0, x[-1], where))
    found = np.where(index < 0, 1, np.where((index == 0) & (fit[..., 0] > level + slack), -1, 0))
    return where, found.astype(np.int8)
