"""The named policies: each builds a Schedule from absolute values and steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from . import checks
from .curve import Piecewise, Triangular
from .schedule import Schedule

_SHAPES = ("linear", "cosine", "caffe")
_FLOOR = 1000.0  # final_lr is initial_lr over this: "several orders of magnitude below" (v3, Sec. 3), as in the logs


def one_cycle(
    total_steps: int,
    *,
    max_lr: float,
    initial_lr: float | None = None,
    final_lr: float | None = None,
    cycle_fraction: float = 0.9,
    max_momentum: float | None = 0.95,
    min_momentum: float | None = 0.85,
    shape: str = "linear",
) -> Schedule:
    """1cycle policy: rise to `max_lr`, fall back, then anneal far below where it began.

    With T = total_steps, p = round(cycle_fraction (T - 1) / 2) (Python's round: a half goes to the even number):

        lr(t) = initial + (max - initial) t / p                      0 <= t <= p
              = max - (max - initial) (t - p) / p                    p <= t <= 2 p
              = initial - (initial - final) (t - 2 p) / (T - 1 - 2 p)   2 p <= t <= T - 1     (annihilation)
        m(t)  = max_momentum, min_momentum, max_momentum at t = 0, p, 2 p; then max_momentum

    shape "cosine": half cosine waves between the same points. shape "caffe": what the authors' logs print:

        lr(t) = initial + (max - initial) t / p      0 <= t <= p
              = max (2 p - t) / p                    p < t < 2 p       to 0, not to initial
              = final                                t >= 2 p          held
        m(t)  = a second, slow descent after 2 p: max_momentum - (max_momentum - min_momentum) (t - 2 p) / (2 p)

    Args:
        total_steps: length in optimizer updates; step `total_steps - 1` uses `final_lr` exactly.
        max_lr: learning rate at the peak.
        initial_lr: learning rate of step 0; None: max_lr / 10.
        final_lr: learning rate of the last step; None: initial_lr / 1000.
        cycle_fraction: share of the run that the cycle takes, in (0, 1).
        max_momentum: momentum (beta1 for Adam) at both ends of the cycle; None: momentum is not scheduled.
        min_momentum: momentum at the peak of the learning rate.
        shape: "linear", "cosine" or "caffe".
    Returns: a Schedule; evaluating it touches no optimizer.
    Raises: ValueError: a phase would be shorter than one step, or final <= initial <= max does not hold.
    Example:
        >>> schedule = one_cycle(101, max_lr=1.0)
        >>> schedule(45)
        {'lr': 1.0, 'momentum': 0.85}

    Reference: arXiv 1708.07120v3, Sec. 3; arXiv 1803.09820v2, Sec. 4.1 and 4.3.
    Differs: torch's OneCycleLR has two cosine phases by default and divides (div_factor) where this takes absolute
        values. The paper mentions neither "caffe"'s descent to 0 nor its second momentum descent: the logs show them.
    """
    total = checks.whole("total_steps", total_steps, at_least=1)
    if shape not in _SHAPES:
        raise checks.unknown("shape", shape, _SHAPES)
    initial, top, final = _cycle_levels(initial_lr, max_lr, final_lr)
    peak = _peak_step(total, cycle_fraction)
    end, last = 2 * peak, total - 1
    if shape == "caffe":
        curves = {"lr": Piecewise([0, peak, end, end], [initial, top, 0.0, final])}
    else:
        curves = {"lr": Piecewise([0, peak, end, last], [initial, top, initial, final], shape)}
    high, low = _momentum_range(max_momentum, min_momentum)
    if high is not None and low is not None:
        if shape == "caffe":
            curves["momentum"] = Piecewise([0, peak, end, 2 * end], [high, low, high, low])
        else:
            curves["momentum"] = Piecewise([0, peak, end], [high, low, high], shape)
    return Schedule(total, dict(curves))


def _cycle_levels(initial: float | None, top: float, final: float | None) -> tuple[float, float, float]:
    top = checks.number("max_lr", top, above=True)
    initial = top / 10 if initial is None else checks.number("initial_lr", initial)
    final = initial / _FLOOR if final is None else checks.number("final_lr", final)
    if initial > top:
        raise ValueError(f"initial_lr must not be above max_lr, got {initial:g} and {top:g}; lower initial_lr")
    if final > initial:
        raise ValueError(f"final_lr must not be above initial_lr, got {final:g} and {initial:g}; lower final_lr")
    return initial, top, final


def _peak_step(total: int, cycle_fraction: float) -> int:
    """Step of the peak, such that rise, fall and annihilation all have a step at least."""
    fraction = checks.number("cycle_fraction", cycle_fraction, above=True, high=1.0)
    peak = round(fraction * (total - 1) / 2)
    if peak >= 1 and 2 * peak <= total - 2:
        return peak
    what = f"one_cycle with total_steps={total} and cycle_fraction={fraction:g}"
    if total < 4:
        raise ValueError(f"{what}: rise, fall and annihilation need a step each; use total_steps of 10 or more")
    nearest = 1 if peak < 1 else (total - 2) // 2
    short = "rise" if peak < 1 else "annihilation"
    advice = f"use cycle_fraction={_fraction_for(nearest, total)!r}, or another total_steps"
    if fraction == 1.0:
        advice += "; for a cycle without annihilation use triangular(...)"
    raise ValueError(f"{what}: the {short} would be shorter than one step; {advice}")


def _fraction_for(peak: int, total: int) -> float:
    """The shortest decimal fraction that puts the peak there."""
    exact = 2 * peak / (total - 1)
    return next((f for f in (round(exact, n) for n in range(1, 17)) if round(f * (total - 1) / 2) == peak), exact)


def _momentum_range(high: float | None, low: float | None) -> tuple[float | None, float | None]:
    if high is None:
        if low not in (None, 0.85):
            raise ValueError(f"min_momentum={low:g} needs a max_momentum, got max_momentum=None; give both or neither")
        return None, None
    if low is None:
        raise ValueError("max_momentum needs a min_momentum, got None; max_momentum=None schedules no momentum")
    top, bottom = checks.number("max_momentum", high), checks.number("min_momentum", low)
    if bottom > top:
        raise ValueError(f"min_momentum must not be above max_momentum, got {bottom:g} and {top:g}; swap them")
    return top, bottom


def triangular(
    total_steps: int,
    *,
    base_lr: float,
    max_lr: float,
    step_size: int,
    mode: str = "triangular",
    gamma: float = 1.0,
) -> Schedule:
    """Cyclical learning rate: up from `base_lr` to `max_lr` in `step_size` steps, down in as many, and again.

        cycle = floor(1 + t / (2 S)),  x = |t / S - 2 cycle + 1|
        lr(t) = base + (max - base) max(0, 1 - x) g
        g = 1 (triangular), 2^(1 - cycle) (triangular2), gamma^t (exp_range)

    One cycle, total_steps = 2 step_size, is super-convergence as the paper's first version ran it.

    Args:
        total_steps: length in optimizer updates; the value of its last step holds afterwards.
        base_lr: lower bound of a cycle.
        max_lr: upper bound of a cycle.
        step_size: half a cycle, in steps.
        mode: "triangular", "triangular2" or "exp_range".
        gamma: decay per step in "exp_range".
    Raises: ValueError: the peak would never be reached, or as `Triangular`.
    Reference: arXiv 1506.01186v6, Sec. 3; arXiv 1708.07120v1, Sec. 3.
    """
    total = checks.whole("total_steps", total_steps, at_least=1)
    curve = Triangular(base_lr, max_lr, step_size, mode, gamma)
    if curve.step_size >= total:
        raise ValueError(
            f"step_size must be below total_steps for the peak to be reached, got {curve.step_size} and {total}; "
            "use a smaller step_size, or lr_ramp for a rise alone"
        )
    return Schedule(total, {"lr": curve})


def piecewise_constant(
    total_steps: int, *, lr: float, milestones: Sequence[int], factor: float = 0.1, warmup_steps: int = 0
) -> Schedule:
    """Ordinary step decay: the learning rate is multiplied by `factor` at every milestone.

        lr(t) = lr t / w               0 <= t <= w, where there is a warm-up
              = lr factor^k            k: milestones at or before t

    Args:
        total_steps: length in optimizer updates.
        lr: learning rate before the first milestone.
        milestones: increasing steps in [1, total_steps - 1]; the update of that step uses the new rate.
        factor: above 0.
        warmup_steps: w, before the first milestone; 0: no warm-up.
    Raises: ValueError: milestones that do not increase or lie outside, or none; a warm-up that reaches the first.
    Reference: the paper's PC-LR (v1 Sec. 3); same convention as torch's MultiStepLR.
    """
    total = checks.whole("total_steps", total_steps, at_least=1)
    start, by = checks.number("lr", lr, above=True), checks.number("factor", factor, above=True)
    if isinstance(milestones, int | float | str):
        raise ValueError(f"milestones must be a list of steps, got {milestones!r}; write milestones=[{milestones}]")
    steps = [checks.whole("a milestone", m, at_least=1) for m in milestones]
    if not steps:
        raise ValueError("piecewise_constant needs a milestone, got none; use constant(total_steps, lr=...)")
    if any(a >= b for a, b in pairwise(steps)) or steps[-1] >= total:
        raise ValueError(f"milestones must increase and stay below total_steps={total}, got {steps}")
    warmup = checks.whole("warmup_steps", warmup_steps, at_least=0)
    if warmup >= steps[0]:
        raise ValueError(f"warmup_steps must end before the first milestone, got {warmup} and {steps[0]}; shorten it")
    heights = [start * by**k for k in range(len(steps) + 1)]
    return Schedule(total, {"lr": _warmed_up(warmup, 0.0, [warmup, *steps], heights, ["constant"] * len(steps))})


def lr_ramp(total_steps: int, *, start_lr: float, end_lr: float, shape: str = "linear") -> Schedule:
    """The ramp of an LR range test: `start_lr` in the first update, `end_lr` in the last.

        lr(t) = start + (end - start) t / (T - 1)        shape "linear"
              = start (end / start)^(t / (T - 1))        shape "exponential"

    Args:
        total_steps: length in optimizer updates, at least 2.
        start_lr: learning rate of step 0; 0 is allowed on a linear ramp.
        end_lr: learning rate of step `total_steps - 1`, above `start_lr`.
        shape: "linear" (the paper's) or "exponential".
    Raises: ValueError: fewer than 2 steps, a ramp that does not rise, or an exponential one from 0.
    Reference: arXiv 1506.01186v6, Sec. 3.3; arXiv 1708.07120v1, Sec. 3.
    """
    total = checks.whole("total_steps", total_steps, at_least=2)
    if shape not in ("linear", "exponential"):
        raise checks.unknown("shape", shape, ("linear", "exponential"))
    start, end = checks.number("start_lr", start_lr), checks.number("end_lr", end_lr, above=True)
    if start >= end:
        raise ValueError(f"start_lr must be below end_lr, got {start:g} and {end:g}; swap them or raise end_lr")
    if shape == "exponential" and start == 0:
        raise ValueError("an exponential ramp cannot start at 0; use a small start_lr such as 1e-6, or shape='linear'")
    return Schedule(total, {"lr": Piecewise([0, total - 1], [start, end], shape)})


def cosine(
    total_steps: int, *, max_lr: float, warmup_steps: int = 0, initial_lr: float = 0.0, final_lr: float = 0.0
) -> Schedule:
    """Linear warm-up to `max_lr`, then half a cosine wave down to `final_lr`.

        lr(t) = initial + (max - initial) t / w                             0 <= t <= w
              = final + (max - final) (1 + cos(pi (t - w) / (T - 1 - w))) / 2   w <= t <= T - 1

    Args:
        total_steps: length in optimizer updates; step `total_steps - 1` uses `final_lr` exactly.
        max_lr: learning rate at step `warmup_steps`.
        warmup_steps: w; 0: no warm-up.
        initial_lr: learning rate of step 0, where there is a warm-up.
        final_lr: learning rate of the last step.
    Raises: ValueError: no step left for the descent, a level above `max_lr`, or `initial_lr` without a warm-up.
    Reference: Loshchilov and Hutter, arXiv 1608.03983v5, eq. 5, without restarts.
    Differs: torch's CosineAnnealingLR reaches its end at step T_max; here T_max = total_steps - 1 - warmup_steps.
    """
    total = checks.whole("total_steps", total_steps, at_least=1)
    warmup = _warmup(warmup_steps, initial_lr)
    if warmup + 1 >= total:
        raise ValueError(
            f"warmup_steps={warmup} leaves no step for the descent in total_steps={total}; "
            f"use a shorter warm-up or total_steps of {warmup + 2} or more"
        )
    top, initial, final = _decay_levels(max_lr, initial_lr, final_lr)
    return Schedule(total, {"lr": _warmed_up(warmup, initial, [warmup, total - 1], [top, final], ["cosine"])})


def warmup_stable_decay(
    total_steps: int,
    *,
    max_lr: float,
    warmup_steps: int,
    decay_steps: int,
    initial_lr: float = 0.0,
    final_lr: float = 0.0,
) -> Schedule:
    """Linear warm-up, a plateau at `max_lr`, linear decay over the last `decay_steps` updates.

        lr(t) = initial + (max - initial) t / w              0 <= t <= w
              = max                                          w <= t <= T - 1 - d
              = max - (max - final) (t - (T - 1 - d)) / d    T - 1 - d <= t <= T - 1

    Args:
        total_steps: length in optimizer updates; step `total_steps - 1` uses `final_lr` exactly.
        max_lr: learning rate of the plateau.
        warmup_steps: w; 0: no warm-up.
        decay_steps: d, at least 1.
        initial_lr: learning rate of step 0, where there is a warm-up.
        final_lr: learning rate of the last step.
    Raises: ValueError: phases that do not fit, a level above `max_lr`, or `initial_lr` without a warm-up.
    Reference: Hu et al., arXiv 2404.06395 (WSD); Haegele et al., arXiv 2405.18392 (linear cooldown).
    """
    total = checks.whole("total_steps", total_steps, at_least=1)
    warmup, decay = _warmup(warmup_steps, initial_lr), checks.whole("decay_steps", decay_steps, at_least=1)
    if warmup + decay > total - 1:
        raise ValueError(
            f"warmup_steps={warmup} and decay_steps={decay} do not fit in total_steps={total}; "
            f"shorten one, or use total_steps of {warmup + decay + 1} or more"
        )
    top, initial, final = _decay_levels(max_lr, initial_lr, final_lr)
    turn = total - 1 - decay
    steps, heights, rules = [warmup, turn, total - 1], [top, top, final], ["constant", "linear"]
    if turn == warmup:
        steps, heights, rules = steps[1:], heights[1:], rules[1:]
    return Schedule(total, {"lr": _warmed_up(warmup, initial, steps, heights, rules)})


def constant(total_steps: int, *, lr: float, warmup_steps: int = 0) -> Schedule:
    """One learning rate for `total_steps` updates, after a linear warm-up from 0 where one is given.

    Raises: ValueError: a rate below 0, or a warm-up as long as the schedule.
    """
    warmup = checks.whole("warmup_steps", warmup_steps, at_least=0)
    if not warmup:
        return Schedule(total_steps, {"lr": lr})
    total = checks.whole("total_steps", total_steps, at_least=1)
    if warmup >= total:
        raise ValueError(f"warmup_steps must be below total_steps={total}, got {warmup}; shorten it")
    return Schedule(total, {"lr": _warmed_up(warmup, 0.0, [warmup], [checks.number("lr", lr)], [])})


def _warmup(warmup_steps: int, initial_lr: float) -> int:
    warmup = checks.whole("warmup_steps", warmup_steps, at_least=0)
    if warmup == 0 and initial_lr != 0:
        raise ValueError(f"initial_lr={initial_lr:g} needs a warm-up, got warmup_steps=0; give one or drop initial_lr")
    return warmup


def _decay_levels(top: float, initial: float, final: float) -> tuple[float, float, float]:
    top = checks.number("max_lr", top, above=True)
    initial, final = checks.number("initial_lr", initial), checks.number("final_lr", final)
    for name, level in (("initial_lr", initial), ("final_lr", final)):
        if level > top:
            raise ValueError(f"{name} must not be above max_lr, got {level:g} and {top:g}; lower {name}")
    return top, initial, final


def _warmed_up(warmup: int, initial: float, steps: list[int], heights: list[float], rules: list[str]) -> Piecewise:
    if warmup:
        steps, heights, rules = [0, *steps], [initial, *heights], ["linear", *rules]
    return Piecewise(steps, heights, rules)


POLICIES: dict[str, Callable[..., Schedule]] = {
    policy.__name__: policy
    for policy in (one_cycle, triangular, piecewise_constant, lr_ramp, cosine, warmup_stable_decay, constant)
}
