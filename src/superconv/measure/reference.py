"""The best constant learning rate of a short training: what the verdict measures tolerance against."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..analysis.reference import GridEdge, best_constant, grid_edge
from ..schedules import Schedule, constant
from ..schedules.curve import Piecewise
from ..training.batch_source import BatchSource
from .ramp import Probe

GRID_POINTS = 6
WARMUP = 0.2  # of the steps
GRID_FACTOR = 10**0.5  # half a decade; the two points beside the best are then halved to a quarter
EXTENSION = 4  # half decades further down at most: 4.5 decades below the ramp's end or more; a ramp starts 4 below it
MOST_TRAININGS = GRID_POINTS + 2 + EXTENSION + 2


@dataclass(frozen=True)
class Reference:
    """A grid of constant learning rates and the metric after the same number of steps at each.

    Args:
        lr: the best one, as `best_constant` reads it; None where no training stayed finite.
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
    probe: Probe, source: BatchSource, *, end_lr: float, steps: int, higher_is_better: bool = True, extend: bool = True
) -> Reference:
    """Train clones of the state at constant learning rates below `end_lr` for `steps` each, and read off the best.

    Grid: end_lr / GRID_FACTOR^k, k = 0 .. GRID_POINTS - 1, and half-way (in log LR) on either side of its best point;
    the rate is read by `best_constant`, which lets neighbours that tie within noise share it. The first fifth of the
    steps is a linear warm-up, as a ramp is one too: without it a net breaks at rates that its ramp passes unharmed.

    While the lowest rate is then the best one, or none was better than a guess, the grid goes on downwards by half a
    decade, `EXTENSION` times at most, and half-way on either side of its new best: at most `MOST_TRAININGS`. Upwards
    it reaches the ramp's end, and a quarter of a decade more where that is best: what lies beyond no ramp would show.
    Everything is as before afterwards. Called in the state in which measuring began.

    Args:
        extend: False: eight trainings at most, for a budget that holds no more.
    """
    tried: dict[float, float] = {}
    samples: list[int] = []
    errors: list[float] = []

    def try_out(lr: float) -> None:
        final, losses = probe.branch(source, _warmed_up(steps, lr), at_start=True)
        finite = final is not None and all(map(math.isfinite, losses))
        tried[lr] = final.metric if final is not None and finite else math.nan
        samples.append(final.samples if final is not None else 0)
        if final is not None and finite and final.metric_error is not None:
            errors.append(final.metric_error)

    def refine() -> None:
        signed = [(m if higher_is_better else -m, lr) for lr, m in tried.items() if math.isfinite(m)]
        centre = max(signed, default=(0.0, None))[1]
        for lr in () if centre is None else (centre / GRID_FACTOR**0.5, centre * GRID_FACTOR**0.5):
            if all(abs(math.log(lr / other)) > 0.1 for other in tried):
                try_out(lr)

    def edge() -> GridEdge | None:
        lrs, metrics = zip(*tried.items(), strict=True)
        return grid_edge(lrs, metrics, chance=probe.metric.level(), higher_is_better=higher_is_better)

    for k in range(GRID_POINTS):
        try_out(end_lr / GRID_FACTOR**k)
    refine()
    before = len(tried)
    while extend and edge() in ("lowest", "nothing") and len(tried) < before + EXTENSION:
        try_out(min(tried) / GRID_FACTOR)
    if len(tried) > before and edge() != "nothing":
        refine()
    lrs = tuple(sorted(tried))
    metrics = tuple(tried[lr] for lr in lrs)
    shares = probe.metric.name == "accuracy"  # the binomial error is that of a share
    best = best_constant(
        lrs, metrics, samples=max(samples) or None if shares else None, higher_is_better=higher_is_better,
        measured=max(errors, default=None),
    )  # fmt: skip
    return Reference(best, lrs, metrics)


def _warmed_up(steps: int, lr: float) -> Schedule:
    warmup = round(WARMUP * steps)
    if warmup == 0 or steps < 3:
        return constant(steps, lr=lr)
    return Schedule(steps, {"lr": Piecewise([0, warmup, steps - 1], [lr / (warmup + 1), lr, lr])})
