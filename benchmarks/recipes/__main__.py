"""What `superconv find` is worth: recipes found within a tenth of the ordinary training's steps, beside tuned arms.

    python -m benchmarks.recipes --data-dir DATA

For every task: piecewise constant, cosine and AdamW with cosine, tuned with the same budget on validation data, and
the common default, over a doubling ladder of lengths and five paired seeds. The ordinary training is the shortest
length of the ladder within one standard error of tuned piecewise constant's best mean. `find` plans a training of
that length with a tenth of its steps, on validation data alone, and its recipe joins the comparison: same lengths,
same seeds, test data. Existing tasks of the file are left alone; finished trainings in the folder of runs are found
again.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import nn

import superconv as sc
from superconv import runs
from superconv.experiments.compare import Comparison, compare
from superconv.experiments.contenders import CONTENDERS, Contender
from superconv.experiments.find import find
from superconv.experiments.recipe import Recipe
from superconv.experiments.tuning import Budget

from ..tasks.small_tasks import SAMPLES, SmallTask
from .report import publish

BASELINE = "piecewise constant"
ARMS = (BASELINE, "cosine", "AdamW cosine", "common default")
SHORTEST, LADDER = 200, (1, 2, 4, 8)
SEEDS = 5
BUDGET = Budget(trials=8, finalists=2, fresh_seeds=1)
SHARE = "10%"
# data, network, batch size: small batches, so that a tenth of the steps holds a range test
TASKS = tuple(
    SmallTask(data, network, batch_size=batch_size)
    for data, network, batch_size in (
        ("cifar10-16px", "mlp-bn", 32), ("cifar10-16px", "lenet-slim-bn", 32), ("mnist5k", "mlp-bn", 16),
        ("cifar10-16px", "mlp", 32), ("cifar100-16px", "mlp-bn", 32), ("cifar10-16px", "lenet-slim", 32),
        ("mnist5k", "lenet-slim-bn", 16), ("cifar10-16px", "vit", 16),
    )
)  # fmt: skip


def name_of(task: SmallTask) -> str:
    """Unique among the tasks, and fit for a folder."""
    return f"{task.data}-{task.network}"


def ordinary_steps(by_length: Mapping[int, Mapping[int, float]]) -> int:
    """The shortest length whose mean lies within one standard error of the best length's mean.

    The standard error is that of the best length's mean over seeds.
    """
    means = {steps: fmean(seeds.values()) for steps, seeds in by_length.items()}
    best = max(means, key=means.__getitem__)
    error = stdev(by_length[best].values()) / math.sqrt(len(by_length[best]))
    return min(steps for steps, mean in means.items() if mean >= means[best] - error)


def elsewhere(task: sc.Task) -> sc.Task:
    """The task with other initial weights and another order of batches for every seed.

    The range tests of `find` use seeds 0 and 1, which are compared later: no training of the search is to begin as
    a compared one does.
    """
    data, size = task.data, len(task.data.train)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(1)).tolist()
    moved = sc.Splits(
        data.train.take(order), data.validation, data.test, data.num_classes, name=data.name, note=data.note,
        preparation=data.preparation,
    )  # fmt: skip
    return replace(task, model=partial(_after_one_draw, task.model), data=moved)


def _after_one_draw(make: Callable[[], nn.Module]) -> nn.Module:
    torch.rand(1)
    return make()


def measure(small: SmallTask, data_dir: str | None, root: Path) -> dict[str, Any]:
    """Arms, ordinary length, recipe, and the recipe among the arms."""
    task, name = small.task(data_dir), name_of(small)
    arms = [replace(CONTENDERS[arm], batch_size=small.batch_size) for arm in ARMS]
    first = _compared(task, arms, name, root)
    ordinary = ordinary_steps(first.values[BASELINE])
    print(f"{name}: ordinary {ordinary} steps", flush=True)
    recipe = find(
        elsewhere(task), steps=ordinary, budget=SHARE, batch_size=small.batch_size, root=root,
        experiment=f"{name}-find", device="cpu",
    )  # fmt: skip
    assert recipe is not None  # nothing here asks it to stop
    if recipe.batch_size != small.batch_size:
        raise ValueError(f"{name}: the recipe's batch size is {recipe.batch_size}, equal steps are not equal samples")
    told = described(recipe)
    print(f"{name}: {told['max_lr']}, {told['weight_decay']}, {told['updates']} updates", flush=True)
    second = _compared(task, [recipe.contender("recipe"), *arms], name, root)
    return {"batch_size": small.batch_size, "ordinary_steps": ordinary, "recipe": told, **raw(second)}


def _compared(task: sc.Task, arms: list[Contender], name: str, root: Path) -> Comparison:
    found = compare(
        task, arms, steps=SHORTEST, ladder=LADDER, seeds=SEEDS, budget=BUDGET, root=root, experiment=name, device="cpu"
    )
    assert found is not None  # nothing here asks it to stop
    return found


def described(recipe: Recipe) -> dict[str, Any]:
    """What was found, from what, and what it cost."""
    trials = [
        {"factor": t.factor, **t.settings, "steps": t.steps, "seed": t.seed, "score": t.score}
        for t in recipe.evidence
    ]  # fmt: skip
    return {
        **recipe.picked, "optimizer": recipe.optimizer, "planned_steps": recipe.steps, "updates": recipe.updates,
        "budget": recipe.budget, "tolerance": recipe.tolerance, "chosen_by": recipe.chosen_by,
        "confirmed": recipe.confirmed, "edges": list(recipe.edges), "untried": list(recipe.untried), "trials": trials,
    }  # fmt: skip


def raw(found: Comparison) -> dict[str, Any]:
    """A comparison's numbers: accuracy by arm, length and seed; the tuned settings; the best tuned arm."""
    chosen = {
        f"{arm}/{steps}": {"settings": dict(t.settings), "validation": t.validation, "edges": list(t.edges)}
        for (arm, steps), t in found.tuned.items()
        if t.settings
    }
    values = {
        arm: {str(steps): {str(seed): round(v, 4) for seed, v in seeds.items()} for steps, seeds in lengths.items()}
        for arm, lengths in found.values.items()
    }
    tuning: dict[str, int] = {}
    for (arm, _), t in found.tuned.items():
        if t.settings:
            tuning[arm] = tuning.get(arm, 0) + t.updates
    return {
        "split": found.split, "best_tuned": found.contest.rival, "values": values, "tuned": chosen,
        "tuning_updates": tuning,
    }  # fmt: skip


def settings() -> dict[str, Any]:
    """What all tasks share."""
    return {
        "training_samples_at_most": SAMPLES, "shortest": SHORTEST, "ladder": LADDER,
        "seeds": SEEDS, "budget": asdict(BUDGET), "share_for_find": SHARE, "arms": ARMS,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the trainings")
    parser.add_argument("--only", default=None, help="names of tasks, separated by commas; none: measure nothing")
    parser.add_argument("--out", type=Path, default=Path("results/recipes"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = args.out / "tasks.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"tasks": {}}
    args.out.mkdir(parents=True, exist_ok=True)
    for small in TASKS:
        name = name_of(small)
        if name in found["tasks"] or (args.only is not None and name not in args.only.split(",")):
            continue
        environment = {**runs.environment(), "command": "python -m benchmarks.recipes --data-dir DATA"}
        found |= {"settings": settings(), "environment": environment}
        found["tasks"][name] = measure(small, args.data_dir, args.runs)
        runs.atomic_write(path, json.dumps(found, indent=1) + "\n")
        print(f"{name}: done", flush=True)
    publish(found, args.out)


if __name__ == "__main__":
    main()
