"""From a range test to max_lr: the rules by name, the default choice, and the interval over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..near_names import near
from . import fork_rules, loss_rules, metric_rules
from .fork_rules import Fork
from .found import Found
from .student_t import half_width

ONE_CYCLE_RATIO = 10.0  # max_lr / min_lr where one cycle is run: arXiv 1803.09820, Sec. 4.1
CLR_RATIO = 3.0  # where triangular cycles are repeated: arXiv 1708.07120v1, Sec. 3


class Ramp(Protocol):
    """What the rules read of a range test (`range_test.RangeTest` has all of it)."""

    @property
    def lr(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def train_loss(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def metric(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def forks(self) -> tuple[Fork, ...]: ...  # noqa: D102
    @property
    def metric_name(self) -> str: ...  # noqa: D102
    @property
    def higher_is_better(self) -> bool: ...  # noqa: D102
    @property
    def chance(self) -> float | None: ...  # noqa: D102
    @property
    def eval_samples(self) -> int | None: ...  # noqa: D102
    @property
    def short(self) -> bool: ...  # noqa: D102
    @property
    def diverged(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Suggestion:
    """What to use as max_lr, read off one or several range tests by one rule.

    Args:
        rule: the rule's name.
        lr: where the rule points, or None.
        min_lr: lower bound by convention, max_lr / 10 (one cycle): never read off the curve's onset, which moves
            with the ramp's length. For repeated triangular cycles use `clr_min_lr`.
        max_lr: the upper bound to use; equal to `lr`.
        interval: (low, high) for max_lr. n = 1: what the rule leaves open on the one curve (see the rule). n = 2: the
            two values. n >= 3: 95% Student t interval of the mean log LR over seeds. From n = 2 on at least half a row
            of the ramp each way.
        reason: what was seen, or why there is no suggestion and what to do.
        n: range tests behind it.
        seeds: their seeds, where known.
        at_edge: True where `lr` is the largest that was tried.
    """

    rule: str
    lr: float | None
    min_lr: float | None
    max_lr: float | None
    interval: tuple[float, float] | None
    reason: str
    n: int = 1
    seeds: tuple[int, ...] = ()
    at_edge: bool = False

    def __bool__(self) -> bool:
        return self.lr is not None

    @property
    def clr_min_lr(self) -> float | None:
        """Lower bound for repeated triangular cycles: max_lr / 3 (arXiv 1708.07120v1, Sec. 3)."""
        return None if self.max_lr is None else self.max_lr / CLR_RATIO


def _by_forks(ramp: Ramp) -> Found:
    return fork_rules.best_fork(
        ramp.forks, higher_is_better=ramp.higher_is_better, eval_samples=ramp.eval_samples,
        binomial=ramp.metric_name == "accuracy", chance=ramp.chance, diverged=ramp.diverged,
    )  # fmt: skip


def _by_edge(ramp: Ramp) -> Found:
    return metric_rules.plateau_edge(
        ramp.lr, ramp.metric, chance=ramp.chance, higher_is_better=ramp.higher_is_better, short=ramp.short,
        diverged=ramp.diverged,
    )  # fmt: skip


def _by_peak(ramp: Ramp) -> Found:
    return metric_rules.accuracy_peak(
        ramp.lr, ramp.metric, chance=ramp.chance, higher_is_better=ramp.higher_is_better, diverged=ramp.diverged
    )


RULES: dict[str, Callable[[Ramp], Found]] = {
    "best_fork": _by_forks,
    "plateau_edge": _by_edge,
    "accuracy_peak": _by_peak,
    "steepest": lambda ramp: loss_rules.steepest(ramp.lr, ramp.train_loss, diverged=ramp.diverged),
    "blow_up": lambda ramp: loss_rules.blow_up(ramp.lr, ramp.train_loss, diverged=ramp.diverged),
    "minimum": lambda ramp: loss_rules.minimum(ramp.lr, ramp.train_loss, diverged=ramp.diverged),
}


LOSS_RULE = "blow_up"
BY_TRUST = ("best_fork", "plateau_edge", LOSS_RULE)  # the rules that are used where none is asked for


def default_rule(ramp: Ramp) -> str:
    """The most trustworthy rule that the measurement allows: forks, else the metric, else the losses (`BY_TRUST`).

    Of the losses "blow_up": as max_lr of 1cycle on fifty small tasks it cost 11.5% of the height above chance on
    average, "steepest", which points at an LR to begin with, 53% (results/suggestions).
    """
    if ramp.forks:
        return "best_fork"
    if np.isfinite(ramp.metric).any():
        return "plateau_edge"
    return "blow_up"


def suggest_one(ramp: Ramp, rule: str) -> Suggestion:
    """Apply one rule to one range test.

    Raises: ValueError: no rule of that name.
    """
    if rule not in RULES:
        raise ValueError(f"no suggestion rule {rule!r}; {near(rule, RULES)}, or None for the default")
    found = RULES[rule](ramp)
    return _suggestion(rule, found.lr, found.interval, found.reason, at_edge=found.at_edge)


def suggest_all(ramps: Sequence[Ramp], rule: str | None = None, seeds: Sequence[int] = ()) -> Suggestion:
    """One suggestion from repeats of a range test, all read by the same rule.

    Args:
        ramps: at least one.
        rule: None: the default rule of the repeat that allows the least; where it says nothing, the next one of
            `BY_TRUST` that does, and the reason names what the first one missed; where the forks' accuracy is no
            guesser's better, the ramp's is not read either, and the training loss alone answers. A rule that is asked
            for by name is the only one.
        seeds: of the repeats, where known.
    Raises: ValueError: no ramp, or no rule of that name.
    """
    rules = (rule,) if rule is not None else BY_TRUST[max(BY_TRUST.index(default_rule(ramp)) for ramp in ramps) :]
    first = _read_by(rules[0], ramps, seeds)
    blind = rule is None and first.lr is None and sum(RULES[first.rule](ramp).blind for ramp in ramps) * 2 >= len(ramps)
    for name in (LOSS_RULE,) if blind else rules[1:] if first.lr is None else ():
        other = _read_by(name, ramps, seeds)
        if other.lr is not None:
            return replace(other, reason=f"{other.reason}; {first.rule} gives none: {first.reason}")
    return first


def _read_by(rule: str, ramps: Sequence[Ramp], seeds: Sequence[int]) -> Suggestion:
    """By one rule, with an interval of half a row each way at least: repeats may agree on a row by chance."""
    each = [suggest_one(ramp, rule) for ramp in ramps]
    combined = combine(each, seeds)
    if combined.n == 1 or combined.lr is None or combined.interval is None:
        return combined
    half = max(_half_a_row(ramp.lr, one.lr) for ramp, one in zip(ramps, each, strict=True) if one.lr is not None)
    low, high = combined.interval
    return replace(combined, interval=(min(low, combined.lr / math.exp(half)), max(high, combined.lr * math.exp(half))))


def _half_a_row(lrs: NDArray[np.float64], lr: float) -> float:
    """Half the distance, in log LR, from the row nearest to `lr` to its further neighbour; 0 for a lone row."""
    rows = np.unique(np.log(lrs[lrs > 0.0]))
    nearest = int(np.argmin(np.abs(rows - math.log(lr))))
    return 0.5 * float(np.max(np.diff(rows[max(nearest - 1, 0) : nearest + 2]), initial=0.0))


def combine(suggestions: Sequence[Suggestion], seeds: Sequence[int] = ()) -> Suggestion:
    """One suggestion from repeats of one range test over seeds: geometric mean, interval on log LR.

    Repeats without a suggestion are named in the reason; when they are half or more, there is none.

    Args:
        suggestions: of one rule, one a repeat.
        seeds: their seeds, in order, where known.
    Returns: Suggestion with n = how many repeats pointed somewhere.
    Raises: ValueError: no suggestion given, or several rules mixed.
    """
    if not suggestions:
        raise ValueError("nothing to combine: give at least one range test")
    rules = {s.rule for s in suggestions}
    if len(rules) > 1:
        raise ValueError(f"suggestions of several rules cannot be combined, got {', '.join(sorted(rules))}: pass rule=")
    if len(suggestions) == 1:
        only = suggestions[0]
        return _suggestion(only.rule, only.lr, only.interval, only.reason, 1, tuple(seeds), only.at_edge)
    found = [s for s in suggestions if s.lr is not None]
    silent = [s.reason for s in suggestions if s.lr is None]
    rule = suggestions[0].rule
    if 2 * len(silent) >= len(suggestions):
        text = f"{len(silent)} of {len(suggestions)} range tests give no suggestion: {silent[0]}"
        return _suggestion(rule, None, None, text, len(found), tuple(seeds))
    logs = np.log([s.lr for s in found if s.lr is not None])
    lr = float(np.exp(logs.mean()))
    text = f"geometric mean of {len(found)} range tests, {np.exp(logs.min()):.3g} to {np.exp(logs.max()):.3g}"
    if silent:
        text += f"; {len(silent)} more gave none ({silent[0]})"
    text += f"; first of them: {found[0].reason}"
    edge = all(s.at_edge for s in found)
    return _suggestion(rule, lr, _interval(logs, found[0].interval), text, len(found), tuple(seeds), edge)


def _interval(logs: NDArray[np.float64], single: tuple[float, float] | None) -> tuple[float, float] | None:
    n = len(logs)
    if n == 1:
        return single
    if n == 2:
        return float(np.exp(logs.min())), float(np.exp(logs.max()))
    half = half_width(logs.tolist())
    return float(np.exp(logs.mean() - half)), float(np.exp(logs.mean() + half))


def _suggestion(
    rule: str, lr: float | None, interval: tuple[float, float] | None, reason: str, n: int = 1,
    seeds: tuple[int, ...] = (), at_edge: bool = False,
) -> Suggestion:  # fmt: skip
    min_lr = None if lr is None else lr / ONE_CYCLE_RATIO
    return Suggestion(rule, lr, min_lr, lr, interval, reason, n, seeds, at_edge)
