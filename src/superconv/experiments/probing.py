"""Making the probes of a search: each a run directory, found where finished; what came of it as a plain outcome."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from ..analysis.range_test import RangeTest
from ..analysis.recipe.knowledge import Candidate, Outcome, Plan, Probe
from ..analysis.recipe.ramps import fork_steps
from ..records import StopReason
from ..task import Task
from ..training.distributed import largest_over_ranks
from .range_tests import RangeTestPlan, run_range_test
from .recipe import Settings, with_dropout
from .score import Score
from .stopping import StopSignal
from .sweep import MakeTask, Summary, Training, run_trainings
from .workers import Workers

Report = Callable[[str, int, int, str], None]
SHORTEST_TIMING = 24  # updates


@dataclass(frozen=True)
class Fixed:
    """What is not searched: optimizer and its further options, clipping, precision, whether there is BatchNorm."""

    optimizer: str
    options: Mapping[str, Any]
    clip_grad_norm: float | None
    precision: str
    batch_norm: bool

    def settings(self, candidate: Candidate) -> Settings:
        """A candidate as the settings of a training."""
        return Settings(**self.fields(candidate))

    def fields(self, candidate: Candidate) -> dict[str, Any]:
        """The same as keyword arguments of `Settings` and `Recipe`."""
        options, lr = dict(self.options), candidate.max_lr
        if candidate.weight_decay is not None:
            options["weight_decay"] = candidate.weight_decay
        initial = float(f"{lr / 10:.6g}")
        policy: dict[str, float | None] = {"max_lr": lr, "initial_lr": initial, "final_lr": float(f"{lr / 1e4:.6g}")}
        policy["max_momentum"] = None
        if candidate.momentum is not None:
            high, low = candidate.momentum
            if high == low:
                options["momentum"] = high
            else:
                policy |= {"max_momentum": high, "min_momentum": low}
        return {
            "optimizer": self.optimizer, "optimizer_options": options, "policy": policy,
            "batch_size": candidate.batch_size, "clip_grad_norm": self.clip_grad_norm, "precision": self.precision,
            "batch_norm": self.batch_norm, "dropout": candidate.dropout,
        }  # fmt: skip


class Deadline(StopSignal):
    """The caller's signal, or a time that is up.

    Args:
        outer: the caller's.
        seconds: that may pass from now on; infinite: no limit.
    """

    def __init__(self, outer: StopSignal, seconds: float) -> None:
        super().__init__()
        self.outer, self.until = outer, time.monotonic() + seconds

    def reason(self) -> StopReason | None:
        """The caller's reason first. Among ranks the first clock to be over counts for all."""
        outer = self.outer.reason()
        over = largest_over_ranks(int(time.monotonic() >= self.until))
        return outer or (StopReason.time_limit if over else None)


class _Stopped(Exception):
    """Leaves a range test; everything is restored on the way."""


class Prober:
    """Makes probes of one task; counts the seconds that they took, in this call or an earlier one.

    Args:
        made: the task itself.
        where: root, experiment and device of `run_trainings`.
        report: called with (what, done, total, text).
    """

    def __init__(
        self, task: Task | MakeTask, made: Task, fixed: Fixed, plan: Plan, *, where: Mapping[str, Any],
        workers: Workers, stop: StopSignal, report: Report | None,
    ) -> None:  # fmt: skip
        self.task, self.made, self.fixed, self.plan = task, made, fixed, plan
        self.where, self.workers, self.stop, self.report = where, workers, stop, report
        self.score = Score(made)
        self.ramps: list[RangeTest] = []
        self.chance: float | None = None  # from the first range test on
        self.seconds = 0.0

    def seconds_per_update(self) -> float:
        """Of a short training, evaluation included; it is a run like any other, so that the answer stays the same.

        NaN where it was stopped.
        """
        probe = self.plan.training(self.plan.base, SHORTEST_TIMING, 0, "timing", "how long an update takes")
        for _, summary in self._trainings([probe], probe.candidate.dropout):
            if summary is not None:
                self.seconds += summary["seconds"]
                return float(summary["seconds"]) / max(1, summary["steps"])
        return math.nan

    def make(self, batch: Sequence[Probe], spent: int) -> dict[Probe, Outcome]:
        """Outcomes of those that were finished before `stop` said so."""
        found: dict[Probe, Outcome] = {}
        for probe in batch:
            if probe.kind == "range test" and (outcome := self._range_test(probe, spent)) is not None:
                found[probe] = outcome
                spent += outcome.updates
        trainings = [probe for probe in batch if probe.kind == "training"]
        for dropout in dict.fromkeys(probe.candidate.dropout for probe in trainings):
            own = [probe for probe in trainings if probe.candidate.dropout == dropout]
            self._tell(own[0], spent)
            for index, summary in self._trainings(own, dropout):
                if summary is not None:
                    found[own[index]] = outcome = self._outcome(own[index], summary)
                    spent += outcome.updates
                    self._tell(own[index], spent)
        return {probe: found[probe] for probe in batch if probe in found}

    def _trainings(self, probes: Sequence[Probe], dropout: float | None) -> Iterator[tuple[int, Summary | None]]:
        task: Task | MakeTask = self.task
        if dropout is not None:
            task = with_dropout(task, dropout) if isinstance(task, Task) else partial(make_with_dropout, task, dropout)
        jobs = [Training(self._arm(probe), probe.seed, read_test=False) for probe in probes]
        return run_trainings(task, jobs, workers=self.workers, stop=self.stop, **self.where)

    def _arm(self, probe: Probe) -> Any:
        settings = self.fixed.settings(probe.candidate)
        return settings.arm_of(f"{told(probe.candidate)}, {probe.steps} steps", probe.steps, evaluate_every=probe.steps)

    def _outcome(self, probe: Probe, summary: Summary) -> Outcome:
        self.seconds += summary["seconds"]
        steps, size = summary["steps"], probe.candidate.batch_size
        updates = min(probe.cost, max(steps, -(-steps * size // self.plan.base.batch_size)))
        measured = self.score.measured(summary, "validation")
        return Outcome(self.chance if measured is None else measured, updates, diverged=measured is None)

    def _range_test(self, probe: Probe, spent: int) -> Outcome | None:
        if self.stop.reason() is not None:
            return None
        try:
            ramp = self._measure(probe, spent)
        except _Stopped:
            return None
        self.seconds += ramp.seconds
        self.ramps.append(ramp)
        forks = [fork.metric for fork in ramp.forks if not fork.diverged]
        if forks and not any(map(math.isfinite, forks)):
            self.score.refuse("validation")
        if self.chance is None:
            self.chance = ramp.chance
        return Outcome(None, ramp.total_updates, lr=ramp.suggest("best_fork").lr)

    def _measure(self, probe: Probe, spent: int) -> RangeTest:
        candidate, count = probe.candidate, iter(range(spent + 1, spent + probe.cost + 1))

        def progress(phase: str, done: int, total: int, record: Any) -> None:
            if self.stop.reason() is not None:
                raise _Stopped
            if self.report is not None:
                self.report("find", next(count, spent + probe.cost), self.plan.budget, f"range test: {probe.why}")

        settings = self.fixed.settings(replace(candidate, momentum=None))
        plan = RangeTestPlan(
            name="range test", optimizer=settings.optimizer, optimizer_options=settings.optimizer_options,
            batch_size=candidate.batch_size, total_steps=probe.steps, forks=probe.forks,
            fork_steps=fork_steps(probe.steps), precision=settings.precision, clip_grad_norm=settings.clip_grad_norm,
            reference_lr="fixed-grid" if probe.grid else None,  # more trainings would break the budget
        )  # fmt: skip
        task = self.made if candidate.dropout is None else with_dropout(self.made, candidate.dropout)
        with _one_thread():
            return run_range_test(task, plan, probe.seed, progress=progress, **self.where).ramp

    def _tell(self, probe: Probe, spent: int) -> None:
        if self.report is not None:
            text = f"{probe.factor}: {told(probe.candidate)}, {probe.steps} steps; {probe.why}"
            self.report("find", spent, self.plan.budget, text)


def told(candidate: Candidate) -> str:
    """A candidate in a line, for names and displays."""
    parts = [f"lr {candidate.max_lr:g}"]
    if candidate.weight_decay is not None:
        parts.append(f"wd {candidate.weight_decay:g}")
    if candidate.momentum is not None:
        parts.append("mom " + "-".join(f"{value:g}" for value in dict.fromkeys(candidate.momentum)))
    parts.append(f"batch {candidate.batch_size}")
    return ", ".join(parts + ([] if candidate.dropout is None else [f"dropout {candidate.dropout:g}"]))


def make_with_dropout(make: MakeTask, dropout: float) -> Task:
    """For a worker process: the task that `make` makes, with this dropout."""
    return with_dropout(make(), dropout)


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in a training, so that a result does not depend on the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
