"""Tolerance beside gain as a table and a picture, from the measured cases."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

from superconv import runs
from superconv.analysis.contest import Duel, contest
from superconv.figures import Figure, Line, Mark, Panel

from ..table import Table
from .analysis import Point, analysed, spearman, spearman_interval

TREATMENT, BASELINE = "1cycle", "piecewise constant"
MARGIN = 0.005
DIVIDE = 3.0 / 0.35  # the multiple at which the authors' networks were shown
OPEN = 3.0
WORDS = ("wide", "inconclusive", "narrow")
Values = dict[str, dict[int, dict[int, float]]]


def whole(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The cases of which both parts are measured."""
    return [case for case in found["cases"].values() if {"tolerance", "gain"} <= set(case)]


def values_of(case: Mapping[str, Any], lengths: int | None = None) -> Values:
    """Arm -> steps -> seed -> accuracy; the shortest `lengths` alone, None: all."""
    return {
        arm: {
            int(steps): {int(seed): value for seed, value in seeds.items()}
            for steps, seeds in sorted(found.items(), key=lambda item: int(item[0]))[:lengths]
        }
        for arm, found in case["gain"]["values"].items()
    }


def duels(case: Mapping[str, Any], common: int) -> tuple[Duel, Duel]:
    """Against piecewise constant: over the lengths that all cases have, and over all of its own."""
    first, second = (
        contest(values_of(case, count), TREATMENT, margin=MARGIN).against(BASELINE) for count in (common, None)
    )
    return first, second


def told_ratios(tolerance: Mapping[str, Any]) -> tuple[float, ...]:
    """Ratios of the range tests that tell one: a fall was seen, or the ramp went past `DIVIDE` without one.

    A ramp that ended earlier without a fall tells neither; it learned nothing, or its scout ended it too low.
    """
    pairs = zip(tolerance["edge_ratio"], tolerance["fell"], strict=True)
    return tuple(ratio for ratio, fell in pairs if ratio is not None and (fell or ratio >= DIVIDE))


def same_words(cases: Sequence[Mapping[str, Any]]) -> float:
    """Share of pairs of range tests of one case that are given the same word."""
    pairs = [pair for case in cases for pair in itertools.combinations(case["tolerance"]["words"], 2)]
    return fmean(first == second for first, second in pairs)


def points_of(duel: Duel) -> tuple[float, float, float]:
    """Mean difference and its interval, in points. Raises: ValueError: too few seeds for an interval."""
    found = duel.overall
    if found.mean is None or found.lower is None or found.upper is None:
        raise ValueError(f"{found.n} pairs give no interval; measure five or more")
    return 100 * found.mean, 100 * found.lower, 100 * found.upper


def point(case: Mapping[str, Any], common: int, *, strict: bool = False, averaged: bool = False) -> Point:
    """The case as the analysis sees it.

    Args:
        strict: gained means "faster", not a difference above zero.
        averaged: the word follows from the mean ratio of all range tests, wide from `DIVIDE` on; else it is the
            verdict on two of them.
    """
    duel, _ = duels(case, common)
    pairs, mean = duel.overall.differences, fmean(duel.overall.differences)
    gained = duel.word == "faster" if strict else mean > 0.0
    halves = fmean(pairs[0::2]), fmean(pairs[1::2])
    family = case["network"].removesuffix("-bn").removesuffix("-nonorm")
    tolerance = case["tolerance"]
    ratios = told_ratios(tolerance)
    word = tolerance["word"]
    if averaged:
        word = "wide" if geometric_mean(ratios) >= DIVIDE else "narrow"
    return Point(family, word, ratios, mean, halves, gained)


def table(found: Mapping[str, Any], common: int) -> Table:
    """One row a case, the largest edge ratio first."""
    rows = []
    cases = sorted(whole(found), key=lambda case: -point(case, common).ratio)
    for case in cases:
        duel, longer = duels(case, common)
        told = case["tolerance"]
        place = point(case, common)
        ratios = f"{place.ratio:.1f} ({min(place.ratios):.1f} to {max(place.ratios):.1f}, {len(place.ratios)})"
        (mean, low, high), gain = points_of(duel), longer.speed_up
        assert gain is not None
        rows.append(
            [
                f"{case['network']}, {case['data']}, {case['optimizer']}", ratios, told["word"], str(duel.overall.n),
                f"{mean:+.2f} ({low:+.2f} to {high:+.2f})",
                duel.word, f"{gain.text} ({_bound(gain.lower)} to {_bound(gain.upper)})", gain.outcome,
            ]
        )  # fmt: skip
    columns = (
        "network, data, optimizer", "edge / reference LR (range, ramps)", "ramp's word", "n", "difference, points",
        "word", "speed-up", "its word",
    )  # fmt: skip
    return Table("Tolerance beside gain", columns, rows)


def _bound(value: float | None) -> str:
    return "-" if value is None else "no bound" if math.isinf(value) else f"{value:.2g}"


def figure(found: Mapping[str, Any], common: int) -> Figure:
    """Edge ratio against difference and against speed-up: a cross a case, its arms the ramps' and the interval."""
    panels = []
    for what in ("difference", "speed-up"):
        lines = [line for word in WORDS for line in _crosses(found, common, word, what)]
        label = "accuracy at equal steps, points" if what == "difference" else "speed-up"
        marks = (Mark(x=DIVIDE, label="8.6"), Mark(y=0.0 if what == "difference" else 1.0))
        scale: Any = "linear" if what == "difference" else "log"
        panels.append(Panel(lines, "", "largest tolerated LR / reference LR", label, "", "log", scale, marks=marks))
    caption = (
        f"1cycle against {BASELINE}, both tuned; one cross a case. Across: lowest and highest of six range tests. "
        "Up: 95% interval over paired seeds, a speed-up's open ends cut at 1/3 and 3. "
        + found["conclusion"]["ahead"]["answer"]
    )
    return Figure("Does tolerance of large learning rates tell what 1cycle gains?", panels, 2, caption)


def _crosses(found: Mapping[str, Any], common: int, word: str, what: str) -> list[Line]:
    xs: list[float] = []
    ys: list[float] = []
    centres: list[tuple[float, float]] = []
    for case in whole(found):
        if case["tolerance"]["word"] != word:
            continue
        place, (duel, longer) = point(case, common), duels(case, common)
        middle, low, high = _height(duel, longer, what)
        if math.isnan(middle):
            continue
        xs += [min(place.ratios), max(place.ratios), math.nan, place.ratio, place.ratio, math.nan]
        ys += [middle, middle, math.nan, low, high, math.nan]
        centres.append((place.ratio, middle))
    if not centres:
        return []
    color = WORDS.index(word)
    dots = Line([x for x, _ in centres], [y for _, y in centres], word, style="points", color=color)
    return [Line(xs, ys, color=color, width=1.1, opacity=0.6), dots]


def _height(duel: Duel, longer: Duel, what: str) -> tuple[float, float, float]:
    """Value and interval; a speed-up's open ends are held within a factor of `OPEN`."""
    if what == "difference":
        return points_of(duel)
    gain = longer.speed_up
    if gain is None or gain.value is None or gain.lower is None or gain.upper is None:
        return math.nan, math.nan, math.nan
    return gain.value, max(gain.lower, 1.0 / OPEN), min(gain.upper, OPEN)


def publish(found: dict[str, Any], out: Path) -> None:
    """Conclusions into the file of cases, the picture beside it, the table to the terminal."""
    cases = whole(found)
    if not cases:
        return
    common = len(found["settings"]["common_ladder"])
    found["conclusion"] = {
        "ahead": analysed([point(case, common) for case in cases]),
        "faster": analysed([point(case, common, strict=True) for case in cases]),
        "ahead_by_all_range_tests": analysed([point(case, common, averaged=True) for case in cases]),
        "faster_by_all_range_tests": analysed([point(case, common, strict=True, averaged=True) for case in cases]),
    }
    ratios = [point(case, common).ratio for case in cases]
    gains = [_height(*duels(case, common), "speed-up")[0] for case in cases]
    told = (spearman(ratios, gains), *spearman_interval(ratios, gains)) if all(map(math.isfinite, gains)) else ()
    found["conclusion"]["pairs_of_range_tests_with_one_word"] = round(same_words(cases), 3)
    found["conclusion"]["range_tests_that_tell"] = sum(len(told_ratios(case["tolerance"])) for case in cases)
    found["conclusion"]["spearman_of_ratio_and_speed_up"] = [round(value, 3) for value in told]
    runs.atomic_write(out / "cases.json", json.dumps(found, indent=1) + "\n")
    figure(found, common).save(out / "tolerance-and-gain.png")
    print(table(found, common).markdown())
    print(json.dumps(found["conclusion"], indent=1))
