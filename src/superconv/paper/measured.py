"""What a run of an experiment showed: its curve, its final accuracy, and how its ramp ended."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..experiments.monitoring import KEY
from .claim import Effect, Measure

LAST = 0.05  # share of a ramp that counts as its end
SMOOTHED = 5  # tests in a row whose median counts towards the peak


@dataclass(frozen=True)
class Run:
    """One seed of one experiment.

    Args:
        stop: "completed" or "diverged".
        step: updates done at each test.
        lr: of the last update before it.
        train_loss: of that update.
        test_loss, test_accuracy: of the test.
        seconds: of training and tests.
        estimates: the paper's curvature estimate, where it was asked for: step, lr (in use), estimate, noise_alone
            (what gradient noise alone would give).
    """

    stop: str
    step: tuple[int, ...]
    lr: tuple[float, ...]
    train_loss: tuple[float, ...]
    test_loss: tuple[float, ...]
    test_accuracy: tuple[float, ...]
    seconds: float
    estimates: Mapping[str, tuple[float, ...]] | None = None

    @property
    def final(self) -> float:
        """Accuracy of the last test; of a guesser (0) where the run diverged before one."""
        return self.test_accuracy[-1] if self.test_accuracy and self.stop == "completed" else 0.0

    @property
    def end_over_peak(self) -> float:
        """Median accuracy over the last twentieth of the tests, over the largest running median before; 0: diverged."""
        if self.stop != "completed" or not self.test_accuracy:
            return 0.0
        values = np.asarray(self.test_accuracy)
        count = max(1, round(LAST * len(values)))
        peak = max(np.median(values[k : k + SMOOTHED]) for k in range(max(1, len(values) - SMOOTHED + 1)))
        return float(np.median(values[-count:]) / peak) if peak > 0 else 0.0

    def estimate_over(self, column: str) -> float:
        """Median of the estimate over another column of `estimates`, second half of the readings; nan: none."""
        if self.estimates is None or not self.estimates["step"]:
            return math.nan
        half = len(self.estimates["step"]) // 2
        ratio = np.asarray(self.estimates["estimate"]) / np.asarray(self.estimates[column])
        return float(np.nanmedian(ratio[half:]))

    def measure(self, which: Measure) -> float:
        """One number."""
        if which == "final accuracy":
            return self.final
        if which == "end of ramp over its peak":
            return self.end_over_peak
        return self.estimate_over("lr" if which == "estimate over learning rate" else "noise_alone")


def run_of(rows: Iterable[Mapping[str, Any]], summary: Mapping[str, Any]) -> Run:
    """From the rows of a run directory: an update's row comes before the evaluation's of the same step."""
    columns: dict[str, list[float]] = {key: [] for key in ("step", "lr", "train_loss", "test_loss", "test_accuracy")}
    lr = loss = math.nan
    readings: dict[str, list[float]] = {key: [] for key in ("step", "lr", "estimate", "noise_alone")}
    for row in rows:
        if "lr" in row:
            lr, loss = row["lr"], row["loss"]
        elif KEY in row:
            reading = row[KEY]
            columns_of = {"step": "step", "lr": "lr", "estimate": "paper_estimate", "noise_alone": "noise_line"}
            for key, theirs in columns_of.items():
                readings[key].append(math.nan if reading[theirs] is None else reading[theirs])
        elif row.get("split") == "validation":
            values = (row["step"] + 1, lr, loss, row["eval_loss"], row["metric"])
            for key, value in zip(columns, values, strict=True):
                columns[key].append(value)
    estimates = {key: tuple(values) for key, values in readings.items()} if readings["step"] else None
    tested = {key: tuple(values) for key, values in columns.items()}
    return Run(summary["stop"], **tested, seconds=summary["seconds"], estimates=estimates)  # type: ignore[arg-type]


def effects_by_seed(effect: Effect, runs: Mapping[str, Mapping[int, Run]]) -> list[float]:
    """The effect for every seed that was run in all its conditions.

    Args:
        runs: condition -> seed -> Run.
    """
    treated = runs.get(effect.treatment, {})
    if effect.baseline is None:
        assert effect.threshold is not None
        return [run.measure(effect.measure) - effect.threshold for _, run in sorted(treated.items())]
    base = runs.get(effect.baseline, {})
    seeds: Sequence[int] = sorted(set(treated) & set(base))
    return [treated[seed].measure(effect.measure) - base[seed].measure(effect.measure) for seed in seeds]
