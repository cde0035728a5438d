"""The best constant learning rate of a short training: what the verdict measures tolerance against."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..schedules import constant
from ..training.batch_source import BatchSource
from .ramp import Probe

GRID_POINTS = 6
GRID_FACTOR = 10**0.5  # half a decade; the two points beside the best are then halved to a quarter


@dataclass(frozen=True)
class Reference:
    """A grid of constant learning rates and the metric after the same number of steps at each.

    Args:
        lr: the one with the best metric; None where no training stayed finite.
        lrs, metrics: the grid, ascending; NaN where it diverged.
    """

    lr: float | None
    lrs: tuple[float, ...]
    metrics: tuple[float, ...]

    def to_dict(self) -> dict[str, list[float | None]] | None:
        """The grid as plain data; None where the rate was given."""
        metrics = [metric if math.isfinite(metric) else None for metric in self.metrics]
        return {"lr": list(self.lrs), "metric": metrics} if self.lrs else None


def find_reference(
    probe: Probe, source: BatchSource, *, end_lr: float, steps: int, higher_is_better: bool = True
) -> Reference:
    """Train clones of the state at constant learning rates below `end_lr` for `steps` each, and take the best.

    Grid: end_lr / GRID_FACTOR^k, k = 0 .. GRID_POINTS - 1, and half-way (in log LR) on either side of its best point.
    Of equal metrics the largest rate is taken, so that the tolerance measured against it is not overstated.
    Everything is as before afterwards.
    """
    sign = 1.0 if higher_is_better else -1.0
    tried: dict[float, float] = {}

    def try_out(lr: float) -> None:
        final, losses = probe.branch(source, constant(steps, lr=lr))
        finite = final is not None and all(map(math.isfinite, losses))
        tried[lr] = final.metric if final is not None and finite else math.nan

    def best() -> float | None:
        stable = [(sign * metric, lr) for lr, metric in tried.items() if math.isfinite(metric)]
        return max(stable)[1] if stable else None

    for k in range(GRID_POINTS):
        try_out(end_lr / GRID_FACTOR**k)
    centre = best()
    if centre is not None:
        for lr in (centre / GRID_FACTOR**0.5, centre * GRID_FACTOR**0.5):
            try_out(lr)
    lrs = tuple(sorted(tried))
    return Reference(best(), lrs, tuple(tried[lr] for lr in lrs))
