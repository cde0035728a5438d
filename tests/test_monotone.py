import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from superconv.analysis.monotone import first_reach, isotonic

VALUES = st.lists(st.floats(-10, 10), min_size=1, max_size=8)


@given(VALUES, st.integers(0, 1000))
def test_fit_is_pooling_adjacent_violators(values, seed):
    weights = np.random.default_rng(seed).uniform(0.1, 5.0, len(values))
    fit = isotonic(np.array(values), weights)
    assert fit == pytest.approx(isotonic_regression(values, weights=weights).x, abs=1e-9)
    assert (np.diff(fit) >= 0).all()


def test_a_stack_of_curves_is_fitted_one_by_one():
    stack = np.random.default_rng(0).normal(size=(3, 4, 5))
    for i in range(3):
        for j in range(4):
            assert isotonic(stack)[i, j] == pytest.approx(isotonic(stack[i, j]))


def test_a_monotone_curve_is_left_alone():
    assert isotonic(np.array([0.1, 0.1, 0.4, 0.9])) == pytest.approx([0.1, 0.1, 0.4, 0.9], abs=1e-15)


def test_first_reach_inverts_inside_and_says_where_it_cannot():
    x = np.array([0.0, 1.0, 3.0])
    fit = np.array([[1.0, 2.0, 4.0]] * 6 + [[1.0, 1.0, 4.0]])
    level = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 1.0])
    where, found = first_reach(x, fit, level)
    assert where == pytest.approx([0.0, 0.0, 0.5, 1.0, 2.0, 3.0, 0.0])
    assert found.tolist() == [-1, 0, 0, 0, 0, 1, 0]


def test_bad_weights_are_refused():
    with pytest.raises(ValueError, match="positive weight"):
        isotonic(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="0 points"):
        isotonic(np.array([]))


def test_a_level_that_equals_a_height_but_for_rounding_is_met_there():
    x = np.arange(4.0)
    fit = np.array([0.8, 0.9, np.nextafter(0.9, 1), np.nextafter(0.9, 1)])
    level = np.array([fit[3], np.nextafter(0.8, 0), np.nextafter(fit[3], 1)])
    where, found = first_reach(x, np.stack([fit] * 3), level)
    assert where.tolist() == [1.0, 0.0, 1.0]
    assert found.tolist() == [0, 0, 0]
