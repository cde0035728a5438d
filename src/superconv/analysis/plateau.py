"""The plateau of a metric over log LR: its height above chance, its upper edge, what is left beyond it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .smoothing import local_median

Floats = NDArray[np.float64]

HOLD = 0.8  # share of the running peak that still counts as plateau


@dataclass(frozen=True)
class Plateau:
    """A metric, sorted by LR and rescaled so that 0 is chance.

    Args:
        lr: (n,) positive LRs, ascending.
        height: (n,) metric above chance, smoothed: (metric - chance) up to the sign of lower-is-better metrics.
        retained: (n,) height over its running maximum.
        points: neighbours that the smoothing looked at, at least.
        peak: largest height; peak_lr: where.
        edge: upper edge, see `find_plateau`; edge_index: its position.
        after: median of `retained` beyond 1.1 x edge, NaN where nothing was measured there.
        beyond: last LR over edge, how far the ramp went on.
        points_beyond: how many points lie beyond the edge.
    """

    lr: Floats
    height: Floats
    retained: Floats
    points: int
    peak: float
    peak_lr: float
    edge: float
    edge_index: int
    after: float
    beyond: float
    points_beyond: int

    @property
    def collapsed(self) -> bool:
        """True where beyond the edge, or at the ramp's end, less than half of the running peak was left."""
        return self.points_beyond > 0 and min(self.after, float(self.retained[-1])) < 0.5


def measured(lr: ArrayLike, metric: ArrayLike) -> tuple[Floats, Floats]:
    """The points at positive LR where the metric is finite, ascending in LR (equal LRs keep their order).

    LR 0 is left out: nothing was learned there, and networks with BatchNorm may have been tested on empty statistics.
    """
    lr, metric = np.asarray(lr, dtype=np.float64), np.asarray(metric, dtype=np.float64)
    keep = np.isfinite(metric) & np.isfinite(lr) & (lr > 0.0)
    order = np.argsort(lr[keep], kind="stable")
    return lr[keep][order], metric[keep][order]


def find_plateau(
    lr: ArrayLike, metric: ArrayLike, *, chance: float, higher_is_better: bool = True, hold: float = HOLD,
    occupancy_from: float = 0.0, occupancy: float = 0.75,
) -> Plateau | None:  # fmt: skip
    """Smooth, rescale and find the upper edge.

    Smoothing: centred running median over +-10% in LR, and over at least clip(n / 10, 1, 5) neighbours (odd).

        height   = +-(smoothed metric - chance)        retained = height / max(height so far)
        edge     = last LR x with retained(x) >= hold, where also at least `occupancy` of the points
                   between `occupancy_from` and x have retained >= hold

    The second condition keeps a single late swing back to the old level from moving the edge.

    Args:
        lr, metric: (n,), in any order; NaN where not measured.
        chance: the metric of a network that has learned nothing.
        higher_is_better: False for a loss, an error rate or a perplexity.
        hold: share of the running peak.
        occupancy_from: LR from which occupancy is counted.
        occupancy: share of points that must hold.
    Returns: the plateau, or None where no point rises above chance.
    """
    x, y = measured(lr, metric)
    if len(x) == 0:
        return None
    points = max(1, min(5, len(x) // 10)) // 2 * 2 + 1
    smoothed = local_median(np.log(x), y, half_width=0.1, points=points)
    height = (smoothed - chance) * (1.0 if higher_is_better else -1.0)
    peak = float(np.max(height))
    if not peak > 0.0:
        return None
    running = np.maximum(np.maximum.accumulate(height), 1e-9 * peak)
    retained = height / running
    holds = retained >= hold
    counted = x >= occupancy_from
    share = np.cumsum(holds & counted) / np.maximum(np.cumsum(counted), 1)
    # an edge below the peak would be the onset's: the peak itself always holds
    at_peak = int(np.argmax(height))
    allowed = holds & ((share >= occupancy) | ~counted)
    allowed[at_peak] = True
    index = int(np.flatnonzero(allowed)[-1])
    far = retained[x > 1.1 * x[index]]
    return Plateau(
        x, height, retained, points, peak, float(x[at_peak]), float(x[index]), index,
        float(np.median(far)) if len(far) else float("nan"), float(x[-1] / x[index]), len(x) - 1 - index,
    )  # fmt: skip
