"""Which range tests a budget pays for, and the learning rate that they point at."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, replace

from .course import lay_out
from .knowledge import Candidate, Knowledge, Plan, Probe, two_digits
from .ledger import Batch, Ledger

RAMP_STEPS = (20, 100)  # a ramp of 30 tells most of it on MNIST, of 100 on CIFAR-10; more changed no suggestion
ENOUGH = 30  # updates of a ramp that is followed by trainings
SHARE = 0.4  # of the budget, for a range test with everything in it
FORK_FRACTION = 0.3  # of the ramp: length of a branch
SEEDS = (2000, 2001)  # of range tests: not those that a comparison begins with


@dataclass(frozen=True)
class RampSize:
    """How large a range test is."""

    steps: int
    forks: int
    grid: bool

    def cost(self, plan: Plan) -> int:
        """The most updates it can take: scout, ramp, branches and grid."""
        branches = self.forks * fork_steps(self.steps)
        return plan.scout_steps + self.steps + branches + (plan.grid_trainings * self.steps if self.grid else 0)


SMALLEST = RampSize(RAMP_STEPS[0], 6, False)


def fork_steps(ramp_steps: int) -> int:
    """Length of a branch."""
    return max(2, round(FORK_FRACTION * ramp_steps))


def smallest_budget(plan: Plan) -> int:
    """Updates without which not one range test can be made."""
    return plan.spent + SMALLEST.cost(plan)


def budget_for_verdict(plan: Plan) -> int:
    """Updates from which on the range test holds the grid of constant learning rates that a verdict needs."""
    return plan.spent + math.ceil(RampSize(ENOUGH, 10, True).cost(plan) / SHARE)


def ramp_size(plan: Plan) -> RampSize | None:
    """The longest range test with ten branches and a grid that takes at most `SHARE` of the budget.

    Where that is none, one without the grid (then there is no verdict) that takes half, shorter where only that leaves
    enough for a course; else one that takes all, since what it left would not pay for trainings; else the smallest.
    None where the budget does not hold even that.
    """
    budget = plan.budget - plan.spent
    shortest, longest = RAMP_STEPS
    for forks, grid, share, least in ((10, True, SHARE, ENOUGH), (8, False, 0.5, ENOUGH), (8, False, 1.0, shortest)):
        sizes = [RampSize(steps, forks, grid) for steps in range(longest, least - 1, -5)]
        fitting = [size for size in sizes if size.cost(plan) <= share * budget]
        leaving = [size for size in fitting if lay_out(plan, budget - size.cost(plan)) is not None]
        if fitting:
            return (leaving or fitting)[0]
    return SMALLEST if SMALLEST.cost(plan) <= budget else None


def range_tests(ledger: Ledger) -> Generator[Batch, Knowledge, Candidate | None]:
    """Range tests at the base settings: a second seed where two take less than `SHARE` of the budget.

    Returns: `centre` of them; None where the budget did not hold one range test.
    """
    plan = ledger.plan
    size = ramp_size(plan)
    if size is None:
        return None
    cost = size.cost(plan)
    seeds = SEEDS if 2 * cost <= SHARE * (plan.budget - plan.spent) else SEEDS[:1]
    why = "where learning rates become too large, and what annealing from each is worth"
    probes = [
        Probe("range test", plan.base, size.steps, seed, cost, size.forks, size.grid, "range test", why)
        for seed in seeds
    ]
    return centre((yield from ledger.ask(probes)), plan)


def centre(knowledge: Knowledge, plan: Plan) -> Candidate:
    """The base with the geometric mean of the learning rates that range tests suggest; as it is without any."""
    lrs = [o.lr for probe, o in knowledge.items() if probe.kind == "range test"]
    found = sorted(math.log(lr) for lr in lrs if lr is not None)
    return replace(plan.base, max_lr=two_digits(math.exp(sum(found) / len(found)))) if found else plan.base
