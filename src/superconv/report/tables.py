"""The report's tables as plain values, and how a cell is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .curves import interval
from .groups import Group, short_names
from .read import Run

_MOST_DIGITS = 6  # behind the point


@dataclass(frozen=True)
class Table:
    """Rows under columns; cells are strings, numbers, booleans or None."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""


def cell_text(value: Any) -> str:
    """A cell as it is shown: four significant digits, and a dash for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def stored_tables(info: dict[str, Any]) -> list[Table]:
    """The tables of experiment.json; rows that do not fit their columns are filled up or cut."""
    tables = []
    for stored in info.get("tables") or []:
        if not isinstance(stored, dict):
            continue
        columns = tuple(str(column) for column in stored.get("columns") or ())
        rows = [row for row in stored.get("rows") or [] if isinstance(row, (list, tuple))]
        filled = tuple(tuple([*row, *[None] * len(columns)][: len(columns)]) for row in rows)
        tables.append(Table(str(stored.get("title") or ""), columns, filled, str(stored.get("note") or "")))
    return tables


def final_table(groups: Sequence[Group], metric: str) -> Table | None:
    """What every arm reached: means over seeds with their intervals; None where no run has ended."""
    rows = []
    for group in groups:
        names = short_names(group)
        for arm, runs in group.arms.items():
            done = [run for run in runs if run.summary is not None]
            if done:
                rows.append(_final_row(group, names[arm], runs, done))
    if not rows:
        return None
    columns = ["task", "steps", "arm", "runs", f"validation {metric}", f"test {metric}", "train loss", "seconds"]
    keep = [k for k in range(len(columns)) if k not in (0, 5) or any(row[k] not in ("", None) for row in rows)]
    note = (
        "Mean over seeds ± half of the 95% Student t interval of the mean (three seeds or more; of two seeds their "
        "range). Runs that diverged count with what they reached; where that is no number, (of n) says how many are."
    )
    return Table("Final values", tuple(columns[k] for k in keep), tuple(tuple(r[k] for k in keep) for r in rows), note)


def _final_row(group: Group, name: str, runs: Sequence[Run], done: Sequence[Run]) -> tuple[Any, ...]:
    diverged = sum(run.state == "diverged" for run in done)
    missing = len(runs) - len(done)
    told = [f"{diverged} diverged"] * (diverged > 0) + [f"{missing} unfinished"] * (missing > 0)
    return (
        group.task,
        group.steps or None,
        name,
        f"{len(done)}" + (f" ({', '.join(told)})" if told else ""),
        mean_text([run.final("validation") for run in done]),
        mean_text([run.final("test") for run in done]),
        mean_text([run.reached("train_loss") for run in done]),
        interval([run.reached("seconds") for run in done])[0],
    )


def mean_text(values: Sequence[float]) -> str | None:
    """ "0.913 ± 0.004", digits by the interval's width; "0.91 to 0.93" of two; None of none; "(of 3)" if some lack."""
    mean, low, high, n = interval(values)
    if n == 0:
        return None
    counted = "" if n == len(values) else f" (of {n})"
    if n == 1:
        return f"{mean:.4g}{counted}"
    if n == 2:
        return f"{mean:.4g} ({low:.4g} to {high:.4g}){counted}"
    half = high - mean
    digits = max(0, 1 - math.floor(math.log10(half))) if half > 0 else 4
    if digits > _MOST_DIGITS or (half == 0 and 0 < abs(mean) < 0.1):  # a loss of 3e-8 is none of 0.000000
        return f"{mean:.4g} ± {half:.2g}{counted}"
    return f"{mean:.{digits}f} ± {half:.{digits}f}{counted}"


def problem_table(runs: Sequence[Run]) -> Table | None:
    """Runs that did not end as planned, each with what is known and what to do; None where all did."""
    rows = []
    for run in runs:
        if run.state == "finished":
            continue
        message = run.problem or str((run.summary or {}).get("message") or "")
        if run.state == "unfinished":
            last = int(run.train["step"][-1]) + 1 if len(run.train["step"]) else 0
            message = f"{last} of {run.steps or 'an unknown number of'} steps; the same command goes on with it"
        rows.append((run.state, run.arm, run.seed, message, run.path.name))
    if not rows:
        return None
    order = {"damaged": 0, "diverged": 1, "unfinished": 2}
    rows.sort(key=lambda row: order[row[0]])
    return Table("Runs that did not end as planned", ("state", "arm", "seed", "what is known", "folder"), tuple(rows))
