"""Whether a claim holds: a word from the effect's interval over seeds, its sign, and the paper's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from ..analysis.student_t import half_width

Word = Literal["holds", "holds in direction", "does not hold", "undecided", "not run", "measured"]
LEAST_SEEDS = 3
_DUST = 1e-12  # what rounding leaves of differences of accuracies
ORDER: tuple[Word, ...] = ("does not hold", "not run", "undecided", "holds in direction", "holds", "measured")


@dataclass(frozen=True)
class Judgement:
    """An effect as measured.

    Args:
        word: see `judge`.
        seeds: n, of those that have a value.
        mean: of the effect over seeds; None where nothing was run.
        lower, upper: 95% interval of Student's t; None below three seeds, and where all values are equal below six.
        without: seeds that were run and have no value, such as ramps that diverged.
    """

    word: Word
    seeds: int
    mean: float | None = None
    lower: float | None = None
    upper: float | None = None
    without: int = 0


def judge(
    values: Sequence[float], *, sign: int, size: float | None, tolerance: float, equal: bool = False, without: int = 0,
    printed: float | None = None,
) -> Judgement:  # fmt: skip
    """The word for an effect.

        holds               the interval excludes zero on the paper's side, and the mean is within `tolerance` of `size`
        holds in direction  the interval excludes zero on the paper's side; its size differs, or the paper has none
        does not hold       the interval lies on the other side of zero, or below what the paper's size tolerates
        undecided           anything else; fewer than three seeds; a seed without a value, which would have to count
                            against what is asserted
        not run             no seed
        measured            nothing is asserted (sign 0), and there is an interval

    Of two that are to be equal:

        holds               the interval lies within +-tolerance
        does not hold       it lies outside

    Values that are all equal have an interval of no width, which proves too much: below six of them, where a sign test
    has p = 2^(1 - n) > 0.05, they count as undecided.

    Args:
        values: the effect, one value a seed, in the units of `size`.
        sign: +1 or -1: the paper's; 0: none.
        size: the paper's; None: it printed none, or the scale is not the paper's.
        tolerance: around `size`, or around zero.
        equal: with sign 0, that equality is asserted.
        without: seeds that were run and have no value.
        printed: the mean of what the paper's size is made of, where that is not `values`; the interval goes with it
            when sizes are compared.
    """
    values = [0.0 if abs(value) <= _DUST else value for value in values]
    n = len(values)
    if n == 0:
        return Judgement("undecided" if without else "not run", 0, without=without)
    mean = fmean(values)
    spread = stdev(values) if n > 1 else 0.0
    alike = spread <= _DUST * max(1.0, *map(abs, values)) and 2.0 ** (1 - n) > 0.05
    if n < LEAST_SEEDS or alike:
        return Judgement("undecided", n, mean, without=without)
    half = half_width(values)
    lower, upper = mean - half, mean + half
    moved = None if size is None else size - (0.0 if printed is None else printed - mean)
    word = _word(mean, lower, upper, sign, moved, tolerance, equal)
    return Judgement("undecided" if without and word != "measured" else word, n, mean, lower, upper, without)


def _word(
    mean: float, lower: float, upper: float, sign: int, size: float | None, tolerance: float, equal: bool
) -> Word:
    if equal:
        within = -tolerance < lower and upper < tolerance
        return "holds" if within else "does not hold" if tolerance < lower or upper < -tolerance else "undecided"
    if sign == 0:
        return "measured"
    towards, away = (lower, upper) if sign > 0 else (-upper, -lower)  # the interval as if the paper's sign were +
    if towards > 0:
        return "holds" if size is not None and abs(mean - size) <= tolerance else "holds in direction"
    if away < 0 or (size is not None and away < size * sign - tolerance):
        return "does not hold"
    return "undecided"


def together(words: Sequence[Word]) -> Word:
    """A claim's word: that of its weakest effect; "undecided" where it has no effect that can be measured."""
    return min(words, key=ORDER.index) if words else "undecided"
