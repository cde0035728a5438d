"""Is a larger batch better, at equal updates and at equal epochs? Each batch size with its own tuned max_lr.

    python -m benchmarks.balance.batch_size --network lenet-slim-bn --data-dir DATA

1cycle, momentum .95 to .85, weight decay 1e-4; every batch size with every max_lr, n seeds. The max_lr of a seed is
chosen by the other seeds on validation data and its accuracy read on test data (cross-fitting), so that the choice does
not flatter. Accuracy: slope on log2 of the batch size. Best max_lr: slope of its logarithm on that of the batch size
(0: the same LR; .5: square root; 1: the noise scale LR x N / batch of v3 stays constant), bootstrap over seeds.
Paper: arXiv 1708.07120v1, App. A.2, Table 5 (larger is better at equal iterations); v3 Fig. 5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from superconv.analysis.comparison import paired_difference
from superconv.figures import Figure, Line, Panel

from .record import Record, options
from .slopes import best_against, cross_fitted, stated
from .training import Setting

BATCHES = (32, 64, 128, 256, 512)
LRS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
SAMPLES = 5000
EQUAL_STEPS = 300
EPOCHS = 10
SEEDS = 5
VALIDATION = 2000
PARTS = ("steps", "epochs")


def steps(part: str, batch_size: int) -> int:
    """Updates of one training: the same for all, or those of `EPOCHS` epochs."""
    return EQUAL_STEPS if part == "steps" else EPOCHS * (SAMPLES // batch_size)


def grid(part: str, network: str, seeds: int) -> list[list[list[Setting]]]:
    """(seed, batch size, max_lr)."""
    return [
        [[Setting(network, SAMPLES, batch, steps(part, batch), lr, seed) for lr in LRS] for batch in BATCHES]
        for seed in range(seeds)
    ]


def conclude(record: Record, part: str, network: str, seeds: int) -> dict[str, Any]:
    """Accuracy at each batch size's own max_lr, its slope on log2 of the batch size, and where the best max_lr lies."""
    validation, test = (record.table(grid(part, network, seeds), split) for split in ("validation", "test"))
    read = np.stack([cross_fitted(validation[:, b], test[:, b])[0] for b in range(len(BATCHES))], axis=1)
    x = np.log2(BATCHES) - np.log2(BATCHES).mean()
    gain = dict(enumerate((read @ x / (x @ x)).tolist()))
    largest = paired_difference(dict(enumerate(read[:, -1].tolist())), dict(enumerate(read[:, 0].tolist())))
    lrs = best_against(validation, np.log(BATCHES).tolist(), np.log(LRS).tolist(), VALIDATION)
    for name in ("likely", "highest", "tolerated"):
        logs = lrs[name].pop("positions")
        lrs[name]["max_lr"] = {
            str(b): None if v is None else round(float(np.exp(v)), 4) for b, v in zip(BATCHES, logs, strict=True)
        }
    lrs["at_edge"] = [BATCHES[place] for place in lrs["at_edge"]]
    return {
        "steps": {str(b): steps(part, b) for b in BATCHES},
        "test_accuracy": {str(b): round(float(v), 4) for b, v in zip(BATCHES, read.mean(0), strict=True)},
        "accuracy_per_doubling": stated(paired_difference(gain, dict.fromkeys(gain, 0.0))),
        "largest_minus_smallest": stated(largest),
        "best_lr": lrs,
    }


def figure(record: Record, parts: list[str], network: str, seeds: int) -> Figure:
    """Validation accuracy against max_lr, a line a batch size, a panel a part."""
    panels = []
    for part in parts:
        table = record.table(grid(part, network, seeds), "validation")
        lines = [
            Line(LRS, table[:, b].mean(0).tolist(), f"batch {batch}", table[:, b].min(0), table[:, b].max(0))
            for b, batch in enumerate(BATCHES)
        ]
        title = f"{EQUAL_STEPS} updates each" if part == "steps" else f"{EPOCHS} epochs each"
        panels.append(Panel(lines, title, "max_lr", "validation accuracy", x_scale="log"))
    caption = f"Mean of {seeds} seeds; band: lowest and highest."
    return Figure(f"{network}, {SAMPLES:,} CIFAR-10 images: batch size", panels, len(panels), caption)


def main() -> None:
    chosen = options(__doc__, "lenet-slim-bn", PARTS)
    seeds = chosen.seeds or SEEDS
    path: Path = chosen.out / f"batch-{chosen.network}.json"
    about = {
        "network": chosen.network, "samples": SAMPLES, "batch_sizes": BATCHES, "lrs": LRS, "seeds": seeds,
        "equal_steps": EQUAL_STEPS, "equal_epochs": EPOCHS, "weight_decay": 1e-4, "momentum": "0.95-0.85-0.95",
    }  # fmt: skip
    record = Record(path, about)
    for part in chosen.parts:
        record.measure([s for block in grid(part, chosen.network, seeds) for row in block for s in row],
                       chosen.data_dir)  # fmt: skip
        record.conclude(part, conclude(record, part, chosen.network, seeds))
    figure(record, [part for part in PARTS if part in record.conclusion], chosen.network, seeds).save(
        path.with_suffix(".png")
    )


if __name__ == "__main__":
    main()
