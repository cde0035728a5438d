"""A made-up tree of runs in the format that the runner writes: range tests, arms, lengths, seeds, accidents."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from superconv.analysis.range_test import RangeTest
from superconv.schedules import Schedule, one_cycle, piecewise_constant

TASKS = ("mnist5k/lenet-slim-bn", "mnist5k/lenet-slim")
LENGTHS = (40, 80, 160)
# arm -> (schedule of a length, speed of learning, level reached)
ARMS = {
    "default": (lambda n: piecewise_constant(n, lr=0.01, milestones=[n * 6 // 10, n * 85 // 100]), 0.5, 0.90),
    "tuned-piecewise": (lambda n: piecewise_constant(n, lr=0.2, milestones=[n * 6 // 10, n * 85 // 100]), 1.2, 0.96),
    "one-cycle": (lambda n: one_cycle(n, max_lr=0.5), 1.0, 0.965),
    "tuned-one-cycle": (lambda n: one_cycle(n, max_lr=0.8), 1.3, 0.97),
}


def write_run(folder: Path, arm: str, seed: int, config: dict, rows: list[dict], summary: dict | None) -> Path:
    folder.mkdir(parents=True)
    info = {"superconv": "0.1.0", "torch": "2.13.0", "device": "cpu", "threads": 1, "git_revision": "0123abc",
            "command": f"superconv demo --seed {seed}", "data": {"train": "d0c5", "validation": "0047"}}  # fmt: skip
    record = {"format": 1, "experiment": "demo", "arm": arm, "seed": seed, "hash": "0123456789", "config": config,
              "info": info}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps({"format": 1, **summary}))
    return folder


def training_rows(schedule: Schedule, speed: float, level: float, rng: np.random.Generator) -> list[dict]:
    """Falling losses, and ten evaluations that rise to the level."""
    rows, total = [], schedule.total_steps
    for step in range(total):
        share = step * speed / 40
        loss = 2.3 / (1 + share**1.6) + 0.05 + 0.05 * rng.normal()
        rows.append({"step": step, "loss": abs(loss), "seconds": 0.01 * step, **schedule(step)})
        if (step + 1) % (total // 10) == 0:
            metric = level - (level - 0.1) * np.exp(-3 * (step + 1) * speed / 40) + 0.004 * rng.normal()
            rows.append({"step": step, "split": "validation", "eval_loss": abs(loss), "metric": min(1.0, metric),
                         "samples": 500, "evaluate_with": "running", "seconds": 0.01 * step})  # fmt: skip
    return rows


def summary_of(rows: list[dict], steps: int, stop: str = "completed") -> dict:
    last = [row for row in rows if "metric" in row][-1]
    measured = {"loss": last["eval_loss"], "metric": last["metric"], "samples": 500, "evaluate_with": "running"}
    message = "all planned steps were done" if stop == "completed" else "the loss became non-finite"
    loss = [row for row in rows if "loss" in row][-1]["loss"]
    return {"stop": stop, "message": message, "steps": steps, "seconds": 1.5, "train_loss": loss,
            "validation": measured, "test": {**measured, "metric": measured["metric"] - 0.01}}  # fmt: skip


def ramp(wide: bool, seed: int) -> RangeTest:
    """An exponential ramp whose accuracy holds to LR 3 (wide) or breaks down at 0.2."""
    rng = np.random.default_rng(seed)
    lr = np.geomspace(1e-4, 10, 120)
    end = 3.0 if wide else 0.2
    learnt = 1 / (1 + (0.01 / lr) ** 1.5) * (lr < end)
    loss = 2.3 - 2.0 * learnt + np.where(lr > end, 4 * np.log(np.maximum(lr / end, 1)), 0) + 0.05 * rng.normal(size=120)
    accuracy = np.clip(0.1 + 0.82 * learnt + 0.01 * rng.normal(size=120), 0, 1)
    accuracy[np.arange(120) % 3 != 0] = np.nan
    return RangeTest.from_arrays(
        lr=lr, train_loss=np.abs(loss), eval_accuracy=accuracy, chance=0.1, eval_samples=500,
        reference_lr=0.3 if wide else 0.1, evaluate_with="batch", shape="exponential", settings={"seed": seed},
    )  # fmt: skip


def write_ramps(home: Path) -> None:
    for task, wide in zip(TASKS, (True, False), strict=True):
        arm = f"range-{task.split('/')[1]}"
        for seed in (0, 1):
            folder = home / arm / f"seed{seed}-aaaaaaaaaa"
            summary = {"stop": "completed", "message": "done", "steps": 120, "seconds": 4.0, "validation": None}
            write_run(folder, arm, seed, {"task": {"name": task}, "optimizer": "sgd", "forks": 0}, [], summary)
            ramp(wide, seed).save(folder / "range_test.json")


def write_tree(root: Path, *, lengths=LENGTHS, seeds: int = 5, stated: bool = True, accidents: bool = True) -> Path:
    """root/demo with everything; returns it."""
    home, rng = root / "demo", np.random.default_rng(0)
    write_ramps(home)
    for task in TASKS:
        for name, (schedule_of, speed, level) in ARMS.items():
            for steps in lengths:
                arm = f"{task.split('/')[1]}-{name}-{steps}"
                for seed in range(seeds):
                    schedule = schedule_of(steps)
                    rows = training_rows(schedule, speed, level, rng)
                    config = {"task": {"name": task, "hash": "ad82"}, "batch_size": 128, "optimizer": "sgd",
                              "optimizer_options": {"weight_decay": 1e-4}, "schedule": schedule.to_dict()}  # fmt: skip
                    write_run(home / arm / f"seed{seed}-0123456789", arm, seed, config, rows, summary_of(rows, steps))
    if accidents:
        add_accidents(home, max(lengths))
    if stated:
        (home / "experiment.json").write_text(json.dumps(STATED))
    return home


def add_accidents(home: Path, steps: int) -> None:
    """One run diverged, one was killed in the middle of a row, one lost its run.json to a bad disk."""
    arm = home / f"lenet-slim-one-cycle-{steps}"
    rows = [json.loads(line) for line in (arm / "seed0-0123456789" / "rows.jsonl").read_text().splitlines()]
    short = rows[: len(rows) // 2]
    text = "".join(json.dumps(row) + "\n" for row in short)
    (arm / "seed1-0123456789" / "rows.jsonl").write_text(text)
    (arm / "seed1-0123456789" / "summary.json").write_text(json.dumps(summary_of(short, len(short), "diverged")))
    (arm / "seed2-0123456789" / "rows.jsonl").write_text(text + '{"step": 80, "lr": 0.')
    (arm / "seed2-0123456789" / "summary.json").unlink()
    (arm / "seed3-0123456789" / "run.json").write_text('{"format": 1, "exper')


STATED = {
    "format": 1,
    "name": "demo",
    "kind": "demo",
    "title": "Does LeNet super-converge on 5,000 MNIST images?",
    "sentence": "LeNet with BatchNorm tolerates large learning rates (up to LR 3, 10x the best constant one); "
    "over a tuned baseline 1cycle gains 0.2 ± 0.3 points at 160 steps: no gain (n = 5).",
    "findings": [
        "Against the common default (LR 0.01) 1cycle needs 3.1x fewer steps.",
        "Without BatchNorm the network tolerates little: the ramp breaks down at LR 0.2.",
    ],
    "metric": "accuracy",
    "note": "3,500 images for training, 500 for validation, 1,000 for the test",
    "tables": [
        {
            "title": "Steps to 95% validation accuracy",
            "columns": ["network", "default", "tuned piecewise constant", "1cycle", "speed-up over tuned"],
            "rows": [
                ["LeNet with BatchNorm", 160, 80, 80, "1.0 (0.8 to 1.3)"],
                ["LeNet", None, 160, 160, "1.1 (0.9 to 1.4)"],
            ],
            "note": "A dash: never reached.",
        }
    ],
    "command": "superconv demo",
    "seconds": 243.1,
    "created": "2026-11-23T14:00:00+00:00",
}
