"""What each finder suggests for one network and one range, and what 1cycle makes of it as its max_lr."""

from __future__ import annotations

import math
import statistics

import torch
import torch.nn.functional as F

import superconv as sc

from ..embedded_images import images
from ..peers.finders import Subject, Suggestions, available, subject
from ..peers.packages import quiet, scratch_directory
from ..table import Table

MODELS = ("lenet-slim-bn", "lenet-slim")
START_LR, END_LR, STEPS, BATCH_SIZE = 1e-6, 10.0, 100, 64
GRID = tuple(10 ** (exponent / 2) for exponent in range(-6, 3))  # 1e-3 to 10
FORKS = 10


def fresh(model_name: str, seed: int) -> Subject:
    """The network with the weights and the batch order of this seed."""
    train, _ = images()
    return subject(sc.models.build_model(model_name, 10, seed=seed), *train, batch_size=BATCH_SIZE, seed=seed)


def accuracy_after(model_name: str, seed: int, max_lr: float) -> float:
    """Validation accuracy of a 1cycle training of `STEPS` updates; chance where it diverged."""
    what = fresh(model_name, seed)
    inputs, targets = images()[1]
    history = sc.train(
        what.model, what.optimizer, F.cross_entropy, what.loader, sc.one_cycle(STEPS, max_lr=max_lr),
        eval_batches=[(inputs, targets)],
    )  # fmt: skip
    final = history.final
    return 0.1 if final is None or not math.isfinite(final.loss) else final.metric


def by_accuracy(model_name: str, seed: int) -> Suggestions:
    """Our rules that look at accuracies: the plateau's edge, and annealed forks."""
    what = fresh(model_name, seed)
    ramp = sc.lr_range_test(
        what.model, what.optimizer, F.cross_entropy, what.loader, start_lr=START_LR, end_lr=END_LR, total_steps=STEPS,
        eval_batches=[images()[1]], forks=FORKS,
    )  # fmt: skip
    return {f"superconv {rule}": ramp.suggest(rule).lr for rule in ("plateau_edge", "best_fork")}


def suggestions(model_name: str, seed: int) -> Suggestions:
    """Of every tool that runs here, by rule."""
    found = by_accuracy(model_name, seed)
    finders, _ = available()
    for name, finder in finders.items():
        if name != "bare updates":
            with scratch_directory(), quiet():
                found |= finder(fresh(model_name, seed), START_LR, END_LR, STEPS)()
    return found


def rows_of(model_name: str, seeds: int) -> list[list[str]]:
    """One row a rule: suggestions over seeds, and the accuracy that 1cycle reaches with each."""
    torch.manual_seed(0)
    found = [suggestions(model_name, seed) for seed in range(seeds)]
    rows = []
    for rule in found[0]:
        lrs = [each[rule] for each in found]
        given = [(seed, lr) for seed, lr in enumerate(lrs) if lr is not None and lr > 0]
        reached = [accuracy_after(model_name, seed, lr) for seed, lr in given]
        rows.append([rule, *_cells([lr for _, lr in given], reached)])
    grid = {lr: [accuracy_after(model_name, seed, lr) for seed in range(seeds)] for lr in GRID}
    best = max(grid, key=lambda lr: statistics.mean(grid[lr]))
    return [*rows, [f"(best of a grid of {len(GRID)})", *_cells([best], grid[best])]]


def _cells(lrs: list[float], accuracies: list[float]) -> list[str]:
    if not lrs:
        return ["none", "", "", ""]
    spread = f"{min(lrs):.2g} to {max(lrs):.2g}"
    middle = f"{statistics.median(lrs):.2g}"
    return [middle, spread, f"{statistics.mean(accuracies):.3f}", f"{min(accuracies):.3f}"]


def run(quick: bool = False) -> list[Table]:
    """One table a network."""
    seeds = 2 if quick else 4
    _, left_out = available()
    notes = [
        f"exponential ramp of {STEPS} updates from {START_LR:g} to {END_LR:g}, batch {BATCH_SIZE}, SGD with momentum "
        f"0.9, 3,500 images; n = {seeds} seeds. Accuracy on 500 validation images after a 1cycle training of {STEPS} "
        "updates with the suggestion as max_lr (fastai's use of it; Lightning and torch-lr-finder speak of an initial "
        "LR). plateau_edge and best_fork also read validation accuracies; best_fork costs 4 times the updates, the "
        f"grid {len(GRID)} times",
        *left_out,
    ]
    columns = ("rule", "LR, median", "range over seeds", "1cycle accuracy, mean", "least")
    return [Table(f"Suggested LRs, {name} on mnist5k", columns, rows_of(name, seeds), (), notes) for name in MODELS]
