import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superconv.analysis.curvature.expected_step import expected_step, signal_share


def pairs(spectrum, theta, noise, n, seed=0):
    """gA.gB, gB.HgB, |gA|^2, |gB|^2 on a quadratic whose batch gradients carry white noise."""
    random = np.random.default_rng(seed)
    h = np.array(spectrum)
    a, b = (h * theta + noise * random.normal(size=(n, len(h))) for _ in range(2))
    return (a * b).sum(1), (b * h * b).sum(1), (a * a).sum(1), (b * b).sum(1)


@given(st.lists(st.floats(0.1, 10.0), min_size=2, max_size=5))
def test_without_noise_it_is_the_line_search(spectrum):
    h = np.array(spectrum)
    g = h.copy()
    products, curvatures, a, b = pairs(h, np.ones(len(h)), 0.0, 8)
    assert expected_step(products, curvatures).value == pytest.approx(g @ g / (g * h * g).sum())
    assert signal_share(products, a, b).value == pytest.approx(1.0)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_with_noise_it_minimises_the_expected_loss(seed):
    # five standard errors: of these seeds the farthest lies 4.03 off, with a mean of -.05 and a deviation of .98
    h, theta, noise = np.array([0.5, 1.0, 3.0]), np.array([2.0, 1.0, 1.0]), 1.0
    products, curvatures, a, b = pairs(h, theta, noise, 4000, seed)
    g = h * theta
    found = expected_step(products, curvatures)
    wanted = g @ g / (g @ (h * g) + noise**2 * h.sum())
    assert found.value == pytest.approx(wanted, abs=5 * found.standard_error)
    share = signal_share(products, a, b)
    assert share.value == pytest.approx(g @ g / (g @ g + 3 * noise**2), abs=5 * share.standard_error)


def test_own_batch_form_is_too_large():
    h = np.ones(50)
    products, curvatures, _, squares = pairs(h, np.full(50, 0.3), 1.0, 500)
    assert squares.sum() / curvatures.sum() == pytest.approx(1.0)
    assert expected_step(products, curvatures).value == pytest.approx(4.5 / 54.5, rel=0.15)


def test_silent_in_pure_noise_and_where_there_is_no_minimum():
    products, curvatures, a, b = pairs(np.ones(50), np.zeros(50), 1.0, 8)
    assert "signal is not told from zero" in expected_step(products, curvatures).reason
    assert signal_share(products, a, b).value is None
    down = expected_step([1.0, 1.1] * 4, [-1.0, -1.1] * 4)
    assert down.value is None
    assert "curves downwards" in down.reason
    flat = expected_step([1.0, 1.1] * 4, [1.0, -1.1] * 4)
    assert "the curvature along the gradient is not told" in flat.reason
    assert "disagree" in expected_step([-1.0, -1.1] * 4, [1.0] * 8).reason
    assert expected_step([1.0] * 7, [1.0] * 7).reason == "7 of 8 probes so far"
