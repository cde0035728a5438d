"""Does a large LR want less weight decay? A factorial LR x weight decay at fixed steps; slope of the best decay.

    python -m benchmarks.balance --data cifar10 --data-dir DATA --model lenet-slim-bn

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
from superconv.analysis.likely_best import likely_best
from superconv.data import Batches
from superconv.figures import Figure, Line, Panel
from superconv.records import StopReason
from superconv.task import Task, named_task

BATCH = 128
RESAMPLES = 2000
VALIDATION = 2000
HOLD = 0.95  # share of the best height above chance that counts as tolerated


def accuracy(task: Task, splits: sc.Splits, lr: float, weight_decay: float, steps: int, seed: int) -> float:
    """Validation accuracy at the end; chance where the training diverged."""
    model = task.build_model(seed)
    optimizer = sc.build_optimizer("sgd", model, lr=lr, momentum=0.9, weight_decay=weight_decay)
    options: dict[str, Any] = {"preparation": splits.preparation}
    history = sc.train(
        model, optimizer, F.cross_entropy, Batches(splits.train, BATCH, seed=seed, **options),
        sc.one_cycle(steps, max_lr=lr), eval_batches=Batches.for_evaluation(splits.validation, **options),
        evaluate_every=steps, evaluate_with="batch",
    )  # fmt: skip
    if history.stop is StopReason.diverged or history.final is None:
        return 1.0 / splits.num_classes
    return history.final.metric


def best_decay(decays: list[float], scores: list[float], samples: int) -> tuple[float, bool]:
    """Likelihood-weighted mean of log decay over the positive ones; whether the best score is at the grid's edge."""
    top = max(scores)
    error = math.sqrt(2.0 * top * (1.0 - top) / samples)
    found = likely_best(decays, scores, error=error)
    return found.lr, scores.index(top) in (0, len(scores) - 1)


def tolerated_decay(decays: list[float], scores: list[float], chance: float = 0.1) -> float:
    """Largest decay that keeps `HOLD` of the best height above chance, between the grid's decays linear in its log."""
    level = chance + HOLD * (max(scores) - chance)
    edge = scores.index(max(scores))
    while edge + 1 < len(scores) and scores[edge + 1] >= level:
        edge += 1
    if edge + 1 == len(scores):
        return math.inf
    share = (scores[edge] - level) / (scores[edge] - scores[edge + 1])
    return decays[edge] * (decays[edge + 1] / decays[edge]) ** share


def slope(lrs: list[float], decays: list[float]) -> float:
    """Least squares of log decay on log LR."""
    return float(np.polyfit(np.log(lrs), np.log(decays), 1)[0])


def conclude(found: dict[str, Any]) -> dict[str, Any]:
    """Best decay per LR, the slope and its interval over resampled seeds."""
    lrs, decays, seeds = found["lrs"], [d for d in found["decays"] if d > 0], found["seeds"]

    def mean(lr: float, decay: float, chosen: list[int]) -> float:
        return fmean(found["accuracy"][f"{lr:g}/{decay:g}/{seed}"] for seed in chosen)

    def bests(chosen: list[int]) -> list[tuple[float, bool]]:
        samples = found["validation_samples"] * len(chosen)
        return [best_decay(decays, [mean(lr, decay, chosen) for decay in decays], samples) for lr in lrs]

    rng = np.random.default_rng(0)
    drawn = [bests(rng.choice(seeds, len(seeds)).tolist()) for _ in range(RESAMPLES)]
    slopes = [slope(lrs, [decay for decay, _ in each]) for each in drawn]
    low, high = np.percentile(slopes, (2.5, 97.5))
    own = bests(seeds)
    limits = {lr: tolerated_decay(decays, [mean(lr, decay, seeds) for decay in decays]) for lr in lrs}
    known = {lr: limit for lr, limit in limits.items() if math.isfinite(limit)}
    return {
        "tolerated_decay": {f"{lr:g}": round(limit, 5) for lr, limit in known.items()},
        "tolerated_slope": round(slope(list(known), list(known.values())), 3) if len(known) > 1 else None,
        "best_decay": {f"{lr:g}": round(decay, 6) for lr, (decay, _) in zip(lrs, own, strict=True)},
        "at_edge": [lr for lr, (_, edge) in zip(lrs, own, strict=True) if edge],
        "slope": round(slope(lrs, [decay for decay, _ in own]), 3),
        "interval": [round(float(low), 3), round(float(high), 3)],
        "best_accuracy": {f"{lr:g}": round(max(mean(lr, d, seeds) for d in found["decays"]), 4) for lr in lrs},
    }


def figure(found: dict[str, Any]) -> Figure:
    """Accuracy against weight decay, a line an LR."""
    decays = [d for d in found["decays"] if d > 0]
    lines = []
    for lr in found["lrs"]:
        columns = [[found["accuracy"][f"{lr:g}/{d:g}/{seed}"] for seed in found["seeds"]] for d in decays]
        means, low, high = ([f(c) for c in columns] for f in (fmean, min, max))
        lines.append(Line(decays, means, f"max_lr {lr:g}", lower=low, upper=high))
    title = f"{found['model']} on {found['data']}: accuracy against weight decay, 1cycle of {found['steps']} updates"
    told = found["conclusion"]
    caption = (
        f"Band: lowest and highest of {len(found['seeds'])} seeds. Slope of log best decay on log LR "
        f"{told['slope']:.2f} (95% interval {told['interval'][0]:.2f} to {told['interval'][1]:.2f})."
    )
    panel = Panel(lines, "", "weight decay", "validation accuracy", x_scale="log")
    return Figure(title, [panel], 1, caption)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--model", default="lenet-slim-bn")
    parser.add_argument("--samples", type=int, default=5000, help="training samples")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--lrs", default="0.03,0.1,0.3,1")
    parser.add_argument("--decays", default="0,1e-4,3e-4,1e-3,3e-3,1e-2,3e-2")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("results/balance"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    task = named_task(args.data, args.model, data_dir=args.data_dir)
    splits = task.data.with_validation(VALIDATION).subset(args.samples)
    path = args.out / f"{args.data}-{args.model}-{args.steps}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"accuracy": {}}
    lrs, decays = ([float(part) for part in text.split(",")] for text in (args.lrs, args.decays))
    seeds = [int(part) for part in args.seeds.split(",")]
    found |= {
        "data": args.data, "model": args.model, "samples": args.samples, "steps": args.steps, "lrs": lrs,
        "decays": decays, "seeds": seeds, "validation_samples": len(splits.validation),
        "environment": runs.environment(),
    }  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    for seed, lr, decay in product(seeds, lrs, decays):
        key = f"{lr:g}/{decay:g}/{seed}"
        if key not in found["accuracy"]:
            found["accuracy"][key] = round(accuracy(task, splits, lr, decay, args.steps, seed), 4)
            runs.atomic_write(path, json.dumps(found, indent=1) + "\n")
            print(key, found["accuracy"][key], flush=True)
    found["conclusion"] = conclude(found)
    runs.atomic_write(path, json.dumps(found, indent=1) + "\n")
    figure(found).save(path.with_suffix(".png"))
    print(json.dumps(found["conclusion"], indent=1))


if __name__ == "__main__":
    main()
