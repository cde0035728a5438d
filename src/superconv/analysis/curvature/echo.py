"""The echo: how far an estimate of the learning rate follows the learning rate that was used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..student_t import half_width
from .iterates import identity_ratio
from .jackknife import STANDARD_ERRORS, Estimate

ECHO = "echo: this number reflects the LR, not the curvature"
TOLERANCE = 0.25  # of estimate / (pure-noise value), besides its standard error


def is_echo(rho: Estimate, noise_rho: float) -> bool | None:
    """Whether updates are correlated as pure noise makes them, so that the paper's estimate is lr times a constant.

    |ln(estimate / noise value)| = |ln((1 - noise_rho) / (1 - rho))| / 2  <=  max(ln 1.25, 2 standard errors)

    Returns: None where rho is not known, or so badly (two standard errors above ln 2) that nothing follows.
    """
    if rho.value is None or rho.standard_error is None:
        return None
    if rho.value >= 1.0:
        return False
    distance = abs(math.log(identity_ratio(rho.value) / identity_ratio(noise_rho)))
    error = STANDARD_ERRORS * rho.standard_error / (2.0 * (1.0 - rho.value))
    if error > math.log(2.0):
        return None
    return distance <= max(math.log(1.0 + TOLERANCE), error)


def slope(lrs: ArrayLike, estimates: ArrayLike) -> float:
    """d log(estimate) / d log(lr) by least squares; pairs that are not finite and positive are left out.

    Returns: the slope; NaN where fewer than three pairs or one LR remain.
    Example:
        >>> round(slope([0.01, 0.1, 1.0], [0.2, 2.0, 20.0]), 3)
        1.0
    """
    x, y = np.asarray(lrs, dtype=np.float64), np.asarray(estimates, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"one estimate an LR is needed, got shapes {x.shape} and {y.shape}")
    use = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)
    x, y = np.log(x[use]), np.log(y[use])
    if len(x) < 3 or not float(np.ptp(x)) > 0:
        return math.nan
    x = x - x.mean()
    return float(x @ y / (x @ x))


@dataclass(frozen=True)
class EchoExponent:
    """A measured exponent: 0 where an estimate is the network's own, 1 where it follows the LR.

    Args:
        exponent: mean over seeds.
        lower, upper: Student's 95% interval over seeds; the exponent itself below two of them.
        n: seeds.
    """

    exponent: float
    lower: float
    upper: float
    n: int

    def __str__(self) -> str:
        return f"{self.exponent:.2f} ({self.lower:.2f} to {self.upper:.2f})"


def over_seeds(slopes: Sequence[float], confidence: float = 0.95) -> EchoExponent | None:
    """The mean of one slope a seed, with Student's interval; None where no slope is finite."""
    values = np.array([value for value in slopes if math.isfinite(value)])
    if not len(values):
        return None
    mean, n = float(values.mean()), len(values)
    half = half_width(values.tolist(), confidence)
    return EchoExponent(mean, mean - half, mean + half, n)


# estimator -> regime -> exponent, by `python -m benchmarks curvature.echo_exponents` (2-core CPU, torch 2.13, 2026-11):
# 3,500 MNIST images, SGD with momentum .9 and weight decay 1e-4, batch 128, n = 3 seeds, five LRs half a decade apart
# from 10^-1.5 to 10^.5 times the best constant LR. Mean of lenet-slim-bn, lenet-slim and mlp-bn, whose own values stand
# behind it in this order; intervals are over seeds, not over networks.
#   "along": after 200 steps at each LR; how an estimate read while training depends on the LR one chose.
#   "common": after 24 steps at each LR from one checkpoint (60 steps at a third of the best LR).
# At the very checkpoint, before any step at another LR, all but the paper's estimates have exponent 0 by construction.
MEASURED: dict[str, dict[str, EchoExponent]] = {
    "paper_absolute": {
        "along": EchoExponent(0.98, 0.95, 1.01, 3),  # .98 .94 1.03
        "common": EchoExponent(0.89, 0.88, 0.90, 3),  # .91 .86 .91
    },
    "paper_squared": {
        "along": EchoExponent(0.93, 0.91, 0.96, 3),  # .93 .90 .97
        "common": EchoExponent(0.87, 0.86, 0.87, 3),  # .88 .82 .90
    },
    "paper_spaced": {  # iterates ten updates apart
        "along": EchoExponent(0.85, 0.83, 0.86, 3),  # .85 .79 .90
        "common": EchoExponent(0.87, 0.85, 0.89, 3),  # .86 .94 .81
    },
    "secant": {
        "along": EchoExponent(0.59, 0.31, 0.87, 3),  # .54 .71 .51
        "common": EchoExponent(0.23, 0.14, 0.32, 3),  # .23 .28 .19
    },
    "secant_magnitude": {
        "along": EchoExponent(0.65, 0.34, 0.97, 3),  # .70 .59 .66
        "common": EchoExponent(0.35, 0.25, 0.45, 3),  # .39 .24 .41
    },
    "own_batch": {  # g.g / g.Hg with one batch for all: mostly noise over its curvature, so not advice
        "along": EchoExponent(0.24, 0.05, 0.42, 3),  # .09 .50 .13
        "common": EchoExponent(0.00, -0.14, 0.14, 3),  # -.02 .07 -.04
    },
    "expected_step": {
        "along": EchoExponent(0.91, 0.75, 1.07, 3),  # .85 1.02 .86
        "common": EchoExponent(0.76, 0.60, 0.93, 3),  # 1.20 .78 .43
    },
    "stability_limit": {  # 2 (1 + beta) / (largest eigenvalue)
        "along": EchoExponent(0.53, 0.14, 0.93, 3),  # .55 .66 .39
        "common": EchoExponent(0.05, 0.03, 0.07, 3),  # .08 .11 -.04
    },
}


def worth(estimator: str) -> str:
    """What an estimate is worth, in brackets: the measured exponent along training; empty for an unmeasured one."""
    found = MEASURED.get(estimator, {}).get("along")
    return "" if found is None else f" (follows the LR as LR^{found.exponent:.1f})"
