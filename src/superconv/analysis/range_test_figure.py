"""The picture of a range test: losses, metric and forks over LR, with the suggested range shaded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..figures.spec import Figure, Line, Mark, Panel, Scale, Span
from .plateau import measured
from .range_test import RangeTest
from .smoothing import block_average, local_linear, local_median
from .suggestion import Suggestion

Floats = NDArray[np.float64]

_POINTS = 1500  # more are averaged in blocks: a screen shows no more


def figure(ramp: RangeTest) -> Figure:
    """Two panels (losses; metric and forks) over log LR, or over LR where the ramp is linear.

    Raw values are thin, smoothed ones thick (losses: centred local linear over log LR; metric: centred running
    median); every point shows its LR. Shaded: the range of one cycle that `suggest()` proposes.
    """
    suggestion = ramp.suggest()
    scale: Scale = "linear" if ramp.shape == "linear" else "log"
    spans, marks = _range(suggestion)
    panels = [
        Panel(
            _loss_lines(ramp), title="Loss along the ramp", x_label="learning rate", y_label="loss (nats)",
            x_scale=scale, y_range=_loss_range(ramp), spans=spans, marks=marks,
        )
    ]  # fmt: skip
    lines = _metric_lines(ramp)
    if lines:
        name = ramp.metric_name  # "RMSE" and "meanIoU" keep their letters
        title = f"{name[:1].upper()}{name[1:]} along the ramp" + (", and of annealed forks" if ramp.forks else "")
        if ramp.chance is not None:
            marks = [*marks, Mark(y=ramp.chance, label="chance")]
        panels.append(
            Panel(lines, title=title, x_label="learning rate", y_label=ramp.metric_name, x_scale=scale,
                  spans=spans, marks=marks)
        )  # fmt: skip
    from .range_test_text import headline

    return Figure("LR range test", panels, caption=f"{headline(suggestion)}: {suggestion.reason}")


def _range(suggestion: Suggestion) -> tuple[list[Span], list[Mark]]:
    if suggestion.max_lr is None or suggestion.min_lr is None:
        return [], []
    span = Span(suggestion.min_lr, suggestion.max_lr, "suggested range of one cycle")
    return [span], [Mark(x=suggestion.max_lr, label=f"max_lr {suggestion.max_lr:.2g}")]


def _loss_lines(ramp: RangeTest) -> list[Line]:
    lines = []
    for name, values, color in (("training loss", ramp.train_loss, 0), ("evaluation loss", ramp.eval_loss, 1)):
        x, y = _thinned(ramp.lr, values)
        if len(x):
            dense = len(x) > 20 and values is ramp.train_loss  # one batch a point; an evaluation is what it is
            lines.append(_line(x, y, name, color=color, width=1.0, opacity=0.35 if dense else 1.0))
            if dense:
                smooth = local_linear(np.log(x), _clipped(y))
                lines.append(_line(x, smooth, f"{name}, smoothed", color=color, width=2.4))
    return lines or [Line((), (), "training loss")]


def _metric_lines(ramp: RangeTest) -> list[Line]:
    x, y = _thinned(ramp.lr, ramp.metric)
    lines = []
    if len(x):
        lines.append(_line(x, y, ramp.metric_name, color=2, width=1.0, opacity=0.45))
    if len(x) > 20:
        lines.append(_line(x, local_median(np.log(x), y), f"{ramp.metric_name}, smoothed", color=2, width=2.4))
    forks = [f for f in ramp.forks if np.isfinite(f.metric) and not f.diverged]
    if forks:
        hover = [f"LR {f.lr:.3g}, annealed in {f.steps} steps" for f in forks]
        where, values = [f.lr for f in forks], [f.metric for f in forks]
        lines.append(Line(where, values, "forks, annealed to LR 0", style="points", color=3, hover=hover))
    return lines


def _thinned(lr: Floats, values: Floats) -> tuple[Floats, Floats]:
    x, y = measured(lr, values)
    return block_average(x, y, _POINTS)


def _line(x: Floats, y: Floats, name: str, *, color: int, width: float, opacity: float = 1.0) -> Line:
    hover = [f"LR {value:.3g}" for value in x]
    return Line(x.tolist(), y.tolist(), name, color=color, width=width, opacity=opacity, hover=hover)


def _clipped(y: Floats) -> Floats:
    """Losses with their blow-up cut at twice the starting level, so that one point does not bend the smoothing."""
    return np.minimum(y, 2.0 * max(float(np.median(y[:3])), 1e-12)) if np.median(y[:3]) > 0 else y


def _loss_range(ramp: RangeTest) -> tuple[float, float] | None:
    finite = ramp.train_loss[np.isfinite(ramp.train_loss)]
    if len(finite) < 3 or finite.min() < 0.0:
        return None
    top = 1.5 * float(np.median(finite[:3]))
    return (0.0, top) if finite.max() > top > 0.0 else None
