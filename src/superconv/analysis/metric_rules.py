"""Suggestion rules that read the evaluation metric of a ramp: the plateau's upper edge, and the paper's peak."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .found import Found, nowhere
from .plateau import Plateau, find_plateau, measured
from .smoothing import noise_level

MIN_POINTS = 8
SAFETY = 3.0  # edge / max_lr where the metric collapses beyond the edge


def baseline(lr: ArrayLike, metric: ArrayLike, chance: float | None, higher_is_better: bool) -> float:
    """Chance where it is known, else the worst metric of the first third of the points (untrained, or nearly)."""
    if chance is not None:
        return float(chance)
    _, values = measured(lr, metric)
    early = values[: max(1, len(values) // 3)]
    return float(np.min(early) if higher_is_better else np.max(early))


def plateau_edge(
    lr: ArrayLike, metric: ArrayLike, *, chance: float | None = None, higher_is_better: bool = True,
    short: bool = False, diverged: bool = False,
) -> Found:  # fmt: skip
    """Upper edge of the plateau: a third of it, or itself where a long ramp found no collapse.

    Variable: the metric's height above chance, over log LR. Smoothing and edge: `plateau.find_plateau` (running
    median; last LR with 0.8 of the running maximum). Trimming: LR 0 and unmeasured points are left out.

        beyond the edge less than half of the peak is left:  lr = edge / 3     (safety: at the edge it breaks)
        the ramp ended because training diverged:            lr = edge / 3     (likewise: no metric was measured there)
        a short ramp, whatever it saw:                       lr = edge / 3     (there had been no time to break)
        otherwise (the ramp ended first, or a slow decline): lr = edge         (shown to be tolerated)

    Unlike the onset of the plateau, its upper edge hardly moves with the ramp's length.
    The interval is edge/3 ... edge in both cases.

    Args:
        lr, metric: (n,); NaN where not measured.
        chance: metric of a network that has learned nothing; None: the worst early value stands for it.
        higher_is_better: False for a loss or an error.
        short: True for a ramp of few updates (`RangeTest.short`): it survives LRs beyond what the network stands.
        diverged: True for a ramp that training ended, by diverging at its last LR.
    Reference: arXiv 1708.07120v1, Sec. 3 (LR range test: "no pronounced peak" in the super-convergent case, where
    the accuracy's maximum is noise); the factor 3 is the paper's own between bounds, ibid.
    """
    refusal, plateau = _plateau(lr, metric, chance, higher_is_better, diverged)
    if plateau is None:
        return refusal
    edge = plateau.edge
    if plateau.edge_index == 0:
        return nowhere(f"the metric is at its best at the first LR measured ({edge:.3g}): start the ramp lower")
    if plateau.collapsed or diverged:
        breaks = "collapses" if plateau.collapsed else "training diverges"
        text = f"the metric holds 80% of its height up to LR {edge:.3g} and {breaks} beyond; max_lr is a third of that"
        return Found(edge / SAFETY, (edge / SAFETY, edge), text)
    if short:
        text = f"the metric holds 80% of its height up to LR {edge:.3g}; max_lr is a third: the ramp was short"
        return Found(edge / SAFETY, (edge / SAFETY, edge), text, at_edge=plateau.beyond <= 1.0)
    if plateau.beyond <= 1.0:
        text = f"the metric still holds 80% of its height at the ramp's end ({edge:.3g}); a longer ramp may allow more"
        return Found(edge, (edge / SAFETY, edge), text, at_edge=True)
    text = f"the metric holds 80% of its height up to LR {edge:.3g} and declines slowly beyond, without a collapse"
    return Found(edge, (edge / SAFETY, edge), text)


def accuracy_peak(
    lr: ArrayLike, metric: ArrayLike, *, chance: float | None = None, higher_is_better: bool = True,
    diverged: bool = False,
) -> Found:  # fmt: skip
    """Where the smoothed metric is best: the paper's reading of a range test with a pronounced peak.

    Variable: the metric over log LR. Smoothing: running median (`plateau.find_plateau`). Trimming: LR 0 and
    unmeasured points left out. Interval: the LRs whose smoothed metric is within two noise standard errors of the
    peak (noise from second differences). On a flat, good curve that interval is wide and its peak is
    an accident: prefer "plateau_edge" there, which the reason says.

    Args:
        lr, metric, chance, higher_is_better, diverged: as in `plateau_edge`.
    Reference: arXiv 1708.07120v1, Sec. 3: the LR at the peak is the largest usable max_lr.
    """
    refusal, plateau = _plateau(lr, metric, chance, higher_is_better, diverged)
    if plateau is None:
        return refusal
    _, values = measured(lr, metric)
    margin = 2.0 * noise_level(values) / np.sqrt(plateau.points)
    near = plateau.lr[plateau.height >= plateau.peak - margin]
    low, high, peak = float(near[0]), float(near[-1]), plateau.peak_lr
    at_edge = peak >= plateau.lr[-1] and not diverged
    if peak <= plateau.lr[0]:
        return nowhere(f"the metric is at its best at the first LR measured ({peak:.3g}): start the ramp lower")
    text = f"the metric peaks at LR {peak:.3g}"
    if high > 3.0 * low:
        text += f", but is as good within noise from {low:.3g} to {high:.3g}: the peak is an accident, see plateau_edge"
    return Found(peak, (low, high), text, at_edge)


def _plateau(
    lr: ArrayLike, metric: ArrayLike, chance: float | None, higher_is_better: bool, diverged: bool
) -> tuple[Found, Plateau | None]:
    x, values = measured(lr, metric)
    if len(x) < MIN_POINTS:
        few = f"the metric was measured at {len(x)} positive LRs, {MIN_POINTS} are needed: evaluate more often"
        return nowhere(few), None
    level = baseline(x, values, chance, higher_is_better)
    plateau = find_plateau(x, values, chance=level, higher_is_better=higher_is_better)
    floor = 3.0 * noise_level(values) / np.sqrt(max(3, plateau.points if plateau else 1))
    if plateau is None or plateau.peak <= max(floor, 1e-9 * (1.0 + abs(level))):
        flat = f"the metric never rises clearly above its level without training ({level:.3g}): nothing was learned"
        return nowhere(flat + "; use more steps" + ("" if diverged else ", or a higher end_lr")), None
    return nowhere(""), plateau
