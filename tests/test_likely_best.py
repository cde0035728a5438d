"""The mean of learning rates by how likely each is the best: uneven and equal rates."""

import math

import numpy as np
import pytest

from superconv.analysis.fork_rules import Fork, best_fork
from superconv.analysis.likely_best import likely_best


def test_the_interval_holds_the_rate_where_rates_lie_unevenly() -> None:
    found = likely_best([1e-4, 0.5, 0.7, 0.9], [0.3, 0.9, 0.3, 0.3], error=0.024)
    assert found.lr == pytest.approx(0.5)
    assert found.interval == pytest.approx((0.00883, 0.5), rel=1e-3)
    rng = np.random.default_rng(0)
    for _ in range(300):
        rates = np.sort(10 ** rng.uniform(-5, 1, rng.integers(2, 8)))
        found = likely_best(rates, rng.random(len(rates)), error=0.1)
        assert found.interval[0] <= found.lr <= found.interval[1]
        assert rates[0] * (1 - 1e-9) <= found.interval[0]
        assert found.interval[1] <= rates[-1] * (1 + 1e-9)


@pytest.mark.parametrize("count", [4, 12, 30])
def test_equally_good_rates_leave_the_central_nine_tenths_of_their_cells(count: int) -> None:
    steps = np.arange(count)
    found = likely_best(0.01 * 2.0**steps, np.full(count, 0.8), error=0.1)
    assert found.lr == pytest.approx(0.01 * 2 ** ((count - 1) / 2))
    low, high = np.clip((0.05 * count - 0.5, 0.95 * count - 0.5), 0, count - 1)  # each cell is a step wide
    assert found.interval == pytest.approx((0.01 * 2**low, 0.01 * 2**high))


def test_equal_rates_count_as_one() -> None:
    assert likely_best([0.1, 0.1, 0.1], [0.3, 0.5, math.nan], error=0.1).interval == pytest.approx((0.1, 0.1))
    merged = likely_best([0.1, 0.3, 0.3, 1.0], [0.2, 0.6, 0.8, math.nan], error=0.1)
    assert merged == likely_best([0.1, 0.3, 1.0], [0.2, 0.7, math.nan], error=0.1)
    forks = [Fork(step, 0.1, metric, 1.0, 10) for step, metric in enumerate((0.2, 0.5, 0.8))]
    assert best_fork(forks).lr == pytest.approx(0.1)
