"""How far up a network's plateau reaches, by the best evidence a range test has: forks, a long ramp, a short ramp."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .fork_rules import FORK_HOLD, Fork, fork_edge
from .plateau import Plateau
from .thresholds import Thresholds

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class UpperEdge:
    """An upper edge and what it must be compared with.

    Args:
        lr: the edge.
        source: "forks", "long ramp" or "short ramp".
        wide_ratio, narrow_ratio: thresholds for this kind of evidence.
        fell: True where the metric, or the loss, was seen to break down beyond the edge.
        words: what was seen, for the verdict's sentence.
    """

    lr: float
    source: str
    wide_ratio: float
    narrow_ratio: float
    fell: bool
    words: str


def upper_edge(
    plateau: Plateau, lr: Floats, *, reference: float, updates_per_row: int | None, forks: Sequence[Fork],
    chance: float, higher_is_better: bool, eval_samples: int | None, diverged: bool, metric_name: str,
    limits: Thresholds,
) -> UpperEdge:  # fmt: skip
    """The edge by forks where three were measured, else by the ramp, moved back by `dwell` updates if it was short.

    Args:
        plateau: of the metric along the ramp.
        lr: (n,) LR of all rows, measured or not.
        reference: best constant LR.
        updates_per_row: 1 where every update is a row; None: unknown, the log of a long training.
        forks, chance, higher_is_better, eval_samples, diverged, metric_name: as in `judge`.
        limits: thresholds.
    """
    samples = eval_samples if metric_name == "accuracy" else None
    branches = fork_edge(forks, chance=chance, higher_is_better=higher_is_better, eval_samples=samples)
    if branches is not None:
        fell = branches.failed_beyond or (diverged and branches.lr >= max(f.lr for f in forks))
        words = f"branches annealed from LRs up to {branches.lr:.3g} keep {FORK_HOLD:.0%} of the best {metric_name}"
        return UpperEdge(branches.lr, "forks", limits.fork_wide_ratio, limits.fork_narrow_ratio, fell, words)
    fell = diverged or _sustained(plateau, limits)
    above = int((lr > reference).sum())
    if updates_per_row is None or above * updates_per_row >= limits.short_updates:
        words = _kept(plateau.edge, metric_name, limits)
        return UpperEdge(plateau.edge, "long ramp", limits.wide_ratio, limits.narrow_ratio, fell, words)
    back = math.ceil(limits.dwell / updates_per_row)
    rows = np.sort(lr)
    edge = float(rows[max(int(np.searchsorted(rows, plateau.edge, side="right")) - 1 - back, 0)])
    words = f"{_kept(plateau.edge, metric_name, limits)} (LR {edge:.3g} {limits.dwell} updates earlier)"
    return UpperEdge(edge, "short ramp", limits.short_wide_ratio, limits.short_narrow_ratio, fell, words)


def _kept(edge: float, metric_name: str, limits: Thresholds) -> str:
    return f"the {metric_name} keeps {limits.hold:.0%} of its height above chance up to LR {edge:.3g}"


def _sustained(plateau: Plateau, limits: Thresholds) -> bool:
    enough = plateau.points_beyond >= limits.min_points_beyond and plateau.beyond >= limits.collapse_span
    return enough and plateau.after <= limits.collapse
