"""The tables of a comparison as plain data: title, columns, rows, note."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from ..analysis.expected_best import expected_best
from .demo_findings import points, speed
from .tuning import Budget

if TYPE_CHECKING:
    from ..analysis.comparison import PairedDifference
    from .compare import Comparison


def tables(result: Comparison, budget: Budget) -> list[dict[str, Any]]:
    """Duels, values, settings and tuning effort."""
    return [_duels(result), _values(result), _settings(result, budget), _effort(result)]


def _in_points(result: Comparison) -> bool:
    return result.contest.metric.endswith("accuracy")


def _higher_is_better(result: Comparison) -> bool:
    return result.contest.duels[0].overall.higher_is_better


def _difference(result: Comparison, difference: PairedDifference) -> str:
    if _in_points(result):
        return points(difference)
    if difference.mean is None:
        return "unknown"
    if difference.lower is None or difference.upper is None:
        return f"{difference.mean:+.3g}"
    return f"{difference.mean:+.3g} ({difference.lower:+.3g} to {difference.upper:+.3g})"


def _duels(result: Comparison) -> dict[str, Any]:
    contest = result.contest
    lengths = sorted(contest.duels[0].by_length)
    rows = []
    for duel in contest.duels:
        by_length = [f"{_difference(result, duel.by_length[steps])}: {duel.words[steps]}" for steps in lengths]
        mark = " (best tuned)" if duel.opponent == contest.rival else ""
        overall = f"{_difference(result, duel.overall)}: {duel.word}"
        rows.append(
            [duel.opponent + mark, overall, *by_length, "one length" if duel.speed_up is None else speed(duel.speed_up)]
        )
    seeds = contest.duels[0].overall.seeds
    scale, unit = (100, " points") if _in_points(result) else (1, "")
    minus = f"{contest.treatment} minus opponent"
    if not _higher_is_better(result):
        minus = f"where lower is better: opponent minus {contest.treatment}"
    note = (
        f"{result.split} {contest.metric}, {minus} (positive: {contest.treatment} is better) after equal steps, "
        f"paired by seed (n={len(seeds)}), 95% intervals; all lengths: each seed's mean over them, Holm over "
        f"opponents; single lengths: Holm over opponents and lengths. {scale * contest.margin:g}{unit} is the smallest "
        "difference that matters. Speed-up: ratio of steps at the level that the opponent reaches at its longest "
        "length."
    )
    columns = ["opponent", "all lengths", *(f"{steps} steps" for steps in lengths), "speed-up"]
    return {"title": f"{contest.treatment} against the others", "columns": columns, "rows": rows, "note": note}


def _values(result: Comparison) -> dict[str, Any]:
    lengths = sorted(next(iter(result.values.values())))
    rows = [
        [name, *(_level(by[steps], _in_points(result), len(result.diverged[name][steps])) for steps in lengths)]
        for name, by in result.values.items()
    ]
    percent = " in percent" if _in_points(result) else ""
    note = f"Mean {result.split} {result.contest.metric}{percent} over the seeds, ± standard deviation."
    if any(seeds for by in result.diverged.values() for seeds in by.values()):
        worth = "the untrained network, or as the worst of the others where that is worse"
        if result.chance is not None:
            worth = f"chance ({_level({0: result.chance}, _in_points(result))})"
        note += f" A diverged training counts as {worth}."
    return {
        "title": f"{result.split.capitalize()} {result.contest.metric}",
        "columns": ["arm", *(f"{steps} steps" for steps in lengths)], "rows": rows, "note": note,
    }  # fmt: skip


def _level(values: Mapping[int, float], in_points: bool, diverged: int = 0) -> str:
    """Mean and deviation: of an accuracy in percent with two decimals, of others with the digits that they need."""
    found = list(values.values())
    mean, spread = fmean(found), stdev(found) if len(found) > 1 else None
    told = f"{100 * mean:.2f}" if in_points else f"{mean:.4g}"
    if spread is not None:
        told += f" ± {100 * spread:.2f}" if in_points else f" ± {spread:.2g}"
    return told + (f" ({diverged} diverged)" if diverged else "")


def _settings(result: Comparison, budget: Budget) -> dict[str, Any]:
    rows = []
    for (name, steps), tuned in result.tuned.items():
        if tuned.validation is not None:
            told = ", ".join(f"{key} {value:.3g}" for key, value in tuned.settings.items())
            edge = ", ".join(tuned.edges) or "-"
            reached = f"{tuned.validation:.4g}" if math.isfinite(tuned.validation) else "diverged"
            rows.append([name, str(steps), told, reached, edge, f"{tuned.updates:,}"])
    total = sum(tuned.updates for tuned in result.tuned.values())
    note = (
        f"The same budget for every arm and length: {budget.trials} trials from one quasi-random sequence, the best "
        f"{budget.finalists} again on {budget.fresh_seeds} fresh seeds, chosen by validation data. A pick in the outer "
        f"tenth of its range is at the edge: a wider range may hold a better one. Tuning took {total:,} updates, the "
        f"compared trainings {result.updates:,}; speed-ups leave tuning out."
    )
    columns = ["arm", "steps", "settings", "validation", "at the edge", "updates"]
    return {"title": "What tuning chose, and what it cost", "columns": columns, "rows": rows, "note": note}


def _effort(result: Comparison) -> dict[str, Any]:
    longest = max(steps for _, steps in result.tuned)
    found = {name: [v for _, v in t.trials] for (name, steps), t in result.tuned.items() if steps == longest}
    found = {name: values for name, values in found.items() if values}
    trials = max(map(len, found.values()), default=0)
    counts = sorted({1, 2, 4, trials} & set(range(1, trials + 1)))
    rows = [[name, *_expected(values, counts, found, _higher_is_better(result))] for name, values in found.items()]
    note = f"Expected best validation metric after so many random trials, at {longest} steps (arXiv 1909.03004)."
    if not all(math.isfinite(value) for values in found.values() for value in values):
        note += " A diverged trial counts as the worst of all arms' others; -: every trial diverged."
    columns = ["arm", *(f"{count} trial{'s' if count > 1 else ''}" for count in counts)]
    return {"title": "How much tuning it takes", "columns": columns, "rows": rows, "note": note}


def _expected(
    values: Sequence[float], counts: Sequence[int], found: Mapping[str, Sequence[float]], higher_is_better: bool
) -> list[str]:
    """The expected best of one arm after so many trials, a diverged one scored as the worst finite of all arms."""
    if not any(math.isfinite(value) for value in values):
        return ["-"] * len(counts)
    finite = [value for others in found.values() for value in others if math.isfinite(value)]
    worst = min(finite) if higher_is_better else max(finite)
    scored = [value if math.isfinite(value) else worst for value in values]
    curve = expected_best(scored, max(counts), higher_is_better=higher_is_better)
    return [f"{curve[count - 1]:.4g}" for count in counts]
