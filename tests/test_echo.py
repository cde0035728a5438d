import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superconv.analysis.curvature.echo import MEASURED, is_echo, over_seeds, slope, worth
from superconv.analysis.curvature.jackknife import Estimate


def rho(value, error):
    return Estimate(value, error, 50)


@given(st.floats(-2, 2), st.floats(-3, 3))
def test_slope_of_a_power_law(exponent, level):
    lrs = np.array([0.01, 0.03, 0.1, 0.3])
    assert slope(lrs, math.exp(level) * lrs**exponent) == pytest.approx(exponent, abs=1e-9)


def test_slope_leaves_out_what_has_no_logarithm():
    assert slope([0.01, 0.1, 1.0, 10.0], [0.01, 0.1, 1.0, math.inf]) == pytest.approx(1.0)
    assert slope([0.01, 0.1, 1.0, 10.0], [0.01, -0.1, 1.0, 10.0]) == pytest.approx(1.0)
    assert math.isnan(slope([0.01, 0.1, 1.0], [1.0, math.nan, 2.0]))
    assert math.isnan(slope([0.1] * 3, [1.0] * 3))
    with pytest.raises(ValueError, match="one estimate an LR"):
        slope([0.1], [1.0, 2.0])


def test_interval_over_seeds_is_students():
    found = over_seeds([0.9, 1.0, 1.1, math.nan])
    assert (found.exponent, found.n) == (pytest.approx(1.0), 3)
    assert found.upper - 1.0 == pytest.approx(4.302653 * 0.1 / math.sqrt(3))
    assert over_seeds([math.nan]) is None


def test_echo_within_a_quarter_or_two_standard_errors():
    assert is_echo(rho(0.9, 0.001), 0.9) is True
    assert is_echo(rho(0.93, 0.001), 0.9) is True  # ratio sqrt(.1/.07) = 1.195
    assert is_echo(rho(0.95, 0.001), 0.9) is False
    assert is_echo(rho(0.95, 0.02), 0.9) is True
    assert is_echo(rho(1.0, 0.0), 0.9) is False
    assert is_echo(rho(0.5, 0.9), 0.9) is None
    assert is_echo(Estimate(None, None, 3, "few"), 0.9) is None


def test_the_table_is_complete_and_tells_what_a_number_is_worth():
    for regimes in MEASURED.values():
        assert set(regimes) == {"along", "common"}
        for found in regimes.values():
            assert found.lower <= found.exponent <= found.upper
            assert found.n >= 3
    assert {"paper_absolute", "paper_spaced", "secant", "expected_step", "stability_limit"} <= set(MEASURED)
    assert MEASURED["paper_absolute"]["along"].exponent > 0.8
    assert f"LR^{MEASURED['secant']['along'].exponent:.1f}" in worth("secant")
    assert worth("unknown") == ""
