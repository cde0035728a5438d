import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superconv.analysis.curvature.iterates import (
    autocorrelation,
    effective_lr,
    identity_ratio,
    noise_autocorrelation,
    noise_ratio,
    paper_estimate,
    paper_estimates,
    smoothed,
)


def descend(eigenvalues, lr, steps, momentum=0.0, decay=0.0, noise=0.0, nesterov=False, seed=0):
    """Iterates of SGD on a quadratic with these eigenvalues (torch's rule), from ones."""
    random = np.random.default_rng(seed)
    h = np.asarray(eigenvalues, dtype=float)
    theta, v, course = np.ones(len(h)), np.zeros(len(h)), [np.ones(len(h))]
    for _ in range(steps):
        g = (h + decay) * theta + noise * random.normal(size=len(h))
        v = momentum * v + g
        theta = theta - lr * (g + momentum * v if nesterov else v)
        course.append(theta)
    return np.array(course)


def estimates(course, lr, **options):
    return paper_estimates(course, [lr] * (len(course) - 1), **options)


@given(st.floats(0.05, 4.0), st.floats(1e-3, 0.2), st.floats(0.0, 0.5))
def test_one_eigenvalue_without_momentum_is_exact(curvature, lr, decay):
    course = descend([curvature], lr, 4, decay=decay)
    for squared in (False, True):
        assert estimates(course, lr, squared=squared) == pytest.approx(1 / (curvature + decay), rel=1e-6)


def test_anisotropic_is_the_ratio_of_gradient_and_its_product():
    h = np.array([0.1, 1.0, 5.0])
    course = descend(h, 0.05, 6)
    g = h * course[0]
    assert estimates(course, 0.05)[0] == pytest.approx(np.abs(g).sum() / np.abs(h * g).sum())
    assert estimates(course, 0.05, squared=True)[0] == pytest.approx(np.linalg.norm(g) / np.linalg.norm(h * g))


@pytest.mark.parametrize(("lr", "beta"), [(0.001, 0.9), (0.01, 0.5), (0.002, 0.8)])
def test_momentum_gives_the_slow_root(lr, beta):
    curvature = 0.7
    found = estimates(descend([curvature], lr, 400, momentum=beta), lr)[-1]
    b = 1 + beta - lr * curvature
    root = (b + math.sqrt(b * b - 4 * beta)) / 2
    assert found == pytest.approx(lr / abs(1 - root), rel=1e-4)
    assert found == pytest.approx((1 - beta) / curvature, rel=0.1)


def test_spacing_is_not_multiplied_back():
    """k small steps look like one: 1/lambda comes out k times too small, as the scripts have it."""
    course = descend([0.5], 0.001, 60)
    assert estimates(course, 0.001, spacing=10)[0] == pytest.approx(1 / 0.5 / 10, rel=0.01)


@given(st.floats(0.0, 0.97), st.integers(1, 30), st.booleans())
def test_noise_autocorrelation_equals_the_sums_over_its_filter(beta, spacing, nesterov):
    """Oracle: the response of one change over k updates to each unit of noise, summed directly."""
    length = 1500
    response = beta ** np.arange(length)
    if nesterov:
        response = beta * response
        response[0] += 1.0
    change = np.convolve(response, np.ones(spacing))
    expected = change[spacing:] @ change[:-spacing] / (change @ change)
    assert noise_autocorrelation(beta, spacing, nesterov=nesterov) == pytest.approx(expected, abs=1e-6)


def test_known_noise_values():
    found = [noise_ratio(beta, k) for beta, k in ((0.0, 1), (0.9, 1), (0.9, 10), (0.0, 10))]
    assert found == pytest.approx([0.7071, 2.2361, 1.0257, 0.7071], abs=1e-4)


@pytest.mark.parametrize(
    ("beta", "spacing", "nesterov"), [(0.0, 1, False), (0.9, 1, False), (0.9, 10, False), (0.8, 3, True)]
)
@pytest.mark.parametrize("lr", [1e-3, 1.0, 50.0])
def test_pure_noise_gives_the_noise_value_at_any_lr(beta, spacing, nesterov, lr):
    course = descend(np.zeros(3000), lr, 100 + 20 * spacing, beta, noise=1.0, nesterov=nesterov)[100:]
    for squared in (False, True):
        found = estimates(course, lr, spacing=spacing, squared=squared).mean()
        assert found == pytest.approx(lr * noise_ratio(beta, spacing, nesterov=nesterov), rel=0.03)


def test_the_identity_holds_on_any_stationary_sequence():
    random = np.random.default_rng(3)
    noise = random.normal(size=(402, 50))
    changes = noise[2:] + 0.7 * noise[1:-1] - 0.4 * noise[:-2]
    squares, products = (changes**2).sum(1), (changes[1:] * changes[:-1]).sum(1)
    rho = autocorrelation(squares[:-1], squares[1:], products)
    assert rho.value == pytest.approx((0.7 - 0.28) / (1 + 0.49 + 0.16), abs=0.03)
    pooled = math.sqrt(squares[:-1].sum() / ((changes[1:] - changes[:-1]) ** 2).sum())
    assert identity_ratio(rho.value) == pytest.approx(pooled, rel=0.01)


def test_standard_error_of_the_autocorrelation():
    random = np.random.default_rng(5)
    found = []
    for _ in range(300):
        changes = random.normal(size=(51, 20))
        squares, products = (changes**2).sum(1), (changes[1:] * changes[:-1]).sum(1)
        rho = autocorrelation(squares[:-1], squares[1:], products)
        found.append((rho.value, rho.standard_error))
    values, errors = np.array(found).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.15)


def test_autocorrelation_is_silent_without_data():
    assert autocorrelation([1.0] * 7, [1.0] * 7, [0.5] * 7).reason == "7 of 8 triples so far"
    assert autocorrelation([0.0] * 9, [0.0] * 9, [0.0] * 9).reason == "the weights did not move"
    assert autocorrelation([math.inf] * 9, [1.0] * 9, [0.0] * 9).reason == "an update was not finite"


def test_smoothing_is_the_scripts_recursion():
    value, course = 0.1, []
    for each in (2.0, 3.0, 5.0):
        value = 0.1 * each + 0.9 * value
        course.append(value)
    assert smoothed([2.0, 3.0, 5.0]) == pytest.approx(course)
    assert smoothed([math.nan, 2.0]) == pytest.approx([0.1, 0.29])


def test_borders_and_bad_input():
    assert paper_estimate(0.1, 1.0, 0.0) == math.inf
    assert math.isnan(paper_estimate(0.1, 0.0, 0.0))
    assert identity_ratio(1.0) == math.inf
    assert effective_lr(0.1, 0.9) == pytest.approx(1.0)
    for call in (
        lambda: noise_ratio(1.0),
        lambda: noise_ratio(0.9, 0),
        lambda: effective_lr(0.1, -0.1),
        lambda: smoothed([1.0], alpha=0.0),
        lambda: paper_estimates(np.ones((3, 2)), [0.1]),
    ):
        with pytest.raises(ValueError, match=r"allowed|must be"):
            call()
