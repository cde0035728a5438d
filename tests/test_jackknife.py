import math

import numpy as np
import pytest

from superconv.analysis.curvature.jackknife import jackknife, stated


def test_of_a_mean_is_its_usual_standard_error():
    values = np.random.default_rng(0).normal(size=12)
    value, error = jackknife(lambda mean: mean, values)
    assert value == pytest.approx(values.mean())
    assert error == pytest.approx(values.std(ddof=1) / math.sqrt(12))


def test_of_a_ratio_is_close_to_its_spread_over_repeats():
    random = np.random.default_rng(1)
    found = []
    for _ in range(400):
        x = random.normal(3.0, 0.5, 20)
        found.append(jackknife(lambda a, b: a / b, x + random.normal(1.0, 0.5, 20), x))
    ratios, errors = np.array(found).T
    assert errors.mean() == pytest.approx(ratios.std(), rel=0.1)


def test_silent_with_the_reason():
    few = stated(lambda mean: mean, [1.0] * 7, meaning="it")
    assert few.value is None
    assert few.reason == "7 of 8 probes so far"
    weak = stated(lambda mean: mean, [1.0, -1.0] * 4, meaning="the signal")
    assert weak.value is None
    assert "the signal is not told from zero: " in weak.reason
    assert str(weak).startswith("none (")
    assert stated(lambda mean: mean, [math.nan] * 8, meaning="it").reason == "it is not finite"


def test_stated_where_it_is_two_standard_errors_from_zero():
    strong = stated(lambda mean: mean, [2.0, 3.0] * 4, meaning="it")
    assert (strong.value, strong.n, strong.reason) == (2.5, 8, "")
    assert strong.standard_error == pytest.approx(0.5 / math.sqrt(7))


def test_columns_of_different_lengths_are_an_error():
    with pytest.raises(ValueError, match="one value a probe"):
        jackknife(lambda a, b: a / b, [1.0, 2.0], [1.0])
