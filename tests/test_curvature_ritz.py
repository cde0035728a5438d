import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superconv.analysis.curvature import ritz
from superconv.analysis.curvature.ritz import ritz_values


def tridiagonal(diagonal: list[float], beside: list[float], last: float) -> np.ndarray:
    k = len(diagonal)
    matrix = np.zeros((k + 1, k))
    matrix[:k] = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
    matrix[k, -1] = last
    return matrix


def test_a_closed_basis_has_the_eigenvalues_without_error() -> None:
    found = ritz_values(tridiagonal([2.0, 2.0, 2.0], [1.0, 1.0], 0.0))
    assert found.values == pytest.approx([2 - np.sqrt(2), 2, 2 + np.sqrt(2)], abs=1e-12)
    assert found.errors.max() < 1e-12


@given(st.integers(2, 12), st.integers(1, 11), st.integers(0, 10_000))
@settings(max_examples=60)
def test_a_leading_block_is_inside_the_spectrum_and_an_eigenvalue_lies_within_the_residual(
    n: int, k: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    whole = tridiagonal(list(generator.normal(size=n)), list(generator.uniform(0.1, 1, n - 1)), 0.0)
    exact = np.linalg.eigvalsh(whole[:n])
    k = min(k, n - 1)
    found = ritz_values(whole[: k + 1, :k])
    assert exact[0] - 1e-12 <= found.values[0]
    assert found.values[-1] <= exact[-1] + 1e-12
    distances = np.abs(found.values[:, None] - exact[None, :]).min(axis=1)
    residual = whole[k, k - 1]  # times an entry of a unit vector
    assert (distances <= residual + 1e-12).all()
    assert (found.errors <= residual + 1e-12).all()


def test_noise_below_the_diagonal_moves_no_value_and_is_part_of_the_error() -> None:
    clean = tridiagonal([4.0, 1.0, 0.0], [0.1, 0.1], 0.01)
    noisy = clean.copy()
    noisy[1, 0] += 2.0
    assert ritz_values(noisy).values == pytest.approx(ritz_values(clean).values)
    assert ritz_values(clean).errors[-1] < 1e-4
    assert ritz_values(noisy).errors[-1] == pytest.approx(2.0, rel=0.01)


def test_one_product_gives_the_quotient_and_its_residual() -> None:
    found = ritz_values([[3.0], [0.5]])
    assert (found.values.tolist(), found.errors.tolist()) == ([3.0], [0.5])


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.zeros(3), np.zeros((1, 0))])
def test_other_shapes_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(k \+ 1, k\)"):
        ritz_values(bad)


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        ritz_values([[np.nan], [1.0]])


def test_the_docstrings_examples_run() -> None:
    outcome = doctest.testmod(ritz)
    assert outcome.attempted > 0
    assert outcome.failed == 0
