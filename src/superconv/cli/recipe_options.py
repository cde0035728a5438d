"""A recipe file under the options of `superconv train`: what is given explicitly wins, conflicts are named."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ..experiments.config import Arm
    from ..experiments.recipe import Recipe

_SAME_NAME = ("batch_size", "precision", "clip_grad_norm", "averaging_fraction")  # in the options and in an arm


def given_options(context: typer.Context) -> dict[str, Any]:
    """The options that stand on the command line, by parameter name."""
    source = context.get_parameter_source
    return {
        name: value
        for name, value in context.params.items()
        if (where := source(name)) is not None and where.name == "COMMANDLINE"
    }


def load_recipe(path: Path, given: Mapping[str, Any]) -> Recipe:
    """The recipe, where what is given beside it does not contradict it.

    Raises: ValueError: another optimizer, a momentum where the recipe cycles it, or the file (as `Recipe.load`).
    """
    from ..experiments.recipe import Recipe

    recipe = Recipe.load(path)
    other = given.get("optimizer", recipe.optimizer)
    if other != recipe.optimizer:
        raise ValueError(
            f"--optimizer {other} contradicts the recipe, whose learning rate and weight decay are for "
            f"{recipe.optimizer}; drop it, or search again with superconv find --optimizer {other}"
        )
    if "momentum" in given and "schedule" not in given and recipe.policy.get("max_momentum") is not None:
        raise ValueError(
            "--momentum contradicts the recipe, which cycles the momentum; drop it, or give a --schedule that leaves "
            "momentum alone (max_momentum=none)"
        )
    return recipe


def tell_task(recipe: Recipe, task: str) -> None:
    """Say on stderr where the recipe was found for another task."""
    if recipe.task != task:
        print(f"superconv: the recipe was found for {recipe.task}, not for {task}", file=sys.stderr)


def arm_by_recipe(recipe: Recipe, steps: int, given: Mapping[str, Any], rest: Arm) -> Arm:
    """The recipe's arm with what was given explicitly in place of its own; says on stderr what was replaced.

    Args:
        steps: length of the run.
        given: as from `given_options`.
        rest: the arm that the options alone describe; what a recipe does not say is taken from it.
    """
    arm = recipe.arm(steps)
    options = dict(arm.optimizer_options)
    changed = {name: getattr(rest, name) for name in _SAME_NAME if name in given}
    if "schedule" in given:
        changed["schedule"] = rest.schedule
    for name in ("momentum", "weight_decay", "norm_weight_decay"):
        if name in given:
            options |= {key: rest.optimizer_options[key] for key in _keys(name) if key in rest.optimizer_options}
    _tell(recipe, given)
    kept = {name: getattr(arm, name) for name in ("schedule", "optimizer", *_SAME_NAME)}
    return replace(rest, **{**kept, **changed, "optimizer_options": options})


def _keys(option: str) -> tuple[str, ...]:
    return (option, "bias_weight_decay") if option == "norm_weight_decay" else (option,)


def _tell(recipe: Recipe, given: Mapping[str, Any]) -> None:
    own = {**recipe.optimizer_options, "schedule": recipe.schedule, "batch_size": recipe.batch_size,
           "precision": recipe.precision, "clip_grad_norm": recipe.clip_grad_norm}  # fmt: skip
    for name, value in own.items():
        if name in given and given[name] != value:
            print(f"superconv: --{name.replace('_', '-')} {given[name]} replaces the recipe's {value}", file=sys.stderr)
