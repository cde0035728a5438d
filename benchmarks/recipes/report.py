"""Recipes beside other arms as tables and a picture, from the measured tasks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from superconv import runs
from superconv.analysis.comparison import PairedDifference, paired_difference
from superconv.analysis.speed_up import SpeedUp, speed_up
from superconv.figures import Figure, Line, Mark, Panel

from ..table import Goal, Table
from .coverage import covered, left_out, prediction_interval

RECIPE, BASELINE, DEFAULT = "recipe", "piecewise constant", "common default"
OPPONENTS = {"tuned piecewise constant": BASELINE, "best tuned arm": "best_tuned", "common default": DEFAULT}
ERRORS = 2.0  # standard errors below the baseline that count as worse
QUARTER = 4.0
Values = dict[str, dict[int, dict[int, float]]]


def values_of(task: Mapping[str, Any]) -> Values:
    """Arm -> steps -> seed -> accuracy."""
    return {
        arm: {int(steps): {int(s): v for s, v in seeds.items()} for steps, seeds in found.items()}
        for arm, found in task["values"].items()
    }


def against(task: Mapping[str, Any], opponent: str) -> SpeedUp:
    """Ratio of steps at the accuracy that the opponent reaches in the ordinary training's steps."""
    values = values_of(task)
    arm = task["best_tuned"] if opponent == "best_tuned" else opponent
    upto = {steps: seeds for steps, seeds in values[arm].items() if steps <= task["ordinary_steps"]}
    return speed_up(values[RECIPE], upto)


def ratio(task: Mapping[str, Any], opponent: str) -> float | None:
    """The speed-up as one number; None where it is undefined.

    A recipe that never comes as far as the opponent has "< k" there, however far behind it is. The ratio is then taken
    at the accuracy that the recipe reaches itself in the ordinary steps; beyond the ladder it is a bound.
    """
    found = against(task, opponent)
    if found.relation != "<":
        return found.value
    values = values_of(task)
    arm = task["best_tuned"] if opponent == "best_tuned" else opponent
    upto = {steps: seeds for steps, seeds in values[RECIPE].items() if steps <= task["ordinary_steps"]}
    back = speed_up(values[arm], upto)
    return found.value if back.value is None else 1.0 / back.value


def best_against_default(task: Mapping[str, Any]) -> tuple[str, SpeedUp]:
    """The tuned arm that is ahead of the common default by most steps: what was there to be gained at all."""
    values = values_of(task)
    upto = {steps: seeds for steps, seeds in values[DEFAULT].items() if steps <= task["ordinary_steps"]}
    arms = {arm: speed_up(values[arm], upto) for arm in values if arm not in (RECIPE, DEFAULT)}
    return max(arms.items(), key=lambda item: item[1].value or 0.0)


def differences(task: Mapping[str, Any]) -> dict[int, PairedDifference]:
    """Steps -> recipe minus tuned piecewise constant, paired by seed."""
    values = values_of(task)
    return {steps: paired_difference(values[RECIPE][steps], values[BASELINE][steps]) for steps in values[RECIPE]}


def in_errors(difference: PairedDifference) -> float:
    """The mean in standard errors."""
    assert difference.mean is not None
    error = (difference.standard_deviation or 0.0) / math.sqrt(difference.n)
    return difference.mean / error if error > 0.0 else math.copysign(math.inf, difference.mean)


def with_search(task: Mapping[str, Any], opponent: str) -> float | None:
    """The ratio where the updates that `find` spent are added to the recipe's; None where no number is known."""
    found, steps = ratio(task, opponent), task["ordinary_steps"]
    return None if found is None else float(steps / (steps / found + task["recipe"]["updates"]))


def concluded(task: Mapping[str, Any]) -> dict[str, Any]:
    """What one task shows, as plain data."""
    ups: dict[str, Any] = {}
    for name, opponent in OPPONENTS.items():
        found = against(task, opponent)
        arm = task["best_tuned"] if opponent == "best_tuned" else opponent
        ups[name] = {
            "arm": arm, "speed_up": found.text, "value": found.value, "relation": found.relation,
            "ratio": ratio(task, opponent),
            "interval": [found.lower, _finite(found.upper)], "outcome": found.outcome,
            "with_search": with_search(task, opponent),
        }  # fmt: skip
    errors = {steps: round(in_errors(difference), 2) for steps, difference in differences(task).items()}
    return {"against": ups, "difference_in_standard_errors": errors}


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value


def coverage(found: Mapping[str, Any]) -> dict[str, Any]:
    """Intervals stated from the other tasks, and how often they hold; what `find` could print from all of them."""
    told: dict[str, Any] = {}
    networks = {name: name.rsplit("px-", 1)[-1].removeprefix("mnist5k-") for name in found["tasks"]}
    for label, opponent in (("tuned piecewise constant", BASELINE), ("common default", DEFAULT)):
        ratios = {name: value for name, task in found["tasks"].items() if (value := ratio(task, opponent)) is not None}
        alone = left_out(ratios, {name: name for name in ratios})
        related = left_out(ratios, networks)
        told[label] = {
            "measured": {name: round(value, 3) for name, value in ratios.items()},
            "without_the_task": _plain(alone), "covered_without_the_task": covered(ratios, alone),
            "without_its_network": _plain(related), "covered_without_its_network": covered(ratios, related),
            "all_tasks": [round(v, 3) for v in prediction_interval(list(ratios.values())) or ()],
            "tasks": len(ratios),
        }  # fmt: skip
    return told


def _plain(stated: Mapping[str, tuple[float, float] | None]) -> dict[str, list[float] | None]:
    return {name: None if pair is None else [round(v, 3) for v in pair] for name, pair in stated.items()}


def speed_up_table(found: Mapping[str, Any]) -> Table:
    """One row a task: what was found, its cost, and three speed-ups."""
    rows = []
    for name, task in found["tasks"].items():
        recipe = task["recipe"]
        cells = []
        for opponent in OPPONENTS.values():
            told = against(task, opponent)
            arm = f"{task['best_tuned']}: " if opponent == "best_tuned" else ""
            cells.append(f"{arm}{told.text} ({_bound(told.lower)} to {_bound(told.upper)}), {told.outcome}")
        spent = f"{recipe['updates']:,} ({100 * recipe['updates'] / task['ordinary_steps']:.0f}%)"
        arm, most = best_against_default(task)
        cells.append(f"{arm}: {most.text}")
        settings = f"max_lr {recipe['max_lr']:g}, weight decay {recipe['weight_decay']:g}"
        rows.append([name, f"{task['ordinary_steps']:,}", spent, settings, *cells])
    columns = ("task", "ordinary steps", "cost of find", "recipe", *OPPONENTS, "most over the default")
    return Table("Speed-up of the recipe", columns, rows, goals(found))


def goals(found: Mapping[str, Any]) -> list[Goal]:
    """The three that were set beforehand."""
    tasks = found["tasks"]
    worse = [
        f"{name} at {steps} steps ({value:+.1f})"
        for name, task in tasks.items()
        for steps, value in concluded(task)["difference_in_standard_errors"].items()
        if value < -ERRORS
    ]
    fast = [name for name, task in tasks.items() if (against(task, DEFAULT).value or 0.0) >= QUARTER]
    held, counted = coverage(found)["tuned piecewise constant"]["covered_without_the_task"]
    looked = sum(len(differences(task)) for task in tasks.values())
    return [
        Goal("nowhere worse than tuned piecewise constant by more than two standard errors",
             f"{len(worse)} of {looked} task and length pairs{': ' + ', '.join(worse) if worse else ''}", not worse),
        Goal("a quarter of the steps of a common default everywhere", f"{len(fast)} of {len(tasks)} tasks",
             len(fast) == len(tasks)),
        Goal("an interval stated from other tasks holds the speed-up in four of five", f"{held} of {counted}",
             counted > 0 and held >= 0.8 * counted),
    ]  # fmt: skip


def _bound(value: float | None) -> str:
    return "-" if value is None else "no bound" if math.isinf(value) else f"{value:.2g}"


def difference_table(found: Mapping[str, Any]) -> Table:
    """Recipe minus tuned piecewise constant at every length, in points and in standard errors."""
    rows = []
    lengths = sorted({steps for task in found["tasks"].values() for steps in values_of(task)[RECIPE]})
    for name, task in found["tasks"].items():
        each = differences(task)
        rows.append([name, *(_cell(each[steps]) if steps in each else "-" for steps in lengths)])
    return Table(
        f"Recipe minus {BASELINE}, points of test accuracy (standard errors)", ("task", *map(str, lengths)), rows
    )


def _cell(difference: PairedDifference) -> str:
    assert difference.mean is not None
    return f"{100 * difference.mean:+.2f} ({in_errors(difference):+.1f})"


def figure(found: Mapping[str, Any]) -> Figure:
    """Accuracy against planned length, a panel a task, a line an arm."""
    panels = []
    for name, task in found["tasks"].items():
        lines = []
        for arm, lengths in values_of(task).items():
            steps = sorted(lengths)
            columns = [[100 * v for v in lengths[k].values()] for k in steps]
            band = {"lower": list(map(min, columns)), "upper": list(map(max, columns))}
            lines.append(Line(steps, list(map(fmean, columns)), arm, **(band if arm in (RECIPE, BASELINE) else {})))
        marks = (Mark(x=task["ordinary_steps"], label="ordinary"),)
        panels.append(Panel(lines, name, "steps", "test accuracy, percent", x_scale="log", marks=marks))
    caption = (
        "Bands: lowest and highest seed of recipe and piecewise constant. The recipe was found for the ordinary length."
    )
    return Figure("Recipes found in a tenth of the ordinary steps, beside tuned arms", panels, 2, caption)


def publish(found: dict[str, Any], out: Path) -> None:
    """Conclusions into the file of tasks, the picture beside it, tables to the terminal."""
    if not found["tasks"]:
        return
    found["conclusion"] = {
        "tasks": {name: concluded(task) for name, task in found["tasks"].items()},
        "coverage": coverage(found),
    }
    runs.atomic_write(out / "tasks.json", json.dumps(found, indent=1) + "\n")
    figure(found).save(out / "recipes.png")
    print(speed_up_table(found).markdown())
    print(difference_table(found).markdown())
    print(json.dumps(found["conclusion"]["coverage"], indent=1))
