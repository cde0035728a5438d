"""The picture behind a recipe: what every setting was worth in the trial trainings, a panel a setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..figures import Figure, Line, Mark, Panel

if TYPE_CHECKING:
    from .recipe import Recipe, Trial

_LABELS = {
    "max_lr": "max_lr", "weight_decay": "weight decay", "batch_size": "batch size", "dropout": "dropout",
    "momentum": "momentum at the peak",
}  # fmt: skip


def figure(recipe: Recipe) -> Figure:
    """A panel for every setting of which several values were tried: trial score over value, a line a length.

    Only the trials that were made to decide that setting are joined; others are points. Weight decay is drawn once
    for every learning rate: how much decay still allows a large rate is what it tells.
    """
    panels = [panel for setting, label in _LABELS.items() if (panel := _panel(recipe, setting, label)) is not None]
    caption = "Annealed 1cycle trainings on validation data; a diverged one counts as chance. Marked: the pick."
    return Figure(f"{recipe.task}: what each setting is worth", panels, columns=2, caption=caption)


def _panel(recipe: Recipe, setting: str, label: str) -> Panel | None:
    trials = [t for t in recipe.evidence if t.score is not None and t.settings.get(setting) is not None]
    values = {_number(t, setting) for t in trials}
    if len(values) < 2:
        return None
    lines: dict[str, list[Trial]] = {}
    for trial in trials:
        other = "" if setting != "weight_decay" else f"max_lr {trial.settings['max_lr']:g}, "
        lines.setdefault(f"{other}{trial.steps} steps", []).append(trial)
    drawn = []
    for name, own in sorted(lines.items(), key=lambda item: item[1][0].steps):
        own = sorted(own, key=lambda t: _number(t, setting))
        hover = [f"{t.factor}, seed {t.seed}" + (", diverged" if t.diverged else "") for t in own]
        x, y = [_number(t, setting) for t in own], [float(t.score or 0.0) for t in own]
        drawn.append(Line(x, y, name, style="solid" if len(set(x)) == len(x) > 1 else "points", hover=hover))
    positive = min(values) > 0
    picked = recipe.picked[setting]
    mark = picked[1] if setting == "momentum" else picked
    return Panel(
        drawn, label.capitalize() if label != "max_lr" else label, label, f"validation {recipe.metric}",
        x_scale="log" if positive and setting not in ("momentum", "dropout") else "linear",
        marks=[] if mark is None else [Mark(x=float(mark), label="picked")],
    )  # fmt: skip


def _number(trial: Trial, setting: str) -> float:
    value: Any = trial.settings[setting]
    return float(value[1] if setting == "momentum" else value)
