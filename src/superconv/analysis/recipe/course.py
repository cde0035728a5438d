"""The course of a balanced search: which factors a budget pays for, and at which two lengths they are tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .knowledge import MIN_STEPS, Candidate, Plan, Probe

FIRST_SEED = 1000  # of trials: far from the seeds of trainings that are compared later
ORDER = ("weight decay", "learning rate", "momentum", "balance", "batch size", "dropout")
RATIO = 2  # of the two lengths
WANTED = (MIN_STEPS, 60)  # short length below which no further factor is begun: a fiftieth of the planned steps


@dataclass(frozen=True)
class Course:
    """Factors in their order, and the two lengths, in updates of the planned batch size.

    Args:
        reserve: updates kept back for the confirmation.
        fresh_seeds: of the confirmation.
    """

    plan: Plan
    factors: tuple[str, ...]
    short: int
    long: int
    fresh_seeds: int

    @property
    def reserve(self) -> int:
        """Updates kept back for the confirmation of two finalists."""
        return math.ceil(2 * self.fresh_seeds * self.long * _dearest(self.plan, self.factors))

    def at(self, candidate: Candidate, steps: int, factor: str, why: str, seed: int = FIRST_SEED) -> Probe:
        """A candidate's training at one of the lengths."""
        return self.plan.training(candidate, steps, seed, factor, why)


def lay_out(plan: Plan, left: int) -> Course | None:
    """As many factors, in `ORDER`, as `left` updates pay for at lengths that tell something.

    The first that can be searched is taken where its short trainings have `MIN_STEPS` updates; each further one where
    they keep a fiftieth of the planned steps (held within `WANTED`). What is then left makes them longer, up to
    half the planned steps and the planned steps. None where not one factor can be searched.
    """
    wanted = min(max(plan.steps // 50, WANTED[0]), WANTED[1])
    found: Course | None = None
    factors: list[str] = []
    possible = [(factor, values) for factor in ORDER if (values := _values(plan, factor)) > 1]
    for factor, _ in possible:
        factors.append(factor)
        for fresh in (plan.fresh_seeds, 1, 0)[: 2 if found else 3]:  # a second factor is not worth the confirmation
            short = min(left // _units(plan, factors, fresh), max(MIN_STEPS, plan.steps // RATIO))
            if short >= (wanted if found is not None else MIN_STEPS):
                found = Course(plan, tuple(factors), short, max(short, min(RATIO * short, plan.steps)), fresh)
                break
        else:
            break
    return found


def _values(plan: Plan, factor: str) -> int:
    """How many values a factor has; 1: nothing to search."""
    if factor in ("learning rate", "balance"):
        return 3 if factor == "learning rate" or (plan.base.weight_decay and plan.searches_decay) else 1
    base = plan.base
    tried: dict[str, set[Any]] = {
        "weight decay": {base.weight_decay, *plan.weight_decays} if base.weight_decay is not None else set(),
        "momentum": {base.momentum, *plan.momenta} if base.momentum is not None else set(),
        "batch size": {base.batch_size, *plan.batch_sizes},
        "dropout": {base.dropout, *plan.dropouts} if base.dropout is not None else set(),
    }
    return len(tried[factor])


def _dearest(plan: Plan, factors: Sequence[str]) -> float:
    """Updates of the costliest candidate over those of the base: a small batch needs more for the same samples."""
    small = min(plan.batch_sizes, default=plan.base.batch_size) if "batch size" in factors else plan.base.batch_size
    return max(1.0, plan.base.batch_size / small)


def _units(plan: Plan, factors: Sequence[str], fresh_seeds: int) -> int:
    """The cost of the course in trainings of the short length: every value short, the better half long."""
    total = 2 * fresh_seeds * RATIO * _dearest(plan, factors)
    for place, factor in enumerate(factors):
        count, known = _values(plan, factor), int(place > 0)  # the incumbent is known, but for the first
        units = count - known + RATIO * max(1, math.ceil(count / 2) + (-1 if known else 1))
        total += units * (_dearest(plan, factors) if factor in ("batch size", "dropout") else 1)
    return math.ceil(total)
