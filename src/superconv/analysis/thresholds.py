"""The numbers by which a verdict is reached, all scale-free, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from .plateau import HOLD


@dataclass(frozen=True)
class Thresholds:
    """The verdict's thresholds: ratios, shares and counts of updates, so that no network's own scale enters.

    Args:
        hold: share of the running maximum of kappa that still counts as plateau.
        wide_ratio: upper edge over reference LR from which the tolerance is wide.
        narrow_ratio: upper edge over reference LR up to which it is narrow, where the metric collapsed beyond.
        short_updates: a ramp with fewer updates above the reference LR is short: networks survive a few updates far
            beyond what they stand for long, so the thresholds are higher there.
        short_wide_ratio, short_narrow_ratio: their values on a short ramp.
        dwell: updates by which the edge of a short ramp is moved back: what had not yet had time to show.
        fork_wide_ratio, fork_narrow_ratio: their values where forks were measured: last LR whose branch ends well.
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
    short_updates: int = 1000
    short_wide_ratio: float = 10.0
    short_narrow_ratio: float = 4.5
    dwell: int = 5
    fork_wide_ratio: float = 7.5
    fork_narrow_ratio: float = 6.0
    collapse: float = 0.6
    collapse_span: float = 1.3
    occupancy: float = 0.75
    peak_errors: float = 4.0
    min_peak: float = 0.05
    min_points: int = 8
    min_points_beyond: int = 3
