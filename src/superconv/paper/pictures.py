"""The figure of a claim, redrawn: its effects, our arms together, and each over the authors' log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..figures import Figure, Line, Mark, Panel
from .accuracies import printed_digits
from .claim import Claim, Experiment
from .effect_picture import effect_panels, portions
from .measured import Run
from .reference_numbers import Curve, curve
from .reproduce import Reproduction

COLUMNS = 2
ARMS = tuple(first + k for first in (0, 16, 8) for k in range(6))  # colours: solid, then dotted, then dashed
MOST_TOGETHER = 6  # arms in one panel
MOST_BANDS = 3  # in one panel; each arm has its own beside
AUTHORS = 7  # colour: grey is the paper's
_NAN = math.nan


class Arm(NamedTuple):
    """Name and colour of our line."""

    name: str
    color: int


OURS = Arm("ours", 0)


def picture(result: Reproduction) -> Figure:
    """First what was measured, then the arms that were run together, then each beside the authors' log."""
    ours = [(experiment, _seeds(result, experiment)) for experiment in result.claim.experiments]
    losses = _shows_losses(result.claim)
    arms = _arms([e for e, runs in ours if runs])
    together = (
        [] if losses else _together([(arms[e.condition], runs, _is_ramp(e)) for e, runs in ours if arms and runs])
    )
    shown = {line.name for panel in together for line in panel.lines}
    curves = [
        _panel(e, runs, arms.get(e.condition, OURS), losses, printed_digits(result.claim))
        for e, runs in ours
        if _logs(e) or (runs and (_printed(e) is not None or e.condition not in shown))
    ]
    estimates = [_estimates(e, runs) for e, runs in ours if any(run.estimates for run in runs)]
    panels = [*effect_panels(result), *together, *_one_scale(curves), *estimates]
    title = f"{result.claim.name}, {result.scale} scale: {result.word}"
    caption = (
        f"{result.claim.sentence} ({result.claim.where}) Ours: mean over seeds{_bands([*together, *curves])}; authors: "
        "their logs, a line a run. Along the LR where it only rises, else along the share of the run. "
        + ("Paler: training loss." if losses else "Effects: 95% interval of Student's t.")
    )
    return Figure(title, panels, min(COLUMNS, max(1, len(panels))), caption)


def _bands(panels: Sequence[Panel]) -> str:
    """What the bands are, of those panels that have any: many arms in one have none."""
    ours = [any(line.lower is not None for line in panel.lines) for panel in panels
            if any(line.color != AUTHORS for line in panel.lines)]  # fmt: skip
    if not any(ours):
        return ""
    return ", band from the lowest to the highest" + ("" if all(ours) else " where few arms share a panel")


def _seeds(result: Reproduction, experiment: Experiment) -> list[Run]:
    """The experiment's runs that were tested at all, by seed."""
    by_seed = result.runs.get(experiment.condition, {})
    return [by_seed[seed] for seed in sorted(by_seed) if by_seed[seed].test_accuracy]


def _shows_losses(claim: Claim) -> bool:
    """Whether the paper's figure is of losses: everything that is asserted is of one."""
    return bool(claim.effects) and all("loss" in effect.measure for effect in claim.effects)


def _is_ramp(experiment: Experiment) -> bool:
    return experiment.setting is not None and experiment.setting.is_ramp


def _printed(experiment: Experiment) -> float | None:
    return None if experiment.reference is None else experiment.reference.published


def _logs(experiment: Experiment) -> list[Curve]:
    return [] if experiment.reference is None else [curve(name) for name in experiment.reference.curves]


# ---- panels ----------------------------------------------------------------------------------------------------------


def _arms(run: Sequence[Experiment]) -> dict[str, Arm]:
    """How each arm is drawn: by its own name and colour where there are few."""
    if len(run) > len(ARMS):
        return {}
    return {e.condition: Arm(e.condition, color) for e, color in zip(run, ARMS, strict=False)}


def _together(ours: Sequence[tuple[Arm, list[Run], bool]]) -> list[Panel]:
    """Our arms in panels of a few, trainings and ramps apart, each on one scale; none where one would be alone."""
    panels = []
    for ramp in (False, True):
        lines = [_line(runs, ramp, "test_accuracy", arm) for arm, runs, is_ramp in ours if is_ramp == ramp]
        if len(lines) > MOST_BANDS:
            lines = [replace(line, lower=None, upper=None) for line in lines]
        if len(lines) > 1:
            parts = portions(lines, MOST_TOGETHER)
            panels += _one_scale([Panel(part, "Ours, together", _x_name(ramp), "test accuracy") for part in parts])
    return panels


def _panel(experiment: Experiment, ours: list[Run], arm: Arm, losses: bool, digits: int) -> Panel:
    """Ours over the authors' log and the printed number."""
    ramp = _is_ramp(experiment)
    lines = _both(experiment, ours, arm, "test_loss" if losses else "test_accuracy")
    if losses:
        training = _both(experiment, ours, arm, "train_loss")
        lines += [replace(line, opacity=0.4, lower=None, upper=None) for line in training]
        return Panel(lines, experiment.condition, _x_name(ramp), "loss", y_range=_losses_shown(lines))
    printed = _printed(experiment)
    marks = [] if printed is None else [Mark(y=printed, label=f"printed: {100 * printed:.{digits}f}%")]
    return Panel(lines, experiment.condition, _x_name(ramp), "test accuracy", marks=marks)


def _both(experiment: Experiment, ours: list[Run], arm: Arm, column: str) -> list[Line]:
    """Our line and the authors', where there are any."""
    ramp, logs = _is_ramp(experiment), _logs(experiment)
    lines = [_line(ours, ramp, column, arm)] if ours else []
    for number, log in enumerate(logs, 1):
        x = _floats(log.lr) if ramp else [i / log.iteration[-1] for i in log.iteration]
        y = _floats(getattr(log, column))
        name = "authors' log" if len(logs) == 1 else f"authors' log {number}"
        lines.append(Line(x, y, name, style="dashed", color=AUTHORS, width=1.3))
    return lines


def _line(runs: Sequence[Run], ramp: bool, column: str, arm: Arm) -> Line:
    """The mean over seeds with the range between lowest and highest; a run that diverged counts as far as it came."""
    longest = max(runs, key=lambda run: len(run.step))
    values = np.full((len(runs), len(longest.step)), _NAN)
    for row, run in zip(values, runs, strict=True):
        row[: len(run.step)] = getattr(run, column)
    some = np.isfinite(values).any(0)
    values = values[:, some]
    x = np.array(longest.lr if ramp else [step / longest.step[-1] for step in longest.step])[some]
    mean, low, high = np.nanmean(values, 0), np.nanmin(values, 0), np.nanmax(values, 0)
    return Line(x.tolist(), mean.tolist(), arm.name, low.tolist(), high.tolist(), color=arm.color)


def _estimates(experiment: Experiment, ours: list[Run]) -> Panel:
    """The paper's curvature estimate of the first seed, beside the rate in use and what noise alone would give."""
    found = next(run.estimates for run in ours if run.estimates)
    names = {"estimate": ("estimated", 6), "noise_alone": ("the same, from noise alone", 7), "lr": ("in use", 22)}
    lines = [
        Line(found["step"], [v if v > 0 else _NAN for v in found[key]], name, color=color)
        for key, (name, color) in names.items()
    ]
    return Panel(lines, f"{experiment.condition}: learning rates", "update", "learning rate", y_scale="log")


# ---- axes ------------------------------------------------------------------------------------------------------------


def _one_scale(panels: Sequence[Panel]) -> list[Panel]:
    """Panels of accuracies from the same lowest to the same highest value, so that they can be compared."""
    shown = [panel for panel in panels if panel.y_range is None]
    values = [v for p in shown for line in p.lines for v in (*line.y, *(line.lower or ()), *(line.upper or ()))]
    values = [v for v in (*values, *(m.y for p in shown for m in p.marks if m.y is not None)) if math.isfinite(v)]
    if not values:
        return list(panels)
    room = 0.04 * (max(values) - min(values)) or 0.01
    span = (min(values) - room, max(values) + 3 * room)  # the printed number's label stands above its line
    return [panel if panel.y_range is not None else replace(panel, y_range=span) for panel in panels]


def _losses_shown(lines: Sequence[Line]) -> tuple[float, float] | None:
    """From zero to a little above the highest of most values: the beginning and a blow-up at the end are cut."""
    values = [v for line in lines for v in line.y if math.isfinite(v)]
    return (0.0, 1.15 * float(np.quantile(values, 0.97))) if values else None


def _x_name(ramp: bool) -> str:
    return "learning rate" if ramp else "share of the run"


def _floats(values: Sequence[float | None]) -> list[float]:
    return [_NAN if value is None else value for value in values]
