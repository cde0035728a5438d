"""Smoothing of noisy curves: one causal average, and two centred smoothers that do not lag.

The centred ones work over log LR, because that is the axis on which a range test is read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

GRID = 400  # curves longer than this are smoothed on so many positions and interpolated between them


def ewma(values: ArrayLike, beta: float = 0.98) -> Floats:
    """Causal exponential average, corrected for its empty start.

    s[t] = sum_{k<=t} beta^(t-k) y[k] / sum_{k<=t} beta^(t-k), sums over the finite y alone, so s[0] == y[0].

    It lags: an event at step t is seen about beta / (1 - beta) steps later. Fit for watching a training while
    it runs (is it diverging?), not for reading an LR off a finished ramp; use `local_linear` there.

    Args:
        values: (n,); NaN and infinities carry the average forward, and stay NaN before the first finite value.
        beta: memory, in [0, 1).
    Returns: (n,) float64.
    Raises: ValueError: beta outside [0, 1).
    Differs: Lightning's finder divides by 1 - beta^(t+2), so that its first value is about half the raw one.
    """
    if not 0.0 <= beta < 1.0:
        raise ValueError(f"beta must be in [0, 1), got {beta}; 0 does not smooth, 0.98 averages about 50 values")
    y = np.asarray(values, dtype=np.float64)
    smoothed = np.full(y.shape, np.nan)
    total = weight = 0.0
    for t, value in enumerate(y):
        total, weight = beta * total, beta * weight
        if np.isfinite(value):
            total, weight = total + value, weight + 1.0
        if weight > 0.0:
            smoothed[t] = total / weight
        elif t:  # a memory of 0, or of values too far back to weigh anything
            smoothed[t] = smoothed[t - 1]
    return smoothed


def local_linear(x: ArrayLike, y: ArrayLike, *, bandwidth: float = 0.25, neighbours: int = 6) -> Floats:
    """Centred local linear regression (Gaussian weights), robust against single outliers.

    At each position x0 a line is fitted with weights exp(-((x - x0) / h)^2 / 2), h = `bandwidth` or the distance
    to the `neighbours`-th nearest point where the points are sparser; a point is weighed down by its distance
    from the running median (bisquare, six median distances, of all points or of those around it, if these are larger:
    a blow-up is no outlier). Being centred and linear it reproduces straight lines
    exactly and does not lag; it rounds off a kink within about h of it.

    Args:
        x: (n,) ascending, finite; log LR for a range test (h is then in nats: 0.25 is +-28%).
        y: (n,) finite.
        bandwidth: smallest h, in units of x.
        neighbours: points that h reaches at least.
    Returns: (n,) float64. Fewer than three points come back as they are.
    Raises: ValueError: x and y differ in length.
    Reference: Cleveland, "Robust locally weighted regression and smoothing scatterplots", JASA 74 (1979).
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"x and y must be one-dimensional and of one length, got shapes {x.shape} and {y.shape}")
    if len(x) < 3:
        return y.copy()
    residual = np.abs(y - local_median(x, y, half_width=bandwidth, points=neighbours))
    around = local_median(x, residual, half_width=bandwidth, points=2 * neighbours + 1)
    scale = 6.0 * np.maximum(around, float(np.median(residual)))
    if scale.min() <= 0.0:
        return _weighted_lines(x, y, np.ones_like(y), bandwidth, neighbours)
    trust = np.clip(1.0 - (residual / scale) ** 2, 0.0, None) ** 2
    return _weighted_lines(x, y, np.maximum(trust, 1e-3), bandwidth, neighbours)


def _weighted_lines(x: Floats, y: Floats, trust: Floats, bandwidth: float, neighbours: int) -> Floats:
    at = x if len(x) <= GRID else np.unique(np.concatenate([x[:: len(x) // (GRID // 2)], _even(x, GRID // 2), x[-1:]]))
    distance = np.abs(x[None, :] - at[:, None])
    reach = min(neighbours, len(x)) - 1
    h = np.maximum(np.partition(distance, reach, axis=1)[:, reach], bandwidth)
    weight = np.exp(-0.5 * (distance / h[:, None]) ** 2) * trust
    total = weight.sum(1)
    mean_x, mean_y = weight @ x / total, weight @ y / total
    dx = x[None, :] - mean_x[:, None]
    spread = (weight * dx**2).sum(1)
    covariance = (weight * dx * (y[None, :] - mean_y[:, None])).sum(1)
    slope = np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 1e-12 * h**2 * total)
    value = mean_y + slope * (at - mean_x)
    return value if at is x else np.interp(x, at, value)


def local_median(x: ArrayLike, y: ArrayLike, *, half_width: float = 0.1, points: int = 5) -> Floats:
    """Centred running median: of all values within `half_width` in x, and of at least `points` neighbours.

    A median keeps a step sharp and ignores single swings; at the two ends the window is cut, not mirrored.

    Args:
        x: (n,) ascending; log LR for a range test (0.1 is +-10%).
        y: (n,) finite.
        half_width: window, in units of x, on either side.
        points: the window holds at least so many points, centred by rank; 1 leaves sparse curves as they are.
    Returns: (n,) float64.
    Raises: ValueError: x and y differ in length, or points < 1.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"x and y must be one-dimensional and of one length, got shapes {x.shape} and {y.shape}")
    if points < 1:
        raise ValueError(f"points must be at least 1, got {points}")
    n, half = len(x), points // 2
    rank = np.arange(n)
    low = np.minimum(np.searchsorted(x, x - half_width, side="left"), np.maximum(rank - half, 0))
    high = np.maximum(np.searchsorted(x, x + half_width, side="right"), np.minimum(rank + half + 1, n))
    return np.array([np.median(y[a:b]) for a, b in zip(low, high, strict=True)])


def noise_level(y: ArrayLike) -> float:
    """Standard deviation of the point-to-point noise of a curve, its trend apart.

    From second differences d = y[i] - (y[i-1] + y[i+1]) / 2, whose variance is 1.5 sigma^2 for white noise:
    sigma = 1.4826 median|d| / sqrt(1.5). The median ignores a few jumps.

    Args: y: (n,) finite, in order.
    Returns: sigma, 0.0 for fewer than three points.
    """
    y = np.asarray(y, dtype=np.float64)
    if len(y) < 3:
        return 0.0
    return float(1.4826 * np.median(np.abs(y[1:-1] - 0.5 * (y[:-2] + y[2:]))) / np.sqrt(1.5))


def block_average(x: ArrayLike, y: ArrayLike, limit: int = 2000) -> tuple[Floats, Floats]:
    """Means over runs of neighbouring points, so that at most `limit` remain; shorter curves are returned as they are.

    Args:
        x: (n,) ascending.
        y: (n,).
        limit: most points to keep.
    Returns: (m,) block means of x and of y, m <= limit.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(x) <= limit:
        return x, y
    starts = np.linspace(0, len(x), limit, endpoint=False).astype(int)
    sizes = np.diff(np.append(starts, len(x)))
    return np.add.reduceat(x, starts) / sizes, np.add.reduceat(y, starts) / sizes


def _even(x: Floats, count: int) -> Floats:
    return np.linspace(x[0], x[-1], count)
