"""A range test in words: what to do first, then why."""

from __future__ import annotations

from collections.abc import Sequence

from .range_test import RangeTest, suggest
from .repeats import joint_verdict
from .suggestion import Suggestion


def summary(ramps: Sequence[RangeTest], rule: str | None = None) -> str:
    """Text for the screen; its first line is what to do, its second the line to paste.

    Where param groups differ, the next line says which of them the learning rates belong to.

    Args:
        ramps: one range test, or repeats of it over seeds.
        rule: suggestion rule; None: the default.
    Raises: ValueError: no ramp, or no rule of that name.
    Example: "max_lr 0.5 (0.3-0.9, 2 seeds), 400 steps, 38 s".
    """
    suggestion = suggest(ramps, rule)
    steps = sum(ramp.total_updates for ramp in ramps)
    seconds = sum(ramp.seconds for ramp in ramps)
    cost = f"{steps} steps" + (f", {_seconds(seconds)}" if seconds > 0.0 else "")
    lines = [f"{headline(suggestion)}, {cost}"]
    if suggestion.max_lr is not None:
        lines.append(paste_line(suggestion))
    lines += _of_groups(ramps[0])
    lines.append(f"why ({suggestion.rule}): {suggestion.reason}")
    if suggestion.max_lr is not None and len(ramps) == 1 and ramps[0].short and not ramps[0].forks:
        lines.append("rough: read off one ramp; forks=10 with evaluation batches judge rates by what they lead to")
    if suggestion.max_lr is not None and suggestion.rule != "best_fork" and any(ramp.forks for ramp in ramps):
        lines.append("rough: the forks tell nothing, and a weaker rule was read; try it before you rely on it")
    for ramp in ramps:
        if ramp.stop.remedy:
            lines.append(f"the ramp ended at LR {_last_lr(ramp)}: {ramp.stop.message}")
    lines.extend(str(joint_verdict(ramps)).splitlines())
    return "\n".join(lines)


def _of_groups(ramp: RangeTest) -> list[str]:
    """Which param group the learning rates belong to, where they differ, and the factors of all: a line or none."""
    rising = ramp.lr > 0.0
    if ramp.group_lrs is None or not rising.any():
        return []
    factors = [float(f"{factor:.3g}") for factor in ramp.group_lrs[rising][-1] / ramp.lr[rising][-1]]
    if len(set(factors)) < 2:
        return []
    whose = f"those of param group {factors.index(1.0)}" if 1.0 in factors else "the schedule's, of no param group"
    return [f"the learning rates are {whose}: group_scales=[{', '.join(f'{factor:g}' for factor in factors)}]"]


def headline(suggestion: Suggestion) -> str:
    """"max_lr 0.5 (0.3-0.9, 2 seeds)", of the seeds that it rests on; or "no suggestion"."""  # fmt: skip
    if suggestion.max_lr is None:
        return "no max_lr to suggest"
    seeds = f"{suggestion.n} seed{'s' if suggestion.n > 1 else ''}"
    interval = suggestion.interval
    span = f"{number(interval[0])}-{number(interval[1])}, {seeds}" if interval is not None else seeds
    return f"max_lr {number(suggestion.max_lr)} ({span})"


def paste_line(suggestion: Suggestion) -> str:
    """The line of code that uses the suggestion."""
    if suggestion.max_lr is None or suggestion.min_lr is None:
        raise ValueError(f"nothing to paste: {suggestion.reason}")
    low, high = number(suggestion.min_lr), number(suggestion.max_lr)
    return f"schedule = sc.one_cycle(total_steps, max_lr={high}, initial_lr={low})"


def number(value: float) -> str:
    """Two significant figures, more would be a claim: 0.5, 3, 0.00012, 12."""
    return f"{float(f'{value:.1e}'):g}"


def _last_lr(ramp: RangeTest) -> str:
    return number(float(ramp.lr[-1])) if len(ramp) and ramp.lr[-1] > 0 else "0"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10.0 else f"{seconds:.0f} s"
