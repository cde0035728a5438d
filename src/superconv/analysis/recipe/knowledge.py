"""What a search for a recipe may try, what it has tried, and what came of it: plain frozen values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ..binomial import standard_error

MIN_STEPS = 24  # of an annealed training: below 21 updates a 1cycle has phases of less than a step


def two_digits(value: float) -> float:
    """Rounded to two significant digits: more would claim what no short training can tell."""
    return float(f"{value:.2g}")


@dataclass(frozen=True)
class Candidate:
    """Settings of a 1cycle training.

    Args:
        max_lr: peak of the learning rate.
        weight_decay: as the optimizer takes it; None where it takes none.
        momentum: (at both ends of the cycle, at its peak), equal where it is constant; None: the optimizer has none.
        batch_size: samples per update.
        dropout: of the model; None where it takes none.
    """

    max_lr: float
    weight_decay: float | None = 1e-4
    momentum: tuple[float, float] | None = (0.95, 0.85)
    batch_size: int = 128
    dropout: float | None = None

    def along_ridge(self, factor: float) -> Candidate:
        """Another learning rate with the same product of learning rate and weight decay, which sets their balance."""
        decay = None if self.weight_decay is None else two_digits(self.weight_decay / factor)
        return replace(self, max_lr=two_digits(self.max_lr * factor), weight_decay=decay)

    def distance(self, other: Candidate) -> float:
        """How unlike two candidates are: decades of weight decay and of learning rate a sample, and other settings."""
        decay = abs(math.log10((self.weight_decay or 1e-8) / (other.weight_decay or 1e-8)))
        rate = abs(math.log10(self.max_lr / self.batch_size / (other.max_lr / other.batch_size)))
        batch = abs(math.log2(self.batch_size / other.batch_size))
        return decay + rate + batch + (self.momentum != other.momentum) + (self.dropout != other.dropout)

    def with_batch_size(self, batch_size: int) -> Candidate:
        """Another batch size, with the learning rate in proportion (arXiv 1706.02677, Sec. 2.1).

        Then 1 / (lr wd), counted in epochs, stays the same too.
        """
        return replace(self, batch_size=batch_size, max_lr=two_digits(self.max_lr * batch_size / self.batch_size))


@dataclass(frozen=True)
class Probe:
    """One thing to try.

    Args:
        kind: "range test" (of `candidate`'s settings, its max_lr aside) or "training" (annealed, 1cycle).
        steps: updates of the training, or of the ramp.
        forks: annealed branches of a range test.
        grid: whether the range test looks for the best constant learning rate, which its verdict needs.
        cost: the most updates that it can take, or samples over the planned batch size, whichever is more.
        factor: what is being decided.
        why: the reason, for the display.
    """

    kind: Literal["range test", "training"]
    candidate: Candidate
    steps: int
    seed: int
    cost: int
    forks: int = 0
    grid: bool = False
    factor: str = field(default="", compare=False)
    why: str = field(default="", compare=False)


@dataclass(frozen=True)
class Outcome:
    """What came of a probe.

    Args:
        score: annealed validation metric (a diverged training: chance, for the display); None: nothing was measured,
            or it diverged and chance is not known.
        updates: what it cost, in the unit of `Probe.cost`; never more than that.
        diverged: whether a training did: whatever its score, it is worse than every one that did not.
        lr: the max_lr that a range test suggests; None: none.
    """

    score: float | None
    updates: int
    diverged: bool = False
    lr: float | None = None


Knowledge = Mapping[Probe, Outcome]


@dataclass(frozen=True)
class Plan:
    """What is searched, and how much it may cost.

    Args:
        budget: updates that may be spent in all.
        steps: length of the training that is planned, at `base.batch_size`.
        base: the settings to start from; its max_lr is used where no range test suggests one.
        weight_decays, momenta, batch_sizes, dropouts: values to try; none, or the base's alone: not searched.
        strategy: a name of `search.STRATEGIES`.
        fresh_seeds: for each of the two finalists.
        spent: updates that are gone already.
        scout_steps, grid_trainings: cost of a range test's scout (updates) and grid (trainings of the ramp's length).
        higher_is_better: of the score.
        eval_samples: behind every score, where that is an accuracy: scores within a standard error tie; None: only
            equal ones do.
    """

    budget: int
    steps: int
    base: Candidate
    weight_decays: tuple[float, ...] = ()
    momenta: tuple[tuple[float, float], ...] = ()
    batch_sizes: tuple[int, ...] = ()
    dropouts: tuple[float, ...] = ()
    strategy: str = "balance"
    fresh_seeds: int = 2
    spent: int = 0
    scout_steps: int = 60
    grid_trainings: int = 8
    higher_is_better: bool = True
    eval_samples: int | None = None

    @property
    def searches_decay(self) -> bool:
        """Whether there are several weight decays; one that was given stays as it is, at every learning rate."""
        base = self.base.weight_decay
        return base is not None and not {base}.issuperset(self.weight_decays)

    def moved(self, candidate: Candidate, factor: float) -> Candidate:
        """Another learning rate: along the ridge where weight decay is searched too, else that alone."""
        if self.searches_decay:
            return candidate.along_ridge(factor)
        return replace(candidate, max_lr=two_digits(candidate.max_lr * factor))

    def ties(self, score: float | None, best: float | None) -> bool:
        """Whether a score is within a standard error of the best, an accuracy."""
        if score is None or best is None or not self.eval_samples:
            return score == best
        return abs(score - best) <= standard_error(best, self.eval_samples)

    def rank(self, score: float | None) -> tuple[bool, float]:
        """What to sort scores by: the larger, the better."""
        return (False, 0.0) if score is None else (True, score if self.higher_is_better else -score)

    def order(self, outcome: Outcome) -> tuple[bool, bool, float]:
        """What to sort trainings by: all that diverged last, since chance may lie above what honest ones reach."""
        return (not outcome.diverged, *self.rank(outcome.score))

    def training(self, candidate: Candidate, steps: int, seed: int, factor: str, why: str) -> Probe:
        """An annealed training over as many samples as `steps` updates of the planned batch size have."""
        own = max(MIN_STEPS, round(steps * self.base.batch_size / candidate.batch_size))
        cost = max(own, -(-own * candidate.batch_size // self.base.batch_size))
        return Probe("training", candidate, own, seed, cost, factor=factor, why=why)
