"""Tuning contenders on validation data: the same number of trials for each, and for each length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ..task import Task
from .contenders import Contender
from .sweep import MakeTask, Summary, Training, run_trainings

FIRST_SEED = 1000  # of trials: far from the seeds that are compared
Report = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Budget:
    """How much each contender is tuned at each length.

    Args:
        trials: points of its space, one seed each.
        finalists: of the best, trained again on fresh seeds: the best of many trials is partly luck.
        fresh_seeds: for each finalist.
    """

    trials: int = 8
    finalists: int = 2
    fresh_seeds: int = 2

    def __post_init__(self) -> None:
        if min(self.trials, self.finalists, self.fresh_seeds) < 1 or self.finalists > self.trials:
            raise ValueError(
                f"a budget needs 1 or more trials, finalists and fresh seeds, and no more finalists than trials; got "
                f"{self.trials}, {self.finalists} and {self.fresh_seeds}"
            )

    @property
    def trainings(self) -> int:
        """A contender's at one length."""
        return self.trials + self.finalists * self.fresh_seeds


@dataclass(frozen=True)
class Tuned:
    """The settings that won for one contender at one length.

    Args:
        settings: by name; empty where nothing is searched.
        validation: mean metric of the winner on the fresh seeds; None where nothing was searched.
        trials: (settings, validation metric) of every trial in the order made, a diverged one scored as chance.
        updates: that tuning cost.
        edges: settings whose pick lies at the edge of its range.
    """

    settings: Mapping[str, float]
    validation: float | None
    trials: tuple[tuple[Mapping[str, float], float], ...]
    updates: int
    edges: tuple[str, ...]


Settings = Mapping[str, float]
Cell = tuple[str, int]  # contender's name, steps
Plan = list[tuple[Cell, Settings, int]]  # the last: seed


class Tuner:
    """Tunes contenders of one task; see `tune`, its only verb.

    Args:
        score: validation metric of a summary; what a diverged run is worth is its business.
        higher_is_better: of that metric.
        report: called with (what, done, total, text) after every training.
        where: further arguments of `run_trainings`.
    """

    def __init__(
        self,
        task: Task | MakeTask,
        contenders: Sequence[Contender],
        *,
        score: Callable[[Summary], float],
        higher_is_better: bool = True,
        report: Report | None = None,
        **where: Any,
    ) -> None:
        self.task, self.contenders, self.score, self.report, self.where = task, contenders, score, report, where
        self.sign = 1.0 if higher_is_better else -1.0

    def tune(self, lengths: Sequence[int], budget: Budget) -> dict[Cell, Tuned] | None:
        """Every contender at every length; None where it was stopped (the same call goes on there).

        The test data is not read.
        """
        by_name = {contender.name: contender for contender in self.contenders if contender.tuned}
        cells = [(name, steps) for steps in lengths for name in by_name]
        first: Plan = [
            (cell, settings, FIRST_SEED) for cell in cells for settings in by_name[cell[0]].candidates(budget.trials)
        ]
        scores = self._scores("tuning", first)
        if scores is None:
            return None
        trials: dict[Cell, list[tuple[Settings, float]]] = {cell: [] for cell in cells}
        for (cell, settings, _), value in zip(first, scores, strict=True):
            trials[cell].append((settings, value))
        seeds = range(FIRST_SEED + 1, FIRST_SEED + 1 + budget.fresh_seeds)
        finalists = {cell: self._best(trials[cell], budget.finalists) for cell in cells}
        final: Plan = [(cell, settings, seed) for cell in cells for settings in finalists[cell] for seed in seeds]
        scores = self._scores("finalists on fresh seeds", final)
        if scores is None:
            return None
        found = {(c.name, steps): Tuned({}, None, (), 0, ()) for c in self.contenders for steps in lengths}
        per_cell = budget.finalists * budget.fresh_seeds
        for place, cell in enumerate(cells):
            own = scores[place * per_cell : (place + 1) * per_cell]
            means = [fmean(own[k : k + budget.fresh_seeds]) for k in range(0, per_cell, budget.fresh_seeds)]
            (settings, value), *_ = sorted(zip(finalists[cell], means, strict=True), key=lambda p: -self.sign * p[1])
            edges, updates = by_name[cell[0]].edges(settings), budget.trainings * cell[1]
            found[cell] = Tuned(settings, value, tuple(trials[cell]), updates, edges)
        return found

    def _best(self, trials: Sequence[tuple[Settings, float]], count: int) -> list[Settings]:
        return [settings for settings, _ in sorted(trials, key=lambda pair: -self.sign * pair[1])[:count]]

    def _scores(self, what: str, plan: Plan) -> list[float] | None:
        """The validation metric of every training of the plan; None where one was stopped."""
        arms = {contender.name: contender for contender in self.contenders}
        trainings = [
            Training(arms[name].arm(steps, settings), seed, read_test=False) for (name, steps), settings, seed in plan
        ]
        found: dict[int, float] = {}
        for index, summary in run_trainings(self.task, trainings, **self.where):
            if summary is None:
                continue
            found[index] = self.score(summary)
            if self.report is not None:
                (name, steps), settings, _ = plan[index]
                self.report(what, len(found), len(plan), f"{name}, {steps} steps, {_told(settings)}")
        return [found[index] for index in range(len(plan))] if len(found) == len(plan) else None


def _told(settings: Settings) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in settings.items())


def tuned_to_dict(tuned: Tuned) -> dict[str, Any]:
    """Plain data for experiment.json."""
    return {
        "settings": dict(tuned.settings), "validation": tuned.validation, "updates": tuned.updates,
        "edges": list(tuned.edges), "trials": [[dict(settings), value] for settings, value in tuned.trials],
    }  # fmt: skip
