"""How many times fewer steps an arm needs to be as accurate as the baseline, from trainings of several lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np

from .comparison import MINIMUM_SEEDS, check_finite, decide
from .monotone import ROUNDING, Array, first_reach, isotonic
from .student_t import critical_value

SpeedUpOutcome = Literal[
    "faster", "no gain", "slower", "inconclusive", "too few seeds", "undefined (flat)", "undefined (out of reach)"
]
Relation = Literal["=", ">", "<"]
Lengths = Mapping[int, Mapping[int, float]]  # steps -> seed -> final value


@dataclass(frozen=True)
class SpeedUp:
    """Steps of the baseline over steps of the treatment, at one target.

    Outcomes: "faster" (the interval lies above 1, and value >= margin), "slower" (below 1, value <= 1 / margin),
    "no gain" (it lies below `margin`: a speed-up that matters is excluded), "inconclusive" (anything else), "too few
    seeds" (below five common ones: the value is given without interval), "undefined (flat)" (doubling the baseline up
    to the target gains less than two standard errors of that gain, so that steps cannot be read off it), "undefined
    (out of reach)" (the given target lies outside both arms' lengths).

    Args:
        value: the ratio, a bound where `relation` is not "="; None where undefined.
        relation: "=", ">" (the treatment was there at its shortest length, or the baseline never came so far), or "<"
            (the treatment never came so far).
        lower: end of the bootstrap interval, 0.0 where nothing bounds it from below; None without interval.
        upper: likewise, infinity where nothing bounds it from above.
        target: the metric's value that is to be reached.
        baseline_steps: the baseline's length that sets the target; None where the target was given.
        outcome: the word that it supports, see above.
        reason: why, in words.
        n: number of seeds that both arms have at all lengths.
        seeds: these seeds.
        left_out: seeds that are missing somewhere.
        confidence: of the interval.
        margin: smallest ratio that matters.
        others: the same at the baseline's other lengths, shortest first: for the picture, no claim is made on them.
    """

    value: float | None
    relation: Relation
    lower: float | None
    upper: float | None
    target: float
    baseline_steps: int | None
    outcome: SpeedUpOutcome
    reason: str
    n: int
    seeds: tuple[int, ...]
    left_out: tuple[int, ...]
    confidence: float
    margin: float
    others: tuple[SpeedUp, ...] = ()

    @property
    def text(self) -> str:
        """The ratio as it is to be printed: "1.4x", "> 8x", "< 0.5x", or "undefined"."""
        if self.value is None:
            return "undefined"
        return ("" if self.relation == "=" else f"{self.relation} ") + f"{self.value:.3g}x"


@dataclass(frozen=True)
class _Arms:
    """Both arms as arrays over common seeds, signs turned so that higher is better."""

    seeds: tuple[int, ...]
    left_out: tuple[int, ...]
    baseline_steps: Array  # (K,)
    baseline: Array  # (n, K)
    treatment_steps: Array  # (M,)
    treatment: Array  # (n, M)
    sign: float


def speed_up(
    treatment: Lengths,
    baseline: Lengths,
    *,
    target: float | None = None,
    margin: float = 1.1,
    confidence: float = 0.95,
    higher_is_better: bool = True,
    resamples: int = 10_000,
    seed: int = 0,
) -> SpeedUp:
    """Ratio of steps at equal final accuracy, with a bootstrap interval over seeds.

    S(a) = T_baseline(a) / T_treatment(a),   T(a) = exp(min {u : f(u) >= a}),   u = log steps

    f: per arm, the isotonic (non-decreasing) fit of the mean final values of trainings planned for each length, linear
    in log steps between lengths. a: the target, by default f_baseline at its longest length, fixed beforehand (the
    best of several ratios would flatter). Its other lengths give `others`. T is read off both fits alike: where the
    baseline's fit is level up to that length, T_baseline is where the level begins.

    Nothing is extrapolated: a treatment that is past the target at its shortest length gives "> k", one that never
    gets there "< k", a baseline that never reaches a given target "> k".

    Interval: seeds are drawn with replacement, each with all its lengths in both arms; fit, target and ratio are made
    anew. The percentiles are widened for few seeds, alpha / 2 -> Phi(-sqrt(n / (n - 1)) t(confidence, n - 1)), and a
    resample that is itself a bound counts as unbounded on its open side.

    Args:
        treatment: steps -> seed -> final value of a training planned for that many steps; two lengths or more. A
            diverged run is scored as chance by the caller.
        baseline: likewise.
        target: value to reach, in the metric's units; None: the baseline's at its longest length.
        margin: smallest speed-up that matters, above 1.
        confidence: of the interval, inside (0, 1).
        higher_is_better: False for a loss.
        resamples: bootstrap resamples.
        seed: of the bootstrap's generator; the same input gives the same interval.
    Returns: a SpeedUp, which lists the outcomes; those that are no number are values too, with their reason.
    Raises: ValueError: fewer than two lengths, a length below 1, a value or a target that is not finite, a margin of 1
        or less, confidence outside (0, 1), no resamples.
    Reference: the percentiles' widening: Hesterberg 2015, arXiv 1411.5279, Sec. 4; isotonic fit: see `monotone`.
        Measured coverage and the alternatives: docs/method-comparison.md.
    """
    _check(treatment, baseline, target, margin, confidence, resamples)
    arms = _align(treatment, baseline, 1.0 if higher_is_better else -1.0)
    if not arms.seeds:
        return _nothing(arms, target, confidence, margin)
    draws = np.random.default_rng(seed).integers(0, len(arms.seeds), (resamples, len(arms.seeds)))
    count = len(arms.baseline_steps)
    if target is not None:
        return _at(arms, draws, None, arms.sign * target, confidence, margin)
    every = [_at(arms, draws, index, None, confidence, margin) for index in range(count)]
    return replace(every[-1], others=tuple(every[:-1]))


def speed_up_sentence(
    result: SpeedUp, *, treatment: str = "the treatment", baseline: str = "the baseline", points: bool = True
) -> str:
    """The speed-up in one plain sentence, with target, interval, n and seeds.

    Args:
        result: of `speed_up`.
        treatment: how that arm is called.
        baseline: how the other is called.
        points: True: the target is a fraction, printed in percent; False: as it is.
    Returns: one sentence.
    """
    goal = f"{100 * result.target:.4g}%" if points else f"{result.target:.4g}"
    at = f" ({baseline}'s in {result.baseline_steps:,} steps)" if result.baseline_steps else ""
    text = f"{treatment} against {baseline} at {goal}{at}: {result.outcome}, speed-up {result.text}"
    if result.lower is not None and result.upper is not None:
        upper = "no upper bound" if math.isinf(result.upper) else f"{result.upper:.3g}"
        text += f" ({100 * result.confidence:g}% interval {result.lower:.3g} to {upper}"
    else:
        text += " (no interval"
    text += f", n={result.n}, seeds {', '.join(map(str, result.seeds)) or 'none'}); {result.reason}"
    if result.left_out:
        text += f"; left out, not in every length of both arms: seeds {', '.join(map(str, result.left_out))}"
    return text + "."


def _check(
    treatment: Lengths, baseline: Lengths, target: float | None, margin: float, confidence: float, resamples: int
) -> None:
    for name, arm in (("treatment", treatment), ("baseline", baseline)):
        if not isinstance(arm, Mapping):
            raise TypeError(f"{name}: values by length and seed are needed, such as {{100: {{0: 0.91}}}}; got {arm!r}")
        if len(arm) < 2 or min(arm) < 1:
            raise ValueError(
                f"{name} has the lengths {sorted(arm)}; a fit needs two or more, each of 1 step or more: "
                "train for 1, 2, 4 and 8 times the shortest"
            )
        for steps, values in arm.items():
            check_finite(f"{name} at {steps} steps", values)
    if not (math.isfinite(margin) and margin > 1.0):
        raise ValueError(
            f"margin is {margin}; give the smallest speed-up that matters, above 1 (1.1: a tenth fewer steps)"
        )
    if target is not None and not math.isfinite(target):
        raise ValueError(f"target is {target}; give a finite value of the metric, or None for the baseline's last")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}, allowed is a number inside (0, 1); 0.95 is usual")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}, allowed is 1 or more; 10000 is usual")


def _align(treatment: Lengths, baseline: Lengths, sign: float) -> _Arms:
    """Seeds that both arms have at all lengths, and the values as arrays (seed, length)."""
    columns = [set(values) for arm in (treatment, baseline) for values in arm.values()]
    common = sorted(set.intersection(*columns))

    def values(arm: Lengths) -> Array:
        table = [[sign * float(arm[steps][seed]) for steps in sorted(arm)] for seed in common]
        return np.array(table, dtype=np.float64).reshape(len(common), len(arm))

    return _Arms(
        seeds=tuple(common),
        left_out=tuple(sorted(set.union(*columns) - set(common))),
        baseline_steps=np.array(sorted(baseline), dtype=np.float64),
        baseline=values(baseline),
        treatment_steps=np.array(sorted(treatment), dtype=np.float64),
        treatment=values(treatment),
        sign=sign,
    )


def _at(
    arms: _Arms, draws: np.ndarray, index: int | None, level: float | None, confidence: float, margin: float
) -> SpeedUp:
    """The speed-up at the baseline's length `index`, or at a given `level` (sign turned)."""
    n = len(arms.seeds)
    low, high, goal = _log_ratio(arms, np.arange(n)[None], index, level)
    steps = None if index is None else int(arms.baseline_steps[index])
    flat = _flat(arms, index if index is not None else _length_at(arms, goal[0]))
    blank = _nothing(arms, arms.sign * float(goal[0]), confidence, margin)
    value, relation = (None, "=") if flat else _point(float(low[0]), float(high[0]))
    result = replace(blank, baseline_steps=steps, value=value, relation=relation)
    if n < MINIMUM_SEEDS:
        reason = f"{n} seeds in common, {MINIMUM_SEEDS} are needed for an interval"
        return replace(result, reason=reason + (f"; {flat}" if flat else ""))
    if flat:
        return replace(result, outcome="undefined (flat)", reason=flat)
    if result.value is None:
        reason = "neither arm crosses the target inside its lengths; choose one between, or train other lengths"
        return replace(result, outcome="undefined (out of reach)", reason=reason)
    lows, highs, _ = _log_ratio(arms, draws, index, level)
    lower, upper = _percentiles(lows, highs, n, confidence)
    shown = lower > 0.0 or upper < 0.0
    word = decide(math.log(result.value), upper, math.log(margin), shown_different=shown)
    reason = (_OPEN if word == "inconclusive" and shown else _REASONS[word]).format(margin=margin)
    reason += _NEVER if result.relation == "<" else ""
    return replace(result, lower=_exp(lower), upper=_exp(upper), outcome=word, reason=reason)


_REASONS = {
    "faster": "the interval lies above 1",
    "slower": "the interval lies below 1",
    "no gain": "the interval lies below {margin:g}, the smallest speed-up that matters",
    "inconclusive": "the interval excludes neither 1 nor a speed-up of {margin:g}",
}
_OPEN = "the interval lies above 1; whether the speed-up is {margin:g} or more is open"
_NEVER = "; the treatment never reached the target: only longer trainings of it tell by how much it is slower"


def _log_ratio(arms: _Arms, draws: np.ndarray, index: int | None, level: float | None) -> tuple[Array, Array, Array]:
    """Bounds of the log speed-up, and the level aimed at, one per row of drawn seeds; equal bounds: known exactly."""
    x, z = np.log(arms.baseline_steps), np.log(arms.treatment_steps)
    base, treat = isotonic(arms.baseline[draws].mean(axis=1)), isotonic(arms.treatment[draws].mean(axis=1))
    goal = base[:, index] if index is not None else np.full(len(draws), level, dtype=np.float64)
    base_at, base_found = first_reach(x, base, goal)
    treat_at, treat_found = first_reach(z, treat, goal)
    ratio = base_at - treat_at
    low = np.where((treat_found == 1) | (base_found == -1), -np.inf, ratio)
    high = np.where((treat_found == -1) | (base_found == 1), np.inf, ratio)
    return low, high, goal


def _percentiles(lows: Array, highs: Array, n: int, confidence: float) -> tuple[float, float]:
    """Percentile interval of bounded values, widened as Student's t widens the normal."""
    tail = NormalDist().cdf(-math.sqrt(n / (n - 1)) * critical_value(confidence, n - 1))
    lower = float(np.quantile(lows, tail, method="lower"))
    return lower, float(np.quantile(highs, 1.0 - tail, method="higher"))


def _point(low: float, high: float) -> tuple[float | None, Relation]:
    """The ratio, and whether it is one or a bound, from the bounds of its logarithm."""
    if math.isinf(low) and math.isinf(high):
        return None, "="
    if math.isinf(high):
        return _exp(low), ">"
    return _exp(high), "<" if math.isinf(low) else "="


def _length_at(arms: _Arms, level: float) -> int | None:
    """The baseline's first length that reaches the level; None where it is outside its lengths."""
    fit = isotonic(arms.baseline.mean(axis=0))
    slack = ROUNDING * max(float(np.abs(fit).max()), abs(level))
    reached = np.flatnonzero(fit >= level - slack)
    return int(reached[0]) if reached.size and fit[0] <= level + slack else None


def _flat(arms: _Arms, index: int | None) -> str:
    """Why steps cannot be read off the baseline at a length; empty where they can.

    The gain is that from the longest length of at most half as many steps (of the shortest: to the next of twice).
    """
    if index is None or len(arms.seeds) < 2:
        return ""
    steps, here = arms.baseline_steps, arms.baseline_steps[index]
    if index == 0:
        left, right = 0, next((i for i, s in enumerate(steps) if s >= 2 * here), len(steps) - 1)
    else:
        left, right = max((i for i, s in enumerate(steps) if s <= here / 2), default=0), index
    gains = arms.baseline[:, right] - arms.baseline[:, left]
    gain, error = float(gains.mean()), float(gains.std(ddof=1)) / math.sqrt(len(gains))
    if gain > 0.0 and gain >= 2.0 * error:
        return ""
    span = f"from {steps[left]:,.0f} to {steps[right]:,.0f} steps"
    return f"{span} the baseline gains {arms.sign * gain:+.2g} +- {error:.2g}, less than two standard errors"


def _nothing(arms: _Arms, target: float | None, confidence: float, margin: float) -> SpeedUp:
    """A SpeedUp without a value: too few seeds until more is known."""
    return SpeedUp(
        value=None,
        relation="=",
        lower=None,
        upper=None,
        target=math.nan if target is None else target,
        baseline_steps=None,
        outcome="too few seeds",
        reason="no seed is in every length of both arms",
        n=len(arms.seeds),
        seeds=arms.seeds,
        left_out=arms.left_out,
        confidence=confidence,
        margin=margin,
    )


def _exp(log_ratio: float) -> float:
    """exp without the rounding dust of log and back, so that a bound of 2 reads 2."""
    return round(math.exp(log_ratio), 12)
