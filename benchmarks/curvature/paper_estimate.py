"""The paper's figure of its own estimate, with the echo line drawn in: constant LR against CLR on CIFAR-10.

    python -m benchmarks.curvature.paper_estimate --data-dir DATA                                          # panel (a)
    python -m benchmarks.curvature.paper_estimate --data-dir DATA --model resnet20 --steps 1000 --half-cycle 500 # (b)

arXiv 1708.07120v1, Fig. 5: (a) every iteration for 300, (b) every 10th for 10,000, ResNet-56, batch 1000. On a CPU
the panels are shortened: (a) 300 updates of batch 128, (b) a smaller network, and a cycle shortened with the run. LRs
are scaled with the batch (arXiv 1706.02677): at 0.35 and batch 128 ResNet-56 stays at chance from the first steps.
One training serves both spacings, and the sums with and without BatchNorm's stored blobs. Also drawn: what pure
gradient noise alone gives at that LR and momentum, smoothed as the estimate is. What lies on it is no curvature.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path

import torch
import torch.nn.functional as F

import superconv as sc
from superconv import runs
from superconv.data import Batches
from superconv.figures import Figure, Line, Panel
from superconv.schedules import Schedule

PAPER_LR = 0.35  # of the constant runs
BASE_LR, MAX_LR = 0.1, 3.0
PAPER_HALF_CYCLE, PAPER_BATCH = 5000, 1000
SPACINGS = (1, 10)
POINTS = 400  # of a stored curve
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def schedules(steps: int, half_cycle: int, scale: float) -> dict[str, Schedule]:
    """The two arms: constant, and one triangle of CLR of which the run shows the first `steps` updates."""
    cycle = sc.triangular(2 * half_cycle, base_lr=scale * BASE_LR, max_lr=scale * MAX_LR, step_size=half_cycle)
    return {"constant": sc.constant(steps, lr=scale * PAPER_LR), "CLR": cycle}


def watch(model_name: str, schedule: Schedule, steps: int, batch_size: int, splits: sc.Splits, seed: int) -> dict:
    """One training of `steps` updates; every curve of it as plain lists."""
    model = sc.models.build_model(model_name, splits.num_classes, seed=seed)
    model = model.to(DEVICE, memory_format=torch.channels_last)
    optimizer = sc.build_optimizer("sgd", model, lr=0.1, momentum=0.9, weight_decay=1e-4)
    train = Batches(
        splits.train, batch_size, seed=seed, preparation=splits.preparation, channels_last=True, device=DEVICE
    )
    monitors = {
        (spacing, blobs): sc.LRMonitor(
            model, optimizer, every=max(spacing, steps // POINTS), spacing=spacing, include_batch_norm=blobs
        )
        for spacing in SPACINGS
        for blobs in (False, True)
    }
    losses = []
    for record in sc.train_steps(model, optimizer, F.cross_entropy, train, schedule):
        losses.append(float(record.loss))
        if record.step + 1 == steps or not math.isfinite(losses[-1]):
            break
    curves = []
    for (spacing, blobs), monitor in monitors.items():
        monitor.close()
        rows = [row for row in monitor.rows if row["paper_estimate"] is not None]
        keys = ("step", "lr", "paper_estimate", "window_estimate", "noise_line")
        values = {key: [row[key] for row in rows] for key in keys}
        values["rho"] = [row["rho"]["value"] for row in rows]
        values["noise_rho"] = [row["noise_rho"] for row in rows]
        values["echo"] = [row["echo"] for row in rows]
        rounded = {key: [_rounded(value) for value in column] for key, column in values.items()}
        curves.append({"spacing": spacing, "batch_norm_blobs": blobs, **rounded})
    return {"losses": [_rounded(loss) for loss in losses[:: max(1, steps // POINTS)]], "curves": curves}


def _rounded(value: float | bool | None) -> float | bool | None:
    """To four digits: a picture's worth."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def summary(run: dict) -> list[str]:
    """One line a curve: the estimate over LR and over its noise line, from the second half on."""
    lines = []
    for curve in run["curves"]:
        half = len(curve["step"]) // 2
        pairs = list(zip(curve["paper_estimate"], curve["noise_line"], curve["lr"], strict=True))[half:]
        over_noise = statistics.median(estimate / noise for estimate, noise, _ in pairs)
        over_lr = statistics.median(estimate / lr for estimate, _, lr in pairs)
        echo = sum(bool(e) for e in curve["echo"][half:]) / max(1, len(pairs))
        lines.append(
            f"spacing {curve['spacing']:2}, blobs {'in ' if curve['batch_norm_blobs'] else 'out'}: "
            f"estimate / LR {over_lr:.2f}, estimate / noise line {over_noise:.2f}, called an echo in {echo:.0%}"
        )
    return lines


def figure(found: dict) -> Figure:
    """A panel for each spacing: both arms, with their noise lines dashed."""
    panels = []
    for spacing in SPACINGS:
        lines = []
        for color, arm in enumerate(("constant", "CLR")):
            for run in [r for r in found["runs"] if r["arm"] == arm][:1]:
                curve = next(c for c in run["curves"] if c["spacing"] == spacing and not c["batch_norm_blobs"])
                x = curve["step"]
                lines.append(Line(x, curve["lr"], f"{arm}: LR in use", style="dotted", color=color))
                lines.append(Line(x, curve["paper_estimate"], f"{arm}: paper's estimate", color=color))
                lines.append(Line(x, curve["noise_line"], f"{arm}: noise alone", style="dashed", color=color))
        which = "every step" if spacing == 1 else f"every {spacing}th step"
        panels.append(Panel(lines, f"{found['model']}, iterates {which}", "step", "learning rate", y_scale="log"))
    caption = (
        f"Cf. arXiv 1708.07120v1, Fig. 5. Batch {found['batch_size']}, LRs scaled with it, momentum 0.9. Where the "
        "estimate lies on the dashed line it is an echo of the LR in use."
    )
    return Figure("The paper's Hessian-free estimate, and what of it is the learning rate itself", panels, 2, caption)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--model", default="resnet56")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--half-cycle", type=int, default=PAPER_HALF_CYCLE, help="updates from LR 0.1 to 3")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--out", type=Path, default=Path("results/curvature"))
    args = parser.parse_args()
    splits = sc.data.load("cifar10", args.data_dir)
    name = f"paper_estimate-{args.model}-{args.steps}"
    found: dict = {
        "model": args.model, "steps": args.steps, "half_cycle": args.half_cycle, "batch_size": args.batch_size,
        "environment": runs.environment(), "runs": [],
    }  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in map(int, args.seeds.split(",")):
        for arm, schedule in schedules(args.steps, args.half_cycle, args.batch_size / PAPER_BATCH).items():
            run = watch(args.model, schedule, args.steps, args.batch_size, splits, seed)
            found["runs"].append({"arm": arm, "seed": seed, **run})
            print(f"{args.model} {arm}, seed {seed}, {args.steps} updates", *summary(run), sep="\n    ", flush=True)
            runs.atomic_write(args.out / f"{name}.json", json.dumps(runs.plain(found)) + "\n")
            if len(found["runs"]) > 1:
                figure(found).save(args.out / f"{name}.png")


if __name__ == "__main__":
    main()
