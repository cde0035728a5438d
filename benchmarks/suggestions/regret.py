"""What a suggested LR costs: regret of every tool on the small tasks, against a grid that no suggestion took part in.

    regret(tool, task) = best of the mean grid - mean grid at the suggested LR,     mean over the seeds of the advice
    normalised         = regret / (best - floor)        0: the best LR;  1: nothing learned

The mean grid is the mean accuracy over seeds, linear in log LR between its LRs. No suggestion counts as the floor. What
a seed left out above, since it had failed twice, counts as the floor; below, the tail of seed 0 stands for all. An LR
outside of all that was tried has the score of its end. Intervals: 95%, families drawn with replacement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCHEDULES = ("1cycle", "constant")
RESAMPLES = 5000
FACTORS = [10 ** (k / 8) for k in range(-24, 25)]
OURS = "superconv best_fork"
FASTAI = tuple(f"fastai {rule}" for rule in ("valley", "slide", "minimum", "steep"))
FIXED = {  # what people begin with: SGD with momentum, AdamW
    "fixed 0.1 / 1e-3": (0.1, 1e-3),
    "fixed 0.1 / 3e-3": (0.1, 3e-3),
    "fixed 0.03 / 3e-3": (0.03, 3e-3),
    "fixed 0.01 / 1e-3": (0.01, 1e-3),
}
# what a tool's documentation means its LR for; 1cycle's max_lr otherwise
CONSTANT = ("torch-lr-finder", "lightning", "ignite")
PEERS = (*FASTAI, *CONSTANT)
FALLBACKS = "superconv, with fallbacks"  # not in the package; see `with_fallbacks`
SURE = 3.0  # binomial standard errors above the floor that show that something was learned
OTHERS = tuple(f"superconv {rule}" for rule in ("plateau_edge", "accuracy_peak", "steepest", "blow_up", "minimum"))
Told = Sequence[float | None]  # one suggestion a seed


@dataclass(frozen=True)
class Landscape:
    """Mean accuracy of a task over LRs.

    Args:
        lrs: ascending.
        scores: as many.
        floor: accuracy of a network that learned nothing.
    """

    lrs: NDArray[np.float64]
    scores: NDArray[np.float64]
    floor: float

    @property
    def height(self) -> float:
        """Of the best score above the floor."""
        return float(self.scores.max()) - self.floor

    def regret(self, lr: float | None) -> float:
        """Share of the height that is lost at this LR; 1 where there is none."""
        if lr is None:
            return 1.0
        score = float(np.interp(math.log(lr), np.log(self.lrs), self.scores))
        return (float(self.scores.max()) - score) / self.height


def landscape(entry: Mapping[str, Any], schedule: str) -> Landscape | None:
    """Of one task of the grid's file; None where nothing was measured."""
    lowest = _numbers(entry["tail"].get(schedule, {}).get("0", {}))
    lrs = np.array(sorted({*lowest, *entry["lrs"]}))
    curves = []
    for scores in entry["accuracy"].get(schedule, {}).values():
        tried = _numbers(scores)
        measured = sorted(tried)
        beyond = measured[-1] ** 2 / measured[-2]  # the next LR of this seed, if it has one
        tried = lowest | tried | ({beyond: entry["floor"]} if beyond < 1.01 * lrs[-1] else {})
        known = sorted(tried)
        heights = [max(tried[lr], entry["floor"]) for lr in known]
        curves.append(np.interp(np.log(lrs), np.log(known), heights))
    return Landscape(lrs, np.mean(curves, axis=0), entry["floor"]) if curves else None


def _numbers(scores: Mapping[str, float]) -> dict[float, float]:
    return {float(lr): score for lr, score in scores.items()}


@dataclass(frozen=True)
class Bench:
    """The tasks that are judged, and what is known of each.

    Args:
        entries: by task, of the grid's file.
        landscapes: (task, schedule) -> mean grid.
    """

    entries: Mapping[str, Mapping[str, Any]]
    landscapes: Mapping[tuple[str, str], Landscape]

    @classmethod
    def of(cls, entries: Mapping[str, Mapping[str, Any]], half: int | None = None) -> Bench:
        """Tasks with both schedules measured."""
        chosen = {name: entry for name, entry in entries.items() if half in (None, entry["half"])}
        found = {(name, s): landscape(chosen[name], s) for name in chosen for s in SCHEDULES}
        whole = {key: value for key, value in found.items() if value is not None}
        return cls({name: e for name, e in chosen.items() if all((name, s) in whole for s in SCHEDULES)}, whole)

    @property
    def families(self) -> list[str]:
        """Of the tasks, in their order."""
        return [entry["family"] for entry in self.entries.values()]

    def regrets(self, told: Mapping[str, Told], schedule: str) -> NDArray[np.float64]:
        """(tasks,), normalised; a mean over the suggestions of a task."""
        grids = {name: self.landscapes[name, schedule] for name in self.entries}
        return np.array([fmean(grids[name].regret(lr) for lr in told[name]) for name in grids])

    def heights(self, schedule: str) -> NDArray[np.float64]:
        """(tasks,): what a normalised regret of 1 is worth, in accuracy."""
        return np.array([self.landscapes[name, schedule].height for name in self.entries])


def drawn(families: Sequence[str], resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """(resamples, tasks) weights that add up to 1: families drawn with replacement, each with all its tasks."""
    names = sorted(set(families))
    member = np.array([[family == name for family in families] for name in names], dtype=np.float64)
    counts = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
    weights = counts @ member
    return weights / weights.sum(1, keepdims=True)


def ranks(regrets: NDArray[np.float64]) -> NDArray[np.float64]:
    """(tools, tasks) regrets -> ranks, 1 the best; ties share their mean rank."""
    less = (regrets[:, None, :] > regrets[None, :, :] + 1e-12).sum(1)
    same = (np.abs(regrets[:, None, :] - regrets[None, :, :]) <= 1e-12).sum(1)
    return less + 0.5 * (same + 1)


def rescaled(bench: Bench, told: Mapping[str, Told], schedule: str) -> NDArray[np.float64]:
    """Regrets of suggestions times the constant factor that is best on the other families."""
    table = np.array(
        [
            bench.regrets({n: [None if lr is None else f * lr for lr in each] for n, each in told.items()}, schedule)
            for f in FACTORS
        ]
    )
    return _left_out(table, bench.families)


def best_constant(bench: Bench, schedule: str) -> NDArray[np.float64]:
    """Regrets of the one LR per optimizer that is best on the other families: what a tuned default can reach."""
    found = np.empty(len(bench.entries))
    kinds = np.array([entry["optimizer"] for entry in bench.entries.values()])
    for kind in set(kinds):
        mine = [name for name, own in zip(bench.entries, kinds == kind, strict=True) if own]
        lrs = bench.entries[mine[0]]["lrs"]
        table = np.array([[bench.landscapes[name, schedule].regret(lr) for name in mine] for lr in lrs])
        families = [bench.entries[name]["family"] for name in mine]
        found[kinds == kind] = _left_out(table, families)
    return found


def _left_out(table: NDArray[np.float64], families: Sequence[str]) -> NDArray[np.float64]:
    """Of (choices, tasks): each task under the choice with the least mean over the other families."""
    own = np.array(families)
    result = np.empty(len(families))
    for family in set(families):
        others = own != family
        result[~others] = table[table[:, others].mean(1).argmin()][~others]
    return result


def with_fallbacks(told: Mapping[str, Any], entry: Mapping[str, Any]) -> float | None:
    """best_fork where a fork learned something; else plateau_edge where the ramp did; else what people begin with.

    Chosen on half 0, where every regret above 20% of best_fork came from a ramp whose forks had learned nothing; on
    half 1 it gained nothing, so the package has no such rule.

    Args:
        told: one entry of the advice's file.
        entry: the task's, of the grid's file.
    """
    floor, forks = entry["floor"], told["superconv forks"]
    sure = floor + SURE * math.sqrt(floor * (1.0 - floor) / entry["validation_labels"])
    best = max((score or 0.0 for _, score, diverged in forks["tried"] if not diverged), default=0.0)
    if best > sure and told[OURS]["lr"] is not None:
        return float(told[OURS]["lr"])
    edge = told["superconv plateau_edge"]["lr"]
    if forks["peak"] > sure and edge is not None:
        return float(edge)
    return next(iter(FIXED.values()))[0 if entry["optimizer"] == "sgd" else 1]


def fixed_advice(bench: Bench) -> dict[str, dict[str, list[float | None]]]:
    """The fixed defaults in the form of advice."""
    return {
        label: {name: [sgd if entry["optimizer"] == "sgd" else adamw] for name, entry in bench.entries.items()}
        for label, (sgd, adamw) in FIXED.items()
    }


def meant_for(tool: str) -> str:
    """The schedule that a tool's suggestion is judged under."""
    return "constant" if tool in CONSTANT else "1cycle"


def row(bench: Bench, regrets: NDArray[np.float64], schedule: str) -> dict[str, Any]:
    """Mean with its interval, worst and median, in shares; mean and worst in points; every task's."""
    low, high = np.percentile(drawn(bench.families) @ regrets, (2.5, 97.5))
    names = list(bench.entries)
    points = 100 * regrets * bench.heights(schedule)
    return {
        "schedule": schedule, "mean": _r(regrets.mean()), "interval": [_r(low), _r(high)], "worst": _r(regrets.max()),
        "worst_task": names[int(regrets.argmax())], "points": _r(points.mean(), 2), "worst_points": _r(points.max(), 2),
        "median": _r(np.median(regrets)),
        "tasks": [_r(value) for value in regrets],
    }  # fmt: skip


def _r(value: Any, digits: int = 4) -> float:
    return round(float(value), digits)


def judged(bench: Bench, advice: Mapping[str, Mapping[str, Told]], schedule: str | None) -> dict[str, dict[str, Any]]:
    """Every tool's row; `schedule` None: each under the one that it is meant for."""
    found = {}
    for tool, told in advice.items():
        under = schedule or meant_for(tool)
        found[tool] = row(bench, bench.regrets(told, under), under)
    return found


def ranked(bench: Bench, rows: Mapping[str, Mapping[str, Any]], ours: str = OURS) -> dict[str, dict[str, Any]]:
    """Mean rank with its interval, share of resamples with the least mean regret, and the distance from ours."""
    names = [tool for tool in rows if tool == ours or not tool.startswith("superconv")]
    regrets = np.array([rows[tool]["tasks"] for tool in names])
    weights = drawn(bench.families)
    each = ranks(regrets)
    drawn_ranks, means = weights @ each.T, weights @ regrets.T
    first = np.bincount(means.argmin(1), minlength=len(names)) / len(means)
    gaps = means - means[:, [names.index(ours)]]
    bounds, limits = (np.percentile(values, (2.5, 97.5), axis=0) for values in (drawn_ranks, gaps))
    return {
        tool: {
            "mean_rank": _r(each[i].mean(), 2), "interval": [_r(bounds[0, i], 2), _r(bounds[1, i], 2)],
            "first": _r(first[i], 3), "beyond_ours": _r(regrets[i].mean() - regrets[names.index(ours)].mean()),
            "beyond_ours_interval": [_r(limits[0, i]), _r(limits[1, i])],
        }
        for i, tool in enumerate(names)
    }  # fmt: skip
