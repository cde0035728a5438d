"""What follows from all probes: the settings, how they were confirmed, which picks lie at an edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .balance import finalists, mean_score, stepped_down
from .course import FIRST_SEED
from .knowledge import Candidate, Knowledge, Outcome, Plan
from .ramps import centre

REMEDY = "Where it diverges too, clip gradients (clip_grad_norm), lower the learning rate further, or check the data"
SEARCHED = ("weight_decay", "max_lr", "momentum", "batch_size", "dropout")
_LABELS = {"weight_decay": "weight decay", "max_lr": "max_lr", "batch_size": "batch size", "dropout": "dropout"}


@dataclass(frozen=True)
class Conclusion:
    """The pick of a search.

    Args:
        candidate: the settings.
        confirmed: fresh seeds behind them; 0: the best of trials with one seed, or the range test's alone.
        reason: how they were chosen, in a sentence.
        edges: sentences about picks that are the smallest or largest value tried.
        untried: settings of which one value alone was tried.
        updates: spent.
    """

    candidate: Candidate
    confirmed: int
    reason: str
    edges: tuple[str, ...]
    untried: tuple[str, ...]
    updates: int


def conclude(knowledge: Knowledge, plan: Plan) -> Conclusion:
    """From what is known, also where the search was cut short.

    Finalists on fresh seeds: by their mean, the more usual where they tie. Without fresh seeds: the first finalist.
    Settings whose own training diverged are never picked while others did not; where all diverged, half the smallest
    of their learning rates, or half of that while it diverged too. Without any training: the base with the range
    test's learning rate.
    """
    fresh: dict[Candidate, list[Outcome]] = {}
    for probe, outcome in knowledge.items():
        if probe.kind == "training" and probe.seed > FIRST_SEED:
            fresh.setdefault(probe.candidate, []).append(outcome)
    sound = {c: outcomes for c, outcomes in fresh.items() if not any(outcome.diverged for outcome in outcomes)}
    most = max(map(len, sound.values()), default=0)
    ready = {c: outcomes for c, outcomes in sound.items() if len(outcomes) == most}
    first = finalists(knowledge, plan)
    lower = stepped_down(knowledge, plan)
    if lower is not None:
        chosen, most = lower, len(fresh.get(lower, ()))
        reason = "every finalist diverged on a fresh seed" if first else "every trial training diverged"
        reason += f": max_lr {lower.max_lr:g} is stepped down from the smallest of theirs, "
        reason += f"on fresh seeds (n={most})" if most else f"untested. {REMEDY}"
    elif ready:
        chosen, reason = _confirmed(ready, first[0], plan), f"best mean of the finalists on fresh seeds (n={most})"
    elif left := [c for c in first if c not in fresh]:  # one finalist diverged, time was up before the other's turn
        chosen, reason = left[0], "best of the longest trial trainings, one seed, not confirmed on others"
    else:
        chosen, reason = centre(knowledge, plan), "from the range test alone: the budget held no trainings"
    updates = plan.spent + sum(outcome.updates for outcome in knowledge.values())
    return Conclusion(chosen, most, reason, edges(chosen, knowledge), _untried(knowledge), updates)


def _confirmed(ready: dict[Candidate, list[Outcome]], favourite: Candidate, plan: Plan) -> Candidate:
    """The best mean; the favourite where it ties with that."""
    means = {candidate: mean_score(outcomes) for candidate, outcomes in ready.items()}
    best = max(means, key=lambda candidate: plan.rank(means[candidate]))
    return favourite if favourite in means and plan.ties(means[favourite], means[best]) else best


def _tried(knowledge: Knowledge, setting: str) -> set[Any]:
    return {getattr(p.candidate, setting) for p in knowledge if p.kind == "training"} - {None}


def edges(chosen: Candidate, knowledge: Knowledge) -> tuple[str, ...]:
    """A sentence for every number picked that is the smallest or largest tried; nothing lies below a zero."""
    found = []
    for setting, label in _LABELS.items():
        value, tried = getattr(chosen, setting), _tried(knowledge, setting)
        if value is None or len(tried) < 2 or (value == 0 and value == min(tried)):
            continue
        if value in (min(tried), max(tried)):
            side = "smallest" if value == min(tried) else "largest"
            found.append(f"{label} {value:g} is the {side} that was tried: better ones may lie beyond")
    return tuple(found)


def _untried(knowledge: Knowledge) -> tuple[str, ...]:
    return tuple(name.replace("_", " ") for name in SEARCHED if len(_tried(knowledge, name)) < 2)
