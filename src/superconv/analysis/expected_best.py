"""The best score one may expect after n random trials of tuning: tuning effort as a curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def expected_best(
    values: Sequence[float], n_trials: int, *, higher_is_better: bool = True, with_replacement: bool = True
) -> tuple[float, ...]:
    """Expected best validation score after 1, 2, ..., `n_trials` independent random trials.

    with replacement:     E_n = sum_i v_i ((i / N)^n - ((i - 1) / N)^n)
    without replacement:  E_n = sum_i v_i C(i - 1, n - 1) / C(N, n)

    v_1 <= ... <= v_N: the sorted values of the N trials made, n: number of trials, C: binomial coefficient.

    Args:
        values: one validation score per trial, all from one sampler; a diverged trial scored as chance.
        n_trials: length of the curve.
        higher_is_better: False for a loss: the curve then falls.
        with_replacement: True, the plug-in estimate of Dodge et al.: biased to the worse side near n = N, it had the
            smaller error of the two in their later study (arXiv 2110.00613). False, the unbiased estimate of Tang et
            al., for n_trials <= N.
    Returns: `n_trials` numbers, monotone.
    Raises: ValueError: no values, a non-finite one, n_trials below 1, or above N without replacement.
    Reference: Dodge et al. 2019, "Show Your Work", arXiv 1909.03004, Sec. 3; Tang et al. 2020, arXiv 2004.13705.
    Example:
        >>> expected_best([0.5, 0.9], 2)
        (0.7, 0.8)
    """
    scores = np.sort(np.asarray(list(values), dtype=np.float64))
    if scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError(
            f"expected_best needs one or more finite values, got {list(values)}; score a diverged trial as chance"
        )
    if n_trials < 1 or (not with_replacement and n_trials > scores.size):
        raise ValueError(
            f"n_trials is {n_trials}, allowed is 1 to {scores.size if not with_replacement else 'any number'}; "
            "ask for a shorter curve or run more trials"
        )
    if not higher_is_better:
        scores = -scores[::-1]
    curve = [float(scores @ _weights(scores.size, n, with_replacement)) for n in range(1, n_trials + 1)]
    return tuple(curve if higher_is_better else [-value for value in curve])


def _weights(size: int, n: int, with_replacement: bool) -> np.ndarray:
    """Probability that the i-th smallest of `size` trials is the best of n."""
    if with_replacement:
        steps = (np.arange(size + 1) / size) ** n
        return np.diff(steps)
    whole = math.comb(size, n)
    return np.array([math.comb(i, n - 1) / whole for i in range(size)])
