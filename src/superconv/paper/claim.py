"""Claim: a sentence of the paper, the experiments that bear on it, and the effects that would make it hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .setting import Setting

Measure = Literal["final accuracy", "end of ramp over its peak"]


@dataclass(frozen=True)
class Experiment:
    """One training of a claim.

    Args:
        name: "CLAIM/CONDITION", what `reproduce` is called with.
        key: of the authors' numbers (`reference_numbers.reference`).
        setting: at scale "paper"; None where it cannot be built.
        chosen: what neither the paper nor a file says and we chose, a sentence each.
        obstacle: why it cannot be built.
    """

    name: str
    key: str
    setting: Setting | None
    chosen: tuple[str, ...] = ()
    obstacle: str = ""

    def __post_init__(self) -> None:
        if (self.setting is None) == (not self.obstacle):
            raise ValueError(f"experiment {self.name!r} needs a setting, or the obstacle to it, and not both")

    @property
    def condition(self) -> str:
        """The part of the name that tells it from the claim's other experiments."""
        return self.name.partition("/")[2]


@dataclass(frozen=True)
class Effect:
    """A difference that the claim asserts, written down before anything is run.

        effect = measure(treatment) - measure(baseline), per seed; or measure(treatment) - threshold

    Args:
        treatment, baseline: conditions of the claim; baseline None: against `threshold`.
        sign: +1 where the paper has the treatment above, -1 below.
        size: the paper's difference, in units of the measure (accuracies in [0, 1]); None where it printed none.
        threshold: of the measure, where there is no baseline.
        measure: "final accuracy", or "end of ramp over its peak": the accuracy over the last twentieth of a ramp,
            divided by the largest smoothed one before.
        tolerance: how far from `size` still agrees; one point of accuracy.
    """

    treatment: str
    baseline: str | None = None
    sign: Literal[1, -1] = 1
    size: float | None = None
    threshold: float | None = None
    measure: Measure = "final accuracy"
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        if (self.baseline is None) == (self.threshold is None):
            raise ValueError(f"an effect of {self.treatment!r} needs a baseline or a threshold, and not both")
        if self.size is not None and self.size * self.sign < 0:
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
            for condition in (effect.treatment, effect.baseline):
                if condition is not None and condition not in conditions:
                    raise ValueError(f"claim {self.name!r} has no condition {condition!r}")

    def experiment(self, condition: str) -> Experiment:
        """By its condition. Raises: KeyError: none of that name."""
        return next(e for e in self.experiments if e.condition == condition)
