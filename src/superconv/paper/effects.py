"""The effects of a claim as a reader meets them: what the paper has, what we measured, in its units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .claim import Effect
from .judgement import ORDER, Judgement, Word
from .reproduce import Reproduction

AFTERWARDS = "asked afterwards"
_CLAIMED = {1: "above", -1: "below", 0: "against"}


@dataclass(frozen=True)
class Shown:
    """An effect in the units that it is read in: points of accuracy, or the measure itself beside its threshold.

    Args:
        effect: as the claim has it.
        word, seeds: as judged.
        mean, lower, upper: ours; None where nothing was run, or without an interval.
        zero: what it is compared with: 0 for a difference, else the threshold.
        size: the paper's; None where it printed none.
        tolerance: within which equal is equal.
        without: seeds that were run and have no value.
        unit: " points" of differences, "%" of an accuracy beside its threshold, or nothing.
        afterwards: whether it was asked, or asked otherwise, after the runs had been looked at.
    """

    effect: Effect
    word: Word
    seeds: int
    mean: float | None
    lower: float | None
    upper: float | None
    zero: float
    size: float | None
    unit: str
    afterwards: bool = False
    tolerance: float = 0.0
    without: int = 0

    @property
    def asserted(self) -> str:
        """ "clr above pclr by 1.2 points": what the paper has, or what is asked where it has nothing."""
        effect = self.effect
        against = effect.baseline if effect.baseline is not None else _amount(self.zero, self.unit)
        size = "" if self.size is None else f" by {_amount(abs(self.size), self.unit)}"
        claimed = _CLAIMED[effect.sign]
        if effect.equal:
            claimed, size = "level with", f" within {_amount(self.tolerance, self.unit)}"
        if effect.over is not None:
            first, second = effect.over
            return f"lead of {effect.treatment} over {against} {claimed} that of {first} over {second}{size}"
        return f"{effect.treatment} {claimed} {against}{size}"

    @property
    def measured(self) -> str:
        """ "+1.2 (+0.9 to +1.5) points, n=3": mean and 95% interval over seeds."""
        lost = f", and {self.without} without a value" if self.without else ""
        if self.mean is None:
            return f"n=0{lost}" if lost else "-"
        values = [self.mean] if self.lower is None or self.upper is None else [self.mean, self.lower, self.upper]
        mean, *ends = self._written(values)
        return f"{mean}{f' ({ends[0]} to {ends[1]})' if ends else ''}{self.unit}, n={self.seeds}{lost}"

    def _written(self, values: Sequence[float]) -> list[str]:
        """One decimal where the interval is wide, else two; a sign for differences."""
        wide = values[-1] - values[1] if len(values) == 3 else abs(values[0])
        form = f"{'+' if self.effect.baseline is not None else ''}.{1 if wide >= 2 else 2}f"
        return [format(value, form) for value in values]

    @property
    def told(self) -> str:
        """The word, and that it was asked for afterwards."""
        return f"{self.word} ({AFTERWARDS})" if self.afterwards else self.word

    @property
    def line(self) -> str:
        """All of it in a sentence."""
        return f"{self.asserted} ({self.effect.measure}): {self.measured}: {self.told}"


def _amount(value: float, unit: str) -> str:
    """ "1.2 points", "1 point", "91.9%", "0.8"."""
    written = f"{value:.3g}"
    return written + (unit.removesuffix("s") if written == "1" else unit)


def effects_of(result: Reproduction) -> list[Shown]:
    """Every effect of the claim, in its order."""
    pairs = zip(result.claim.effects, result.judgements, strict=True)
    return [_shown(effect, judgement, effect in result.asked_afterwards) for effect, judgement in pairs]


def _shown(effect: Effect, judgement: Judgement, afterwards: bool) -> Shown:
    factor = 100.0 if effect.measure in ("final accuracy", "generalisation gap") else 1.0
    zero = effect.threshold or 0.0
    of_accuracies = "%" if effect.measure == "final accuracy" and effect.baseline is None else " points"

    def unit(value: float | None) -> float | None:
        return None if value is None else factor * (value + zero)

    return Shown(
        effect, judgement.word, judgement.seeds, unit(judgement.mean), unit(judgement.lower), unit(judgement.upper),
        factor * zero, None if effect.size is None else factor * effect.size, of_accuracies if factor > 1 else "",
        afterwards, factor * effect.tolerance, judgement.without,
    )  # fmt: skip


def deciding(effects: Sequence[Shown]) -> Shown | None:
    """The effect that a claim's word rests on: the weakest that was run of those that assert something, else of all."""
    run = [shown for shown in effects if shown.word != "not run"] or list(effects)
    resting_on = [shown for shown in run if shown.effect.asserts] or run
    return min(resting_on, key=lambda shown: ORDER.index(shown.word), default=None)


def effect_lines(result: Reproduction) -> list[str]:
    """One sentence an effect: what was asserted, measured, and the word."""
    return [shown.line for shown in effects_of(result)]
