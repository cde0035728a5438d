"""Is a curvature estimate useful advice? Accuracy of 1cycle at the LR it gives, against the best LR of a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import superconv as sc
from superconv.analysis.curvature.probes import Probe
from superconv.analysis.student_t import critical_value
from superconv.data import Batches
from superconv.measure.curvature.eigenvalues import extreme_eigenvalues
from superconv.measure.curvature.iterates import IterateSums
from superconv.measure.curvature.objective import BatchObjective
from superconv.measure.curvature.probe import probe_pairs
from superconv.records import StopReason
from superconv.task import named_task

from ..table import Table

TASKS = (
    ("mnist5k", "lenet-slim"),
    ("mnist5k", "lenet-slim-bn"),
    ("mnist5k", "mlp"),
    ("mnist5k", "mlp-bn"),
    ("cifar10", "mlp"),
    ("cifar10", "mlp-bn"),
    ("cifar10", "lenet-slim"),
    ("cifar10", "lenet-slim-bn"),
)
STEPS = 200
GRID = [10 ** (quarter / 4) for quarter in range(-10, 4)]
MOMENTUM, WEIGHT_DECAY, BATCH = 0.9, 1e-4, 128
SAMPLES = 4000  # training images; 26 probe batches are drawn from them in another order
WARM_UP_STEPS, WATCHED_STEPS = 60, 24
PROBE_LRS = (0.01, 0.001)  # of the updates that are watched, the same for every task: nobody knows better beforehand
PROBE_BATCHES, EIGENVALUE_BATCHES = 26, 4
DEFAULTS = (0.1, 0.03)
TO_LR = {  # from an estimate to the optimizer's LR: a step length in gradients is lr / (1 - momentum)
    "paper's estimate": 1.0,
    "secant s.s / s.y": 1 - MOMENTUM,
    "|s| / |y|": 1 - MOMENTUM,
    "expected-loss step": 1 - MOMENTUM,
    "2 (1 + beta) / lambda": 1.0,
}
CHECKPOINTS = {"at initialisation": 0, f"after {WARM_UP_STEPS} updates": WARM_UP_STEPS}
NEED_UPDATES = ("paper's estimate", "secant s.s / s.y", "|s| / |y|")  # the others look at the checkpoint alone
Found = Mapping[tuple[str, str], list[dict[str, Any]]]  # task -> what `measure` found for every seed


class Bench:
    """One task and seed."""

    def __init__(self, data: str, model: str, seed: int) -> None:
        self.task, self.seed = named_task(data, model), seed
        splits = self.task.data.with_validation(1000)
        self.splits = splits.subset(min(SAMPLES, len(splits.train)))
        held_out = splits.validation.take(range(min(1000, len(splits.validation))))
        self.evaluation = Batches.for_evaluation(held_out, preparation=splits.preparation)
        self.probes = list(self.batches(seed + 1000))[:PROBE_BATCHES]

    def batches(self, seed: int) -> Batches:
        """Training batches in an order of their own."""
        return Batches(self.splits.train, BATCH, seed=seed, augment=False, preparation=self.splits.preparation)

    def fresh(self, lr: float) -> tuple[torch.nn.Module, Any]:
        """The network as it starts, and its optimizer."""
        model = self.task.build_model(self.seed)
        return model, sc.build_optimizer("sgd", model, lr=lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)

    def accuracy(self, lr: float) -> float:
        """Validation accuracy of 1cycle with this max_lr; chance where it diverged."""
        model, optimizer = self.fresh(lr)
        schedule = sc.one_cycle(STEPS, max_lr=lr)
        history = sc.train(
            model, optimizer, F.cross_entropy, self.batches(self.seed), schedule,
            eval_batches=self.evaluation, evaluate_every=STEPS, evaluate_with="batch",
        )  # fmt: skip
        if history.stop is StopReason.diverged or history.final is None:
            return 1.0 / self.splits.num_classes
        return history.final.metric

    def advice(self, steps: int, probe_lr: float) -> dict[str, float]:
        """max_lr by every estimator, all from one checkpoint after `steps` updates at a small constant LR."""
        model, optimizer = self.fresh(PROBE_LRS[0])
        train = self.batches(self.seed + 500)
        if steps:
            sc.train(model, optimizer, F.cross_entropy, train, sc.constant(steps, lr=PROBE_LRS[0]))
        pairs = probe_pairs(model, F.cross_entropy, self.probes)
        objective = BatchObjective(model, F.cross_entropy, self.probes[:EIGENVALUE_BATCHES])
        largest = extreme_eigenvalues(objective, tolerance=0.03, ends="largest").largest
        sums = IterateSums(dict(model.named_parameters()))
        previous: dict[str, torch.Tensor] = {}
        for record in sc.train_steps(model, optimizer, F.cross_entropy, train, sc.constant(WATCHED_STEPS, lr=probe_lr)):
            if record.step + 1 == WATCHED_STEPS:
                previous = {name: tensor.clone() for name, tensor in sums.previous.items()}
            sums.after_update(record.lr[0], MOMENTUM)
        moved = probe_pairs(model, F.cross_entropy, self.probes, previous=previous)
        found = sums.read()
        values = {
            "paper's estimate": found.absolute if found else math.nan,
            "secant s.s / s.y": _ratio(moved, "ss", "sy"),
            "|s| / |y|": _ratio(moved, "ss", "yy") ** 0.5,
            "expected-loss step": _ratio(pairs, "product", "curvature"),
            "2 (1 + beta) / lambda": 2 * (1 + MOMENTUM) / largest if largest > 0 else math.nan,
        }
        return {name: values[name] * factor for name, factor in TO_LR.items()}

    def range_test(self) -> float:
        """max_lr of the default range test with forks; NaN where it suggests none."""
        model, optimizer = self.fresh(0.1)
        ramp = sc.lr_range_test(
            model, optimizer, F.cross_entropy, self.batches(self.seed), eval_batches=self.evaluation, forks=10,
            seed=self.seed,
        )  # fmt: skip
        return ramp.suggest().max_lr or math.nan


def _ratio(probes: list[Probe], top: str, bottom: str) -> float:
    a, b = (sum(getattr(each, key) for each in probes) for key in (top, bottom))
    return a / b if a > 0 and b > 0 else math.nan


def measure(data: str, model: str, seed: int) -> dict[str, Any]:
    """Accuracies over the grid, and every adviser's max_lr."""
    bench = Bench(data, model, seed)
    return {"grid": [bench.accuracy(lr) for lr in GRID], "advised": advisers(bench)}


def advisers(bench: Bench) -> dict[str, float]:
    """max_lr by everything that is compared."""
    found: dict[str, float] = {}
    for when, steps in CHECKPOINTS.items():
        for probe_lr in PROBE_LRS:
            for name, lr in bench.advice(steps, probe_lr).items():
                if name in NEED_UPDATES:
                    found[f"{name}, {when}, watched at LR {probe_lr:g}"] = lr
                else:
                    found[f"{name}, {when}"] = lr
    return found | {"range test with forks": bench.range_test(), **{f"always {lr:g}": lr for lr in DEFAULTS}}


def accuracy_at(lr: float, grid: list[float]) -> float:
    """Between the grid's LRs linear in log LR; outside it the end's accuracy."""
    return float(np.interp(math.log(lr), np.log(GRID), grid))


def best_lr(grids: list[list[float]]) -> float:
    """Of the mean over seeds."""
    return GRID[int(np.argmax(np.mean(grids, axis=0)))]


def regrets(found: Found, adviser: str, factor: Callable[[Any], float]) -> dict[Any, float]:
    """Task -> mean over seeds of best grid accuracy (of the mean) minus accuracy at the advised LR times a factor.

    Where there is no advice the training is worth chance: a tool that says nothing trains nothing.
    """
    values = {}
    for task, runs in found.items():
        top = max(np.mean([run["grid"] for run in runs], axis=0))
        reached = []
        for run in runs:
            lr = run["advised"][adviser] * factor(task)
            reached.append(accuracy_at(lr, run["grid"]) if math.isfinite(lr) and lr > 0 else 0.1)
        values[task] = float(top) - fmean(reached)
    return values


def fitted_factor(found: Found, adviser: str, left_out: Any) -> float:
    """Geometric mean of (best LR / advice) over the other tasks: what a user could know from experience."""
    ratios = [
        math.log(best_lr([r["grid"] for r in runs]) / run["advised"][adviser])
        for task, runs in found.items() if task != left_out
        for run in runs if math.isfinite(run["advised"][adviser])
    ]  # fmt: skip
    return math.exp(fmean(ratios)) if ratios else 1.0


def run(quick: bool = False) -> list[Table]:
    """One table: advisers, their advice over the best LR, regrets as they are and rescaled."""
    tasks, seeds = (TASKS[1:2], 1) if quick else (TASKS, 3)
    torch.set_num_threads(1)
    return [table({task: [measure(*task, seed) for seed in range(seeds)] for task in tasks})]


def table(found: Found) -> Table:
    """One row an adviser."""
    rows = [_row(found, adviser) for adviser in next(iter(found.values()))[0]["advised"]]
    best = ", ".join(f"{'-'.join(task)} {best_lr([r['grid'] for r in runs]):.2g}" for task, runs in found.items())
    notes = [
        f"1cycle of {STEPS} updates, batch {BATCH}, SGD with momentum {MOMENTUM} cycled .95 to .85, weight decay "
        f"{WEIGHT_DECAY:g}, {SAMPLES:,} training images (mnist5k: 3,500), validation accuracy; batch "
        f"statistics; "
        f"n = {len(next(iter(found.values())))} seeds a task; best LR of {len(GRID)} a quarter decade apart: {best}",
        f"estimates at initialisation and after {WARM_UP_STEPS} updates at LR {PROBE_LRS[0]:g}; the paper's and the "
        f"secants from {WATCHED_STEPS} more; regret in points of accuracy below the best LR of the grid, mean and 95% "
        "t interval over tasks; rescaled: times the constant that fits the other tasks best",
    ]
    columns = ("adviser", "silent", "advice / best LR", "range", "regret", "regret, rescaled", "worst")
    return Table("1cycle with the LR that curvature advises", columns, rows, (), notes)


def _row(found: Found, adviser: str) -> list[str]:
    ratios = [run["advised"][adviser] / best_lr([r["grid"] for r in runs]) for runs in found.values() for run in runs]
    given = [ratio for ratio in ratios if math.isfinite(ratio)]
    spread = f"{min(given):.2g}-{max(given):.2g}" if given else "-"
    middle = f"{math.exp(fmean(map(math.log, given))):.2g}" if given else "-"
    plain = regrets(found, adviser, lambda task: 1.0)
    scaled = regrets(found, adviser, lambda task: fitted_factor(found, adviser, task))
    worst = max(plain, key=plain.__getitem__)
    return [
        adviser, f"{len(ratios) - len(given)}/{len(ratios)}", middle, spread, _interval(list(plain.values())),
        _interval(list(scaled.values())), f"{100 * plain[worst]:.1f} ({'-'.join(worst)})",
    ]  # fmt: skip


def _interval(values: list[float]) -> str:
    mean = fmean(values)
    if len(values) < 3:
        return f"{100 * mean:.1f}"
    half = critical_value(0.95, len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return f"{100 * mean:.1f} ({100 * (mean - half):.1f} to {100 * (mean + half):.1f})"
