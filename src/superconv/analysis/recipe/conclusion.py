"""What follows from all probes: the settings, how they were confirmed, which picks lie at an edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .balance import STEP_DOWN, finalists, mean_score
from .course import FIRST_SEED
from .knowledge import Candidate, Knowledge, Outcome, Plan
from .ramps import centre

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

    Finalists on fresh seeds: by their mean, one that diverged behind those that did not, the more usual where they
    tie; where all diverged, half the learning rate of one. Without fresh seeds: the first finalist. Without any
    training: the base with the range test's learning rate.
    """
    fresh: dict[Candidate, list[Outcome]] = {}
    for probe, outcome in knowledge.items():
        if probe.kind == "training" and probe.seed > FIRST_SEED:
            fresh.setdefault(probe.candidate, []).append(outcome)
    most = max(map(len, fresh.values()), default=0)
    ready = {c: outcomes for c, outcomes in fresh.items() if len(outcomes) == most}
    first = finalists(knowledge, plan)
    if ready and all(any(outcome.diverged for outcome in outcomes) for outcomes in ready.values()):
        chosen, most = _confirmed(ready, first[0], plan).along_ridge(STEP_DOWN), 0
        reason = "every finalist diverged on a fresh seed: this is half of one's max_lr, untested for want of budget"
    elif ready:
        chosen, reason = _confirmed(ready, first[0], plan), f"best mean of the finalists on fresh seeds (n={most})"
    elif first:
        chosen, reason = first[0], "best of the longest trial trainings, one seed: the budget held no confirmation"
    else:
        chosen, reason = centre(knowledge, plan), "from the range test alone: the budget held no trainings"
    updates = plan.spent + sum(outcome.updates for outcome in knowledge.values())
    return Conclusion(chosen, most, reason, edges(chosen, knowledge), _untried(knowledge), updates)


def _confirmed(ready: dict[Candidate, list[Outcome]], favourite: Candidate, plan: Plan) -> Candidate:
    """The best mean; the favourite where it ties with that."""

    def key(candidate: Candidate) -> tuple[bool, tuple[bool, float]]:
        outcomes = ready[candidate]
        return not any(outcome.diverged for outcome in outcomes), plan.rank(mean_score(outcomes))

    best = max(ready, key=key)
    level = favourite in ready and key(favourite)[0] == key(best)[0]
    return favourite if level and plan.ties(mean_score(ready[favourite]), mean_score(ready[best])) else best


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
