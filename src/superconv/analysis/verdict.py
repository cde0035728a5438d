"""Verdict: what is known about a network and large learning rates, with its reasons and evidence."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

Tolerance = Literal["wide", "narrow", "inconclusive"]


@dataclass(frozen=True)
class SpeedUp:
    """What paired trainings measured: steps of the baseline over steps of the candidate at equal quality.

    Args:
        ratio: above 1 where the candidate is faster.
        interval: 95% interval of the ratio over seeds.
        n: pairs.
        baseline: what it was compared with.
        tuned: True where that baseline was tuned with the same effort.
    """

    ratio: float
    interval: tuple[float, float]
    n: int
    baseline: str = "tuned baseline"
    tuned: bool = True


@dataclass(frozen=True)
class Verdict:
    """Two different things: what the ramp shows (`tolerance`), and what only paired trainings show (`speed_up`).

    Args:
        tolerance: "wide", "narrow" or "inconclusive".
        speed_up: None until paired trainings against a tuned baseline have measured it.
        reasons: sentences, the deciding one first; where inconclusive, with what to do.
        evidence: the numbers behind them, plain data.
    """

    tolerance: Tolerance
    speed_up: SpeedUp | None = None
    reasons: tuple[str, ...] = ()
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def super_converges(self) -> bool:
        """True only where tolerance is wide and the speed-up over a tuned baseline is above 1 by its interval."""
        gain = self.speed_up
        return self.tolerance == "wide" and gain is not None and gain.tuned and gain.interval[0] > 1.0

    def with_speed_up(
        self, ratio: float, interval: tuple[float, float], n: int, *, baseline: str = "tuned baseline",
        tuned: bool = True,
    ) -> Verdict:  # fmt: skip
        """The verdict completed by what paired trainings measured (arguments: see `SpeedUp`).

        Raises: ValueError: a ratio or bound that is not positive, bounds out of order, or n < 1.
        """
        low, high = interval
        if not (0.0 < low <= high and ratio > 0.0 and n >= 1):
            raise ValueError(
                f"a speed-up needs ratio > 0, 0 < low <= high and n >= 1, got {ratio}, ({low}, {high}) and {n}"
            )
        return replace(self, speed_up=SpeedUp(float(ratio), (float(low), float(high)), n, baseline, tuned))

    def __str__(self) -> str:
        lines = [f"tolerance of large learning rates: {self.tolerance}", *(f"  {reason}" for reason in self.reasons)]
        if self.speed_up is None:
            lines.append("speed-up: not measured (a ramp does not show it; paired trainings do)")
        else:
            gain = self.speed_up
            low, high = gain.interval
            lines.append(f"speed-up over the {gain.baseline}: {gain.ratio:.2f} ({low:.2f}-{high:.2f}, {gain.n} pairs)")
        if self.super_converges:
            lines.append("the network super-converges: it tolerates large learning rates and trains faster with them")
        return "\n".join(lines)
