"""max_lr from range tests of 100 and of 300 steps on real networks: within 2x of each other?"""

from __future__ import annotations

import math
import statistics

import torch.nn.functional as F

import superconv as sc
from superconv.data import Batches

from ..table import Goal, Table

MODELS = ("lenet-slim-bn", "lenet-slim", "mlp-bn", "mlp")
RULES = ("steepest", "blow_up", "plateau_edge", "best_fork")
LENGTHS = (100, 300)
GOAL_RATIO = 2.0
FORKS = 10


def range_test(model_name: str, steps: int, seed: int) -> sc.RangeTest:
    """As someone would run it who gives no range: scout, ramp, forks, accuracy on the validation images."""
    splits = sc.data.load("mnist5k")
    model = sc.models.build_model(model_name, splits.num_classes, seed=seed)
    optimizer = sc.build_optimizer("sgd", model, lr=0.1, momentum=0.9, weight_decay=1e-4)
    return sc.lr_range_test(
        model, optimizer, F.cross_entropy,
        Batches(splits.train, 64, seed=seed, augment=False, preparation=splits.preparation),
        eval_batches=Batches.for_evaluation(splits.validation, preparation=splits.preparation),
        total_steps=steps, forks=FORKS, seed=seed,
    )  # fmt: skip


def compare(model_name: str, seeds: int) -> tuple[list[list[str]], list[Goal]]:
    """One row and one goal a rule."""
    ramps = {steps: [range_test(model_name, steps, seed) for seed in range(seeds)] for steps in LENGTHS}
    rows, goals = [], []
    for rule in RULES:
        short, long = ([ramp.suggest(rule).lr for ramp in ramps[steps]] for steps in LENGTHS)
        pairs = [(a, b) for a, b in zip(short, long, strict=True) if a is not None and b is not None]
        claim = f"max_lr by {rule} from {LENGTHS[0]} and {LENGTHS[1]} steps within {GOAL_RATIO:g}x ({model_name})"
        levels = [_level(side) for side in (short, long)]
        if not pairs:
            rows.append([model_name, rule, *levels, "", "", f"0/{seeds}"])
            goals.append(Goal(claim, "no seed has a suggestion from both", False))
            continue
        ratios = [b / a for a, b in pairs]
        overall = math.exp(statistics.mean(map(math.log, ratios)))
        within = sum(1 / GOAL_RATIO <= ratio <= GOAL_RATIO for ratio in ratios)
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        rows.append([model_name, rule, *levels, f"{overall:.2f}", spread, f"{within}/{seeds}"])
        met = within == seeds
        goals.append(Goal(claim, f"{within} of {seeds} seeds, mean ratio {overall:.2f}", met))
    return rows, goals


def _level(lrs: list[float | None]) -> str:
    """Geometric mean of the suggestions, and of how many, where some seeds have none."""
    given = [math.log(lr) for lr in lrs if lr is not None]
    if not given:
        return "none"
    return f"{math.exp(statistics.mean(given)):.3g}" + (f" (n = {len(given)})" if len(given) < len(lrs) else "")


def run(quick: bool = False) -> list[Table]:
    """One table for all networks and rules."""
    seeds = 2 if quick else 5
    rows: list[list[str]] = []
    goals: list[Goal] = []
    for name in MODELS:
        more_rows, more_goals = compare(name, seeds)
        rows += more_rows
        goals += more_goals
    notes = [
        f"mnist5k, 3,500 images, batch 64, SGD with momentum 0.9 and weight decay 1e-4, accuracy on 500 validation "
        f"images, no range given, {FORKS} forks; n = {seeds} seeds, paired; a seed without a suggestion counts against"
    ]
    columns = ("network", "rule", "max_lr, 100", "max_lr, 300", "ratio", "range over seeds", "within 2x")
    return [Table("Suggested max_lr from 100 and from 300 steps", columns, rows, goals, notes)]
