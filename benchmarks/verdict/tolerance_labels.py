"""Measure how large an LR small networks really stand: the labels that the verdict is tried against.

    python -m benchmarks.verdict.tolerance_labels --models lenet-slim,lenet-slim-bn --optimizers sgd,sgd-plain

For every network, optimizer and seed: one 1cycle training from the start for each max_lr of a grid, quarter decades up
from the reference LR (the best constant one), then twice halved at the edge. No ramp and no fork enters.

    tolerated = largest max_lr, counted up from the best without a gap, that keeps 0.9 of the best's height above chance
    label     = wide where tolerated / reference >= 3 / 0.35, the multiple that the authors showed, else narrow

Existing entries of the file are left alone.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch

import superconv as sc
from superconv.records import StopReason
from superconv.runs.atomic import atomic_write

from .range_test_curves import LOSS, MULTIPLE, Bench, load_splits

CHANCE = 0.1  # ten classes of equal size
QUARTER_DECADE = 10**0.25
HALVINGS = 2  # of the quarter decade between the last LR that was tolerated and the first that was not
FAILED = 0.5  # share of the best accuracy; two LRs in a row below it end the grid
BORDER = 1.3  # seeds of one network differ by up to so much
HOLD = 0.9  # share of the best height above chance that counts as tolerated


def tolerated(one_cycle: Mapping[float, float], samples: int) -> tuple[float, float | None]:
    """Largest LR, counted up from the best without a gap, that keeps `HOLD` of the best; and the next one, that fails.

    Two binomial standard errors are allowed for, as in `analysis.fork_rules.fork_edge`.
    """
    lrs = sorted(one_cycle)
    top = max(one_cycle.values())
    least = CHANCE + HOLD * (top - CHANCE) - 2.0 * math.sqrt(top * (1.0 - top) / samples)
    edge = lrs.index(max(lrs, key=one_cycle.__getitem__))
    while edge + 1 < len(lrs) and one_cycle[lrs[edge + 1]] >= least:
        edge += 1
    return lrs[edge], lrs[edge + 1] if edge + 1 < len(lrs) else None


def labels(runs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Name without the seed -> label and its multiple of the reference, the geometric mean over seeds.

    Within `BORDER` of the dividing line the label is "borderline": there seeds fall on both sides of it.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for name, run in runs.items():
        rates = {float(lr): accuracy for lr, accuracy in run["one_cycle"].items()}
        found[name.rsplit("-seed", 1)[0]].append(tolerated(rates, run["samples"])[0] / run["reference_lr"])
    means = {name: math.exp(sum(map(math.log, ratios)) / len(ratios)) for name, ratios in found.items()}
    return {name: {"label": _label(ratio), "ratio": round(ratio, 2)} for name, ratio in means.items()}


def _label(ratio: float) -> str:
    if MULTIPLE / BORDER < ratio < MULTIPLE * BORDER:
        return "borderline"
    return "wide" if ratio >= MULTIPLE else "narrow"


def one_cycle_accuracy(bench: Bench, max_lr: float) -> float:
    """Accuracy after one cycle of the bench's length; 0 where the loss became non-finite."""
    model, optimizer, train = bench.fresh(max_lr)
    schedule = sc.one_cycle(bench.steps, max_lr=max_lr, max_momentum=None)  # momentum as in the ramp
    history = sc.train(model, optimizer, LOSS, train, schedule)
    return 0.0 if history.stop is StopReason.diverged else bench.accuracy(model)


def grid(bench: Bench, reference: float) -> dict[float, float]:
    """max_lr -> accuracy, from a third of the reference up to where two in a row fail, at most 1,000 times it."""
    found: dict[float, float] = {}
    for k in range(-2, 13):
        lr = reference * QUARTER_DECADE**k
        found[lr] = one_cycle_accuracy(bench, lr)
        if max(list(found.values())[-2:]) < FAILED * max(found.values()):
            break
    for _ in range(HALVINGS):
        good, bad = tolerated(found, bench.samples)
        if bad is not None:
            found[math.sqrt(good * bad)] = one_cycle_accuracy(bench, math.sqrt(good * bad))
    return dict(sorted(found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist5k")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--samples", type=int, default=4000, help="training samples")
    parser.add_argument("--models", default="lenet-slim,lenet-slim-bn,mlp,mlp-bn")
    parser.add_argument("--optimizers", default="sgd,sgd-plain,adamw")
    parser.add_argument("--steps", default="100")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--out", type=Path, default=Path("results/tolerance_labels.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    splits = load_splits(args.data, args.data_dir, args.samples)
    networks = list(product(args.models.split(","), args.optimizers.split(","), map(int, args.steps.split(","))))
    runs = json.loads(args.out.read_text())["runs"] if args.out.exists() else {}
    for (model, optimizer, steps), seed in product(networks, map(int, args.seeds.split(","))):
        name = f"{args.data}-{model}-{optimizer}-{steps}-seed{seed}"
        if name in runs:
            continue
        bench = Bench(splits, model, optimizer, steps, seed)
        reference, _ = bench.reference()
        accuracies = grid(bench, reference)
        one_cycle = {f"{lr:.4g}": accuracy for lr, accuracy in accuracies.items()}
        runs[name] = {"reference_lr": reference, "samples": bench.samples, "one_cycle": one_cycle}
        atomic_write(args.out, json.dumps({"labels": labels(runs), "runs": runs}, indent=1) + "\n")
        print(
            f"{name}: tolerates {tolerated(accuracies, bench.samples)[0] / reference:.2g} x {reference:.3g}", flush=True
        )


if __name__ == "__main__":
    main()
