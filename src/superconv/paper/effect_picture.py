"""The effects of a claim as a picture: a row each, its interval beside zero and the paper's size."""

from __future__ import annotations

from collections.abc import Sequence

from ..figures import Line, Mark, Panel
from .effects import Shown, effects_of
from .reproduce import Reproduction

OURS, PAPER = 6, 7  # colours
NAME = "our effect, 95% interval"
BELOW = 0.3  # of a row: the interval stands under the line that bears its name
_LABELS = {
    "final accuracy": "difference of final test accuracies, points",
    "end of ramp over its peak": "accuracy at the end of the ramp, over its peak",
    "estimate over learning rate": "estimated learning rate, over the one in use",
    "estimate over noise alone": "estimated learning rate, over that of noise alone",
}


def effect_panels(result: Reproduction) -> list[Panel]:
    """A panel a measure, with the effects that were measured; none where none was."""
    found = [shown for shown in effects_of(result) if shown.mean is not None]
    return [
        _panel([shown for shown in found if shown.effect.measure == measure])
        for measure in dict.fromkeys(shown.effect.measure for shown in found)
    ]


def _panel(found: Sequence[Shown]) -> Panel:
    """The first effect on top; each stands under its name."""
    lines: list[Line] = []
    marks = [Mark(x=found[0].zero)]
    for row, shown in zip(range(len(found) - 1, -1, -1), found, strict=True):
        marks.append(Mark(y=row, label=f"{shown.asserted}: {shown.measured}"))
        lines += _row(shown, row - BELOW)
    rows = (-2 * BELOW, len(found) - 1 + 2 * BELOW)
    return Panel(lines, "Effects", _LABELS[found[0].effect.measure], y_range=rows, y_ticks=(), marks=marks)


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
