import math

import pytest
from scipy import stats

from superconv.analysis.student_t import critical_value, two_sided_p


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 30, 1000, 10**6])
@pytest.mark.parametrize("t", [0.0, 1e-6, 0.3, 1.0, 2.5, 12.0, 60.0])
def test_tail_is_scipys(t, degrees):
    assert two_sided_p(t, degrees) == pytest.approx(2 * stats.t.sf(t, degrees), rel=1e-8, abs=1e-300)
    assert two_sided_p(-t, degrees) == two_sided_p(t, degrees)


@pytest.mark.parametrize("degrees", [1, 2, 4, 9, 200])
@pytest.mark.parametrize("confidence", [0.01, 0.5, 0.9, 0.95, 0.99, 0.9999])
def test_critical_value_is_scipys(confidence, degrees):
    assert critical_value(confidence, degrees) == pytest.approx(stats.t.ppf(0.5 + confidence / 2, degrees), rel=1e-10)


def test_bad_input_is_named():
    assert two_sided_p(math.inf, 3) == 0.0
    with pytest.raises(ValueError, match="at least 1 degree"):
        two_sided_p(1.0, 0)
    with pytest.raises(ValueError, match="NaN"):
        two_sided_p(math.nan, 3)
    with pytest.raises(ValueError, match="inside"):
        critical_value(1.0, 3)
