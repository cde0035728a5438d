"""What a range test shows about large learning rates: tolerance wide, narrow or inconclusive, with its evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from .plateau import HOLD, Plateau, find_plateau, measured
from .smoothing import noise_level

Tolerance = Literal["wide", "narrow", "inconclusive"]


@dataclass(frozen=True)
class Thresholds:
    """The verdict's thresholds: ratios and shares, so that no network's own scale enters.

    Args:
        hold: share of the running maximum of kappa that still counts as plateau.
        wide_ratio: upper edge over reference LR from which the tolerance is wide.
        narrow_ratio: upper edge over reference LR up to which it is narrow, where the metric collapsed beyond.
        collapse: share of the peak; narrow needs the median beyond the edge below it.
        collapse_span: narrow needs the ramp to have gone on to this multiple of the edge,
            so that a dip in the middle of a ramp that was cut short is not taken for a collapse.
        occupancy: share of the points between reference LR and edge that must hold the plateau.
        peak_errors: the peak must be so many standard errors above chance.
        min_peak: smallest peak kappa; below it little was learned, and the shape is not to be trusted.
        min_points: metric values at positive LR.
        min_points_beyond: of them beyond the edge, for narrow.

    How they were chosen, and what happens when whole families of networks are left out: docs/verdict.md.
    """

    hold: float = HOLD
    wide_ratio: float = 4.0
    narrow_ratio: float = 2.75
    collapse: float = 0.6
    collapse_span: float = 1.3
    occupancy: float = 0.75
    peak_errors: float = 5.0
    min_peak: float = 0.05
    min_points: int = 8
    min_points_beyond: int = 3


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


def _inconclusive(reason: str, evidence: dict[str, Any]) -> Verdict:
    return Verdict("inconclusive", None, (reason,), evidence)


def judge(
    lr: ArrayLike, metric: ArrayLike, *, reference_lr: float | None = None, chance: float | None = None,
    higher_is_better: bool = True, eval_samples: int | None = None, diverged: bool = False,
    metric_name: str = "accuracy", thresholds: Thresholds | None = None,
) -> Verdict:  # fmt: skip
    """Tolerance of large learning rates, read off the metric along a ramp.

        kappa    = (metric - chance) / (1 - chance)          (lower-is-better metrics: 1 - metric / chance)
        edge     = last LR where smoothed kappa >= hold x its running maximum (`plateau.find_plateau`)
        ratio    = edge / reference LR

        wide     ratio >= wide_ratio
        narrow   ratio <= narrow_ratio, and beyond the edge kappa collapsed and stayed down, or the loss diverged
        inconclusive otherwise, each with what to do: no metric, no reference LR, a ramp cut before it could tell, a
                 peak that is not clear of chance, a slow decline, a ratio between the two thresholds

    The reference is the best *constant* LR at the same number of steps. There is no substitute for it in
    the ramp itself: where learning sets in follows the summed LR, so "decades of plateau" measures the
    ramp's length, and a fixed LR such as 1 would depend on the network's scale.

    Args:
        lr, metric: (n,) in any order, NaN where not measured. LR 0 is left out (untrained, empty BatchNorm statistics).
        reference_lr: best constant LR; None: inconclusive.
        chance: metric of a network that learned nothing. None: for an accuracy the verdict must come out the same for
            every chance between 0 and the lowest value measured, else it is inconclusive.
        higher_is_better: False for a loss or an error.
        eval_samples: samples behind each value; adds the binomial error to the noise seen in the curve.
        diverged: the ramp ended because the training loss diverged at its last LR.
        metric_name: for the sentences.
        thresholds: None: `Thresholds()`.
    Reference: arXiv 1708.07120v1, Sec. 3: "no pronounced peak, accuracy stays high over an unusually wide range of
    large rates". The authors' networks at LR 3 stand at 3 / 0.35 = 8.6 times their ordinary LR.
    """
    limits = thresholds or Thresholds()
    x, y = measured(lr, metric)
    evidence: dict[str, Any] = {"points": len(x), "reference_lr": reference_lr, "chance": chance}
    if len(x) == 0:
        what = "no metric was measured along the ramp: pass eval_batches= (or eval_accuracy= to from_arrays)"
        return _inconclusive(f"{what}; a training loss alone does not tell", evidence)
    if len(x) < limits.min_points:
        few = f"the {metric_name} was measured at {len(x)} positive LRs, {limits.min_points} are needed"
        return _inconclusive(f"{few}: evaluate more often, or let the ramp go on", evidence)
    if reference_lr is None:
        what = "no reference LR: pass reference_lr=, the best constant LR at the same number of steps"
        return _inconclusive(f"{what} (a short grid finds it)", evidence)
    levels = _chance_levels(y, chance, higher_is_better)
    if not levels:
        what = f"chance level of {metric_name!r} is unknown: pass chance=, its value for a network that learned nothing"
        return _inconclusive(what, evidence)
    found = [
        _judge_at(x, y, reference_lr, level, higher_is_better, eval_samples, diverged, metric_name, limits, evidence)
        for level in levels
    ]
    if len({v.tolerance for v in found}) > 1:
        both = " or ".join(f"{v.tolerance} at chance {level:.3g}" for v, level in zip(found, levels, strict=True))
        return _inconclusive(f"it depends on the unknown chance level ({both}): pass chance=", found[0].evidence)
    return found[0]


def _chance_levels(y: np.ndarray, chance: float | None, higher_is_better: bool) -> Sequence[float]:
    if chance is not None:
        return (float(chance),)
    return (float(max(0.0, y.min())), 0.0) if higher_is_better and y.min() >= 0.0 and y.max() <= 1.0 else ()


def _judge_at(
    x: np.ndarray, y: np.ndarray, reference: float, chance: float, higher_is_better: bool,
    eval_samples: int | None, diverged: bool, metric_name: str, limits: Thresholds, evidence: dict[str, Any],
) -> Verdict:  # fmt: skip
    plateau = find_plateau(
        x, y, chance=chance, higher_is_better=higher_is_better, hold=limits.hold,
        occupancy_from=reference, occupancy=limits.occupancy,
    )  # fmt: skip
    scale = (1.0 - chance) if higher_is_better else chance
    if not scale > 0.0:
        scale = 1.0
    if plateau is None:
        return _inconclusive(f"the {metric_name} never rises above chance: nothing learned, use more steps", evidence)
    error = _peak_error(y, chance, plateau, eval_samples, metric_name)
    evidence = evidence | _evidence(plateau, scale, error, reference)
    least = max(limits.peak_errors * error, limits.min_peak * scale)
    if plateau.peak < least:
        text = f"the {metric_name} peaks only {plateau.peak:.3g} above chance, {least:.3g} are needed"
        return _inconclusive(f"{text}: use more steps, or more evaluation samples", evidence)
    return _by_edge(plateau, reference, diverged, metric_name, limits, evidence)


def _peak_error(
    y: np.ndarray, chance: float, plateau: Plateau, eval_samples: int | None, metric_name: str
) -> float:
    """Standard error of the peak: noise seen in the curve, or binomial where that is larger; a median of `points`."""
    binomial = 0.0
    if eval_samples and metric_name == "accuracy":
        p = min(max(chance + plateau.peak, 0.0), 1.0)
        binomial = math.sqrt(p * (1.0 - p) / eval_samples)
    return max(1.25 * noise_level(y) / math.sqrt(plateau.points), binomial)


def _evidence(plateau: Plateau, scale: float, error: float, reference: float) -> dict[str, Any]:
    after = plateau.after
    return {
        "peak_kappa": plateau.peak / scale, "peak_kappa_error": error / scale, "peak_lr": plateau.peak_lr,
        "upper_edge": plateau.edge, "edge_ratio": plateau.edge / reference, "last_lr": float(plateau.lr[-1]),
        "last_ratio": float(plateau.lr[-1]) / reference, "retained_at_end": float(plateau.retained[-1]),
        "retained_beyond_edge": None if math.isnan(after) else after, "points_beyond_edge": plateau.points_beyond,
    }  # fmt: skip


def _by_edge(
    plateau: Plateau, reference: float, diverged: bool, metric_name: str, limits: Thresholds, evidence: dict[str, Any]
) -> Verdict:
    ratio = plateau.edge / reference
    end = float(plateau.lr[-1])
    kept = f"{limits.hold:.0%} of its height above chance up to LR {plateau.edge:.3g}"
    if ratio >= limits.wide_ratio:
        text = f"the {metric_name} keeps {kept}, {ratio:.1f} times the reference LR {reference:.3g}"
        return Verdict("wide", None, (f"{text} (wide from {limits.wide_ratio:g})",), evidence)
    fell = plateau.after <= limits.collapse and plateau.points_beyond >= limits.min_points_beyond
    sustained = fell and plateau.beyond >= limits.collapse_span
    if ratio <= limits.narrow_ratio and (sustained or diverged):
        left = "the training loss diverged" if not fell else f"{max(plateau.after, 0.0):.0%} is left"
        text = f"the {metric_name} keeps {kept}, only {ratio:.1f} times the reference LR {reference:.3g}"
        return Verdict("narrow", None, (f"{text} (narrow up to {limits.narrow_ratio:g}); beyond, {left}",), evidence)
    if sustained or diverged:
        between = f"between narrow (up to {limits.narrow_ratio:g}) and wide (from {limits.wide_ratio:g})"
        text = f"the {metric_name} keeps {kept}, {ratio:.1f} times the reference LR {reference:.3g}: {between}"
        return _inconclusive(f"{text}; repeat with other seeds, and check the reference LR", evidence)
    if end < limits.wide_ratio * reference:
        text = f"the ramp ended at LR {end:.3g}, {end / reference:.1f} times the reference LR {reference:.3g}"
        return _inconclusive(
            f"{text}, before a collapse: too early to tell; set end_lr to {8 * reference:.2g} or more", evidence
        )
    text = f"the {metric_name} declines beyond LR {plateau.edge:.3g} ({ratio:.1f} times the reference LR)"
    return _inconclusive(f"{text} without a clear collapse: raise end_lr, use more steps, repeat with seeds", evidence)
