"""The step along a batch gradient that lowers the expected loss most, and the signal in such a gradient."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .jackknife import Estimate, stated


def expected_step(products: ArrayLike, curvatures: ArrayLike) -> Estimate:
    """LR that minimises the expected loss after one plain SGD step, from pairs (A, B) of independent batches.

    eps* = sum gA.gB / sum gB.H_A gB  ->  |G|^2 / E[gB.H gB]     G: the full gradient

    On a quadratic with noise of covariance S/B this is |G|^2 / (G.HG + tr(HS)/B): exact for pure SGD, one step ahead.
    Being greedy it is biased to short horizons (arXiv 1803.02021). With one batch for both, gA.gA replaces |G|^2 by
    |G|^2 + tr(S)/B, and the value is far too large. Momentum is not in it; compare with `effective_lr`.
    Measured echo exponent: .91 (.75 to 1.07) along training, .76 (.60 to .93) over 24 steps from a common checkpoint
    (`echo.MEASURED`): a large LR leaves a signal to follow, a small one has used it up. At a checkpoint it is the same
    for every LR.

    Args:
        products: (n,) gA.gB.
        curvatures: (n,) gB.H_A gB: the gradient of one batch, the Hessian of the other.
    Returns: an Estimate; None below eight pairs, where the signal or the curvature is not told from zero by two
        standard errors, or where the loss curves downwards along the gradient and has no minimum there.
    Reference: Schaul et al., arXiv 1206.1106v2, Sec. 4 (the optimal rate of the noisy quadratic).
    """
    top, bottom = np.asarray(products, dtype=np.float64), np.asarray(curvatures, dtype=np.float64)
    for column, meaning in ((top, "the gradient's signal"), (bottom, "the curvature along the gradient")):
        alone = stated(lambda mean: mean, column, meaning=meaning)
        if alone.value is None:
            return alone
        if alone.value < 0.0:
            reason = "batches disagree about the gradient" if column is top else "the loss curves downwards along it"
            return Estimate(None, None, alone.n, f"{meaning} is negative: {reason}")
    return stated(lambda a, b: a / b if b > 0 else math.inf, top, bottom, meaning="the expected-loss step")


def signal_share(products: ArrayLike, squares_a: ArrayLike, squares_b: ArrayLike) -> Estimate:
    """How much of a batch gradient's square is signal: sum gA.gB / sum (|gA|^2 + |gB|^2)/2, at most 1.

    -> |G|^2 / (|G|^2 + tr(S)/B). 0: nothing but noise at this batch size; 1: batches agree.

    Args: products, squares_a, squares_b: (n,) gA.gB, |gA|^2, |gB|^2 of pairs of equally large batches.
    """

    def share(product: float, a: float, b: float) -> float:
        return 2.0 * product / (a + b) if a + b > 0 else math.nan

    return stated(share, products, squares_a, squares_b, meaning="the gradient's signal")


def noise_scale_from_share(share: Estimate, samples: int) -> Estimate:
    """Gradient-noise scale B_simple = tr(S) / |G|^2 in samples, from the signal's share in batches of n samples.

        share = |G|^2 / (|G|^2 + tr(S)/n)   hence   B_simple = n (1 / share - 1),   standard error n se(share) / share^2

    Rough beside `noise_scale`, which sees every pair of its batches: no more than the probes that are made anyway tell.

    Args:
        share: of `signal_share`; without a value there is none here either, for its reason.
        samples: n, in every probe batch.
    Reference: McCandlish et al., arXiv 1812.06162v1, Sec. 2.2.
    Example:
        >>> noise_scale_from_share(Estimate(0.2, 0.02, 8), 32).value
        128.0
    """
    if share.value is None or share.value <= 0.0:
        return Estimate(None, None, share.n, share.reason or "no signal was seen")
    error = None if share.standard_error is None else samples * share.standard_error / share.value**2
    return Estimate(samples * max(1.0 / share.value - 1.0, 0.0), error, share.n)
