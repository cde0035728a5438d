"""What a run of an experiment showed: its curve, its final accuracy, and how its ramp ended."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..experiments.monitoring import KEY
from .claim import Effect, Measure
from .setting import Setting

TF32 = "tf32"  # convolutions of "fp32" on a GPU: torch's default
MADE = ("device", "processor", "superconv", "torch", TF32)
LAST = 0.05  # share of a ramp that counts as its end
SMOOTHED = 5  # tests in a row whose median counts towards the peak
LOW, HIGH = (0.1, 0.2), (0.8, 1.0)  # shares of a ramp's last learning rate, between which losses are compared


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
        chance: accuracy of a guesser, which is what a run that diverged is worth.
        planned_lr: of the last update, as planned; nan: that of the last one made.
        train_accuracy: at the end, on training images as they are; None: not measured.
        made: what it was run with: device, processor, versions of superconv and torch, whether in TF32; what is not
            stored is not there.
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
    chance: float = 0.1
    planned_lr: float = math.nan
    made: Mapping[str, str] = field(default_factory=dict)
    train_accuracy: float | None = None

    @property
    def final(self) -> float:
        """Accuracy of the last test; a guesser's where the run diverged."""
        return self.test_accuracy[-1] if self.test_accuracy and self.stop == "completed" else self.chance

    @property
    def best(self) -> float:
        """Accuracy of the best test; only the paper's peak values are compared with it."""
        return max((self.chance, *self.test_accuracy))

    @property
    def gap(self) -> float:
        """Accuracy on training images less that of the last test; nan: not measured, or diverged."""
        if self.train_accuracy is None or self.stop != "completed":
            return math.nan
        return self.train_accuracy - self.final

    @property
    def end_over_peak(self) -> float:
        """Median accuracy over the last twentieth of the tests, a guesser's where the run diverged, over `_peak`'s."""
        if not self.test_accuracy:
            return math.nan
        _, peak = self._peak
        count = max(1, round(LAST * len(self.test_accuracy)))
        end = float(np.median(self.test_accuracy[-count:])) if self.stop == "completed" else self.chance
        return end / peak if peak > 0 else math.nan

    @property
    def peak_lr_over_last(self) -> float:
        """The learning rate in the middle of the tests that are the peak, over the ramp's last."""
        return self.lr[self._peak[0]] / self._last_lr if self.test_accuracy else math.nan

    @property
    def _last_lr(self) -> float:
        return self.planned_lr if math.isfinite(self.planned_lr) else self.lr[-1]

    @property
    def _peak(self) -> tuple[int, float]:
        """Place and height of the largest median of `SMOOTHED` tests in a row."""
        values = np.asarray(self.test_accuracy)
        width = min(SMOOTHED, len(values))
        medians = [float(np.median(values[k : k + width])) for k in range(len(values) - width + 1)]
        first = int(np.argmax(medians))
        return first + width // 2, medians[first]

    def high_over_low(self, losses: Sequence[float]) -> float:
        """Median of a loss along a ramp at high learning rates, over that at low ones; nan: diverged, or no tests."""
        if self.stop != "completed" or not self.lr:
            return math.nan
        share = np.asarray(self.lr) / self._last_lr
        values = np.asarray(losses)
        high, low = (values[(share > a) & (share <= b)] for a, b in (HIGH, LOW))
        return float(np.median(high) / np.median(low)) if len(high) and len(low) else math.nan

    def estimate_over(self, column: str) -> float:
        """Median of the estimate over another column of `estimates`, second half of the readings; nan: no number."""
        if self.estimates is None or not self.estimates["step"]:
            return math.nan
        half = len(self.estimates["step"]) // 2
        with np.errstate(divide="ignore", invalid="ignore"):  # a rate of 0
            ratio = np.asarray(self.estimates["estimate"][half:]) / np.asarray(self.estimates[column][half:])
        numbers = ratio[np.isfinite(ratio)]
        return float(np.median(numbers)) if len(numbers) else math.nan

    def measure(self, which: Measure) -> float:
        """One number."""
        if which == "final accuracy":
            return self.final
        if which == "generalisation gap":
            return self.gap
        if which == "end of ramp over its peak":
            return self.end_over_peak
        if which == "peak's learning rate over the ramp's last":
            return self.peak_lr_over_last
        if which.endswith("at high rates over low"):
            return self.high_over_low(self.test_loss if which.startswith("test") else self.train_loss)
        return self.estimate_over("lr" if which == "estimate over learning rate" else "noise_alone")


def run_of(
    rows: Iterable[Mapping[str, Any]], summary: Mapping[str, Any], info: Mapping[str, Any], setting: Setting
) -> Run:
    """From a run directory (of rows an update's comes before the evaluation's of the same step) and what was asked."""
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
                readings[key].append(_number(reading[theirs]))
        elif row.get("split") == "validation":
            values = (row["step"] + 1, lr, loss, row["eval_loss"], row["metric"])
            for key, value in zip(columns, values, strict=True):
                columns[key].append(_number(value))
    estimates = {key: tuple(values) for key, values in readings.items()} if readings["step"] else None
    tested = {key: tuple(values) for key, values in columns.items()}
    made = {key: str(info[key]) for key in MADE if info.get(key)}
    more = {"seconds": summary["seconds"], "estimates": estimates, "chance": setting.chance,
            "planned_lr": setting.make_schedule()(setting.steps - 1)["lr"], "made": made,
            "train_accuracy": summary["test"]["metric"] if setting.gap_images is not None and summary["test"] else None,
            }  # fmt: skip
    return Run(summary["stop"], **tested, **more)  # type: ignore[arg-type]


def _number(value: float | None) -> float:
    """Of a row, in which what is not finite is null."""
    return math.nan if value is None else value


def effects_by_seed(
    effect: Effect, runs: Mapping[str, Mapping[int, Run]], peaks: Collection[str] = ()
) -> tuple[list[float], int]:
    """The effect for every seed that was run in all its conditions and has the measure in each; how many have it not.

    Args:
        runs: condition -> seed -> Run.
        peaks: conditions of which the best test stands for the final accuracy.
    """
    seeds = set.intersection(*(set(runs.get(condition, {})) for condition in effect.conditions))

    def measured(condition: str, seed: int) -> float:
        run = runs[condition][seed]
        best = condition in peaks and effect.measure == "final accuracy"
        return run.best if best else run.measure(effect.measure)

    def lead(treatment: str, baseline: str, seed: int) -> float:
        return measured(treatment, seed) - measured(baseline, seed)

    found = []
    for seed in sorted(seeds):
        if effect.baseline is None:
            assert effect.threshold is not None
            value = measured(effect.treatment, seed) - effect.threshold
        else:
            value = lead(effect.treatment, effect.baseline, seed)
            value -= lead(*effect.over, seed) if effect.over is not None else 0.0
        found.append(value)
    known = [value for value in found if math.isfinite(value)]
    return known, len(found) - len(known)
