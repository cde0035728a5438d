import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superconv.analysis.smoothing import block_average, ewma, local_linear, local_median, noise_level

values = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60)


@given(values, st.floats(0.0, 0.999))
@settings(max_examples=60)
def test_causal_average_starts_at_the_first_value_and_stays_in_range(y, beta):
    s = ewma(y, beta)
    assert s[0] == pytest.approx(y[0])
    assert np.all(s >= min(y) - 1e-6)
    assert np.all(s <= max(y) + 1e-6)


def test_causal_average_equals_its_definition_and_skips_what_is_not_finite():
    y = np.array([np.nan, 2.0, np.inf, 1.0, 4.0])
    weights = np.array([0.9**3, 0.9, 1.0])  # of 2, 1 and 4 at the last position
    expected = (weights * [2.0, 1.0, 4.0]).sum() / weights.sum()
    s = ewma(y, 0.9)
    assert np.isnan(s[0])
    assert s[1] == 2.0
    assert s[2] == 2.0
    assert s[-1] == pytest.approx(expected)


@pytest.mark.parametrize("beta", [-0.1, 1.0, 2.0])
def test_causal_average_refuses_other_memories(beta):
    with pytest.raises(ValueError, match="beta must be in"):
        ewma([1.0], beta)


def test_an_average_without_memory_is_carried_forward_too():
    assert ewma([math.nan, 1.0, math.nan, math.inf, 3.0], 0.0)[1:].tolist() == [1.0, 1.0, 1.0, 3.0]


def test_local_linear_reproduces_a_line_at_any_spacing():
    x = np.sort(np.random.default_rng(0).uniform(-5, 2, 120))
    np.testing.assert_allclose(local_linear(x, 3.0 - 2.0 * x), 3.0 - 2.0 * x, atol=1e-9)


def test_local_linear_does_not_lag():
    x = np.linspace(-6, 0, 400)
    y = 1.0 / (1.0 + np.exp((x + 3.0) / 0.2)) + 0.05 * np.random.default_rng(1).standard_normal(400)
    half = x[np.argmin(np.abs(local_linear(x, y) - 0.5))]
    assert abs(half + 3.0) < 0.1
    causal = x[np.argmin(np.abs(ewma(y, 0.98) - 0.5))]
    assert causal > -2.7  # what a causal average would have said: a third too high, and more


def test_local_linear_ignores_a_single_spike():
    x = np.linspace(0, 4, 80)
    y = np.where(np.arange(80) == 40, 50.0, 1.0) + 1e-3 * np.sin(37 * x)
    assert abs(local_linear(x, y)[40] - 1.0) < 0.1  # without robustness: about 5


def test_local_linear_follows_a_blow_up():
    x = np.linspace(0, 4, 80)
    y = 1.0 + 0.02 * np.sin(37 * x) + np.where(x > 3.6, 5 * (x - 3.6), 0.0)
    smooth = local_linear(x, y)
    assert abs(smooth[-1] - y[-1]) < 0.4, "not an outlier"
    assert abs(smooth[:60] - 1.0).max() < 0.05


def test_local_linear_of_a_long_curve_agrees_with_the_short_one():
    x = np.linspace(-8, 0, 5000)
    np.testing.assert_allclose(local_linear(x, np.sin(x)), local_linear(x[::13], np.sin(x[::13])).repeat(13)[:5000],
                               atol=0.02)  # fmt: skip


def test_local_median_against_a_plain_loop():
    rng = np.random.default_rng(2)
    x, y = np.sort(rng.uniform(0, 1, 40)), rng.standard_normal(40)
    for i, value in enumerate(local_median(x, y, half_width=0.0, points=5)):
        assert value == np.median(y[max(0, i - 2) : i + 3])
    for i, value in enumerate(local_median(x, y, half_width=0.1, points=1)):
        assert value == np.median(y[np.abs(x - x[i]) <= 0.1])


def test_local_median_keeps_a_step_sharp():
    x = np.arange(20.0)
    y = (x >= 10).astype(float)
    np.testing.assert_array_equal(local_median(x, y, half_width=2.0, points=5), y)


def test_noise_level_of_known_noise_on_a_slope_with_a_jump():
    rng = np.random.default_rng(3)
    y = np.linspace(0, 5, 2000) + 0.2 * rng.standard_normal(2000)
    y[1000:] += 40.0
    assert noise_level(y) == pytest.approx(0.2, rel=0.1)
    assert noise_level([1.0, 2.0]) == 0.0


def test_block_average_keeps_short_curves_and_the_mean():
    x = np.arange(10_001.0)
    assert block_average(x, x, 20_000)[0] is x
    mx, my = block_average(x, 2 * x, 500)
    assert len(mx) == 500
    np.testing.assert_allclose(my, 2 * mx)
    assert abs(mx.mean() - x.mean()) < 1.0


@pytest.mark.parametrize("smooth", [local_linear, local_median])
def test_short_and_mismatched_input(smooth):
    assert smooth([], []).shape == (0,)
    assert smooth([1.0], [7.0]).tolist() == [7.0]
    with pytest.raises(ValueError, match="one length"):
        smooth([1.0, 2.0], [1.0])
