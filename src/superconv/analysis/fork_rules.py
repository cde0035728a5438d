"""What forks tell: annealed branches of a ramp, each worth what its LR would have led to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .binomial import standard_error
from .found import Found, nowhere
from .likely_best import likely_best

ABOVE_CHANCE = 3.0  # standard errors of a guesser's accuracy
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
        error: standard error of the metric, from the scatter of its values over samples; None where it was not
            measured, or where every sample counts with 0 or 1 (then an accuracy has the binomial one).
    """

    step: int
    lr: float
    metric: float
    loss: float
    steps: int
    diverged: bool = False
    error: float | None = None


def best_fork(
    forks: Sequence[Fork],
    *,
    higher_is_better: bool = True,
    eval_samples: int | None = None,
    binomial: bool = True,
    chance: float | None = None,
    diverged: bool = False,
) -> Found:
    """The LR whose annealed branches end best, read robustly: forks are few and each is one noisy training.

    Variable: final metric of each branch (its loss where no metric was measured) over log LR.
    Smoothing: by `likely_best`, the mean of log LR weighted by how likely each branch is the best one;
    trimming: diverged and unmeasured branches are out.

        error    = two standard errors of a difference of two evaluations,  2 sqrt(2 m (1 - m) / eval_samples)
                   for an accuracy m; where samples are no trials of their own (an image has a value a pixel) from the
                   measured error of the best branch instead, 2 sqrt(2) error; and at least 4% of the spread between
                   the best and the worst branch; without a bound on the metric of twice that between best and median,
                   where this is less: one branch that all but blew up must not make the others equal
        lr       = exp(sum_i w_i log lr_i),   w_i ~ exp(-(best - metric_i) / error) x its stretch of log LR
        interval = the central 90% of the weight

    A mean, because the best of several equal branches is the luckiest, not the best: on four networks and ten
    seeds each, max_lr from ramps of 100 and of 300 steps differed by up to 5.5x when read as the centre of the
    tied branches, by up to 3.3x with one standard error, by up to 2.0x with two (docs/lab-log.md). Two, because
    training varies from run to run as well, which the evaluation's error does not hold and one ramp cannot
    show; seeds do (`suggest`).

    Args:
        forks: branches of one ramp, any order.
        higher_is_better: direction of the metric.
        eval_samples: samples behind each metric; None: only the 2% count.
        binomial: True where the metric is an accuracy in [0, 1].
        chance: the metric of a guesser. Where no branch of an accuracy is `ABOVE_CHANCE` standard errors better (the
            guesser's binomial one, or the best branch's measured one), nothing was learned in any, and there is no
            suggestion.
        diverged: True where the ramp ended by diverging, so that no branch could be made beyond the last one.
    """
    uses_metric = any(math.isfinite(f.metric) for f in forks)
    tried = sorted((f for f in forks if f.lr > 0.0), key=lambda f: f.lr)
    alive = [f for f in tried if _counts(f, uses_metric)]
    if not forks:
        return nowhere("the range test has no forks: pass forks=8 or so")
    if not alive:
        return nowhere(f"all {len(forks)} forks diverged or were not evaluated: lower end_lr")
    if len(alive) < 3:
        return nowhere(f"only {len(alive)} of {len(forks)} forks survived, 3 are needed: lower end_lr or add forks")
    sign = 1.0 if higher_is_better and uses_metric else -1.0
    lrs = np.array([f.lr for f in tried])
    scores = np.array([sign * (f.metric if uses_metric else f.loss) if f in alive else math.nan for f in tried])
    top, worst = float(np.nanmax(scores)), float(np.nanmin(scores))
    measured = tried[int(np.nanargmax(scores))].error
    learned = not (binomial and uses_metric) or _learned(top, chance, eval_samples, measured)
    if top - worst <= 1e-12 * (1.0 + np.nanmax(np.abs(scores))):
        alike = "all forks end equally good or bad: they do not tell the learning rates apart"
        return nowhere(alike, blind=not learned)
    noise = _standard_error(abs(top), eval_samples, measured) if binomial and uses_metric else 0.0
    if not learned:
        return nowhere(
            f"no fork's accuracy is told from a guesser's: the best reaches {top:.3g}, a guesser {chance:.3g}; pass "
            'metric="loss", more fork_steps, a range of learning rates (start_lr=1e-6, end_lr=10), or check the model',
            blind=True,
        )
    spread = top - worst
    if not (binomial and uses_metric):
        spread = min(spread, 2.0 * (top - float(np.nanmedian(scores)))) or spread
    error = 2.0 * max(noise, 0.02 * spread)
    found = likely_best(lrs, scores, error=error)
    tied = lrs[scores >= top - error]  # False for NaN
    text = f"the best of {len(forks)} forks is at LR {tied[0]:.3g}"
    if len(tied) > 1:
        text = f"{len(tied)} of {len(forks)} forks tie for the best, from LR {tied[0]:.3g} to {tied[-1]:.3g}"
    at_edge = tied[-1] == lrs[-1] and not diverged
    if tied[-1] == lrs[-1]:
        more = "before the ramp diverged" if diverged else "a longer ramp may allow more"
        text += f"; that is the largest LR forked, {more}"
    elif tied[0] == lrs[0]:
        text += "; that is the smallest LR forked, a lower one may be better"
    return Found(found.lr, found.interval, text, bool(at_edge))


def _learned(top: float, chance: float | None, samples: int | None, measured: float | None) -> bool:
    """Whether an accuracy is clear of a guesser's; True where that cannot be told."""
    if chance is None:
        return True
    if measured is not None:
        return top > chance + ABOVE_CHANCE * measured
    return not samples or top >= chance + ABOVE_CHANCE * standard_error(chance, samples)


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


def fork_edge(
    forks: Sequence[Fork], *, chance: float, higher_is_better: bool = True, eval_samples: int | None = None
) -> ForkEdge | None:
    """Upper edge of the LRs from which an annealed branch still ends well; None with fewer than three measured.

        ends well   metric - chance >= FORK_HOLD x (best metric - chance) - 2 x standard error of one evaluation

    Unlike the metric along the ramp, which may survive a few updates beyond what the network stands, a branch that
    is annealed for many updates shows the damage. The two standard errors, because the best of several branches is
    the luckiest, and one unlucky evaluation in the middle must not end the count.

    Args:
        forks, higher_is_better: as in `best_fork`.
        chance: metric of a network that learned nothing.
        eval_samples: samples behind each accuracy; None: no error is allowed for (another metric, or unknown).
    """
    tried = sorted((f for f in forks if f.lr > 0.0 and (f.diverged or math.isfinite(f.metric))), key=lambda f: f.lr)
    sign = 1.0 if higher_is_better else -1.0
    heights = [-math.inf if f.diverged else sign * (f.metric - chance) for f in tried]
    if len(tried) < 3 or max(heights) <= 0.0:
        return None
    edge = int(np.argmax(heights))
    peak = heights[edge]
    error = _standard_error(chance + peak, eval_samples, tried[edge].error) / math.sqrt(2.0)
    while edge + 1 < len(tried) and heights[edge + 1] >= FORK_HOLD * peak - 2.0 * error:
        edge += 1
    return ForkEdge(tried[edge].lr, peak, edge + 1 < len(tried))


def _counts(fork: Fork, uses_metric: bool) -> bool:
    return not fork.diverged and math.isfinite(fork.metric if uses_metric else fork.loss)


def _standard_error(accuracy: float, eval_samples: int | None, measured: float | None) -> float:
    """Of the difference of two accuracies."""
    if eval_samples is None or not 0.0 <= accuracy <= 1.0:
        return 0.0
    if measured is not None:
        return math.sqrt(2.0) * measured
    return math.sqrt(2.0) * standard_error(accuracy, eval_samples)
