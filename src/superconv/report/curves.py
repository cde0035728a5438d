"""Several seeds as one curve: a mean, and a band that says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..analysis.student_t import half_width

Floats = NDArray[np.float64]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Curve:
    """A mean over seeds with its band; `n` is the number of seeds behind each point."""

    x: Floats
    mean: Floats
    lower: Floats
    upper: Floats
    n: NDArray[np.int64]


def interval(values: Sequence[float] | Floats) -> tuple[float, float, float, int]:
    """Mean, lower, upper and n of the finite values.

    n >= 3: mean +- t(0.975, n - 1) s / sqrt(n), Student's t interval of the mean. n = 2: the two values. n = 1: the
    value three times. n = 0: NaN.
    """
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    n = len(finite)
    if n == 0:
        return float("nan"), float("nan"), float("nan"), 0
    mean = float(finite.mean())
    if n < 3:
        return mean, float(finite.min()), float(finite.max()), n
    half = half_width(finite.tolist(), CONFIDENCE)
    return mean, mean - half, mean + half, n


def over_seeds(curves: Sequence[tuple[Floats, Floats]], points: int = 200) -> Curve:
    """One curve from those of several seeds, at most `points` long.

    Where a seed has more points than that, neighbours are averaged first, over the same bins for every seed. At each
    point the seeds that have a value there count, so that a run that diverged leaves the mean where it ended.

    Args:
        curves: (x, y) of each seed, x ascending; values that are not finite are left out.
        points: most points of the result.
    """
    kept = [(x[np.isfinite(y)], y[np.isfinite(y)]) for x, y in curves]
    places = np.unique(np.concatenate([x for x, _ in kept])) if kept else np.empty(0)
    if len(places) > points:
        edges = np.linspace(places[0], places[-1], points + 1)
        kept = [_binned(x, y, edges) for x, y in kept]
        places = 0.5 * (edges[1:] + edges[:-1])
    table = np.full((len(kept), len(places)), np.nan)
    for row, (x, y) in zip(table, kept, strict=True):
        row[np.searchsorted(places, x)] = y
    found = np.array([interval(column) for column in table.T], dtype=np.float64).reshape(len(places), 4)
    some = found[:, 3] > 0
    found, places = found[some], places[some]
    return Curve(places, found[:, 0], found[:, 1], found[:, 2], found[:, 3].astype(np.int64))


def _binned(x: Floats, y: Floats, edges: Floats) -> tuple[Floats, Floats]:
    """Means over bins, at the bins' middles; bins without a value are left out."""
    place = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(place, minlength=len(edges) - 1)
    sums = np.bincount(place, weights=y, minlength=len(edges) - 1)
    some = counts > 0
    return (0.5 * (edges[1:] + edges[:-1]))[some], sums[some] / counts[some]


def band_note(counts: Sequence[int]) -> str:
    """What the bands of a picture are, by the number of seeds behind its lines."""
    most = max(counts, default=0)
    if most < 2:
        return "One seed, so there is no band."
    seeds = f"n = {most}" if min(counts) == most else f"n = {min(counts)} to {most}"
    if most == 2:
        return f"Lines: mean over seeds ({seeds}); bands: the two seeds."
    few = "" if min(counts) > 2 else " (with two seeds: their values; with one: none)"
    return f"Lines: mean over seeds ({seeds}); bands: 95% Student t interval of the mean{few}."
