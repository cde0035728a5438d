"""Does a large LR want less weight decay? A factorial LR x weight decay at fixed steps; slope of the best decay.

    python -m benchmarks.balance.weight_decay --data cifar10 --data-dir DATA --model lenet-slim-bn
    python -m benchmarks.balance.weight_decay --data cifar10-16px --data-dir DATA --model mlp-bn --samples 2000 \\
        --batch-size 64 --lrs 0.01,0.03,0.1,0.3,1 --decays 0,1e-4,1e-3,3e-3,1e-2,3e-2,1e-1 --seeds 0,1,2,3,4

Every combination is trained by 1cycle for the same number of updates and scored on validation data. The claim's test
(arXiv 1708.07120v3, abstract: the large LR regularises, so other regularisation must be reduced): slope of log best
weight decay on log LR, with a bootstrap interval over seeds. 0: the best decay does not depend on the LR; -1: only
their product matters. Existing combinations of the file are left alone.
"""

from __future__ import annotations

import argparse
import json
import math
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import superconv as sc
from superconv import runs
from superconv.data import Batches
from superconv.figures import Figure, Line, Panel
from superconv.records import StopReason
from superconv.task import Task, named_task

from ..tasks import small_data
from ..tasks.small_tasks import SmallTask
from .record import FOLDER, stated_environment
from .slopes import best_against, interaction

VALIDATION = 2000


def small_or_named(data: str, model: str, samples: int, data_dir: str | None) -> Task:
    """A task of the catalogue of small ones, or of the package with a validation part and fewer training samples."""
    if data in small_data.NAMES:
        return SmallTask(data, model, samples=samples).task(data_dir)
    task = named_task(data, model, data_dir=data_dir)
    return Task(task.name, task.model, task.data.with_validation(VALIDATION).subset(samples))


def accuracy(task: Task, lr: float, weight_decay: float, batch_size: int, steps: int, seed: int) -> float:
    """Validation accuracy at the end; chance where the training diverged."""
    splits = task.data
    model = task.build_model(seed)
    optimizer = sc.build_optimizer("sgd", model, lr=lr, momentum=0.9, weight_decay=weight_decay)
    options: dict[str, Any] = {"preparation": splits.preparation}
    history = sc.train(
        model, optimizer, F.cross_entropy, Batches(splits.train, batch_size, seed=seed, **options),
        sc.one_cycle(steps, max_lr=lr), eval_batches=Batches.for_evaluation(splits.validation, **options),
        evaluate_every=steps, evaluate_with="batch",
    )  # fmt: skip
    if history.stop is StopReason.diverged or history.final is None:
        return 1.0 / splits.num_classes
    return history.final.metric


def conclude(found: dict[str, Any]) -> dict[str, Any]:
    """Best and tolerated decay per LR, slopes with intervals over seeds, the interaction; also without the largest LR,
    since one that is too large by itself would carry them.
    """
    decays = [d for d in found["decays"] if d > 0]
    return {**_told(found, found["lrs"], decays), "without_largest_lr": _told(found, found["lrs"][:-1], decays)}


def _told(found: dict[str, Any], lrs: list[float], decays: list[float]) -> dict[str, Any]:
    table = np.array(
        [[[found["accuracy"][f"{lr:g}/{d:g}/{seed}"] for d in decays] for lr in lrs] for seed in found["seeds"]]
    )
    told = best_against(table, np.log(lrs).tolist(), np.log(decays).tolist(), found["validation_samples"])
    for name in ("likely", "highest", "tolerated"):
        logs = told[name].pop("positions")
        told[name]["decay"] = {
            f"{lr:g}": None if value is None else float(f"{math.exp(value):.3g}")
            for lr, value in zip(lrs, logs, strict=True)
        }
    told["at_edge"] = [lrs[place] for place in told["at_edge"]]
    told["best_accuracy"] = {f"{lr:g}": round(float(row.max()), 4) for lr, row in zip(lrs, table.mean(0), strict=True)}
    told["interaction_accuracy_per_decade_of_each"] = interaction(
        table, np.log10(lrs).tolist(), np.log10(decays).tolist()
    )
    return told


def figure(found: dict[str, Any]) -> Figure:
    """Accuracy against weight decay, a line an LR."""
    decays = [d for d in found["decays"] if d > 0]
    lines = []
    for lr in found["lrs"]:
        columns = [[found["accuracy"][f"{lr:g}/{d:g}/{seed}"] for seed in found["seeds"]] for d in decays]
        means, low, high = ([f(c) for c in columns] for f in (fmean, min, max))
        lines.append(Line(decays, means, f"max_lr {lr:g}", lower=low, upper=high))
    title = f"{found['model']} on {found['data']}: accuracy against weight decay, 1cycle of {found['steps']} updates"
    told = found["conclusion"]["likely"]
    caption = (
        f"Band: lowest and highest of {len(found['seeds'])} seeds. Slope of log best decay on log LR "
        f"{told['slope']:.2f} (95% interval {told['interval'][0]:.2f} to {told['interval'][1]:.2f})."
    )
    panel = Panel(lines, "", "weight decay", "validation accuracy", x_scale="log")
    return Figure(title, [panel], 1, caption)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--model", default="lenet-slim-bn")
    parser.add_argument("--samples", type=int, default=5000, help="training samples")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--lrs", default="0.03,0.1,0.3,1")
    parser.add_argument("--decays", default="0,1e-4,3e-4,1e-3,3e-3,1e-2,3e-2")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=FOLDER)
    return parser.parse_args()


def main() -> None:
    args = options()
    torch.set_num_threads(1)
    task = small_or_named(args.data, args.model, args.samples, args.data_dir)
    path = args.out / f"{args.data}-{args.model}-{args.steps}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"accuracy": {}}
    lrs, decays = ([float(part) for part in text.split(",")] for text in (args.lrs, args.decays))
    seeds = [int(part) for part in args.seeds.split(",")]
    found |= {
        "data": args.data, "model": args.model, "samples": args.samples, "batch_size": args.batch_size,
        "steps": args.steps, "lrs": lrs, "decays": decays, "seeds": seeds,
        "validation_samples": len(task.data.validation),  # type: ignore[arg-type]
        "environment": found.get("environment") or stated_environment(),
    }  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    for seed, lr, decay in product(seeds, lrs, decays):
        key = f"{lr:g}/{decay:g}/{seed}"
        if key not in found["accuracy"]:
            found["accuracy"][key] = round(accuracy(task, lr, decay, args.batch_size, args.steps, seed), 4)
            runs.atomic_write(path, json.dumps(found, indent=1) + "\n")
            print(key, found["accuracy"][key], flush=True)
    found["conclusion"] = conclude(found)
    runs.atomic_write(path, json.dumps(found, indent=1) + "\n")
    figure(found).save(path.with_suffix(".png"))
    print(json.dumps(found["conclusion"], indent=1))


if __name__ == "__main__":
    main()
