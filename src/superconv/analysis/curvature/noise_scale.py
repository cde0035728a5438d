"""The gradient-noise scale from the inner products of micro-batch gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .jackknife import MINIMUM_PROBES, STANDARD_ERRORS, Estimate, Floats


@dataclass(frozen=True)
class NoiseScale:
    """What micro-batch gradients say about signal and noise.

    Args:
        batch_size: B_simple = tr(Sigma) / |G|^2, in samples; without a value where |G|^2 is not clear of zero.
        squared_norm: |G|^2 of the true gradient G, unbiased; without a value where it is not clear of zero.
        trace: tr(Sigma), the variance of one sample's gradient, summed over parameters.
    """

    batch_size: Estimate
    squared_norm: Estimate
    trace: float

    def __str__(self) -> str:
        return f"gradient-noise scale (samples): {self.batch_size}"


def noise_scale(products: ArrayLike, samples: int) -> NoiseScale:
    """B_simple from the Gram matrix of K micro-batch gradients of n samples each.

        |G|^2      = mean of g_a . g_b over a != b                   = (K |G_K|^2 - mean |g_b|^2) / (K - 1)
        tr(Sigma)  = n (mean |g_b|^2 - |G|^2)                        G_K: mean of all K gradients
        B_simple   = tr(Sigma) / |G|^2

    The two-batch-size form with B_small = n and B_big = K n: both sums are unbiased, their ratio is so to first order.
    Standard errors by the jackknife over micro-batches. B_simple is where a larger batch ceases to pay: below it the
    progress of a step grows nearly in proportion to the batch, above it hardly.

    Args:
        products: (K, K), g_a . g_b.
        samples: n, in every micro-batch.
    Raises: ValueError: not square, not finite, fewer than 8 micro-batches, or n below 1.
    Assumes: micro-batches drawn independently; |G|^2 and Sigma are those of one point in parameter space.
    Reference: McCandlish et al., arXiv 1812.06162v1, Sec. 2.2 (B_simple) and App. A.1 (the unbiased sums).
    Differs: the paper averages the sums over the steps of a training.
    """
    gram = np.asarray(products, dtype=np.float64)
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or not np.isfinite(gram).all():
        raise ValueError(f"products: got shape {gram.shape}, allowed is (K, K) with finite entries")
    k = len(gram)
    if k < MINIMUM_PROBES:
        raise ValueError(f"products: got {k} micro-batches, at least {MINIMUM_PROBES} are needed for a standard error")
    if samples < 1:
        raise ValueError(f"samples: got {samples!r}, allowed are integers from 1")
    own, all_pairs = np.diag(gram), gram.sum()
    squared = float((all_pairs - own.sum()) / (k * (k - 1)))
    trace = float(samples * (own.mean() - squared))
    # without micro-batch j
    left_own = (own.sum() - own) / (k - 1)
    left_squared = (all_pairs - 2 * gram.sum(axis=1) + own - (own.sum() - own)) / ((k - 1) * (k - 2))
    error = _spread(left_squared)
    if squared <= STANDARD_ERRORS * error:
        reason = f"the squared gradient norm is not clear of zero: {squared:.2g} ± {error:.1g} over {k} micro-batches"
        return NoiseScale(Estimate(None, None, k, reason), Estimate(None, error, k, reason), trace)
    ratio_error = _spread(samples * (left_own - left_squared) / left_squared)
    return NoiseScale(Estimate(trace / squared, ratio_error, k), Estimate(squared, error, k), trace)


def _spread(parts: Floats) -> float:
    """The jackknife's standard error from the values without each probe."""
    return float(np.sqrt((len(parts) - 1) / len(parts) * np.sum((parts - parts.mean()) ** 2)))
