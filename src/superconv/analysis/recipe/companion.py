"""The strategy "companion": the procedure that the author of super-convergence recommends, for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .course import FIRST_SEED
from .knowledge import MIN_STEPS, Candidate, Plan, two_digits
from .ledger import Ledger, Search
from .ramps import range_tests

MOMENTA = ((0.95, 0.85), (0.9, 0.85), (0.97, 0.85), (0.99, 0.85))  # where the caller names none
REFINED = (3.0, 0.3)  # the neighbours half a decade away, to one significant figure


def companion(plan: Plan) -> Search:
    """Maximum LR by a range test; momentum by short tests; weight decay by a coarse grid, then refined.

    The plan's momenta and weight decays are what is tried; one weight decay alone is not refined.

    One seed, one length (what the budget pays for, at most the planned steps), each choice by the best score; the
    learning rate is not moved again, nothing is confirmed.

    Reference: arXiv 1803.09820v2, Sec. 5: momenta .99, .97, .95 and .9, a low one of .85; weight decays 1e-3, 1e-4,
        1e-5 and 0, to one significant figure; the minimum learning rate a tenth of the maximum.
    Differs: its short tests are annealed here (1cycle), there they are judged by the loss early in a training; "the
        largest batch that fits" is the plan's batch size, which is for the caller to give; the grid of weight decays
        is the plan's.
    """
    ledger = Ledger(plan)
    best = yield from range_tests(ledger)
    if best is None:
        return
    decays = plan.weight_decays if plan.base.weight_decay is not None else ()
    momenta = plan.momenta if plan.base.momentum is not None else ()
    factors = REFINED if plan.searches_decay and any(decays) else ()
    new_decays = len(set(decays) - {plan.base.weight_decay}) + len(factors)
    trainings = max(1, len(momenta)) + new_decays
    steps = min(plan.steps, ledger.left // trainings)
    if steps < MIN_STEPS:
        return

    def choose(factor: str, values: Sequence[Candidate], why: str) -> Search:
        nonlocal best
        probes = [plan.training(c, steps, FIRST_SEED, factor, why) for c in dict.fromkeys(values)]
        outcomes = yield from ledger.ask(probes)
        first = max(outcomes, key=lambda probe: plan.order(outcomes[probe]), default=None)
        if first is not None and not outcomes[first].diverged:
            best = first.candidate

    yield from choose("momentum", [replace(best, momentum=m) for m in momenta], "the highest momentum that still helps")
    yield from choose("weight decay", [replace(best, weight_decay=d) for d in decays], "the magnitude of weight decay")
    if best.weight_decay and factors:
        refined = [replace(best, weight_decay=two_digits(best.weight_decay * by)) for by in factors]
        yield from choose("weight decay", [best, *refined], "weight decay to one significant figure")
