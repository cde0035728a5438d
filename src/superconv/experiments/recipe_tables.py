"""A recipe as tables of plain data: title, columns, rows, note."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..analysis.recipe import track_record

if TYPE_CHECKING:
    from .recipe import Recipe


def recipe_tables(recipe: Recipe) -> list[dict[str, Any]]:
    """The settings, and the trial trainings by what they were to decide."""
    factors = dict.fromkeys(trial.factor for trial in recipe.evidence)
    return [_settings(recipe), *(_factor(recipe, factor) for factor in factors)]


def sentences(recipe: Recipe) -> list[str]:
    """What was found, first what to do."""
    reached = "; ".join(
        f"{_score(recipe, fmean(scores))} after {steps} steps (n={len(scores)})"
        for steps, scores in recipe.reached.items()
    )
    found = [f"{recipe.schedule.replace(',', ', ')}, weight decay {_decay(recipe)}, batch size {recipe.batch_size}."]
    if reached:
        found.append(
            f"Validation {recipe.metric} in its trial trainings: {reached}. No forecast is made of longer ones."
        )
    elif recipe.evidence:  # picked all the same: why, and that it was not tried
        found.append(f"No trial training with these settings ended well: {recipe.chosen_by}.")
    if failed := sum(trial.diverged for trial in recipe.evidence):
        found.append(f"Of {len(recipe.evidence)} trial trainings {failed} diverged.")
    if recipe.noise is not None:
        found.append(
            f"With {recipe.validation_samples} validation samples an accuracy has a standard error of "
            f"{100 * recipe.noise:.1f} points: settings that differ by less are not told apart."
        )
    found.append(f"Tolerance of large learning rates: {recipe.tolerance}. {' '.join(recipe.reasons)}".rstrip())
    found += [f"Edge: {edge}." for edge in recipe.edges]
    if recipe.untried:
        found.append(f"Not searched: {', '.join(recipe.untried)}.")
    if recipe.metric == "accuracy":
        found.append(track_record.sentence())
    return found


def _settings(recipe: Recipe) -> dict[str, Any]:
    high, low = recipe.policy.get("max_momentum"), recipe.policy.get("min_momentum")
    constant = recipe.optimizer_options.get("momentum")
    fraction = recipe.averaging_fraction(recipe.steps)
    memory = recipe.memory_epochs
    own = {k: v for k, v in recipe.optimizer_options.items() if k not in ("weight_decay", "momentum")}
    rows: list[list[str]] = [
        ["optimizer", recipe.optimizer + "".join(f", {key} {value}" for key, value in own.items())],
        ["learning rate", f"{recipe.policy['initial_lr']:g} to {recipe.policy['max_lr']:g}, then to "
                          f"{recipe.policy['final_lr']:g}"],
        ["momentum", f"{high:g} to {low:g} and back" if high is not None and low is not None
                     else "none" if constant is None else f"{constant:g}, constant"],
        ["weight decay", _decay(recipe) + (f" (weights remember 1/(lr wd) = {memory:.3g} epochs)" if memory else "")],
        ["batch size", str(recipe.batch_size)],
        ["steps", str(recipe.steps)],
        ["gradient clipping", "none" if recipe.clip_grad_norm is None else f"norm {recipe.clip_grad_norm:g}"],
        ["precision", recipe.precision],
        ["BatchNorm averaging", "no BatchNorm" if fraction is None else f"{fraction:.3g}"],
        *([["dropout", f"{recipe.dropout:g}"]] if recipe.dropout is not None else []),
        ["range test", recipe.suggestion],
        ["tolerance of large rates", recipe.tolerance],
    ]  # fmt: skip
    note = f"{recipe.chosen_by}; {recipe.updates} of {recipe.budget} updates spent (strategy {recipe.strategy})"
    return {"title": f"Recipe for {recipe.task}", "columns": ["setting", "value"], "rows": rows, "note": note}


def _factor(recipe: Recipe, factor: str) -> dict[str, Any]:
    trials = [trial for trial in recipe.evidence if trial.factor == factor]
    rows = [
        [f"{t.settings['max_lr']:g}", *(_shown(t.settings[k]) for k in ("weight_decay", "momentum", "batch_size")),
         *([_shown(t.settings["dropout"])] if recipe.dropout is not None else []), str(t.steps), str(t.seed),
         "diverged" if t.diverged else "-" if t.score is None else _score(recipe, t.score)]
        for t in trials
    ]  # fmt: skip
    columns = ["max_lr", "weight decay", "momentum", "batch size"]
    columns += [*(["dropout"] if recipe.dropout is not None else []), "steps", "seed", f"validation {recipe.metric}"]
    return {"title": f"Trials: {factor}", "columns": columns, "rows": rows, "note": "annealed 1cycle trainings"}


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return "-".join(f"{v:g}" for v in dict.fromkeys(value)) if isinstance(value, list | tuple) else f"{value:g}"


def _decay(recipe: Recipe) -> str:
    value = recipe.optimizer_options.get("weight_decay")
    return "none" if value is None else f"{value:g}"


def _score(recipe: Recipe, value: float) -> str:
    return f"{value:.2%}" if recipe.metric.endswith("accuracy") else f"{value:.4g}"
