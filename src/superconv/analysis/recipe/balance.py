"""The strategy "balance": factors one after the other by annealed trainings, weight decay and LR along their ridge."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import replace
from statistics import fmean

from .course import FIRST_SEED, Course, lay_out
from .knowledge import MIN_STEPS, Candidate, Knowledge, Outcome, Plan, Probe, two_digits
from .ledger import Batch, Ledger, Search
from .ramps import centre, range_tests

STEP = 10**0.5  # to a neighbouring learning rate or weight decay
FURTHER = 2  # steps beyond the neighbours while that helps
STEP_DOWN = 0.5  # of the learning rate, where everything that could be picked diverged
STEPS_DOWN = 3  # at most, while the lowered one diverges too
CONFIRMATION = "confirmation"

Choice = Generator[Batch, Knowledge, Candidate]
Known = Generator[Batch, Knowledge, None]


def balance(plan: Plan) -> Search:
    """Range test, then a course of factors, then the two best on fresh seeds.

    Every factor's values are trained, annealed, at a short length; the better half, and what was best so far, at
    a long one, where the choice is made. Un-annealed ramps would prefer the least regularisation always. Weight decay
    is tried at the range test's learning rate; then the learning rate moves with their product held, since that
    product sets the balance (arXiv 1803.09820, Sec. 4.4: larger rates need less decay); then the product. Where one
    weight decay was given it is held instead, and the learning rate moves alone.

    What is within a standard error of the best counts as equal (`Plan.ties`), and among equals what was there before
    stays: short trainings tell small differences badly, and each one followed would lead away from usual settings.
    """
    ledger = Ledger(plan)
    best = yield from range_tests(ledger)
    course = None if best is None else lay_out(plan, ledger.left)
    if best is None or course is None:
        return
    ledger.reserve = course.reserve
    for factor in course.factors:
        best = yield from _decide(ledger, course, factor, best)
    ledger.reserve = 0
    yield from _confirm(ledger, course)


def _decide(ledger: Ledger, course: Course, factor: str, best: Candidate) -> Choice:
    plan = ledger.plan
    if factor == "learning rate":
        held = "its product with weight decay" if plan.searches_decay else "weight decay"
        return (yield from _climb(ledger, course, factor, best, f"the learning rate, {held} held"))
    if factor == "balance":
        return (yield from _climb(ledger, course, factor, best, "weight decay at this learning rate"))
    sizes = [b for b in plan.batch_sizes if course.short * plan.base.batch_size / b >= MIN_STEPS]
    values: dict[str, tuple[Sequence[Candidate], str]] = {
        "weight decay": (
            [replace(best, weight_decay=value) for value in _nearest_first(plan)],
            "the weight decay that balances a learning rate this large",
        ),
        "momentum": ([replace(best, momentum=value) for value in plan.momenta], "whether cycling momentum helps"),
        "batch size": (
            [best.with_batch_size(value) for value in sizes],
            "batch size at equal samples, learning rate in proportion",
        ),
        "dropout": ([replace(best, dropout=value) for value in plan.dropouts], "how much dropout is left to add"),
    }
    candidates, why = values[factor]
    return (yield from _halve(ledger, course, factor, [best, *candidates], why))


def _nearest_first(plan: Plan) -> list[float]:
    """Weight decays by their distance to the base's: where not all fit, those far away are left out."""
    base = plan.base.weight_decay

    def distance(value: float) -> float:
        return abs(math.log10((value or 1e-7) / (base or 1e-7)))

    return sorted(plan.weight_decays, key=distance)


def _moved(plan: Plan, candidate: Candidate, factor: str, by: float) -> Candidate:
    if factor == "learning rate":
        return plan.moved(candidate, by)
    return replace(candidate, weight_decay=two_digits((candidate.weight_decay or 0.0) * by))


def _climb(ledger: Ledger, course: Course, factor: str, best: Candidate, why: str) -> Choice:
    """A neighbour on either side; then on in the direction that helped, while it helps."""
    sides = {_moved(ledger.plan, best, factor, by): by for by in (STEP, 1 / STEP)}
    chosen = yield from _halve(ledger, course, factor, [best, *sides], why)
    by = sides.get(chosen)
    for _ in range(FURTHER if by is not None else 0):
        assert by is not None
        further = _moved(ledger.plan, chosen, factor, by)
        after = yield from _halve(ledger, course, factor, [chosen, further], why + ", further")
        if after != further:
            break
        chosen = further
    return chosen


def _halve(ledger: Ledger, course: Course, factor: str, candidates: Sequence[Candidate], why: str) -> Choice:
    """Successive halving over the two lengths; the first candidate is the incumbent, which a tie leaves in place."""
    candidates = list(dict.fromkeys(candidates))
    incumbent = candidates[0]
    first = yield from ledger.ask([course.at(c, course.short, factor, why) for c in candidates])
    order, tied = _ranked(first, ledger.plan)
    better = order[: math.ceil(len(candidates) / 2)]
    diverged = {probe.candidate for probe, outcome in first.items() if outcome.diverged}
    kept = [c for c in better if c not in diverged] or better  # all of them did: the longer warm-up may help
    known = course.at(incumbent, course.long, factor, why) in ledger.known
    if incumbent not in kept and (known or incumbent in tied):
        kept.append(incumbent)
    second = yield from ledger.ask([course.at(c, course.long, factor, why) for c in kept])
    best = longest({**first, **second}, ledger.plan)
    order, tied = _ranked(best, ledger.plan)
    stays = incumbent in tied or any(outcome.diverged for outcome in best.values())
    return incumbent if stays or not order else order[0]


def _ranked(outcomes: Knowledge, plan: Plan) -> tuple[list[Candidate], list[Candidate]]:
    """Candidates from the best down, those that diverged last, and those of them that tie with the best."""
    found = {probe.candidate: outcome for probe, outcome in outcomes.items()}
    order = sorted(found, key=lambda c: plan.order(found[c]), reverse=True)  # stable: equal ones as they were asked
    level = [c for c in order if found[c].diverged == found[order[0]].diverged]
    return order, [c for c in level if plan.ties(found[c].score, found[order[0]].score)]


def longest(trained: Knowledge, plan: Plan) -> Knowledge:
    """Every candidate's longest training; of those that did not diverge the longest, of all where every one did."""
    own: dict[Candidate, Probe] = {}
    for probe in trained:
        if (other := own.get(probe.candidate)) is None or _length(probe, plan) > _length(other, plan):
            own.pop(probe.candidate, None)  # in the order of the trainings that count
            own[probe.candidate] = probe
    sound = [probe for probe in own.values() if not trained[probe].diverged] or list(own.values())
    length = max((_length(probe, plan) for probe in sound), default=0.0)
    return {probe: trained[probe] for probe in sound if _length(probe, plan) >= 0.9 * length}


def finalists(known: Knowledge, plan: Plan) -> list[Candidate]:
    """Of the longest trainings with the first seed: the most usual of those that tie for the best, the best other one.

    Usual is what is near the base with the range test's learning rate. None where every training diverged.
    """
    best = longest(_first_trials(known), plan)
    if any(outcome.diverged for outcome in best.values()):
        return []
    order, tied = _ranked(best, plan)
    first = min(tied, key=centre(known, plan).distance, default=None)
    return [] if first is None else [first, *(c for c in order if c != first)][:2]


def stepped_down(known: Knowledge, plan: Plan) -> Candidate | None:
    """Half the smallest learning rate of what diverged, and half of that while it diverged too.

    None where something is left to pick, a finalist that did not diverge on a fresh seed, and where nothing was
    trained. Without a finalist every training diverged.
    """
    failed = [probe for probe, outcome in known.items() if outcome.diverged]
    diverged = dict.fromkeys(probe.candidate for probe in failed)  # in the order of the trials, for those that tie
    best = finalists(known, plan)
    if not {probe.candidate for probe in failed if probe.seed > FIRST_SEED}.issuperset(best):
        return None
    found = best or sorted(diverged, key=centre(known, plan).distance)
    lower = min(found, key=lambda c: c.max_lr / c.batch_size, default=None)
    while lower in diverged:
        lower = plan.moved(lower, STEP_DOWN)
    return lower


def _first_trials(known: Knowledge) -> Knowledge:
    return {p: o for p, o in known.items() if p.kind == "training" and p.seed == FIRST_SEED}


def _length(probe: Probe, plan: Plan) -> float:
    return probe.steps * probe.candidate.batch_size / plan.base.batch_size


def _confirm(ledger: Ledger, course: Course) -> Known:
    """Fresh seeds for the two best: the best of many trials is partly luck. All diverged somewhere: half the rate."""
    plan = ledger.plan
    best = finalists(ledger.known, plan)
    seeds = range(FIRST_SEED + 1, FIRST_SEED + 1 + course.fresh_seeds)
    for seed in seeds:
        why = "the two best on a fresh seed"
        yield from ledger.ask([course.at(c, course.long, CONFIRMATION, why, seed) for c in best], whole=True)
    for _ in range(STEPS_DOWN):
        lower = stepped_down(ledger.known, plan)
        if lower is None:
            return
        why = "a smaller learning rate, since all that could be picked diverged"
        outcomes = yield from ledger.ask([course.at(lower, course.long, CONFIRMATION, why, seed) for seed in seeds])
        if not any(outcome.diverged for outcome in outcomes.values()):
            return


def mean_score(outcomes: Sequence[Outcome]) -> float | None:
    """Mean over seeds; None where one of them is not known."""
    scores = [outcome.score for outcome in outcomes]
    return fmean(s for s in scores if s is not None) if scores and None not in scores else None
