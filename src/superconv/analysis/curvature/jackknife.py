"""A number over several probes with its standard error, silent where the probes do not tell it from zero."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

MINIMUM_PROBES = 8  # below it no standard error is stated
STANDARD_ERRORS = 2.0  # a value closer to zero than this many is not stated


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error, or the reason why none is stated.

    Args:
        value: None where the probes do not support one.
        standard_error: of the value by the jackknife; None where it could not be formed.
        n: probes.
        reason: why there is no value; empty where there is one.
    """

    value: float | None
    standard_error: float | None
    n: int
    reason: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return f"none ({self.reason})"
        return f"{self.value:.3g}" + ("" if self.standard_error is None else f" ± {self.standard_error:.1g}")


def jackknife(statistic: Callable[..., float], *columns: ArrayLike) -> tuple[float, float]:
    """A smooth function of means over n probes, and its standard error by leaving out one probe at a time.

    se^2 = (n - 1) / n  sum_j (t_j - mean t)^2        t_j: the statistic without probe j

    Args:
        statistic: takes the mean of each column, returns a number.
        columns: (n,) each, one entry a probe.
    Returns: (value, standard error); NaN below two probes, and where something is not finite.
    Raises: ValueError: columns of different lengths.
    Assumes: independent probes. For a ratio the bias left is O(1/n); where its denominator's mean is within a few
        standard errors of zero the error of the ratio has no useful size, so callers test denominators by themselves.
    Reference: Quenouille 1956, Biometrika 43, 353; Tukey 1958.
    Example:
        >>> value, error = jackknife(lambda mean: mean, [1.0, 2.0, 3.0, 4.0])
        >>> round(value, 3), round(error, 3)      # the mean's usual standard error
        (2.5, 0.645)
    """
    table = [np.asarray(column, dtype=np.float64) for column in columns]
    n = len(table[0])
    if any(column.shape != (n,) for column in table):
        raise ValueError(f"one value a probe is needed in every column, got shapes {[c.shape for c in table]}")
    if n < 2 or not all(np.all(np.isfinite(column)) for column in table):
        return math.nan, math.nan
    value = statistic(*(float(column.mean()) for column in table))
    left = [(column.sum() - column) / (n - 1) for column in table]
    parts = np.array([statistic(*(float(column[j]) for column in left)) for j in range(n)])
    if not np.all(np.isfinite(parts)):
        return value, math.nan
    return value, float(np.sqrt((n - 1) / n * np.sum((parts - parts.mean()) ** 2)))


def stated(statistic: Callable[..., float], *columns: ArrayLike, meaning: str) -> Estimate:
    """The jackknife's value, where there are probes enough and it is two standard errors away from zero.

    Args:
        statistic, columns: as for `jackknife`.
        meaning: what the value is, for the reason: "the curvature along the step".
    """
    n = len(np.asarray(columns[0]))
    if n < MINIMUM_PROBES:
        return Estimate(None, None, n, f"{n} of {MINIMUM_PROBES} probes so far")
    value, error = jackknife(statistic, *columns)
    if not (math.isfinite(value) and math.isfinite(error)):
        return Estimate(None, None, n, f"{meaning} is not finite")
    if abs(value) <= STANDARD_ERRORS * error:
        reason = f"{meaning} is not told from zero: {value:.2g} ± {error:.1g} over {n} probes"
        return Estimate(None, error, n, reason)
    return Estimate(value, error, n)
