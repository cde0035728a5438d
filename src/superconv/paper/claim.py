"""Claim: a sentence of the paper, the experiments that bear on it, and the effects that would make it hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from .reference_numbers import Reference, reference
from .setting import Setting

Measure = Literal[
    "final accuracy", "generalisation gap", "end of ramp over its peak", "peak's learning rate over the ramp's last",
    "test loss at high rates over low", "training loss at high rates over low",
    "estimate over learning rate", "estimate over noise alone",
]  # fmt: skip


@dataclass(frozen=True)
class Tuning:
    """A search for the learning rate before an experiment, which the test images take no part in.

    Every factor of the schedule's learning rates is tried on training images of which a share is held out; the factor
    with the highest mean accuracy on those is taken. Where it is the grid's first or last, the grid is extended.

    Args:
        factors: ascending, a constant ratio apart.
        seeds: of the trials; other ones than the experiment's.
        held_out: share of the training images.
        extensions: at most so many factors are added.
    """

    factors: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    seeds: tuple[int, ...] = (1000, 1001)
    held_out: float = 0.1
    extensions: int = 3

    def __post_init__(self) -> None:
        if len(self.factors) < 2 or any(a >= b for a, b in pairwise(self.factors)):
            raise ValueError(f"a search needs two factors or more, ascending, got {self.factors}")


@dataclass(frozen=True)
class Experiment:
    """One training of a claim.

    Args:
        name: "CLAIM/CONDITION", what `reproduce` is called with.
        key: of the authors' numbers (`reference_numbers.reference`); None: an experiment of our own.
        setting: at scale "paper"; None where it cannot be built.
        chosen: what neither the paper nor a file says and we chose, a sentence each.
        obstacle: why it cannot be built.
        tuning: how its learning rates are found; None: as the setting has them.
        title: what is trained, for an experiment of our own.
    """

    name: str
    key: str | None
    setting: Setting | None
    chosen: tuple[str, ...] = ()
    obstacle: str = ""
    tuning: Tuning | None = None
    title: str = ""

    def __post_init__(self) -> None:
        if (self.setting is None) == (not self.obstacle):
            raise ValueError(f"experiment {self.name!r} needs a setting, or the obstacle to it, and not both")
        if (self.key is None) == (not self.title):
            raise ValueError(f"experiment {self.name!r} needs a key of the authors' numbers, or a title, and not both")

    @property
    def reference(self) -> Reference | None:
        """The authors' numbers."""
        return None if self.key is None else reference(self.key)

    @property
    def condition(self) -> str:
        """The part of the name that tells it from the claim's other experiments."""
        return self.name.partition("/")[2]


@dataclass(frozen=True)
class Effect:
    """A difference that the claim asserts or asks for, written down before anything is run.

        effect = measure(treatment) - measure(baseline), per seed; or measure(treatment) - threshold;
                 or, where another lead is named, that difference minus the same of the other pair

    Args:
        treatment, baseline: conditions of the claim; baseline None: against `threshold`.
        over: (treatment, baseline) of the lead that this one is compared with.
        sign: +1 where the paper has the treatment above, -1 below; 0: neither.
        equal: with sign 0, that the paper has both level, which is asserted: the difference is within `tolerance`;
            otherwise nothing is asserted, the interval is the answer.
        size: the paper's difference, in units of the measure (accuracies in [0, 1]); None where it printed none.
        threshold: of the measure, where there is no baseline.
        measure: "final accuracy"; "generalisation gap": the accuracy at the end on training images less the final one;
            "end of ramp over its peak": the accuracy over the last twentieth of a ramp, divided by the largest smoothed
            one before; "peak's learning rate over the ramp's last": where along the ramp that largest one is;
            "test loss ..." and "training loss at high rates over low": the median loss over the last fifth of a ramp,
            divided by that between its first tenth and fifth;
            "estimate over learning rate", "estimate over noise alone": the paper's curvature estimate, divided by the
            rate in use or by what gradient noise alone would give, the median over the second half of a run.
        tolerance: how far from `size` still agrees; one point of accuracy.
    """

    treatment: str
    baseline: str | None = None
    sign: Literal[1, 0, -1] = 1
    size: float | None = None
    threshold: float | None = None
    measure: Measure = "final accuracy"
    tolerance: float = 0.01
    over: tuple[str, str] | None = None
    equal: bool = False

    @property
    def asserts(self) -> bool:
        """Whether the claim stands or falls with it."""
        return bool(self.sign) or self.equal

    @property
    def conditions(self) -> tuple[str, ...]:
        """All that have to be run."""
        return tuple(each for each in (self.treatment, self.baseline, *(self.over or ())) if each is not None)

    def __post_init__(self) -> None:
        if (self.baseline is None) == (self.threshold is None):
            raise ValueError(f"an effect of {self.treatment!r} needs a baseline or a threshold, and not both")
        if self.over is not None and self.baseline is None:
            raise ValueError(f"an effect of {self.treatment!r} needs a baseline: it is compared with another lead")
        if self.equal and self.sign:
            raise ValueError(f"an effect of {self.treatment!r} is either equal or has a sign, got {self.sign}")
        if self.size is not None and self.size * self.sign <= 0:
            raise ValueError(f"an effect of {self.treatment!r} has size {self.size} against its sign")


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Args:
        name: a word or two, as in `superconv reproduce NAME`.
        sentence: what the paper says, in our words.
        where: section, figure and version.
        experiments: in the order of the figure or table.
        effects: each of which has to hold.
    """

    name: str
    sentence: str
    where: str
    experiments: Sequence[Experiment]
    effects: Sequence[Effect] = ()

    def __post_init__(self) -> None:
        conditions = {experiment.condition for experiment in self.experiments}
        names = [experiment.name for experiment in self.experiments]
        if len(set(names)) < len(names) or any(name.partition("/")[0] != self.name for name in names):
            raise ValueError(f"claim {self.name!r}: its experiments must be named {self.name}/CONDITION, each once")
        for effect in self.effects:
            for condition in effect.conditions:
                if condition not in conditions:
                    raise ValueError(f"claim {self.name!r} has no condition {condition!r}")

    def experiment(self, condition: str) -> Experiment:
        """By its condition. Raises: KeyError: none of that name."""
        return next(e for e in self.experiments if e.condition == condition)
