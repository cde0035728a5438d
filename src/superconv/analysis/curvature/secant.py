"""Secant quotients: how the gradient of independent batches changed along the step that was really made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .jackknife import Estimate, stated


@dataclass(frozen=True)
class Secant:
    """What n probes say about the curvature along the steps.

    Args:
        quotient: s.s/s.y, signed: the step length, in gradients, at which the slope along the step is gone. Negative
            where the loss curves downwards.
        magnitude: |s|/|y|, never above |quotient|. A root mean square over the curvatures along s, and over what
            batches differ by: both make it smaller.
        cosine: of s and y: 1 where s is an eigenvector and batches agree.
    """

    quotient: Estimate
    magnitude: Estimate
    cosine: Estimate


def secant(ss: ArrayLike, sy: ArrayLike, yy: ArrayLike) -> Secant:
    """Secant quotients pooled over probes.

    Per probe j: curvature c_j = s.y/s.s and its square m_j = y.y/s.s, both free of the step's length. Then

        quotient = 1 / mean c,   magnitude = 1 / sqrt(mean m),   cosine = mean c / sqrt(mean m)

    On a quadratic with Hessian H: s.s/s.Hs and |s|/|Hs| exactly, with and without momentum; weight decay is not in y
    (it is no part of the loss). Elsewhere y is the mean Hessian along s times s, without an error of order |s|.
    Compare with `effective_lr`: s is the change that the update made, whatever made it.
    Measured echo exponent of the quotient: .59 (.31 to .87) along training, .23 (.14 to .32) over 24 steps from a
    common checkpoint; of the magnitude .65 and .35 (`echo.MEASURED`).

    Args:
        ss: (n,) s.s, s the change of the parameters in the update. Probes where it is 0 (the learning rate was, as
            where a warm-up begins) are left out: they show no direction, and say nothing against the others.
        sy: (n,) s.y, y the change of a probe batch's gradient from before to after it; the batch must not be the one
            that made the step: with its own batch the quotient is biased to short steps.
        yy: (n,) y.y.
    Returns: a Secant; each entry None with the reason below eight probes that moved, or two standard errors.
    Reference: Barzilai & Borwein 1988 for the two quotients; Gulcehre et al., arXiv 1412.7419, for their use here.
    """
    s2, inner, y2 = (np.asarray(column, dtype=np.float64) for column in (ss, sy, yy))
    moved = s2 != 0.0  # NaN stays, and is stated
    if len(s2) and not np.any(moved):
        still = Estimate(None, None, len(s2), "the weights did not move")
        return Secant(still, still, still)
    s2, inner, y2 = s2[moved], inner[moved], y2[moved]
    curvature, square = inner / s2, y2 / s2
    along = stated(lambda c: c, curvature, meaning="the curvature along the step")
    if along.value is None:
        quotient = along
    else:
        quotient = stated(lambda c: 1.0 / c, curvature, meaning="the secant quotient")
    return Secant(
        quotient,
        stated(lambda m: 1.0 / math.sqrt(m) if m > 0 else math.inf, square, meaning="|s|/|y|"),
        stated(lambda c, m: c / math.sqrt(m) if m > 0 else 0.0, curvature, square, meaning="the cosine of s and y"),
    )
