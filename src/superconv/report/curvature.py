"""The panels of an LR monitor: the learning rate in use beside what each estimate says of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..figures import Figure, Line, Panel
from ..figures.spec import Style
from .curves import over_seeds
from .groups import Group, short_names
from .read import Run

_POINTS = 200
_MOST_PANELS = 12
_LINES: tuple[tuple[str, str, Style, int], ...] = (
    ("lr", "LR in use", "solid", 0),
    ("effective_lr", "LR with momentum", "dotted", 0),
    ("paper_estimate", "paper's estimate", "solid", 1),
    ("noise_line", "the same, from noise alone", "dashed", 1),
    ("secant", "secant", "solid", 2),
    ("expected_step", "expected-loss step", "solid", 3),
    ("stability_limit", "stable below (current stiffness)", "solid", 4),
)
_CAPTION = (
    "The paper's estimate says something of curvature only where it leaves the dashed line: on it, it is an echo of "
    "the LR. Secant and expected-loss step are to be compared with the dotted line, and have points only where their "
    "probes are two standard errors clear; a negative one (the loss curves downwards) has no place on a log axis."
)


def curvature_figure(groups: Sequence[Group]) -> Figure | None:
    """One panel an arm that was watched; None where none was."""
    panels = []
    for group in groups:
        names = short_names(group)
        for arm, runs in group.arms.items():
            lines = _lines([run for run in runs if len(run.curvature.get("step", ()))])
            if lines:
                title = f"{group.title}: {names[arm]}" if len(group.arms) > 1 else group.title
                panels.append(Panel(lines, title, "step", "learning rate", y_scale="log"))
    if not panels:
        return None
    caption = _CAPTION
    if len(panels) > _MOST_PANELS:
        caption += f" Shown: {_MOST_PANELS} of {len(panels)} arms."
    return Figure("What curvature says of the learning rate", panels[:_MOST_PANELS], min(2, len(panels)), caption)


def _lines(runs: Sequence[Run]) -> list[Line]:
    """The mean over seeds of each estimate, where it is positive."""
    lines = []
    for key, name, style, color in _LINES:
        columns = [(run.curvature["step"], run.curvature[key]) for run in runs]
        curve = over_seeds([(x, np.where(y > 0, y, np.nan)) for x, y in columns], _POINTS)
        if len(curve.x):
            lines.append(Line(curve.x.tolist(), curve.mean.tolist(), name, style=style, color=color))
    return lines
