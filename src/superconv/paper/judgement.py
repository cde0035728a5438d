"""Whether a claim holds: a word from the effect's interval over seeds, its sign, and the paper's size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from ..analysis.student_t import critical_value

Word = Literal["holds", "holds in direction", "does not hold", "undecided", "not run", "measured"]
LEAST_SEEDS = 3
ORDER: tuple[Word, ...] = ("does not hold", "not run", "undecided", "holds in direction", "holds", "measured")


@dataclass(frozen=True)
class Judgement:
    """An effect as measured.

    Args:
        word: see `judge`.
        seeds: n.
        mean: of the effect over seeds; None where nothing was run.
        lower, upper: 95% interval of Student's t; None below three seeds.
    """

    word: Word
    seeds: int
    mean: float | None = None
    lower: float | None = None
    upper: float | None = None


def judge(values: Sequence[float], *, sign: int, size: float | None, tolerance: float) -> Judgement:
    """The word for an effect.

        holds               the interval excludes zero on the paper's side, and the mean is within `tolerance` of `size`
        holds in direction  the interval excludes zero on the paper's side; its size differs, or the paper has none
        does not hold       the interval lies on the other side of zero, or below what the paper's size tolerates
        undecided           anything else, and fewer than three seeds
        not run             no seed
        measured            nothing is asserted (sign 0), and there is an interval

    Args:
        values: the effect, one value a seed, in the units of `size`.
        sign: +1 or -1: the paper's; 0: none.
        size: the paper's; None: it printed none, or the scale is not the paper's.
        tolerance: around `size`.
    """
    n = len(values)
    if n == 0:
        return Judgement("not run", 0)
    mean = fmean(values)
    if n < LEAST_SEEDS:
        return Judgement("undecided", n, mean)
    half = critical_value(0.95, n - 1) * stdev(values) / math.sqrt(n)
    lower, upper = mean - half, mean + half
    if sign == 0:
        return Judgement("measured", n, mean, lower, upper)
    towards, away = (lower, upper) if sign > 0 else (-upper, -lower)  # the interval as if the paper's sign were +
    word: Word
    if towards > 0:
        word = "holds" if size is not None and abs(mean - size) <= tolerance else "holds in direction"
    elif away < 0 or (size is not None and away < abs(size) - tolerance):
        word = "does not hold"
    else:
        word = "undecided"
    return Judgement(word, n, mean, lower, upper)


def together(words: Sequence[Word]) -> Word:
    """A claim's word: that of its weakest effect; "undecided" where it has no effect that can be measured."""
    return min(words, key=ORDER.index) if words else "undecided"
