import itertools

import numpy as np
import pytest

from superconv.analysis.expected_best import expected_best

VALUES = [0.3, 0.9, 0.5, 0.5, 0.7]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_both_estimates_equal_the_enumeration(n):
    with_replacement = np.mean([max(draw) for draw in itertools.product(VALUES, repeat=n)])
    without = np.mean([max(draw) for draw in itertools.combinations(VALUES, n)])
    assert expected_best(VALUES, n)[-1] == pytest.approx(with_replacement)
    assert expected_best(VALUES, n, with_replacement=False)[-1] == pytest.approx(without)


def test_a_loss_is_the_mirror_image():
    losses = [-value for value in VALUES]
    assert expected_best(losses, 4, higher_is_better=False) == pytest.approx([-v for v in expected_best(VALUES, 4)])


def test_the_curve_rises_from_mean_to_best():
    curve = expected_best(VALUES, 200)
    assert curve[0] == pytest.approx(np.mean(VALUES))
    assert (np.diff(curve) >= -1e-12).all()
    assert curve[-1] == pytest.approx(0.9, abs=1e-12)
    assert expected_best(VALUES, 5, with_replacement=False)[-1] == 0.9


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="one or more finite"):
        expected_best([], 3)
    with pytest.raises(ValueError, match="chance"):
        expected_best([0.5, float("nan")], 1)
    with pytest.raises(ValueError, match="n_trials is 0"):
        expected_best(VALUES, 0)
    with pytest.raises(ValueError, match="n_trials is 6, allowed is 1 to 5"):
        expected_best(VALUES, 6, with_replacement=False)
