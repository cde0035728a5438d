"""The picture of a schedule."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..figures import Figure, Line, Mark, Panel, Span
from .curve import Curve, Floats
from .schedule import Schedule

_MOST_POINTS = 1500
_MOST_PHASES = 12


def figure(schedule: Schedule) -> Figure:
    """Panels of the learning rate (momentum on its right) and, where scheduled, of the weight decay."""
    curves = schedule.curves
    steps = drawn_steps(schedule, _MOST_POINTS)
    values = schedule.values(steps)
    lines = [Line(steps.tolist(), values["lr"].tolist(), name="learning rate", color=0)]
    if "momentum" in curves:
        momentum = values["momentum"].tolist()
        lines.append(Line(steps.tolist(), momentum, name="momentum", color=1, right=True, style="dashed"))
    courses = phases(schedule)
    panels = [
        Panel(
            lines,
            x_label="step",
            y_label="learning rate",
            right_label="momentum" if "momentum" in curves else "",
            spans=[Span(start, stop, name) for name, start, stop in courses],
            marks=[Mark(x=start) for _, start, _ in courses[1:]],  # neighbours in one shade would run together
        )
    ]
    if "weight_decay" in curves:
        decay = Line(steps.tolist(), values["weight_decay"].tolist(), name="weight decay", color=2)
        top = 1.1 * values["weight_decay"].max() or 1.0
        panels.append(Panel([decay], x_label="step", y_label="weight decay", y_range=(0.0, top)))
    low, high = values["lr"].min(), values["lr"].max()
    caption = f"learning rate {low:.3g} to {high:.3g}, {values['lr'][-1]:.3g} at the last step"
    return Figure(f"Schedule over {schedule.total_steps} steps", panels, caption=caption)


def phases(schedule: Schedule) -> list[tuple[str, float, float]]:
    """What the learning rate does between its knots: (name, first step, last step).

    "rise", "fall" and "hold"; "annihilation" is a fall that begins no higher than the schedule did. Neighbours of
    one name are merged; none where there are more than a dozen (many cycles are seen well enough without).
    """
    curve, last = schedule.curves["lr"], schedule.total_steps - 1
    knots = curve.knots(last)
    if len(knots) > _MOST_POINTS:
        return []
    edges = sorted({0, last, *knots})
    found: list[tuple[str, float, float]] = []
    for start, stop in pairwise(edges):
        name = _course(curve, start, stop)
        if found and found[-1][0] == name == "hold":
            found[-1] = (name, found[-1][1], stop)
        else:
            found.append((name, start, stop))
    return found if len(found) <= _MOST_PHASES else []


def _course(curve: Curve, start: float, stop: float) -> str:
    # A hair before the end: a jump at `stop` belongs to the next phase.
    first, final = curve(start), curve(start + (stop - start) * (1 - 1e-9))
    if abs(final - first) <= 1e-7 * max(abs(first), abs(final)):
        return "hold"
    if final > first:
        return "rise"
    return "annihilation" if start > 0 and first <= curve(0) else "fall"


def drawn_steps(schedule: Schedule, points: int) -> Floats:
    """Steps to draw a schedule at: even ones, and all that lie beside a knot, unless those are more than can be seen.

    Args:
        schedule: what is drawn.
        points: how many even ones, and the most knots of a curve that are kept.
    Returns: (n,) float64, increasing whole numbers from 0 to the last step.
    """
    last = schedule.total_steps - 1
    even = np.linspace(0, last, min(schedule.total_steps, points))
    knots = [curve.knots(last) for curve in schedule.curves.values()]
    # a drop lies between two steps
    beside = [step + shift for few in knots if len(few) <= points for step in few for shift in (-1, 0, 1)]
    return np.unique(np.clip(np.round([*even, *beside]), 0, last))
