"""What forks tell: annealed branches of a ramp, each worth what its LR would have led to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .found import Found, nowhere

FORK_HOLD = 0.9  # share of the best branch's height above chance that still counts as ending well


@dataclass(frozen=True)
class Fork:
    """One branch: the ramp's state cloned at `step`, annealed to LR 0 in `steps` updates, evaluated, dropped.

    Args:
        step: update of the ramp after which the state was cloned.
        lr: LR of that update, from which the branch anneals.
        metric: evaluation metric at the branch's end, NaN where none was measured.
        loss: evaluation loss there.
        steps: length of the branch, in updates.
        diverged: True where it became non-finite or blew up; it then scores as chance.
    """

    step: int
    lr: float
    metric: float
    loss: float
    steps: int
    diverged: bool = False


def best_fork(
    forks: Sequence[Fork], *, higher_is_better: bool = True, eval_samples: int | None = None, binomial: bool = True
) -> Found:
    """The LR whose annealed branches end best, read robustly: forks are few and each is one noisy training.

    Variable: final metric of each branch (its loss where no metric was measured) over log LR.
    Smoothing: none across LRs beyond the tie rule; trimming: diverged and unmeasured branches are out.

        tolerance = standard error of a difference of two evaluations,  sqrt(2 m (1 - m) / eval_samples) for
                    an accuracy m, and at least 2% of the spread between the best and the worst branch
        tied      = the unbroken run of branches around the best one that are within one tolerance of it
        lr        = geometric centre of the tied LRs
        interval  = the unbroken run within two tolerances, out to half-way (in log LR) to the next branch tried

    The centre, because the best of several equal branches is the luckiest, not the best. Branches of one ramp
    share their past and their evaluation samples, so their differences are less noisy than the tolerance says:
    it stands for the run-to-run variation of training as well, which one ramp cannot show; seeds do (`suggest`).

    Args:
        forks: branches of one ramp, any order.
        higher_is_better: direction of the metric.
        eval_samples: samples behind each metric; None: only the 2% count.
        binomial: True where the metric is an accuracy in [0, 1].
    """
    uses_metric = any(math.isfinite(f.metric) for f in forks)
    alive = sorted((f for f in forks if _counts(f, uses_metric)), key=lambda f: f.lr)
    if not forks:
        return nowhere("the range test has no forks: pass forks=8 or so")
    if not alive:
        return nowhere(f"all {len(forks)} forks diverged or were not evaluated: lower end_lr")
    if len(alive) < 3:
        return nowhere(f"only {len(alive)} of {len(forks)} forks survived, 3 are needed: lower end_lr or add forks")
    sign = 1.0 if higher_is_better and uses_metric else -1.0
    scores = sign * np.array([f.metric if uses_metric else f.loss for f in alive])
    lrs = np.array([f.lr for f in alive])
    if np.ptp(scores) <= 1e-12 * (1.0 + np.abs(scores).max()):
        return nowhere("all forks end equally good or bad: they do not tell the learning rates apart")
    best = int(np.argmax(scores))
    error = _standard_error(float(abs(scores[best])), eval_samples) if binomial and uses_metric else 0.0
    tolerance = max(error, 0.02 * float(np.ptp(scores)))
    low, high = _run_around(scores, best, tolerance)
    wide_low, wide_high = _run_around(scores, best, 2.0 * tolerance)
    lr = float(np.exp(0.5 * (np.log(lrs[low]) + np.log(lrs[high]))))
    text = f"{high - low + 1} of {len(forks)} forks tie for the best, from LR {lrs[low]:.3g} to {lrs[high]:.3g}"
    if low == high:
        text = f"the best of {len(forks)} forks is at LR {lrs[best]:.3g}"
    at_edge = high == len(alive) - 1 and len(alive) == len(forks)
    if at_edge:
        text += "; that is the largest LR forked, a longer ramp may allow more"
    elif low == 0:
        text += "; that is the smallest LR forked, a lower one may be better"
    return Found(lr, (_half_way(lrs, wide_low, -1), _half_way(lrs, wide_high, 1)), text, at_edge)


@dataclass(frozen=True)
class ForkEdge:
    """How far up the LRs branches still end well.

    Args:
        lr: largest LR, counted upwards from the best branch without a gap, whose branch keeps `FORK_HOLD` of the best.
        kappa: height of the best branch above chance.
        failed_beyond: True where a branch from a larger LR ended worse, or diverged.
    """

    lr: float
    kappa: float
    failed_beyond: bool


def fork_edge(forks: Sequence[Fork], *, chance: float, higher_is_better: bool = True) -> ForkEdge | None:
    """Upper edge of the LRs from which an annealed branch still ends well; None with fewer than three measured.

    Unlike the metric along the ramp, which may survive a few updates beyond what the network stands, a branch that
    is annealed for many updates shows the damage.
    """
    tried = sorted((f for f in forks if f.lr > 0.0 and (f.diverged or math.isfinite(f.metric))), key=lambda f: f.lr)
    sign = 1.0 if higher_is_better else -1.0
    heights = [-math.inf if f.diverged else sign * (f.metric - chance) for f in tried]
    if len(tried) < 3 or max(heights) <= 0.0:
        return None
    edge = int(np.argmax(heights))
    peak = heights[edge]
    while edge + 1 < len(tried) and heights[edge + 1] >= FORK_HOLD * peak:
        edge += 1
    return ForkEdge(tried[edge].lr, peak, edge + 1 < len(tried))


def _counts(fork: Fork, uses_metric: bool) -> bool:
    return not fork.diverged and fork.lr > 0.0 and math.isfinite(fork.metric if uses_metric else fork.loss)


def _half_way(lrs: np.ndarray, index: int, direction: int) -> float:
    neighbour = min(max(index + direction, 0), len(lrs) - 1)
    return float(np.sqrt(lrs[index] * lrs[neighbour]))


def _standard_error(accuracy: float, eval_samples: int | None) -> float:
    if eval_samples is None or not 0.0 <= accuracy <= 1.0:
        return 0.0
    return math.sqrt(2.0 * max(accuracy * (1.0 - accuracy), 1.0 / eval_samples) / eval_samples)


def _run_around(scores: np.ndarray, best: int, tolerance: float) -> tuple[int, int]:
    near = scores >= scores[best] - tolerance
    low = high = best
    while low > 0 and near[low - 1]:
        low -= 1
    while high < len(scores) - 1 and near[high + 1]:
        high += 1
    return low, high
