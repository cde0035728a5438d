"""The picture behind a recipe: what every setting was worth in the trial trainings, a panel a setting."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..figures import Figure, Line, Mark, Panel

if TYPE_CHECKING:
    from .recipe import Recipe, Trial

_LABELS = {
    "weight_decay": "weight decay", "max_lr": "max_lr", "momentum": "momentum at the peak", "batch_size": "batch size",
    "dropout": "dropout",
}  # fmt: skip
_FEW = ("momentum", "batch_size", "dropout")  # values that were tried are the only ones that mean anything
_LOGARITHMIC = ("weight_decay", "max_lr", "batch_size")


def figure(recipe: Recipe) -> Figure:
    """A panel for every setting of which several values were tried with all else alike.

    Weight decay: a line for every learning rate and length, which tells how much decay still allows a large rate.
    max_lr: a line for every product of learning rate and weight decay. Batch size: a line for every number of samples,
    the learning rate in proportion. Points are means over the seeds that were trained. There is no panel where the
    range test alone decided.
    """
    panels = [panel for setting in _LABELS if (panel := _panel(recipe, setting)) is not None]
    caption = "Annealed 1cycle trainings on validation data; a diverged one is drawn at chance. Marked: the pick."
    if not panels:
        caption = "No setting was tried at several values with all else alike: the budget held too few trainings."
    return Figure(f"{recipe.task}: what each setting is worth", panels, columns=2, caption=caption)


def _panel(recipe: Recipe, setting: str) -> Panel | None:
    lines: dict[str, dict[float, list[float]]] = {}
    for trial in recipe.evidence:
        if trial.score is not None and trial.settings.get(setting) is not None:
            points = lines.setdefault(_FAMILY[setting](trial), {})
            points.setdefault(_number(trial.settings, setting), []).append(trial.score)
    drawn = []
    for name, points in sorted(lines.items(), key=lambda item: _natural(item[0])):
        if len(points) > 1:
            x = sorted(points)
            hover = [f"{len(points[value])} seed{'s' if len(points[value]) > 1 else ''}" for value in x]
            drawn.append(Line(x, [fmean(points[value]) for value in x], name, hover=hover))
    if not drawn:
        return None
    label = _LABELS[setting]
    positive = all(value > 0 for line in drawn for value in line.x)
    marks = [Mark(x=_number(recipe.picked, setting), label="picked")] if recipe.picked[setting] is not None else []
    return Panel(
        drawn, label if setting == "max_lr" else label.capitalize(), label, f"validation {recipe.metric}",
        x_scale="log" if positive and setting in _LOGARITHMIC else "linear", marks=marks,
        x_ticks=sorted({x for line in drawn for x in line.x}) if setting in _FEW else None,
    )  # fmt: skip


def _of_decay(trial: Trial) -> str:
    return (
        f"max_lr {trial.settings['max_lr']:g}, {trial.steps} steps{_rest(trial, 'momentum', 'batch_size', 'dropout')}"
    )


def _of_lr(trial: Trial) -> str:
    decay = trial.settings["weight_decay"]
    product = "" if decay is None else f"lr x wd {decay * trial.settings['max_lr']:.0e}, "
    return f"{product}{trial.steps} steps{_rest(trial, 'momentum', 'batch_size', 'dropout')}"


def _of_batch_size(trial: Trial) -> str:
    size = trial.settings["batch_size"]
    per_sample = f"lr {trial.settings['max_lr'] / size:.0e} a sample"
    return f"{size * trial.steps} samples, {per_sample}{_rest(trial, 'weight_decay', 'momentum', 'dropout')}"


def _of_others(setting: str) -> Callable[[Trial], str]:
    others = [name for name in _LABELS if name != setting]
    return lambda trial: f"{trial.steps} steps{_rest(trial, *others)}"


_FAMILY: dict[str, Callable[[Trial], str]] = {
    "weight_decay": _of_decay, "max_lr": _of_lr, "batch_size": _of_batch_size, "momentum": _of_others("momentum"),
    "dropout": _of_others("dropout"),
}  # fmt: skip
"""Setting -> the name of the line that a trial belongs to: all that is held along it."""


def _rest(trial: Trial, *names: str) -> str:
    """Settings that are held, in words."""
    told = []
    for name in names:
        value = trial.settings[name]
        if value is not None:
            shown = "-".join(f"{v:g}" for v in value) if isinstance(value, list | tuple) else f"{value:g}"
            told.append(f"{_SHORT[name]} {shown}")
    return "".join(f", {entry}" for entry in told)


_SHORT = {"weight_decay": "wd", "max_lr": "lr", "momentum": "mom", "batch_size": "batch", "dropout": "dropout"}


def _natural(name: str) -> list[tuple[float, str]]:
    """Sorts numbers in a name by their value."""
    parts = name.replace(",", " ").split()
    return [(float(part), "") if part.replace(".", "").isdigit() else (0.0, part) for part in parts]


def _number(settings: Any, setting: str) -> float:
    value = settings[setting]
    return float(value[1] if setting == "momentum" else value)
