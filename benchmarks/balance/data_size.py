"""Does the gain of 1cycle over tuned piecewise constant grow as the training data shrink? Equal updates throughout.

    python -m benchmarks.balance.data_size --network mlp-bn --data-dir DATA --runs RUNS

For every amount of data `superconv.compare` tunes both arms alike (max_lr and weight decay, piecewise constant its
warm-up too) on validation data and compares them on fresh paired seeds, on test data. The gain's slope is per decade of
training images. Two intervals: over seeds (Student's t of each seed's slope), which holds the tuning fixed; and from
the scatter of the sizes around the line (t with sizes - 2 degrees), which also feels how lucky each size's tuning was.
Paper: arXiv 1708.07120v1, Sec. 6.1, Table 1: +1.2 points at 50,000 images, +9.2 at 10,000.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import superconv as sc
from superconv import runs
from superconv.analysis.comparison import paired_difference
from superconv.analysis.student_t import critical_value, two_sided_p
from superconv.experiments.contenders import CONTENDERS, WARM_UPS, WEIGHT_DECAYS, Interval
from superconv.experiments.tuning import Budget, tuned_to_dict
from superconv.figures import Figure, Line, Mark, Panel

from ..tasks.small_tasks import SmallTask
from .record import FOLDER, stated_environment
from .slopes import stated
from .training import DATA

SIZES = (1000, 2500, 5000, 10_000, 40_000)
STEPS, SEEDS = 400, 8
BUDGET = Budget(trials=8, finalists=2, fresh_seeds=2)
LR = Interval(0.01, 4.0)
TREATMENT, OPPONENT = "1cycle", "piecewise constant"


def contenders() -> list[sc.Contender]:
    """Both arms over one range of LR and weight decay, evaluated with batch statistics."""
    space = {"lr": LR, "weight_decay": WEIGHT_DECAYS}
    return [
        replace(CONTENDERS[TREATMENT], space=space, evaluate_with="batch"),
        replace(CONTENDERS[OPPONENT], space={**space, "warmup": WARM_UPS}, evaluate_with="batch"),
    ]


def measured(network: str, size: int, data_dir: str | None, folder: Path) -> dict[str, Any]:
    """One comparison: what each arm was tuned to, and its test accuracy by seed."""
    task = SmallTask(DATA, network, samples=size).task(data_dir)
    found = sc.compare(
        task, contenders(), steps=STEPS, ladder=(1,), seeds=SEEDS, budget=BUDGET, root=folder,
        experiment=f"balance-size-{network}-{size}", report=_told,
    )  # fmt: skip
    assert found is not None  # nothing here asks it to stop
    return {
        "split": found.split,
        "tuned": {name: tuned_to_dict(tuned) for (name, _), tuned in found.tuned.items()},
        "accuracy": {name: [round(v, 4) for v in by[STEPS].values()] for name, by in found.values.items()},
    }


def _told(what: str, done: int, total: int, text: str) -> None:
    print(f"{what} {done}/{total} {text}", flush=True)


def conclude(sizes: dict[str, Any]) -> dict[str, Any]:
    """The gain at every size, and its slope per decade of training images."""
    arms = {size: [dict(enumerate(found["accuracy"][name])) for name in (TREATMENT, OPPONENT)] for size, found in
            sorted(sizes.items(), key=lambda item: int(item[0]))}  # fmt: skip
    differences = {size: paired_difference(*pair) for size, pair in arms.items()}
    gains = np.array([difference.differences for difference in differences.values()]).T  # (seed, size)
    x = np.log10([int(size) for size in arms])
    x = x - x.mean()
    slopes = dict(enumerate((gains @ x / (x @ x)).tolist()))
    found: dict[str, Any] = {"gain": {size: stated(difference) for size, difference in differences.items()}}
    if len(x) > 2:
        found["slope_per_decade_over_seeds"] = stated(paired_difference(slopes, dict.fromkeys(slopes, 0.0)))
        found["slope_per_decade_over_sizes"] = _from_scatter(x, gains.mean(0))
    return found


def _from_scatter(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Slope of y on centred x, with the interval that the residuals imply."""
    degrees = len(x) - 2
    slope = float(x @ y / (x @ x))
    rest = y - y.mean() - slope * x
    error = math.sqrt(float(rest @ rest) / degrees / float(x @ x))
    half = critical_value(0.95, degrees) * error
    return {
        "mean": round(slope, 5), "interval": [round(slope - half, 5), round(slope + half, 5)],
        "p": round(two_sided_p(slope / error, degrees), 6), "sizes": len(x),
    }  # fmt: skip


def figure(network: str, told: dict[str, Any]) -> Figure:
    """The gain with its interval against the amount of data."""
    sizes = [int(size) for size in told["gain"]]
    points = [[100 * value for value in (g["mean"], *g["interval"])] for g in told["gain"].values()]
    means, low, high = (list(column) for column in zip(*points, strict=True))
    line = Line(sizes, means, "1cycle minus piecewise constant", lower=low, upper=high)
    panel = Panel([line], "", "training images", "points of test accuracy", x_scale="log", marks=[Mark(y=0.0)])
    caption = f"{STEPS} updates each; band: 95% interval over {SEEDS} paired seeds."
    return Figure(f"{network}: gain of 1cycle against the amount of data", [panel], 1, caption)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="mlp-bn", help="a name of the catalogue of small tasks")
    parser.add_argument("--only", type=int, choices=SIZES, default=None, help="one amount of data")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the trainings themselves")
    parser.add_argument("--out", type=Path, default=FOLDER)
    args = parser.parse_args()
    torch.set_num_threads(1)
    path: Path = args.out / f"size-{args.network}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"sizes": {}}
    found |= {
        "about": {
            "network": args.network, "steps": STEPS, "seeds": SEEDS, "batch_size": contenders()[0].batch_size,
            "trials": BUDGET.trials, "finalists": BUDGET.finalists, "fresh_seeds": BUDGET.fresh_seeds,
            "lr": [LR.low, LR.high], "weight_decay": [WEIGHT_DECAYS.low, WEIGHT_DECAYS.high],
        },
        "environment": found.get("environment") or stated_environment(),
    }  # fmt: skip
    for size in SIZES if args.only is None else (args.only,):
        if str(size) not in found["sizes"]:
            found["sizes"][str(size)] = measured(args.network, size, args.data_dir, args.runs)
            runs.atomic_write(path, json.dumps(found) + "\n")
    found["conclusion"] = conclude(found["sizes"])
    runs.atomic_write(path, json.dumps(found) + "\n")
    figure(args.network, found["conclusion"]).save(path.with_suffix(".png"))
    print(json.dumps(found["conclusion"], indent=1))


if __name__ == "__main__":
    main()
