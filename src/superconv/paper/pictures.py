"""The figure of a claim, redrawn: ours with a band over seeds, the authors' log, and the printed number."""

from __future__ import annotations

import math

import numpy as np

from ..figures import Figure, Line, Mark, Panel
from .claim import Experiment
from .measured import Run
from .reference_numbers import curve
from .reproduce import Reproduction

COLUMNS = 2


def picture(result: Reproduction) -> Figure:
    """A panel for each condition that was run or has a log."""
    panels = []
    for experiment in result.claim.experiments:
        by_seed = result.runs.get(experiment.condition, {})
        if by_seed or (experiment.reference is not None and experiment.reference.curve is not None):
            panels.append(_panel(experiment, [by_seed[seed] for seed in sorted(by_seed)], result.scale))
    title = f"{result.claim.name}, {result.scale} scale: {result.word}"
    caption = (
        f"{result.claim.sentence} {result.claim.where}. Ours: mean over seeds, band from the lowest to the highest; "
        "authors: their log, one run. Along the LR where it only rises, else along the share of the run."
    )
    return Figure(title, panels, min(COLUMNS, max(1, len(panels))), caption)


def _panel(experiment: Experiment, ours: list[Run], scale: str) -> Panel:
    numbers = experiment.reference
    ramp = experiment.setting is not None and experiment.setting.is_ramp
    lines, marks = [], []
    finished = [run for run in ours if run.test_accuracy]
    if finished:
        lines.append(_ours(finished, ramp))
    if numbers is not None and numbers.curve is not None:
        log = curve(numbers.curve)
        x = [math.nan if v is None else v for v in log.lr] if ramp else [i / log.iteration[-1] for i in log.iteration]
        y = [math.nan if v is None else v for v in log.test_accuracy]
        lines.append(Line(x, y, "authors' log", style="dashed", color=1))
    if numbers is not None and numbers.published is not None:
        marks.append(Mark(y=numbers.published, label=f"printed: {100 * numbers.published:.1f}%"))
    x_name = "learning rate" if ramp else "share of the run"
    return Panel(lines, experiment.condition, x_name, "test accuracy", marks=marks)


def _ours(runs: list[Run], ramp: bool) -> Line:
    shortest = min(len(run.step) for run in runs)  # a diverged run is shorter
    values = np.array([run.test_accuracy[:shortest] for run in runs])
    x = (
        runs[0].lr[:shortest]
        if ramp
        else [step / max(run.step[-1] for run in runs) for step in runs[0].step[:shortest]]
    )
    mean, low, high = values.mean(0).tolist(), values.min(0).tolist(), values.max(0).tolist()
    return Line(x, mean, f"ours (n={len(runs)})", lower=low, upper=high, color=0)
