"""From a task to a recipe: probes chosen by `analysis.recipe`, made within a budget, and what follows from them."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .. import runs
from ..analysis.range_test import suggest
from ..analysis.range_test_text import headline
from ..analysis.recipe.conclusion import conclude
from ..analysis.recipe.knowledge import Candidate, Outcome, Plan, Probe
from ..analysis.recipe.ramps import budget_for_verdict, smallest_budget
from ..analysis.recipe.reasons import of_search
from ..analysis.recipe.search import next_probes
from ..analysis.repeats import joint_verdict
from ..callers_level import callers_level
from ..data import Splits
from ..models import has_batch_norm
from ..task import Task, metric_name
from .allowance import parse_allowance
from .arm_parts import VALIDATION_SAMPLES
from .conclusion_file import store_conclusion
from .probing import SHORTEST_TIMING, Deadline, Fixed, Prober, Report
from .recipe import Recipe, Trial
from .recipe_tables import recipe_tables, sentences
from .search_plan import check_options, check_search, check_values, search_plan
from .stopping import StopSignal
from .sweep import MakeTask, check_callers, task_of
from .workers import Workers

RECIPE_FILE = "recipe.json"
SPEED_MARGIN = 0.8  # of the minutes allowed is planned for: updates do not all take the same time


def find(
    task: Task | MakeTask,
    *,
    steps: int,
    budget: int | float | str = 0.1,
    strategy: str = "balance",
    optimizer: str = "sgd",
    optimizer_options: Mapping[str, Any] | None = None,
    batch_size: int = 128,
    weight_decays: Sequence[float] | None = None,
    momenta: Sequence[tuple[float, float]] | None = None,
    batch_sizes: Sequence[int] | None = None,
    dropouts: Sequence[float] | None = None,
    clip_grad_norm: float | None = None,
    precision: str = "fp32",
    root: str | Path = "runs",
    experiment: str = "find",
    device: str | None = None,
    workers: Workers = 1,
    stop: StopSignal | None = None,
    report: Report | None = None,
) -> Recipe | None:
    """Search settings for a 1cycle training of `steps` updates, on validation data alone.

    Range tests with annealed forks give max_lr and the verdict; then short annealed 1cycle trainings at two lengths
    decide weight decay, learning rate, momentum, batch size and dropout, as far as the budget goes; the two best are
    trained again on fresh seeds (`analysis.recipe.balance`). The test data is never read. Every probe is a run
    directory, so that the same call goes on where it was stopped.

    Args:
        task: a Task, trained in this process; or a function that makes one and pickles, for `workers`.
        steps: length of the training that is planned, in updates of `batch_size`.
        budget: updates (int), a share of `steps` (a float below 1, "10%"), or minutes ("5min"). It is kept: a probe
            that does not fit is not begun. An update of another batch size counts by its samples, if that is more.
        strategy: "balance", or "companion" (arXiv 1803.09820, Sec. 5).
        optimizer: as in `build_optimizer`.
        optimizer_options: further arguments of `build_optimizer` that are not searched, such as norm_weight_decay;
            weight_decay, momentum and lr have parameters of their own, or are what is looked for.
        batch_size: of the planned training.
        weight_decays, momenta: values to try; None: usual ones; one value: used throughout, not searched.
            Between several weight decays, and beyond the best of them, more are tried. Momenta are (at both ends of the
            cycle, at its peak).
        batch_sizes: to try besides `batch_size`; None: half and double; (): not searched.
        dropouts: likewise, as weight decays; searched where the task's model function takes it.
        clip_grad_norm, precision: of every training, as in `train_steps`.
        root, experiment: the folder of runs, and the name of this search in it.
        device: by name; None: a GPU where there is one.
        workers: processes for independent trainings; 1: this process; None: one a core.
        stop: asked between two steps.
        report: called with ("find", updates spent, budget, text) before and after every probe.
    Returns: the Recipe, also saved as recipe.json in the experiment's folder; None where it was stopped.
    Warns: another task's recipe lies there, which is replaced.
    Raises: ValueError: a budget below one range test, a value that the optimizer refuses or the strategy does not
        search, an option that would be written over, a task that cannot be trained or judged. What was finished stays.
    """
    started = time.perf_counter()
    made = task_of(task)
    check_callers(stop, report)
    folder = runs.experiment_path(root, experiment)
    check_search(made, steps, strategy, batch_size)
    _warn_of_another(folder / RECIPE_FILE, made)
    allowance = parse_allowance(budget, steps)
    options = dict(optimizer_options or {})
    check_options(options)
    data = made.data.with_validation(VALIDATION_SAMPLES)
    plan = search_plan(
        made, steps, strategy, optimizer, batch_size, len(data.train), weight_decays, momenta, batch_sizes, dropouts
    )
    accuracy = metric_name(made.metric).endswith("accuracy")
    if accuracy and strategy == "balance" and data.validation is not None:
        plan = replace(plan, eval_samples=len(data.validation))
    fixed = Fixed(optimizer, options, clip_grad_norm, precision, _has_batch_norm(made))
    check_values(plan, fixed)
    outer = stop or StopSignal()
    prober = Prober(
        task, made, fixed, plan, where={"root": root, "experiment": experiment, "device": device}, workers=workers,
        stop=outer, report=report,
    )  # fmt: skip
    if allowance.seconds is not None:
        speed = prober.seconds_per_update()
        if math.isnan(speed):
            return None
        updates = math.floor(SPEED_MARGIN * allowance.seconds / speed)
        plan = replace(plan, budget=updates, spent=SHORTEST_TIMING)
    else:
        assert allowance.updates is not None
        plan = replace(plan, budget=allowance.updates)
    if plan.budget < smallest_budget(plan):
        raise ValueError(_too_small(budget, plan, allowance.seconds))
    prober.plan = plan
    knowledge = _search(prober, plan, outer, allowance.seconds, started)
    if knowledge is None:
        return None
    recipe = _recipe(knowledge, prober, plan, data)
    recipe.save(folder / RECIPE_FILE)
    _store(recipe, made, folder, time.perf_counter() - started)
    return recipe


def _search(
    prober: Prober, plan: Plan, outer: StopSignal, seconds: float | None, started: float
) -> dict[Probe, Outcome] | None:
    """Everything that was found; None where the caller stopped it, or time was up before there was anything."""
    knowledge: dict[Probe, Outcome] = {}
    while batch := next_probes(knowledge, plan):
        if seconds is not None:  # what earlier calls spent is counted by the runs that they finished
            prober.stop = Deadline(outer, seconds - max(prober.seconds, time.perf_counter() - started))
        updates = plan.spent + sum(outcome.updates for outcome in knowledge.values())
        found = prober.make(batch, updates)
        knowledge |= found
        if outer.reason() is not None:
            return None
        if len(found) < len(batch):
            break  # time is up: what is known has to do
    if not knowledge:
        raise ValueError("the minutes allowed were over before one range test was done; allow more")
    return knowledge


def _warn_of_another(path: Path, task: Task) -> None:
    """Say before the search which other task's recipe its own will replace; one that cannot be read is no loss."""
    try:
        other = Recipe.load(path).task
    except ValueError:
        return
    if other != task.name:
        warnings.warn(
            f"{path} was found for {other!r} and will be replaced by the recipe for {task.name!r}; another "
            "experiment= keeps both",
            stacklevel=callers_level(),
        )


def _has_batch_norm(task: Task) -> bool:
    return has_batch_norm(task.build_model(0))


def _too_small(budget: int | float | str, plan: Plan, seconds: float | None) -> str:
    needed = smallest_budget(plan)
    allowed = f"budget={budget!r} allows {plan.budget} updates"
    if seconds is not None:
        share = math.ceil(seconds / 60 * needed / max(1, plan.budget) * 10) / 10
        return f"{allowed} on this machine, one range test needs {needed}; allow {share:g}min or more"
    share = math.ceil(100 * needed / plan.steps)
    return f"{allowed}, one range test needs {needed}; allow {needed} updates or more ({share}% of {plan.steps} steps)"


def _recipe(knowledge: Mapping[Probe, Outcome], prober: Prober, plan: Plan, data: Splits) -> Recipe:
    made = prober.made
    found = conclude(knowledge, plan)
    verdict, suggestion = joint_verdict(prober.ramps), suggest(prober.ramps)
    steps = max(2, round(plan.steps * plan.base.batch_size / found.candidate.batch_size))
    trials = tuple(
        Trial(probe.factor, _trial_settings(probe.candidate), probe.steps, probe.seed, outcome.score, outcome.diverged)
        for probe, outcome in knowledge.items()
        if probe.kind == "training"
    )
    reasons = of_search(verdict.reasons)
    if not any(probe.grid for probe in knowledge):
        reasons = (f"the verdict compares with constant learning rates; a budget of {budget_for_verdict(plan)} updates "
                   "or more holds them",)  # fmt: skip
    return Recipe(
        **prober.fixed.fields(found.candidate), task=made.name, steps=steps, tolerance=verdict.tolerance,
        reasons=reasons, suggestion=f"{headline(suggestion)}: {suggestion.reason}",
        metric=metric_name(made.metric), higher_is_better=made.higher_is_better, chosen_by=found.reason,
        confirmed=found.confirmed, updates=found.updates, budget=plan.budget, strategy=plan.strategy,
        samples=len(data.train), validation_samples=0 if data.validation is None else len(data.validation),
        evidence=trials, edges=found.edges, untried=found.untried,
    )  # fmt: skip


def _trial_settings(candidate: Candidate) -> dict[str, Any]:
    return {
        "max_lr": candidate.max_lr, "weight_decay": candidate.weight_decay,
        "momentum": None if candidate.momentum is None else list(candidate.momentum),
        "batch_size": candidate.batch_size, "dropout": candidate.dropout,
    }  # fmt: skip


def _store(recipe: Recipe, task: Task, folder: Path, seconds: float) -> None:
    """What the report shows above the runs."""
    first, *more = sentences(recipe)
    picture = recipe.plot()
    conclusion = {
        "kind": "find",
        "title": f"{task.name}: with which settings?",
        "sentence": first,
        "findings": more,
        "metric": recipe.metric,
        "tables": recipe_tables(recipe),
        "figures": [asdict(picture)] if picture.panels else [],
        "note": task.data.note,
    }
    store_conclusion(folder, conclusion, seconds)
