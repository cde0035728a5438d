"""When a ramp has left the region where anything can be learned."""

from __future__ import annotations

import math

# "4x the best loss" is too strict: good super-convergence runs climb to 3.4-3.9 times their best smoothed loss while
# their test accuracy peaks (the authors' ResNet-56 range tests). So the starting level is the measure.
FACTOR = 4.0
SMOOTHING = 0.9
START_STEPS = 5


class DivergenceRule:
    """Diverged: a loss that is not finite, or a smoothed loss above `FACTOR` times its starting level.

    smoothed(t) = sum_i SMOOTHING^(t - i) loss(i) / sum_i SMOOTHING^(t - i)        (bias-corrected)
    start       = smoothed after `START_STEPS` losses, where the ramp's learning rate is still close to nothing
    diverged    : smoothed - start > (FACTOR - 1) |start|                           (also for losses below zero)
    """

    def __init__(self) -> None:
        self._sum = self._weight = 0.0
        self._seen = 0
        self._start: float | None = None

    def observe(self, loss: float) -> bool:
        """Take the next loss; True when the run has diverged."""
        if not math.isfinite(loss):
            return True
        self._sum = SMOOTHING * self._sum + loss
        self._weight = SMOOTHING * self._weight + 1.0
        self._seen += 1
        smoothed = self._sum / self._weight
        if self._seen <= START_STEPS:
            self._start = smoothed
            return False
        assert self._start is not None
        return smoothed - self._start > (FACTOR - 1.0) * abs(self._start)
