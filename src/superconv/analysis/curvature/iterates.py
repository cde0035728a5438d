"""The paper's learning-rate estimate from iterates alone, and the value that pure gradient noise gives it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .jackknife import MINIMUM_PROBES, Estimate, jackknife

Floats = NDArray[np.float64]

SMOOTHING = 0.1  # the authors' scripts: LR <- .1 eps* + .9 LR
START = 0.1  # what the smoothed value begins with there


def paper_estimate(lr: float, first: float, second: float) -> float:
    """One global estimate from two sums over all weights.

    eps* = eps sum|theta_{i+1} - theta_i| / sum|2 theta_{i+1} - theta_i - theta_{i+2}|

    On a quadratic without noise, one eigenvalue lambda, plain SGD: exactly 1/lambda. With several eigenvalues
    |g|_1 / |Hg|_1. With momentum beta, once the slow mode is left: (1 - beta)/lambda (to first order in eps lambda;
    exactly eps / |1 - r| with r the larger root of r^2 - (1 + beta - eps lambda) r + beta), so compare eps*/(1 - beta)
    with `effective_lr`. Coupled weight decay w adds to lambda. Under gradient noise it is a multiple of eps and
    nothing else: see `noise_ratio`. Measured echo exponent d log(eps*) / d log(eps): .98 (.95 to 1.01) along training,
    .89 from a common checkpoint (`echo.MEASURED`).

    Args:
        lr: eps of the first update of the triple, as the authors' scripts take it. The formula takes both updates to
            have it: where the LR grows by a factor 1 + q an update, the noise-free value is bounded by eps/q.
        first: sum of |theta_{i+1} - theta_i|, or the root of the sum of squares.
        second: sum of |2 theta_{i+1} - theta_i - theta_{i+2}|, or the root likewise.
    Returns: eps*; inf where only the second sum is 0, NaN where both are.
    Reference: arXiv 1708.07120v1, Sec. 5, eq. 8 with sums of absolute values.
    """
    if second > 0.0:
        return lr * first / second
    return math.inf if first > 0.0 else math.nan


def paper_estimates(iterates: ArrayLike, lrs: ArrayLike, *, spacing: int = 1, squared: bool = False) -> Floats:
    """The estimate of every triple (i, i + k, i + 2k) of stored iterates, k = `spacing`, i = 0, k, 2k, ...

    Args:
        iterates: (T + 1, weights): theta before the first update, and after each.
        lrs: (T,): the LR of every update; a triple takes that of its first. It is not multiplied by k, as in the
            scripts: for a noise-free run the value is then k times too small.
        spacing: 1 in the paper's Fig. 5a, 10 in Fig. 5b.
        squared: root of summed squares in place of sums of absolute values.
    Returns: (number of triples,) float64.
    Raises: ValueError: shapes that do not fit, or spacing below 1.
    Reference: arXiv 1708.07120v1, Sec. 5, eq. 8; scripts L2TermComputation3.py (k = 1) and 4.py (k = 10).
    """
    theta, eps = np.asarray(iterates, dtype=np.float64), np.asarray(lrs, dtype=np.float64)
    if theta.ndim != 2 or eps.shape != (len(theta) - 1,):
        raise ValueError(f"iterates must be (T + 1, weights) and lrs (T,), got {theta.shape} and {eps.shape}")
    _check_spacing(spacing)
    picked = theta[::spacing]

    def size(rows: Floats) -> Floats:
        return np.sqrt((rows**2).sum(1)) if squared else np.abs(rows).sum(1)

    first = size(picked[1:-1] - picked[:-2])
    second = size(2 * picked[1:-1] - picked[:-2] - picked[2:])
    values = zip(eps[::spacing], first, second, strict=False)
    return np.array([paper_estimate(*map(float, value)) for value in values])


def smoothed(values: ArrayLike, alpha: float = SMOOTHING, start: float = START) -> Floats:
    """LR <- alpha eps* + (1 - alpha) LR, from `start`; values that are not finite are passed over.

    It lags by about 1/alpha values and holds a share (1 - alpha)^n of `start`: draw whatever it is compared with
    smoothed in the same way.

    Raises: ValueError: alpha outside (0, 1].
    Reference: the authors' scripts (alpha .1, start .1).
    """
    if not 0.0 < alpha <= 1.0:
        raise ValueError(f"alpha is {alpha}, allowed is 0 < alpha <= 1; the paper's scripts have 0.1")
    state, course = float(start), []
    for value in np.asarray(values, dtype=np.float64):
        if math.isfinite(value):
            state = alpha * float(value) + (1.0 - alpha) * state
        course.append(state)
    return np.array(course)


def noise_autocorrelation(momentum: float = 0.0, spacing: int = 1, *, nesterov: bool = False) -> float:
    """Lag-1 autocorrelation rho of the changes over k updates, where gradients are nothing but white noise.

    Updates then have autocovariances c_j = c_1 beta^(j-1), j >= 1, so that for sums over k updates

        rho = r q^2 / (k + 2 r sum_{j<k} (k - j) beta^(j-1)),   q = (1 - beta^k)/(1 - beta),   r = c_1/c_0

    heavy ball: r = beta. Nesterov (torch's form, update g + beta v): r = (beta^2 (1 + beta) + beta^5/(1 - beta^2)) /
    ((1 + beta)^2 + beta^4/(1 - beta^2)). Adam: as heavy ball with beta1, where its second moments are slow.

    Args:
        momentum: beta, in [0, 1).
        spacing: k, updates between iterates.
        nesterov: of SGD.
    Raises: ValueError: out of range.
    Example:
        >>> noise_autocorrelation(0.9), round(noise_autocorrelation(0.9, 10), 3)
        (0.9, 0.525)
    """
    _check_momentum(momentum)
    _check_spacing(spacing)
    beta, ratio = float(momentum), float(momentum)
    if nesterov and beta:
        tail = beta**4 / (1 - beta**2)
        ratio = (beta**2 * (1 + beta) + beta * tail) / ((1 + beta) ** 2 + tail)
    lags = np.arange(1, spacing)
    variance = spacing + 2 * ratio * float(np.sum((spacing - lags) * beta ** (lags - 1.0)))
    return ratio * ((1 - beta**spacing) / (1 - beta)) ** 2 / variance


def identity_ratio(rho: float) -> float:
    """estimate / lr of a stationary sequence of updates with lag-1 autocorrelation rho: 1 / sqrt(2 (1 - rho)).

    Exact for the squared form; for sums of absolute values where the two sums have the same shape of distribution,
    as Gaussian updates have. inf at rho = 1.
    """
    return math.inf if rho >= 1.0 else 1.0 / math.sqrt(2.0 * (1.0 - rho))


def noise_ratio(momentum: float = 0.0, spacing: int = 1, *, nesterov: bool = False) -> float:
    """The paper's estimate over the LR in use, where gradients are pure noise: any network, any LR.

    Example:
        >>> [round(noise_ratio(m, k), 3) for m, k in ((0.0, 1), (0.9, 1), (0.9, 10))]
        [0.707, 2.236, 1.026]
    """
    return identity_ratio(noise_autocorrelation(momentum, spacing, nesterov=nesterov))


def effective_lr(lr: float, momentum: float, dampening: float = 0.0) -> float:
    """lr (1 - d) / (1 - beta): the length, in gradients, that one gradient's pushes add up to.

    What estimates compare with. Adam averages its gradients, d = beta1: lr itself, in preconditioned gradients.

    Args:
        lr: in use.
        momentum: beta, in [0, 1).
        dampening: d, the share of a gradient that the buffer leaves out, as torch's SGD has it.
    Raises: ValueError: momentum outside [0, 1).
    """
    _check_momentum(momentum)
    return lr * (1.0 - dampening) / (1.0 - momentum)


def autocorrelation(first: ArrayLike, second: ArrayLike, products: ArrayLike) -> Estimate:
    """Lag-1 autocorrelation of updates over a window: rho = 2 sum d_i.d_{i+1} / sum (|d_i|^2 + |d_{i+1}|^2).

    With this form 1 - rho = sum |d_{i+1} - d_i|^2 / sum (|d_i|^2 + |d_{i+1}|^2), so `identity_ratio` holds exactly but
    for the window's ends. The standard error leaves out one of at most ten blocks of neighbouring triples at a time;
    it is too small where updates remember more than a block's length (momentum .9: about five triples).

    Args: first, second, products: (n,) |d_i|^2, |d_{i+1}|^2 and d_i.d_{i+1} of n triples in order.
    Returns: an Estimate whose value may well be zero; None below eight triples, or where nothing moved.
    """
    columns = [np.asarray(c, dtype=np.float64) for c in (first, second, products)]
    n = len(columns[0])
    if n < MINIMUM_PROBES:
        return Estimate(None, None, n, f"{n} of {MINIMUM_PROBES} triples so far")
    edges = np.linspace(0, n, min(10, n), endpoint=False).astype(int)
    blocks = [np.add.reduceat(column, edges) for column in columns]
    if not all(np.all(np.isfinite(block)) for block in blocks):
        return Estimate(None, None, n, "an update was not finite")
    if not np.all(blocks[0] + blocks[1] > 0.0):
        return Estimate(None, None, n, "the weights did not move")
    value, error = jackknife(lambda a, b, product: 2.0 * product / (a + b), *blocks)
    return Estimate(value, error, n)


def _check_momentum(momentum: float) -> None:
    if not 0.0 <= momentum < 1.0:
        raise ValueError(f"momentum is {momentum}, allowed is 0 <= momentum < 1 (beta1 for the Adam family)")


def _check_spacing(spacing: int) -> None:
    if spacing < 1 or spacing % 1 != 0:
        raise ValueError(f"spacing is {spacing}, allowed are integers from 1 (updates between two iterates)")
