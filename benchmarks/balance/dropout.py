"""Does a large LR want less dropout? A factorial max_lr x dropout at fixed updates, at two lengths.

    python -m benchmarks.balance.dropout --network mlp-bn --data-dir DATA

1cycle, momentum .95 to .85, weight decay 1e-4, few training images, so that dropout has something to do. Two answers,
both on validation data and over seeds: how the best dropout moves with a decade of max_lr (bootstrap; 0: not at all,
negative: less), and how the effect of dropout changes with it (interaction; Student's t; nothing is chosen). Both also
without the largest max_lr, since one that is too large by itself would carry them.
Paper: arXiv 1708.07120v3, abstract: with a large LR other regularisation has to be reduced.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from superconv.figures import Figure, Line, Panel

from .record import Record, options
from .slopes import best_against, interaction
from .training import Setting

LRS = {"resnet8": (0.03, 0.1, 0.3, 1.0)}
DROPOUTS = {"resnet8": (0.0, 0.1, 0.2, 0.4)}
LENGTHS = {"resnet8": (100, 400)}
SEEDS = {"resnet8": 3}
USUAL_LRS, USUAL_DROPOUTS = (0.01, 0.03, 0.1, 0.3, 1.0), (0.0, 0.1, 0.2, 0.3, 0.45, 0.6)
USUAL_LENGTHS, USUAL_SEEDS = (200, 800), 5
SAMPLES, BATCH = 2000, 64
VALIDATION = 2000
PARTS = ("short", "long")


def factors(network: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Learning rates and dropout probabilities of the factorial."""
    return LRS.get(network, USUAL_LRS), DROPOUTS.get(network, USUAL_DROPOUTS)


def grid(part: str, network: str, seeds: int) -> list[list[list[Setting]]]:
    """(seed, max_lr, dropout)."""
    lrs, dropouts = factors(network)
    length = LENGTHS.get(network, USUAL_LENGTHS)[PARTS.index(part)]
    return [
        [[Setting(network, SAMPLES, BATCH, length, lr, seed, dropout=p) for p in dropouts] for lr in lrs]
        for seed in range(seeds)
    ]


def conclude(record: Record, part: str, network: str, seeds: int) -> dict[str, Any]:
    """Best dropout per max_lr, its slope per decade, the interaction, and the best cell on test data."""
    lrs, dropouts = factors(network)
    settings = grid(part, network, seeds)
    validation, test = (record.table(settings, split) for split in ("validation", "test"))
    means = validation.mean(0)
    row, column = (int(place) for place in np.unravel_index(means.argmax(), means.shape))
    decades = np.log10(lrs).tolist()
    return {
        "steps": settings[0][0][0].steps,
        "best_dropout_per_decade": best_against(validation, decades, dropouts, VALIDATION),
        "interaction_accuracy_per_decade_and_unit": interaction(validation, decades, dropouts),
        "without_largest_lr": {
            "best_dropout_per_decade": best_against(validation[:, :-1], decades[:-1], dropouts, VALIDATION),
            "interaction_accuracy_per_decade_and_unit": interaction(validation[:, :-1], decades[:-1], dropouts),
        },
        "validation_accuracy": {f"{lr:g}": np.round(means[r], 4).tolist() for r, lr in enumerate(lrs)},
        "best_cell": {
            "max_lr": lrs[row], "dropout": dropouts[column], "test": round(float(test[:, row, column].mean()), 4)
        },
    }  # fmt: skip


def figure(record: Record, parts: list[str], network: str, seeds: int) -> Figure:
    """Validation accuracy against dropout, a line an LR, a panel a length."""
    lrs, dropouts = factors(network)
    panels = []
    for part in parts:
        table = record.table(grid(part, network, seeds), "validation")
        lines = [
            Line(dropouts, table[:, r].mean(0).tolist(), f"max_lr {lr:g}", table[:, r].min(0), table[:, r].max(0))
            for r, lr in enumerate(lrs)
        ]
        title = f"{record.conclusion[part]['steps']} updates"
        panels.append(Panel(lines, title, "dropout", "validation accuracy"))
    caption = f"Mean of {seeds} seeds; band: lowest and highest. {SAMPLES:,} training images, batch {BATCH}."
    return Figure(f"{network}: dropout against the learning rate", panels, len(panels), caption)


def main() -> None:
    chosen = options(__doc__, "mlp-bn", PARTS)
    seeds = chosen.seeds or SEEDS.get(chosen.network, USUAL_SEEDS)
    path: Path = chosen.out / f"dropout-{chosen.network}.json"
    lrs, dropouts = factors(chosen.network)
    about = {
        "network": chosen.network, "samples": SAMPLES, "batch_size": BATCH, "lrs": lrs, "dropouts": dropouts,
        "lengths": LENGTHS.get(chosen.network, USUAL_LENGTHS), "seeds": seeds, "weight_decay": 1e-4,
        "momentum": "0.95-0.85-0.95",
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
