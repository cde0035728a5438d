"""Ritz values of a matrix projected on a growing basis, with error estimates from their residuals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Ritz:
    """Approximate eigenvalues, ascending.

    Args:
        values: (k,), the Ritz values.
        errors: (k,), estimates of their distance from the nearest eigenvalue; 0 where the basis is invariant.
    """

    values: NDArray[np.float64]
    errors: NDArray[np.float64]


def ritz_values(projected: ArrayLike) -> Ritz:
    """Ritz values from the coefficients of H V = V' C, where the columns of V' are V and one vector more.

        S = upper triangle of C, mirrored;   S s_i = theta_i s_i;   D = C's part below the diagonal less that of S
        error_i = min(r_i, r_i^2 / gap_i) + |D s_i|,   r_i = |last row of C . s_i|
        gap_i: distance to the next Ritz value, less that one's r

    Where H is symmetric, C is tridiagonal and D is zero but for rounding. Where products carry noise (finite
    differences), entries below the diagonal are inflated by it, because the noise of a product becomes a part of the
    next basis vector; those above are not, because no earlier vector knows it. So S is taken from the upper triangle,
    and what the lower one differs by is part of the error.

    Args:
        projected: C, (k + 1, k), upper Hessenberg.
    Returns: values ascending, with errors.
    Raises: ValueError: not of shape (k + 1, k), or not finite.
    Reference: B. Parlett, The Symmetric Eigenvalue Problem, 1998, Sec. 11.5 (r_i), 11.7 (r_i^2 / gap).
    Differs: the bound with the gap holds for the true neighbour; a Ritz value stands in for it, so `errors` are
        estimates, not bounds. An eigenvector that the start vector does not contain is not found.
    Example:
        >>> found = ritz_values([[2.0, 1.0], [1.0, 2.0], [0.0, 0.0]])
        >>> [round(float(value), 9) for value in found.values], float(found.errors.max()) < 1e-12
        ([1.0, 3.0], True)
    """
    matrix = np.asarray(projected, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] + 1 or not matrix.shape[1]:
        raise ValueError(f"projected: got shape {matrix.shape}, allowed is (k + 1, k) with k from 1")
    if not np.isfinite(matrix).all():
        raise ValueError("projected: got entries that are not finite; the products before them were not finite either")
    upper = np.triu(matrix[:-1])
    values, vectors = np.linalg.eigh(upper + np.triu(upper, 1).T)
    residuals = np.abs(matrix[-1] @ vectors)
    noise = np.linalg.norm(np.tril(matrix[:-1] - upper.T, -1) @ vectors, axis=0)
    return Ritz(values, np.minimum(residuals, _with_gap(values, residuals)) + noise)


def _with_gap(values: NDArray[np.float64], residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """r^2 / gap; infinite where the neighbour may be as near as nothing."""
    distances = np.abs(values[:, None] - values[None, :]) - residuals[None, :]
    np.fill_diagonal(distances, np.inf)
    gaps = distances.min(axis=1) if len(values) > 1 else np.zeros(1)  # a single one knows no neighbour
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gaps > 0, residuals**2 / gaps, np.where(residuals == 0.0, 0.0, np.inf))
