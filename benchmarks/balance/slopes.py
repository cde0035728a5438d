"""Where the best of a factor lies at each level of another, how that moves, and how sure this is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superconv.analysis.comparison import PairedDifference, paired_difference
from superconv.analysis.likely_best import likely_best
from superconv.analysis.student_t import critical_value

RESAMPLES = 4000
HOLD = 0.95  # share of the best height above chance that counts as tolerated
Array = NDArray[np.float64]


def likely_positions(positions: Sequence[float], scores: Array, samples: int) -> Array:
    """Likelihood-weighted best position of every row.

    Args:
        positions: (C,) where the columns stand: a logarithm, or a share such as dropout.
        scores: (R, C) mean accuracies.
        samples: images that a mean was read on, over all seeds; sets the noise, sqrt(2 a (1 - a) / samples).
    """
    found = []
    for row in scores:
        top = float(row.max())
        error = math.sqrt(2.0 * top * (1.0 - top) / samples)
        found.append(math.log(likely_best(np.exp(positions), row, error=error).lr))
    return np.array(found)


def highest_positions(positions: Sequence[float], scores: Array, _: int = 0) -> Array:
    """Position of the highest score of every row: without the pull of a plateau to its middle, and noisier."""
    return np.asarray(positions, dtype=np.float64)[scores.argmax(axis=1)]


def tolerated_positions(positions: Sequence[float], scores: Array, chance: float = 0.1) -> Array:
    """Upper position at which a row still holds `HOLD` of its best height above chance; inf where it always does.

    Linear between the grid's positions.
    """
    found = []
    for row in scores:
        level = chance + HOLD * (float(row.max()) - chance)
        edge = int(row.argmax())
        while edge + 1 < len(row) and row[edge + 1] >= level:
            edge += 1
        if edge + 1 == len(row):
            found.append(math.inf)
            continue
        share = (row[edge] - level) / (row[edge] - row[edge + 1])
        found.append(positions[edge] + share * (positions[edge + 1] - positions[edge]))
    return np.array(found)


def slope(x: Sequence[float], y: Array) -> float:
    """Least squares of y on x over the finite ones; NaN below two of them."""
    known = np.isfinite(y)
    return float(np.polyfit(np.asarray(x)[known], y[known], 1)[0]) if known.sum() > 1 else math.nan


def bootstrap(table: Array, statistic: Callable[[Array], float], confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a statistic of (S, ...) values by seed, seeds drawn with replacement.

    Percentiles widened for few seeds: alpha / 2 -> Phi(-sqrt(n / (n - 1)) t(confidence, n - 1)). With five seeds or
    fewer that is close to the lowest and the highest resample.

    Reference: Hesterberg 2015, arXiv 1411.5279, Sec. 4.
    """
    n = len(table)
    rng = np.random.default_rng(0)
    drawn = [statistic(table[rng.integers(0, n, n)]) for _ in range(RESAMPLES)]
    drawn = [value for value in drawn if math.isfinite(value)]
    if n < 2 or not drawn:
        return math.nan, math.nan
    tail = NormalDist().cdf(-math.sqrt(n / (n - 1)) * critical_value(confidence, n - 1))
    return tuple(float(v) for v in np.quantile(drawn, (tail, 1.0 - tail)))  # type: ignore[return-value]


def best_against(table: Array, x: Sequence[float], positions: Sequence[float], samples: int) -> dict[str, Any]:
    """How the best position of the columns moves with the rows' x: slopes with intervals over seeds.

    Args:
        table: (S, R, C) accuracies by seed, row and column.
        x: (R,) of the rows; for a power law its logarithm.
        positions: (C,) of the columns.
        samples: images that one accuracy was read on.
    """
    estimators = {
        "likely": lambda t: likely_positions(positions, t.mean(0), samples * len(t)),
        "highest": lambda t: highest_positions(positions, t.mean(0)),
        "tolerated": lambda t: tolerated_positions(positions, t.mean(0)),
    }
    found: dict[str, Any] = {"seeds": len(table)}
    for name, estimate in estimators.items():
        own = estimate(table)
        low, high = bootstrap(table, lambda t, estimate=estimate: slope(x, estimate(t)))  # type: ignore[misc]
        found[name] = {
            "positions": [_rounded(value) for value in own],
            "slope": _rounded(slope(x, own)), "interval": [_rounded(low), _rounded(high)],
        }  # fmt: skip
    means = table.mean(0)
    found["at_edge"] = [int(r) for r, row in enumerate(means) if row.argmax() in (0, means.shape[1] - 1)]
    return found


def interaction(table: Array, x: Sequence[float], positions: Sequence[float]) -> dict[str, Any]:
    """By how much the effect of the columns changes with the rows: nothing is chosen, so nothing flatters.

    For each seed the least-squares coefficient of (x - mean x) (position - mean position), in accuracy per unit of
    both; over seeds Student's t.
    """
    product = np.outer(np.asarray(x) - np.mean(x), np.asarray(positions) - np.mean(positions))
    values = (table * product).sum((1, 2)) / (product**2).sum()
    return stated(paired_difference(dict(enumerate(values.tolist())), dict.fromkeys(range(len(values)), 0.0)))


def cross_fitted(validation: Array, test: Array) -> tuple[Array, list[int]]:
    """Test accuracy of every seed at the column that the other seeds' validation accuracy chooses.

    Neither the seed nor the images that are read have taken part in the choice.

    Args:
        validation, test: (S, C).
    Returns: (S,) accuracies, and the columns chosen.
    """
    chosen = [int(np.delete(validation, seed, axis=0).mean(0).argmax()) for seed in range(len(validation))]
    return test[np.arange(len(test)), chosen], chosen


def stated(difference: PairedDifference) -> dict[str, Any]:
    """Mean, interval, n and p of a paired difference, as plain data."""
    return {
        "mean": _rounded(difference.mean), "interval": [_rounded(difference.lower), _rounded(difference.upper)],
        "deviation": _rounded(difference.standard_deviation), "n": difference.n, "p": _rounded(difference.p_value, 6),
    }  # fmt: skip


def _rounded(value: float | None, digits: int = 5) -> float | None:
    """For JSON, which knows neither NaN nor infinity."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)
