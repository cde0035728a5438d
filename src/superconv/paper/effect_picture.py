"""The effects of a claim as a picture: a row each, its interval beside zero and the paper's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ..figures import Line, Mark, Panel
from .effects import Shown, effects_of
from .reproduce import Reproduction

T = TypeVar("T")
OURS, PAPER = 6, 7  # colours
NAME = "our effect, 95% interval"
MOST = 6  # effects in a panel
BELOW = 0.3  # of a row: the interval stands under the line that bears its name
_LABELS = {
    "final accuracy": "difference of final test accuracies, points",
    "generalisation gap": "difference of accuracies on training and test images, points",
    "end of ramp over its peak": "accuracy at the end of the ramp, over its peak",
    "peak's learning rate over the ramp's last": "learning rate of the accuracy's peak, over the ramp's last",
    "test loss at high rates over low": "test loss at .8 to 1 of the last learning rate, over that at .1 to .2",
    "training loss at high rates over low": "training loss at .8 to 1 of the last learning rate, over that at .1 to .2",
    "estimate over learning rate": "estimated learning rate, over the one in use",
    "estimate over noise alone": "estimated learning rate, over that of noise alone",
}


def effect_panels(result: Reproduction) -> list[Panel]:
    """The effects that were measured, a few a panel and each measure apart; none where none was."""
    found = [shown for shown in effects_of(result) if shown.mean is not None]
    panels = []
    for measure, zero in dict.fromkeys((shown.effect.measure, shown.zero) for shown in found):
        mine = [shown for shown in found if (shown.effect.measure, shown.zero) == (measure, zero)]
        panels += [_panel(part) for part in portions(mine, MOST)]
    return panels


def portions(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """The items in parts of nearly the same size, none of more than `most`."""
    size = -(-len(items) // max(1, -(-len(items) // most)))
    return [items[start : start + size] for start in range(0, len(items), max(1, size))]


def _panel(found: Sequence[Shown]) -> Panel:
    """The first effect on top; each stands under its name."""
    lines: list[Line] = []
    marks = [Mark(x=found[0].zero)]
    for row, shown in zip(range(len(found) - 1, -1, -1), found, strict=True):  # the unit stands at the axis
        marks.append(Mark(y=row, label=f"{shown.asserted}: {shown.measured}".replace(" points", "")))
        lines += _row(shown, row - BELOW)
    rows = (-2 * BELOW, len(found) - 1 + 2 * BELOW)
    first = found[0].effect
    against_a_number = first.measure == "final accuracy" and first.baseline is None
    label = "final test accuracy, percent" if against_a_number else _LABELS[first.measure]
    return Panel(lines, "Effects", label, y_range=rows, y_ticks=(), marks=marks)


def _row(shown: Shown, y: float) -> list[Line]:
    assert shown.mean is not None
    lines = []
    if shown.lower is not None and shown.upper is not None:
        lines.append(Line([shown.lower, shown.upper], [y, y], NAME, color=OURS, width=3.0))
    lines.append(Line([shown.mean], [y], NAME, color=OURS, style="points", width=3.0, hover=[shown.word]))
    if shown.size is not None:
        signed = f"{shown.size:+.3g}{shown.unit}"
        lines.append(
            Line([shown.size], [y], "the paper's effect", color=PAPER, style="points", width=3.0, hover=[signed])
        )
    return lines
