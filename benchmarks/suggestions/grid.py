"""Validation accuracy of every task of the catalogue over a fine grid of LRs: what suggestions are judged by.

    python -m benchmarks.suggestions.grid --data-dir DATA

For every task, schedule and seed: one training from the start for each LR of a grid, by 1cycle with it as max_lr, and
at that constant LR. 1cycle with seed 0: every quarter decade; otherwise every second of these LRs, seeds in turn the
even and the odd ones. Recorded is the accuracy on the validation split at the end, BatchNorm by batch statistics. A
training that diverged counts as the floor: the share of the most frequent class.

From the grid's middle it goes down, then up, and leaves out what is plainly worse (`DOWN`, `UP`). With --tail, seed 0
goes on downwards from there, decade by decade, until next to nothing is learned: some tools point that low. Existing
entries of the file are left alone.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

import superconv as sc
from superconv import runs
from superconv.data import Batches
from superconv.records import StopReason

from ..tasks.small_tasks import CHEAP, SmallTask, suggestion_tasks

QUARTERS = {"sgd": range(-10, 5), "adamw": range(-18, -1)}  # quarter decades: 10^-2.5 to 10, 10^-4.5 to 10^-0.5
DOWN = (0.5, 0.75)  # stop below where so many decades are under half of the best's height above the floor
UP = (0.1, 0.5)  # stop above where so many are under a tenth of it
LOWEST = 1e-7  # of a tail, which stops earlier under a tenth (`UP`) of the best's height
SURE = 3.0  # standard errors above the floor that a best needs before anything is left out below
SCHEDULES: dict[str, Callable[[int, float], sc.Schedule]] = {
    "1cycle": lambda steps, lr: sc.one_cycle(steps, max_lr=lr),
    "constant": lambda steps, lr: sc.constant(steps, lr=lr),
}


def lrs(task: SmallTask) -> list[float]:
    """The grid of the task's optimizer, ascending."""
    return [float(f"{10 ** (k / 4):.4g}") for k in QUARTERS[task.optimizer]]


def tried(task: SmallTask, schedule: str, seed: int) -> list[float]:
    """The part of the grid that one seed goes over."""
    return lrs(task) if schedule == "1cycle" and seed == 0 else lrs(task)[seed % 2 :: 2]


def floor(splits: sc.Splits) -> float:
    """Accuracy of the best constant prediction on the validation split."""
    labels = splits.validation.targets.flatten()  # type: ignore[union-attr]
    return float(labels.bincount().max()) / labels.numel()


def accuracy(task: SmallTask, data_dir: str | None, schedule: str, lr: float, seed: int) -> float:
    """On the validation split at the end of one training; the floor where that diverged."""
    whole = task.task(data_dir)
    splits, model = whole.data, whole.build_model(seed)
    options: dict[str, Any] = {"preparation": splits.preparation}
    history = sc.train(
        model, task.build_optimizer(model, lr), F.cross_entropy,
        Batches(splits.train, task.batch_size, seed=seed, augment=False, **options),
        SCHEDULES[schedule](task.steps, lr), eval_batches=Batches.for_evaluation(splits.validation, **options),
        evaluate_every=task.steps, evaluate_with="batch",
    )  # fmt: skip
    if history.stop is StopReason.diverged or history.final is None or not math.isfinite(history.final.loss):
        return floor(splits)
    return history.final.metric


def walk(grid: list[float], measure: Callable[[float], float], bottom: float, error: float) -> dict[float, float]:
    """Scores over the grid from its middle, down and then up, without what is plainly worse than the best.

    Args:
        grid: ascending, equally spaced in log LR.
        measure: LR -> score.
        bottom: score of a network that learned nothing.
        error: standard error of a score near the bottom.
    """
    middle, found = len(grid) // 2, {}
    spacing = math.log10(grid[1] / grid[0])
    for rates, (share, decades) in ((grid[middle::-1], DOWN), (grid[middle + 1 :], UP)):
        poor = 0
        for lr in rates:
            found[lr] = measure(lr)
            best = max(found.values()) - bottom
            told = best > SURE * error or share == UP[0]
            poor = poor + 1 if told and found[lr] - bottom <= share * best else 0
            if poor * spacing > decades - 0.01:
                break
    return dict(sorted(found.items()))


def tail(scores: dict[float, float], measure: Callable[[float], float], bottom: float) -> dict[float, float]:
    """Scores below the lowest LR of a walk, decade by decade, until next to nothing is learned."""
    lr, found = min(scores), dict(scores)
    least = bottom + UP[0] * (max(scores.values()) - bottom)
    while found[lr] > least and lr > 1.01 * LOWEST:
        lr = float(f"{lr / 10:.4g}")
        found[lr] = measure(lr)
    return {lr: score for lr, score in sorted(found.items()) if lr not in scores}


def ordered(tasks: list[SmallTask]) -> list[SmallTask]:
    """The cheap ones first, then families in turn, so that a grid that is cut short covers many."""
    place = {task: sum(t.network == task.network for t in tasks[:i]) for i, task in enumerate(tasks)}
    return sorted(tasks, key=lambda task: (task.network not in CHEAP, place[task], task.network))


def environment() -> dict[str, Any]:
    """Of this process, without the folders that it was given."""
    found = runs.environment()
    command = re.sub(r" --(out|ramps)[ =]\S+", "", found["command"])
    return found | {"command": re.sub(r"(--data-dir[ =])\S+", r"\1DATA", command)}


def settings(task: SmallTask, data_dir: str | None) -> dict[str, Any]:
    """What the evaluation of a task needs beside its accuracies."""
    splits = task.task(data_dir).data
    labels = splits.validation.targets.numel()  # type: ignore[union-attr]
    facts = {"family": task.network, "half": task.half, "optimizer": task.optimizer, "lrs": lrs(task)}
    return {**facts, "floor": round(floor(splits), 4), "validation_labels": labels, "accuracy": {}, "tail": {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--schedules", default=",".join(SCHEDULES))
    parser.add_argument("--only", default="", help="text that a task's name has to contain")
    parser.add_argument("--tail", action="store_true", help="go on below the walks that are there")
    parser.add_argument("--out", type=Path, default=Path("results/suggestions/grid.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {"tasks": {}}
    found["environment"] = environment()
    tasks = [task for task in ordered(suggestion_tasks()) if args.only in task.name]
    for seed, schedule, task in product(args.seeds.split(","), args.schedules.split(","), tasks):
        entry = found["tasks"].setdefault(task.name, None) or settings(task, args.data_dir)
        found["tasks"][task.name] = entry
        done = entry["tail" if args.tail else "accuracy"].setdefault(schedule, {})
        if seed not in done:
            done[seed] = scores_of(task, entry, schedule, seed, args)
            runs.atomic_write(args.out, json.dumps(found, indent=1) + "\n")
            print(task.name, schedule, "seed", seed, "tail" if args.tail else "", done[seed], flush=True)


def scores_of(
    task: SmallTask, entry: dict[str, Any], schedule: str, seed: str, args: argparse.Namespace
) -> dict[str, float]:
    """LR (as text) -> accuracy, of one walk or of its tail."""

    def measure(lr: float) -> float:
        return accuracy(task, args.data_dir, schedule, lr, int(seed))

    if args.tail:
        walked = {float(lr): score for lr, score in entry["accuracy"][schedule][seed].items()}
        scores = tail(walked, measure, entry["floor"])
    else:
        error = math.sqrt(entry["floor"] / entry["validation_labels"])
        scores = walk(tried(task, schedule, int(seed)), measure, entry["floor"], error)
    return {f"{lr:.4g}": round(score, 4) for lr, score in scores.items()}


if __name__ == "__main__":
    main()
