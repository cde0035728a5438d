import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superconv.analysis.curvature.secant import secant

POSITIVE = st.lists(st.floats(0.1, 10.0), min_size=3, max_size=3)


def of(steps, hessians):
    y = [h @ s for h, s in zip(hessians, steps, strict=True)]
    pairs = list(zip(steps, y, strict=True))
    return secant([s @ s for s in steps], [s @ d for s, d in pairs], [d @ d for d in y])


@given(POSITIVE, st.lists(st.floats(-3, 3), min_size=3, max_size=3).filter(lambda v: np.linalg.norm(v) > 0.1))
def test_closed_form_on_a_quadratic_whatever_made_the_step(spectrum, direction):
    h, s = np.diag(spectrum), np.array(direction)
    lengths = 10.0 ** np.arange(-4, 4)  # a quotient does not depend on the step's length
    found = of([s * length for length in lengths], [h] * 8)
    assert found.quotient.value == pytest.approx(s @ s / (s @ h @ s))
    assert found.magnitude.value == pytest.approx(np.linalg.norm(s) / np.linalg.norm(h @ s))
    assert found.cosine.value == pytest.approx((s @ h @ s) / np.linalg.norm(s) / np.linalg.norm(h @ s))
    assert found.magnitude.value <= found.quotient.value * (1 + 1e-9)


def test_the_quotient_is_signed():
    found = of([np.array([1.0, 2.0])] * 8, [np.diag([-1.0, -2.0])] * 8)
    assert found.quotient.value == pytest.approx(-5 / 9)
    assert found.cosine.value < 0


def test_noise_of_the_probe_makes_the_magnitude_too_small_but_not_the_quotient():
    random = np.random.default_rng(0)
    noisy = [np.eye(40) + 0.2 * (a + a.T) for a in random.normal(size=(64, 40, 40))]
    found = of(list(random.normal(size=(64, 40))), noisy)
    assert found.quotient.value == pytest.approx(1.0, abs=3 * found.quotient.standard_error)
    assert found.magnitude.value < 0.7


def test_silent_where_the_sign_of_the_curvature_is_not_known():
    hessians = [np.eye(2) * sign for sign in (1.0, -1.0) * 4]
    found = of([np.ones(2)] * 8, hessians)
    assert found.quotient.value is None
    assert "the curvature along the step is not told from zero" in found.quotient.reason
    assert of([np.ones(2)] * 7, [np.eye(2)] * 7).quotient.reason == "7 of 8 probes so far"
    assert secant([0.0] * 8, [0.0] * 8, [0.0] * 8).quotient.reason == "the weights did not move"


def test_a_probe_at_learning_rate_0_is_left_out():
    random = np.random.default_rng(1)
    curvature = 1.0 + 0.1 * random.normal(size=9)
    columns = np.stack([np.ones(9), curvature, curvature**2 + 0.1])
    still = columns.copy()
    still[:, 4] = 0.0
    assert secant(*still) == secant(*np.delete(columns, 4, axis=1))
    assert secant(*still).quotient.n == 8
    assert secant(*still[:, :8]).quotient.reason == "7 of 8 probes so far"
    broken = columns.copy()
    broken[:, 4] = np.nan
    assert "not finite" in secant(*broken).quotient.reason
