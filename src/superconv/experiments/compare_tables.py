"""The tables of a comparison as plain data: title, columns, rows, note."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    note = (
        f"{result.split} {contest.metric}, {contest.treatment} minus opponent after equal steps, paired by seed "
        f"(n={len(seeds)}), 95% intervals; all lengths: each seed's mean over them, Holm over opponents; single "
        f"lengths: Holm over opponents and lengths. {scale * contest.margin:g}{unit} is the smallest difference that "
        "matters. Speed-up: ratio of steps at the level that the opponent reaches at its longest length."
    )
    columns = ["opponent", "all lengths", *(f"{steps} steps" for steps in lengths), "speed-up"]
    return {"title": f"{contest.treatment} against the others", "columns": columns, "rows": rows, "note": note}


def _values(result: Comparison) -> dict[str, Any]:
    lengths = sorted(next(iter(result.values.values())))
    scale = 100 if _in_points(result) else 1
    rows = [[name, *(_level(by[steps], scale) for steps in lengths)] for name, by in result.values.items()]
    percent = " in percent" if scale == 100 else ""
    note = f"Mean {result.split} {result.contest.metric}{percent} over the seeds, ± standard deviation."
    return {
        "title": f"{result.split} {result.contest.metric}".capitalize(),
        "columns": ["arm", *(f"{steps} steps" for steps in lengths)], "rows": rows, "note": note,
    }  # fmt: skip


def _level(values: Mapping[int, float], scale: float) -> str:
    found = list(values.values())
    spread = f" ± {scale * stdev(found):.2f}" if len(found) > 1 else ""
    return f"{scale * fmean(found):.2f}{spread}"


def _settings(result: Comparison, budget: Budget) -> dict[str, Any]:
    rows = []
    for (name, steps), tuned in result.tuned.items():
        if tuned.validation is not None:
            told = ", ".join(f"{key} {value:.3g}" for key, value in tuned.settings.items())
            edge = ", ".join(tuned.edges) or "-"
            rows.append([name, str(steps), told, f"{tuned.validation:.4g}", edge, f"{tuned.updates:,}"])
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
    rows = []
    trials = 0
    for (name, steps), tuned in result.tuned.items():
        if steps == longest and tuned.trials:
            trials = len(tuned.trials)
            counts = sorted({1, 2, 4, trials} & set(range(1, trials + 1)))
            known = [value for _, value in tuned.trials if math.isfinite(value)]
            curve = expected_best(known, trials, higher_is_better=result.contest.duels[0].overall.higher_is_better)
            rows.append([name, *(f"{curve[count - 1]:.4g}" for count in counts)])
    counts = sorted({1, 2, 4, trials} & set(range(1, trials + 1)))
    note = f"Expected best validation metric after so many random trials, at {longest} steps (arXiv 1909.03004)."
    columns = ["arm", *(f"{count} trial{'s' if count > 1 else ''}" for count in counts)]
    return {"title": "How much tuning it takes", "columns": columns, "rows": rows, "note": note}
