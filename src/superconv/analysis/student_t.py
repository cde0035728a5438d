"""Student's t distribution: tail probability and critical value, without scipy."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence

_TINY = 1e-300


def two_sided_p(t: float, degrees: int) -> float:
    """Probability that |T| >= |t| for Student's T with `degrees` degrees of freedom.

    P(|T| >= |t|) = I_x(v / 2, 1 / 2),  x = v / (v + t^2),  v: degrees, I: regularised incomplete beta function

    Args:
        t: the statistic; +-inf gives 0.
        degrees: degrees of freedom, at least 1.
    Returns: the two-sided tail probability, in [0, 1], relative error below 1e-8 up to 10^6 degrees.
    Raises: ValueError: fewer than one degree of freedom, or `t` is NaN.
    Reference: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.5.27.
    Example:
        >>> round(two_sided_p(2.776445, 4), 5)
        0.05
    """
    if degrees < 1:
        raise ValueError(f"Student's t needs at least 1 degree of freedom, got {degrees}; use more pairs")
    if math.isnan(t):
        raise ValueError("Student's t statistic is NaN; check the values for NaN before testing")
    if math.isinf(t):
        return 0.0
    square = t * t
    # both x and 1 - x are formed without subtraction, so that neither tail loses digits
    return _regularised_beta(degrees / (degrees + square), square / (degrees + square), degrees / 2, 0.5)


def half_width(values: Sequence[float], confidence: float = 0.95) -> float:
    """Half the width of the interval of a mean: t(confidence, n - 1) s / sqrt(n), s with n - 1 in its denominator.

    Args:
        values: n numbers, one a seed.
        confidence: inside (0, 1).
    Returns: nan for fewer than two values, whose spread is not known.
    Example:
        >>> round(half_width([1.0, 2.0, 3.0]), 4)
        2.4841
    """
    n = len(values)
    if n < 2:
        return math.nan
    return critical_value(confidence, n - 1) * statistics.stdev(values) / math.sqrt(n)


@functools.lru_cache(maxsize=256)
def critical_value(confidence: float, degrees: int) -> float:
    """The t for which P(|T| <= t) = confidence: half-width of the interval in standard errors.

    Args:
        confidence: inside (0, 1), 0.95 for the usual interval.
        degrees: degrees of freedom, at least 1.
    Returns: the positive critical value.
    Raises: ValueError: confidence outside (0, 1), or fewer than one degree of freedom.
    Example:
        >>> round(critical_value(0.95, 4), 4)
        2.7764
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}, allowed is a number inside (0, 1); 0.95 is usual")
    tail = 1.0 - confidence
    low, high = 0.0, 1.0
    while two_sided_p(high, degrees) > tail:
        low, high = high, 2.0 * high
    while high - low > 1e-14 * high:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if two_sided_p(middle, degrees) > tail:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _regularised_beta(x: float, complement: float, a: float, b: float) -> float:
    """I_x(a, b) with complement = 1 - x; the continued fraction converges fast below the mean, so it is used there."""
    if x <= 0.0:
        return 0.0
    if complement <= 0.0:
        return 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(complement)
    if x < (a + 1.0) / (a + b + 2.0):
        return math.exp(log_front) / (a * _fraction(x, a, b))
    return 1.0 - math.exp(log_front) / (b * _fraction(complement, b, a))


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1 / (1 + d2 / (1 + ...)) of I_x(a, b), evaluated forwards by Lentz's method.

    Reference: Abramowitz and Stegun 26.5.8 (coefficients); Lentz 1976, Applied Optics 15, 668 (evaluation).
    """
    value, c, d = 1.0, 1.0, 0.0
    for index in range(1, 10_000):
        m = index // 2
        if index % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 / _away_from_zero(1.0 + term * d)
        c = _away_from_zero(1.0 + term / c)
        value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            return value
    raise AssertionError(f"the continued fraction did not settle: x={x}, a={a}, b={b}")


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
