"""Judging tolerance: from a metric along a ramp, forks and a reference LR to a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .binomial import standard_error
from .fork_rules import Fork
from .plateau import Plateau, find_plateau, measured
from .reference import GridEdge
from .smoothing import noise_level
from .thresholds import Thresholds
from .upper_edge import UpperEdge, upper_edge
from .verdict import Verdict

Floats = NDArray[np.float64]

_EDGES = {
    "lowest": "the best constant LR of the grid is its lowest: smaller ones may be better, so the reference is an "
              "upper bound at most; lower end_lr, or pass reference_lr=",
    "highest": "the best constant LR of the grid is its highest: larger ones may be better, so the reference is a "
               "lower bound at most; raise end_lr, or pass reference_lr=",
    "nothing": "no constant LR of the grid ended better than a guess, so that there is no reference: lower end_lr, use "
               "more steps, or pass reference_lr=",
}  # fmt: skip


def judge(
    lr: ArrayLike, metric: ArrayLike, *, reference_lr: float | None = None, chance: float | None = None,
    reference_edge: GridEdge | None = None, higher_is_better: bool = True, eval_samples: int | None = None,
    diverged: bool = False, forks: Sequence[Fork] = (), updates_per_row: int | None = None,
    metric_name: str = "accuracy", thresholds: Thresholds | None = None,
) -> Verdict:  # fmt: skip
    """Tolerance of large learning rates, read off the metric along a ramp.

        kappa    = (metric - chance) / (1 - chance)          (lower-is-better metrics: 1 - metric / chance)
        edge     = last LR where smoothed kappa >= 0.8 x its running maximum (`plateau.find_plateau`),
                   or the last LR from which forks end well, where three were measured (`upper_edge`)
        ratio    = edge / reference LR

        wide     ratio >= wide_ratio
        narrow   ratio <= narrow_ratio, and beyond the edge kappa collapsed and stayed down, a fork failed, or the
                 loss diverged
        inconclusive otherwise, each with what to do: no metric, no reference LR, one from the edge of its grid, a ramp
                 cut before it could tell, a peak that is not clear of chance, a slow decline, a ratio between the two
                 thresholds

    The reference is the best *constant* LR at the same number of steps. There is no substitute for it in
    the ramp itself: where learning sets in follows the summed LR, so "decades of plateau" measures the
    ramp's length, and a fixed LR such as 1 would depend on the network's scale.

    Args:
        lr, metric: (n,) in any order, NaN where not measured. LR 0 is left out (untrained, empty BatchNorm statistics).
        reference_lr: best constant LR; None: inconclusive.
        chance: metric of a network that learned nothing. None: for an accuracy the verdict must come out the same for
            every chance between 0 and the lowest value measured, else it is inconclusive.
        reference_edge: why the grid that the reference was read from does not show the best one (`grid_edge`).
        higher_is_better: False for a loss or an error.
        eval_samples: samples behind each value.
        diverged: the ramp ended because the training loss diverged at its last LR.
        forks, updates_per_row: see `upper_edge`.
        metric_name, thresholds: for the sentences; None: `Thresholds()`.
    Reference: arXiv 1708.07120v1, Sec. 3: "no pronounced peak, accuracy stays high over an unusually wide range of
    large rates". The authors' networks at LR 3 stand at 3 / 0.35 = 8.6 times their ordinary LR.
    """
    limits = thresholds or Thresholds()
    x, y = measured(lr, metric)
    evidence: dict[str, Any] = {"points": len(x), "reference_lr": reference_lr, "chance": chance}
    if reference_edge is not None:
        evidence["reference_edge"] = reference_edge
    refusal = _refusal(x, reference_lr, reference_edge, metric_name, limits)
    if refusal is not None or reference_lr is None:
        return _inconclusive(refusal or "", evidence)
    levels = _chance_levels(y, chance, higher_is_better)
    if not levels:
        what = f"chance level of {metric_name!r} is unknown: pass chance=, its value for a network that learned nothing"
        return _inconclusive(what, evidence)
    rates = np.asarray(lr, dtype=np.float64)
    found = []
    for level in levels:
        plateau = find_plateau(
            x, y, chance=level, higher_is_better=higher_is_better, hold=limits.hold,
            occupancy_from=reference_lr, occupancy=limits.occupancy,
        )  # fmt: skip
        if plateau is None:
            text = f"the {metric_name} never rises above chance: nothing learned, use more steps"
            return _inconclusive(text, evidence)
        edge = upper_edge(
            plateau, rates, reference=reference_lr, updates_per_row=updates_per_row, forks=forks, chance=level,
            higher_is_better=higher_is_better, eval_samples=eval_samples, diverged=diverged, metric_name=metric_name,
            limits=limits,
        )  # fmt: skip
        scale = _scale(level, higher_is_better)
        error = _peak_error(y, level, plateau, eval_samples, metric_name, forks)
        least = max(limits.peak_errors * error, limits.min_peak * scale)
        numbers = evidence | _evidence(plateau, edge, scale, error, reference_lr)
        found.append(_decide(plateau, edge, reference_lr, least, metric_name, numbers))
    return _agreement(found, levels)


def _agreement(found: Sequence[Verdict], levels: Sequence[float]) -> Verdict:
    """The verdict that holds at every chance level that is possible."""
    if len({v.tolerance for v in found}) == 1:
        return found[0]
    both = " or ".join(f"{v.tolerance} at chance {level:.3g}" for v, level in zip(found, levels, strict=True))
    return _inconclusive(f"it depends on the unknown chance level ({both}): pass chance=", found[0].evidence)


def _inconclusive(reason: str, evidence: dict[str, Any]) -> Verdict:
    return Verdict("inconclusive", None, (reason,), evidence)


def _refusal(
    x: Floats, reference_lr: float | None, edge: GridEdge | None, metric_name: str, limits: Thresholds
) -> str | None:
    """Why nothing can be said, before any curve is looked at."""
    if len(x) == 0:
        what = "no metric was measured along the ramp: pass eval_batches= (or eval_accuracy= to from_arrays)"
        return f"{what}; a training loss alone does not tell"
    if len(x) < limits.min_points:
        few = f"the {metric_name} was measured at {len(x)} positive LRs, {limits.min_points} are needed"
        return f"{few}: evaluate more often, or let the ramp go on"
    if edge is not None:
        return _EDGES[edge]
    if reference_lr is None:
        what = "no reference LR: pass reference_lr=, the best constant LR at the same number of steps"
        return f"{what} (a short grid finds it)"
    return None


def _chance_levels(y: Floats, chance: float | None, higher_is_better: bool) -> Sequence[float]:
    if chance is not None:
        return (float(chance),)
    return (float(y.min()), 0.0) if higher_is_better and y.min() >= 0.0 and y.max() <= 1.0 else ()


def _scale(chance: float, higher_is_better: bool) -> float:
    """Height of a perfect network above chance; 1 where the metric has no natural best."""
    scale = (1.0 - chance) if higher_is_better else chance
    return scale if scale > 0.0 else 1.0


def _peak_error(
    y: Floats, chance: float, plateau: Plateau, eval_samples: int | None, metric_name: str, forks: Sequence[Fork]
) -> float:
    """Standard error of the peak: binomial where the samples are known, else the noise seen in the curve.

    Where forks measured it, because a sample is no single trial, the largest of theirs: they saw the same samples.
    """
    if eval_samples and metric_name == "accuracy":
        measured = [fork.error for fork in forks if fork.error is not None and not fork.diverged]
        return max(measured) if measured else standard_error(chance + plateau.peak, eval_samples)
    return noise_level(y) / math.sqrt(plateau.points)


def _evidence(plateau: Plateau, edge: UpperEdge, scale: float, error: float, reference: float) -> dict[str, Any]:
    after = plateau.after
    return {
        "peak_kappa": plateau.peak / scale, "peak_kappa_error": error / scale, "peak_lr": plateau.peak_lr,
        "edge_from": edge.source, "upper_edge": edge.lr, "edge_ratio": edge.lr / reference,
        "wide_ratio": edge.wide_ratio, "narrow_ratio": edge.narrow_ratio, "fell_beyond_edge": edge.fell,
        "last_lr": float(plateau.lr[-1]), "last_ratio": float(plateau.lr[-1]) / reference,
        "retained_at_end": float(plateau.retained[-1]), "retained_beyond_edge": None if math.isnan(after) else after,
        "points_beyond_edge": plateau.points_beyond,
    }  # fmt: skip


def _decide(
    plateau: Plateau, edge: UpperEdge, reference: float, least: float, metric_name: str, evidence: dict[str, Any]
) -> Verdict:
    if plateau.peak < least:
        text = f"the {metric_name} peaks only {plateau.peak:.3g} above chance, {least:.3g} are needed"
        return _inconclusive(f"{text}: use more steps, or more evaluation samples", evidence)
    ratio = edge.lr / reference
    seen = f"{edge.words}, {ratio:.1f} times the reference LR {reference:.3g}"
    bounds = f"({edge.source}: narrow up to {edge.narrow_ratio:g}, wide from {edge.wide_ratio:g})"
    if ratio >= edge.wide_ratio:
        return Verdict("wide", None, (f"{seen} {bounds}",), evidence)
    if edge.fell and ratio <= edge.narrow_ratio:
        return Verdict("narrow", None, (f"{seen}, and it breaks down beyond {bounds}",), evidence)
    if edge.fell:
        text = f"{seen}: between the thresholds {bounds}; repeat with other seeds, and check the reference LR"
        return _inconclusive(text, evidence)
    end = float(plateau.lr[-1])
    if end < edge.wide_ratio * reference:
        text = f"the ramp ended at LR {end:.3g}, {end / reference:.1f} times the reference LR {reference:.3g}"
        more = f"set end_lr to {2 * edge.wide_ratio * reference:.2g} or more"
        return _inconclusive(f"{text}, before a collapse: too early to tell; {more}", evidence)
    text = f"{seen}, without a clear collapse beyond {bounds}"
    return _inconclusive(f"{text}: raise end_lr, use more steps, repeat with seeds", evidence)
