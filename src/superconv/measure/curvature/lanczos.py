"""The Lanczos recursion over any symmetric product, one step at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Lanczos:
    """Grows an orthonormal basis of span(b, H b, H^2 b, ...) and the coefficients of H in it.

        w_j = H v_j,   C[i, j] = v_i . w_j (i <= j),   w_j - sum_i C[i, j] v_i = C[j + 1, j] v_(j + 1)

    Each `step` is one product. Memory: with `reorthogonalise` one vector of H's size a step, and every new vector is
    made orthogonal to all (twice, so that rounding leaves nothing). Without it three vectors, whatever the number of
    steps: orthogonality fades once an extreme value has converged, and that value then appears again; the largest and
    the smallest stay right.

    Args:
        product: v -> H v, on flat vectors.
        start: b, any length but zero; a random one contains every eigenvector.
        reorthogonalise: against all vectors, or the last two.
    Raises: ValueError: a start vector that is zero or not finite.
    Reference: C. Lanczos, J. Res. Nat. Bur. Standards 45 (1950) 255; reorthogonalisation: Parlett 1998, Sec. 13.
    """

    def __init__(self, product: Callable[[Tensor], Tensor], start: Tensor, *, reorthogonalise: bool = True) -> None:
        length = float(start.norm())
        if not (math.isfinite(length) and length > 0.0):
            raise ValueError(f"start: its norm is {length}, it must be finite and not zero")
        self._product, self._reorthogonalise = product, reorthogonalise
        self._basis = [start / length]
        self._first = 0  # index of the first basis vector that is still held
        self._columns: list[NDArray[np.float64]] = []
        self.invariant = False
        """Whether the basis is closed under H: the Ritz values are exact, and a further step gives nothing."""

    @property
    def products(self) -> int:
        """Steps done."""
        return len(self._columns)

    @property
    def projected(self) -> NDArray[np.float64]:
        """C, (products + 1, products), for `superconv.analysis.curvature.ritz.ritz_values`."""
        matrix = np.zeros((self.products + 1, self.products))
        for index, column in enumerate(self._columns):
            matrix[: len(column), index] = column
        return matrix

    @torch.no_grad()
    def step(self) -> None:
        """One product more. Raises: RuntimeError: the basis is invariant. ValueError: a product is not finite."""
        if self.invariant:
            raise RuntimeError("the basis is invariant under H: there is no further step")
        rest = self._product(self._basis[-1]).clone()  # it may be the argument itself, or kept by its maker
        size = float(rest.norm())
        if not math.isfinite(size):
            raise ValueError(
                f"product {self.products + 1} is not finite: the loss or the parameters are not, or overflow"
            )
        column = np.zeros(self.products + 2)
        for _ in range(2 if self._reorthogonalise else 1):
            for offset, vector in enumerate(self._basis):
                part = float(torch.dot(vector, rest))
                column[self._first + offset] += part
                rest.sub_(vector, alpha=part)
        column[-1] = float(rest.norm())
        rounding = 100 * torch.finfo(rest.dtype).eps * size  # what is left of a vector inside the span
        # a basis of as many vectors as there are dimensions is all of space, if they are orthogonal to each other
        complete = self._reorthogonalise and self.products + 1 == rest.numel()
        if column[-1] <= rounding or complete:
            self.invariant = True
        else:
            self._basis.append(rest.div_(column[-1]))
        self._columns.append(column)
        if not self._reorthogonalise and len(self._basis) > 2:
            self._basis.pop(0)
            self._first += 1
