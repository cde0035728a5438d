"""What every LR finder suggests on every task of the catalogue, and how many updates it spent.

    python -m benchmarks.suggestions.advice --data-dir DATA

Every tool begins with the same weights and the same shuffled loader, and is run twice: over a range and a number of
steps of its own ("own": its defaults, `OWN`), and over one range for all ("common", `COMMON`). The other tools come
from requirements-peers.txt; one that is missing, or finds nothing, is recorded as such. Ours is measured once with
forks and evaluations; its rules are read off that one ramp, and those that need no forks are not charged for them.
Existing entries of the file are left alone.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

import superconv as sc
from superconv import runs
from superconv.data import Batches, Samples

from ..peers import finders
from ..peers.finders import Subject
from ..peers.packages import missing, quiet, scratch_directory, versions
from ..tasks.small_tasks import SmallTask, suggestion_tasks
from ..timing import StepClock
from .grid import environment, ordered

FORKS = 10
RULES = ("best_fork", "plateau_edge", "accuracy_peak", "steepest", "blow_up", "minimum")
COMMON = (1e-6, 10.0, 100)
START_LR = 1e-7  # of optimizers, as in torch-lr-finder's README: its ramp begins there
# tool -> start, end, steps (None: one epoch); the signatures' defaults where there are any
OWN: dict[str, tuple[float, float, int | None]] = {
    "torch-lr-finder": (START_LR, 10.0, 100),
    "fastai": (1e-7, 10.0, 100),
    "lightning": (1e-8, 1.0, 100),
    "ignite": (3e-4, 10.0, None),  # begins at the optimizer's LR; this one is its example notebook's
}
Advice = dict[str, dict[str, Any]]  # by rule: "lr" (or None), "updates", and "why" where there is none


@functools.lru_cache(maxsize=2)
def prepared(task: SmallTask, data_dir: str | None) -> TensorDataset:
    """The training part as the network sees it, not augmented: what a foreign tool's loader takes."""
    splits = task.task(data_dir).data
    whole = Batches(splits.train, len(splits.train), shuffle=False, augment=False, preparation=splits.preparation)
    return TensorDataset(*next(iter(whole)))


def subject(task: SmallTask, data_dir: str | None, seed: int) -> Subject:
    """The task's network with the weights of this seed, its optimizer, and a shuffled loader of this seed."""
    model = task.task(data_dir).build_model(seed)
    generator = torch.Generator().manual_seed(seed)
    loader: DataLoader[Any] = DataLoader(
        prepared(task, data_dir), task.batch_size, shuffle=True, drop_last=True, generator=generator
    )
    return Subject(model, task.build_optimizer(model, START_LR), loader, StepClock(F.cross_entropy))


def ours(task: SmallTask, data_dir: str | None, seed: int, given: tuple[float, float, int] | None) -> sc.RangeTest:
    """One range test with forks and evaluations; `given`: start, end and steps, else our defaults."""
    what, splits = subject(task, data_dir, seed), task.task(data_dir).data
    limits: dict[str, Any] = dict(zip(("start_lr", "end_lr", "total_steps"), given or (), strict=False))
    held_out: Samples | None = splits.validation
    return sc.lr_range_test(
        what.model, what.optimizer, F.cross_entropy, what.loader, forks=FORKS, seed=seed,
        eval_batches=Batches.for_evaluation(held_out, preparation=splits.preparation), **limits,
    )  # fmt: skip


def read_off(ramp: sc.RangeTest) -> Advice:
    """Every rule of ours, with the updates that it needs; for other rules the forks as (LR, accuracy, diverged).

    `peak`: the best accuracy along the ramp.
    """
    forked = sum(fork.steps for fork in ramp.forks)
    found: Advice = {}
    for rule in RULES:
        told = ramp.suggest(rule)
        spent = ramp.total_updates - (0 if rule == "best_fork" else forked)
        found[f"superconv {rule}"] = _told(told.lr, spent, told.reason)
    kept = [(_short(f.lr), round(f.metric, 4) if math.isfinite(f.metric) else None, f.diverged) for f in ramp.forks]
    return found | {"superconv forks": {"tried": kept, "peak": round(float(np.nanmax(ramp.metric)), 4)}}


def peers(task: SmallTask, data_dir: str | None, seed: int, tool: str, kind: str) -> Advice:
    """What one of the other tools says."""
    finder = finders.FINDERS[tool][1]
    what = subject(task, data_dir, seed)
    start, end, steps = COMMON if kind == "common" else OWN[tool]
    try:
        with scratch_directory(), quiet():
            found = finder(what, start, end, steps or len(what.loader))()
    except Exception as error:  # no advice: counted, not fatal
        return {tool: _told(None, len(what.loss.calls), f"{type(error).__name__}: {str(error)[:100]}")}
    return {rule: _told(lr, len(what.loss.calls), "the tool says None") for rule, lr in found.items()}


def _told(lr: float | None, updates: int, why: str) -> dict[str, Any]:
    if lr is None or not (math.isfinite(lr) and lr > 0):
        return {"lr": None, "updates": updates, "why": why}
    return {"lr": _short(lr), "updates": updates}


def _short(lr: float) -> float:
    return float(f"{lr:.4g}")


def measured(task: SmallTask, data_dir: str | None, seed: int, kind: str, ramps: Path | None) -> Advice:
    """Every tool's advice for one task, range and seed."""
    ramp = ours(task, data_dir, seed, COMMON if kind == "common" else None)
    if ramps is not None:
        ramp.save(ramps / f"{task.name}-{kind}-{seed}.json")
    found = read_off(ramp)
    for tool in OWN:
        if missing(str(finders.FINDERS[tool][0])) is None:
            found |= peers(task, data_dir, seed, tool, kind)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--kinds", default="own,common")
    parser.add_argument("--only", default="", help="text that a task's name has to contain")
    parser.add_argument("--ramps", type=Path, default=None, help="folder for our range tests, to try other rules on")
    parser.add_argument("--out", type=Path, default=Path("results/suggestions/advice.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    out, ramps = args.out.resolve(), args.ramps.resolve() if args.ramps else None
    for folder in (out.parent, ramps):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"tasks": {}}
    found |= {"environment": environment(), "peers": versions(), "own": OWN, "common": COMMON}
    tasks = [task for task in ordered(suggestion_tasks()) if args.only in task.name]
    for seed, kind, task in product(args.seeds.split(","), args.kinds.split(","), tasks):
        done = found["tasks"].setdefault(task.name, {}).setdefault(kind, {})
        if seed not in done:
            torch.manual_seed(int(seed))
            done[seed] = measured(task, args.data_dir, int(seed), kind, ramps)
            runs.atomic_write(out, json.dumps(found, separators=(",", ":")).replace('},"', '},\n"') + "\n")
            told = {rule: each.get("lr") for rule, each in done[seed].items() if "lr" in each}
            print(task.name, kind, seed, told, flush=True)


if __name__ == "__main__":
    main()
