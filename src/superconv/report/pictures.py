"""The figures of one experiment: range tests, final values, training curves, schedules."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..figures import Figure, Line, Mark, Panel, Span
from ..figures.spec import Scale
from ..schedules import Schedule
from ..schedules.preview import drawn_steps
from .curvature import curvature_figure
from .curves import Floats, band_note, interval, over_seeds
from .groups import Group, color_order, short_names
from .ramps import RampGroup
from .read import Run

_POINTS = 200  # of a curve over seeds
_RAMP_POINTS = 400
_MOST_TICKS = 10  # of an axis of lengths
_MOST_PANELS = 24  # more would be leafed past; the tables have the numbers


@dataclass(frozen=True)
class Picture:
    """A figure with the name of its file and of its section in the report."""

    slug: str
    section: str
    figure: Figure


def pictures_of(ramps: Sequence[RampGroup], groups: Sequence[Group], metric: str) -> list[Picture]:
    """Every figure that the runs can fill."""
    found = [Picture("range-test-" + slug(group.arm), "Range tests", range_figure(group)) for group in ramps]
    for figure, name, section in (
        (final_figure(groups, metric), "final-values", "Results"),
        (curves_figure(groups, metric), "training-curves", "Training curves"),
        (schedules_figure(groups), "schedules", "Schedules"),
        (curvature_figure(groups), "curvature", "What curvature says"),
    ):
        if figure is not None:
            found.append(Picture(name, section, figure))
    names = distinct([picture.slug for picture in found])
    return [replace(picture, slug=name) for picture, name in zip(found, names, strict=True)]


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that are there already."""
    given: list[str] = []
    for name in names:
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        given.append(next(each for each in itertools.chain([name], numbered) if each not in given))
    return given


def slug(name: str) -> str:
    """A file name of letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed"


# ---- range tests -----------------------------------------------------------------------------------------------------


def range_figure(group: RampGroup) -> Figure:
    """Loss and metric along the ramps of one arm, a line a seed; shaded: the suggested range."""
    suggestion = group.suggestion
    spans, marks = [], []
    if suggestion.max_lr is not None and suggestion.min_lr is not None:
        spans = [Span(suggestion.min_lr, suggestion.max_lr, "suggested range")]
        marks = [Mark(x=suggestion.max_lr, label=f"max_lr {suggestion.max_lr:.2g}")]
    scale: Scale = "linear" if all(ramp.shape == "linear" for ramp in group.ramps) else "log"
    metric = group.ramps[0].metric_name
    losses, metrics = [], []
    for color, (name, ramp) in enumerate(zip(group.names, group.ramps, strict=True)):
        losses += _ramp_line(ramp.lr, ramp.train_loss, name, color, scale)
        metrics += _ramp_line(ramp.lr, ramp.metric, name, color, scale)
        forks = [fork for fork in ramp.forks if np.isfinite(fork.metric) and not fork.diverged]
        if forks:
            hover = [f"LR {fork.lr:.3g}, annealed in {fork.steps} steps" for fork in forks]
            x, y = [fork.lr for fork in forks], [fork.metric for fork in forks]
            metrics.append(Line(x, y, f"{name}, annealed forks", style="points", color=color, hover=hover, width=2.2))
    panels = [
        Panel(losses, "Training loss", "learning rate", "loss", x_scale=scale, y_range=_loss_range(losses),
              spans=spans, marks=marks)
    ]  # fmt: skip
    if metrics:
        chance = group.ramps[0].chance
        more = [Mark(y=chance, label="chance")] if chance is not None else []
        branches = ", and of annealed forks" if any(ramp.forks for ramp in group.ramps) else ""
        title = f"{metric[:1].upper()}{metric[1:]}{branches}"
        panels.append(Panel(metrics, title, "learning rate", metric, x_scale=scale, spans=spans, marks=[*marks, *more]))
    return Figure(f"{group.arm}: LR range test", panels, columns=2, caption=group.reading)


def _ramp_line(lr: Floats, values: Floats, name: str, color: int, scale: str) -> list[Line]:
    keep = np.isfinite(values) & np.isfinite(lr) & ((lr > 0) | (scale == "linear"))
    x, y = lr[keep], values[keep]
    if not len(x):
        return []
    every = max(1, int(np.ceil(len(x) / _RAMP_POINTS)))
    x, y = x[::every], y[::every]
    hover = [f"LR {rate:.3g}" for rate in x]
    return [Line(x.tolist(), y.tolist(), name, color=color, hover=hover, width=1.6)]


def _loss_range(lines: Sequence[Line]) -> tuple[float, float] | None:
    """Cuts the blow-up at the end of a ramp, which would press the rest flat."""
    starts = [float(np.median(line.y[:3])) for line in lines]
    values = np.concatenate([line.y for line in lines]) if lines else np.empty(0)
    if not len(values) or values.min() < 0 or max(starts) <= 0 or values.max() < 1.6 * max(starts):
        return None
    return (0.0, 1.5 * max(starts))


# ---- trainings -------------------------------------------------------------------------------------------------------


def final_figure(groups: Sequence[Group], metric: str) -> Figure | None:
    """Final validation metric of every arm against the planned length; None with fewer than two lengths."""
    colors = color_order(groups)
    panels, counts = [], []
    for task in dict.fromkeys(group.task for group in groups):
        mine = [group for group in groups if group.task == task]
        points: dict[str, list[tuple[float, float, float, float]]] = {}
        for group in mine:
            for arm, name in short_names(group).items():
                mean, low, high, n = interval([run.final("validation") for run in group.arms[arm]])
                if n:
                    points.setdefault(name, []).append((group.steps, mean, low, high))
                    counts.append(n)
        lines = [_final_line(name, found, colors[name]) for name, found in points.items()]
        if any(len(found) > 1 for found in points.values()):
            ticks = _apart(sorted({int(x) for line in lines for x in line.x if x > 0}))
            panels.append(
                Panel(lines, mine[0].task_name, "planned steps", f"validation {metric}", x_scale="log", x_ticks=ticks)
            )
    if not panels:
        return None
    title = f"Final validation {metric} against the length of the training"
    return Figure(title, panels, columns=2, caption=band_note(counts))


def _apart(lengths: Sequence[int]) -> list[int]:
    """Of ascending lengths those whose numbers do not run into each other on a log axis; first and last among them."""
    kept: list[int] = []
    least = np.log(lengths[-1] / lengths[0]) / _MOST_TICKS if lengths else 0.0
    for length in reversed(lengths):
        if not kept or np.log(kept[-1] / length) >= least:
            kept.append(length)
    if len(kept) > 1:
        kept[-1] = lengths[0]
    return kept[::-1]


def _final_line(name: str, points: Sequence[tuple[float, float, float, float]], color: int) -> Line:
    x, y, low, high = (list(column) for column in zip(*points, strict=True))
    return Line(x, y, name, lower=low, upper=high, color=color, width=2.2)


def curves_figure(groups: Sequence[Group], metric: str) -> Figure | None:
    """Training loss and evaluation metric of every arm: a row of two panels a group."""
    colors = color_order(groups)
    panels: list[Panel] = []
    counts: list[int] = []
    diverged = 0
    for group in groups[: _MOST_PANELS // 2]:
        names = short_names(group)
        losses, metrics = [], []
        for arm, runs in group.arms.items():
            losses += _seed_line(names[arm], [(r.train["step"], r.train["loss"]) for r in runs], colors, counts)
            measured = [(r.evaluations["step"], r.evaluations["metric"]) for r in runs]
            metrics += _seed_line(names[arm], measured, colors, counts)
            diverged += sum(run.state == "diverged" for run in runs)
        split = next((r.split for runs in group.arms.values() for r in runs if r.split), "")
        if losses or metrics:
            panels.append(Panel(losses, group.title, "step", "training loss", y_range=_curve_range(losses)))
            panels.append(Panel(metrics, group.title, "step", f"{split} {metric}".strip()))
    if not panels:
        return None
    caption = band_note(counts) + " Long curves are averaged over neighbouring steps."
    if diverged:
        caption += f" {diverged} run(s) diverged and leave the mean where they ended."
    if len(groups) > _MOST_PANELS // 2:
        caption += f" Shown: {_MOST_PANELS // 2} of {len(groups)} combinations of task and length."
    return Figure(f"Training loss and {metric} along the trainings", panels, columns=2, caption=caption)


def _seed_line(
    name: str, curves: Sequence[tuple[Floats, Floats]], colors: dict[str, int], counts: list[int]
) -> list[Line]:
    curve = over_seeds(curves, _POINTS)
    if not len(curve.x):
        return []
    counts.append(int(curve.n.max()))
    several = counts[-1] > 1
    return [
        Line(
            curve.x.tolist(), curve.mean.tolist(), name, color=colors[name],
            lower=curve.lower.tolist() if several else None, upper=curve.upper.tolist() if several else None,
        )
    ]  # fmt: skip


def _curve_range(lines: Sequence[Line]) -> tuple[float, float] | None:
    """Cuts losses that blew up at twice the level at which the trainings began."""
    starts = [line.y[0] for line in lines if len(line.y)]
    top = 2.0 * float(np.median(starts)) if starts else 0.0
    highest = max((max(line.y) for line in lines), default=0.0)
    lowest = min((min(line.y) for line in lines), default=0.0)
    return (0.0, top) if highest > top > 0 and lowest >= 0 else None


# ---- schedules -------------------------------------------------------------------------------------------------------


def schedules_figure(groups: Sequence[Group]) -> Figure | None:
    """Learning rate and momentum over the steps: as stored, else as the rows recorded them.

    A panel shows one combination of task and length, or several whose schedules are the same.
    """
    colors = color_order(groups)
    panels: list[Panel] = []
    for key, label in (("lr", "learning rate"), ("momentum", "momentum")):
        same: dict[tuple[Line, ...], list[Group]] = {}
        for group in groups[: _MOST_PANELS // 2]:
            lines = _schedule_lines(group, key, colors)
            if lines:
                same.setdefault(lines, []).append(group)
        panels += [Panel(lines, _joint_title(found, groups), "step", label) for lines, found in same.items()]
    if not panels:
        return None
    columns = 3 if len(panels) > 4 else 2
    return Figure("Learning rate and momentum", panels, columns, "Arms that set no momentum have no line in its panel.")


def _joint_title(found: Sequence[Group], groups: Sequence[Group]) -> str:
    """Title of a panel that stands for several groups; tasks are named where it does not stand for all."""
    if len(found) == 1:
        return found[0].title
    tasks = list(dict.fromkeys(group.task_name for group in found))
    steps = ", ".join(dict.fromkeys(str(group.steps) for group in found))
    every = len(tasks) == len({group.task_name for group in groups})
    return f"{steps} steps" if every else f"{', '.join(tasks)}, {steps} steps"


def _schedule_lines(group: Group, key: str, colors: dict[str, int]) -> tuple[Line, ...]:
    names = short_names(group)
    lines = []
    for arm, runs in group.arms.items():
        values = _scheduled(runs[0])
        if key in values:
            x, y = values["step"].tolist(), values[key].tolist()
            lines.append(Line(x, y, names[arm], color=colors[names[arm]]))
    return tuple(lines)


def _scheduled(run: Run) -> dict[str, Floats]:
    """step, lr and momentum of a run, thinned; empty where it tells neither."""
    if run.schedule is not None:
        try:
            schedule = Schedule.from_dict(run.schedule)
        except (ValueError, TypeError, KeyError):
            schedule = None  # of another version: the rows tell it, too
        if schedule is not None:
            steps = drawn_steps(schedule, _POINTS)
            values = schedule.values(steps.astype(np.int64))
            return {"step": steps, **{key: values[key] for key in ("lr", "momentum") if key in values}}
    every = max(1, int(np.ceil(len(run.train["step"]) / _POINTS)))
    recorded = {key: run.train[key][::every] for key in ("step", "lr", "momentum")}
    return {key: column for key, column in recorded.items() if np.isfinite(column).any()}
