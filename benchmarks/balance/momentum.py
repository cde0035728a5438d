"""Is momentum cycled from .95 to .85 and back better than a good constant? Each with its own tuned max_lr.

    python -m benchmarks.balance.momentum --network lenet-slim-bn --data-dir DATA

1cycle of the learning rate throughout. Six kinds of momentum get the same trials: eight max_lr, three seeds each, on
validation data; the best mean is the kind's max_lr. Then all are trained on fresh seeds, paired, and read on test data.
Differences: cycled minus constant, Student's t, Holm over the constants. The best constant is named twice: on the
trials alone, and, as three seeds name it badly, for each fresh seed by the other fresh seeds' validation accuracy.
Paper: arXiv 1708.07120v3 uses the cycle throughout; arXiv 1803.09820, Sec. 4.3: about as good as the best constant,
and steadier.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from superconv.analysis.comparison import holm, paired_difference
from superconv.figures import Figure, Line, Panel

from .record import Record, options
from .slopes import cross_fitted, stated, tolerated_positions
from .training import Setting

MOMENTA = (None, 0.8, 0.85, 0.9, 0.95, 0.97)  # None: cycled
LRS = (0.01, 0.022, 0.046, 0.1, 0.22, 0.46, 1.0, 2.2)
TUNING = (1000, 1001, 1002)
SEEDS = 16
STEPS = {"resnet8": 150}
SAMPLES, BATCH, USUAL = 10_000, 64, 300


def base(network: str) -> Setting:
    """What all trainings of a network share."""
    return Setting(network, SAMPLES, BATCH, STEPS.get(network, USUAL), max_lr=0.1, seed=0)


def trials(network: str) -> list[list[list[Setting]]]:
    """(kind, max_lr, seed): the same for every kind of momentum."""
    own = base(network)
    return [[[replace(own, momentum=m, max_lr=lr, seed=s) for s in TUNING] for lr in LRS] for m in MOMENTA]


def chosen_lrs(record: Record, network: str) -> list[int]:
    """For each kind of momentum the place of its max_lr: the best mean on validation data."""
    return [int(row.argmax()) for row in record.table(trials(network), "validation").mean(2)]


def compared(record: Record, network: str, seeds: int) -> list[list[Setting]]:
    """(kind, fresh seed), each kind at its max_lr."""
    own, places = base(network), chosen_lrs(record, network)
    return [
        [replace(own, momentum=momentum, max_lr=LRS[place], seed=seed) for seed in range(seeds)]
        for momentum, place in zip(MOMENTA, places, strict=True)
    ]


def conclude(record: Record, network: str, seeds: int) -> dict[str, Any]:
    """Differences of the cycle to every constant on test data, with the best constant named beforehand."""
    validation = record.table(trials(network), "validation").mean(2)
    places = chosen_lrs(record, network)
    finals = {
        named(m): {s.seed: record.test(s) for s in row}
        for m, row in zip(MOMENTA, compared(record, network, seeds), strict=True)
    }
    cycled, *constants = finals
    differences = {name: paired_difference(finals[cycled], finals[name]) for name in constants}
    adjusted = holm({name: difference.p_value for name, difference in differences.items()})
    tolerated = np.exp(tolerated_positions(np.log(LRS).tolist(), validation))
    rows = {
        named(m): {
            "max_lr": LRS[place], "at_edge": place in (0, len(LRS) - 1), "validation": round(float(row[place]), 4),
            "test": round(float(np.mean(list(finals[named(m)].values()))), 4),
            "mean_over_lrs": round(float(row.mean()), 4),
            "largest_lr_that_holds_95%": round(float(limit), 3) if np.isfinite(limit) else None,
        }
        for m, place, row, limit in zip(MOMENTA, places, validation, tolerated, strict=True)
    }  # fmt: skip
    best = MOMENTA[1:][int(np.argmax([row[place] for place, row in zip(places, validation, strict=True)][1:]))]
    return {
        "kinds": rows, "best_constant_on_trials": named(best),
        "cycled_minus_best_constant": _against_best(record, compared(record, network, seeds)),
        "cycled_minus": {name: {**stated(d), "holm": adjusted[name]} for name, d in differences.items()},
    }  # fmt: skip


def _against_best(record: Record, settings: list[list[Setting]]) -> dict[str, Any]:
    """The cycle minus the constant that the other fresh seeds' validation accuracy chooses, on test data."""
    validation, test = (
        np.array([[read(setting) for setting in row] for row in settings]).T
        for read in (record.validation, record.test)
    )
    best, chosen = cross_fitted(validation[:, 1:], test[:, 1:])
    difference = paired_difference(dict(enumerate(test[:, 0].tolist())), dict(enumerate(best.tolist())))
    return {**stated(difference), "chosen": [named(MOMENTA[1:][place]) for place in chosen]}


def named(momentum: float | None) -> str:
    """As tables and figures call it."""
    return "cycled" if momentum is None else f"{momentum:g}"


def figure(record: Record, network: str, seeds: int) -> Figure:
    """Validation accuracy against max_lr, a line a kind of momentum; the differences beside it."""
    table, told = record.table(trials(network), "validation"), record.conclusion["comparison"]
    lines = [
        Line(LRS, rows.mean(1).tolist(), named(m), style="solid" if m is None else "dashed")
        for m, rows in zip(MOMENTA, table, strict=True)
    ]
    found = list(told["cycled_minus"].items())
    x = [float(name) for name, _ in found]
    points = [[100 * value for value in (d["mean"], *d["interval"])] for _, d in found]
    means, low, high = (list(column) for column in zip(*points, strict=True))
    difference = Line(x, means, "cycled minus constant", lower=low, upper=high)
    caption = f"Left: mean of {len(TUNING)} seeds, validation. Right: test accuracy, 95% interval, n = {seeds}."
    panels = [
        Panel(lines, "tuning", "max_lr", "validation accuracy", x_scale="log"),
        Panel([difference], "fresh seeds", "constant momentum", "points"),
    ]
    return Figure(f"{network}: momentum cycled or constant, {base(network).steps} updates", panels, 2, caption)


def main() -> None:
    chosen = options(__doc__, "lenet-slim-bn", ("comparison",))
    seeds, own = chosen.seeds or SEEDS, base(chosen.network)
    path: Path = chosen.out / f"momentum-{chosen.network}.json"
    about = {
        "network": own.network, "samples": own.samples, "batch_size": own.batch_size, "steps": own.steps,
        "weight_decay": own.weight_decay, "lrs": LRS, "tuning_seeds": TUNING, "seeds": seeds,
    }  # fmt: skip
    record = Record(path, about)
    record.measure([s for kind in trials(chosen.network) for row in kind for s in row], chosen.data_dir)
    record.measure([s for row in zip(*compared(record, chosen.network, seeds), strict=True) for s in row],
                   chosen.data_dir)  # fmt: skip
    record.conclude("comparison", conclude(record, chosen.network, seeds))
    figure(record, chosen.network, seeds).save(path.with_suffix(".png"))


if __name__ == "__main__":
    main()
