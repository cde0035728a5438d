"""One ramp over a live model: records points, detects divergence, forks and anneals."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from ..analysis.range_test import Fork, RangeTest
from ..records import Evaluation, StepRecord, StopReason
from ..restore.kept import Restore
from ..restore.loader_order import LoaderOrder
from ..restore.loaders_within import stateful_loaders
from ..restore.preserve import preserved
from ..restore.random_states import seed_random_states
from ..schedules import Schedule, cosine
from ..task.loss_function import LossFunction, loss_module
from ..training.batch_source import BatchSource
from ..training.checkpoint import TrainState
from ..training.loop import train_steps
from .chance import ChanceLevel
from .divergence import DivergenceRule, floor_of
from .range_test_warnings import warn_of_another_rate
from .weight_norm import ScaleInvariantNorm

WEIGHT_NORMS = 50  # along a ramp

Report = Callable[[str, int, int, StepRecord], None]


@dataclass
class Curve:
    """What a ramp leaves behind, as it grows."""

    lr: list[float] = field(default_factory=list)
    group_lrs: list[tuple[float, ...]] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    evaluations: list[Evaluation | None] = field(default_factory=list)
    weight_norm: list[float] = field(default_factory=list)
    forks: list[Fork] = field(default_factory=list)
    stop: StopReason = StopReason.completed
    batch_size: int = 0

    def add(self, lr: float, record: StepRecord, loss: float, weight_norm: float) -> None:
        """One more point; `lr` is the schedule's, of which every group uses its own multiple."""
        self.lr.append(lr)
        self.group_lrs.append(record.lr)
        self.loss.append(loss)
        self.evaluations.append(record.evaluation)
        self.weight_norm.append(weight_norm)
        self.batch_size = max(self.batch_size, record.samples)

    def value(self, **rest: Any) -> RangeTest:
        """The frozen measurement; `rest`: what else there is to say of it."""
        nothing = Evaluation(math.nan, math.nan, 0, "")
        measured = [evaluation or nothing for evaluation in self.evaluations]
        return RangeTest(
            lr=np.array(self.lr),
            train_loss=np.array(self.loss),
            metric=np.array([evaluation.metric for evaluation in measured]),
            eval_loss=np.array([evaluation.loss for evaluation in measured]),
            forks=tuple(self.forks),
            group_lrs=np.array(self.group_lrs, dtype=float).reshape(len(self.lr), -1) if self.lr else None,
            weight_norm=np.array(self.weight_norm),
            eval_samples=max((evaluation.samples for evaluation in measured), default=0) or None,
            stop=self.stop,
            **rest,
        )


@dataclass
class Probe:
    """The model and everything that stays the same over scout, ramp and forks; counts the updates it makes.

    Args:
        report: called with (phase, done, total, record) after every update of a scout or a ramp.
        options: passed on to `train_steps`.
    """

    model: nn.Module
    optimizer: Optimizer
    loss_fn: LossFunction
    scaler: Any | None
    eval_batches: Iterable[Any] | None
    metric: ChanceLevel
    report: Report
    keep_copy_on: str | torch.device | None
    options: dict[str, Any]
    updates: int = 0
    begin_again: Restore | None = None
    warned_of_rate: bool = False

    @contextmanager
    def measuring(self, batches: Any, seed: int | None) -> Iterator[None]:
        """Everything is restored in the end; in between, `from_the_start` uses the same copy. Seeds the test."""

        def seeded() -> None:
            if seed is not None:
                seed_random_states(seed)

        with self.preserved(batches) as rewind:

            def again() -> None:
                rewind()
                seeded()

            seeded()
            self.begin_again = again
            try:
                yield
            finally:
                self.begin_again = None

    @contextmanager
    def from_the_start(self) -> Iterator[None]:
        """A block that is entered, and left, in the state in which measuring began: that needs no copy of its own."""
        assert self.begin_again is not None
        try:
            yield
        finally:
            self.begin_again()

    @contextmanager
    def preserved(self, batches: Any) -> Iterator[Restore]:
        """Restores what training changes: model, optimizer, scaler, batch order, a loss that is a module."""
        things = [self.model, self.optimizer, LoaderOrder(batches)]
        things += [] if self.scaler is None else [self.scaler]
        loss = loss_module(self.loss_fn)
        things += [] if loss is None else [loss]
        things += stateful_loaders(batches).values()
        with preserved(*things, keep_copy_on=self.keep_copy_on) as rewind:
            yield rewind

    def ramp(
        self,
        source: BatchSource,
        schedule: Schedule,
        *,
        phase: str = "ramp",
        evaluate_every: int | None = None,
        stop_when_diverged: bool = True,
        fork_at: Collection[int] = (),
        fork_steps: int = 1,
    ) -> Curve:
        """Train under `schedule` and record; `evaluate_every=None` measures no metric."""
        curve, rule = Curve(), DivergenceRule(floor_of(self.loss_fn))
        norm_every = max(1, schedule.total_steps // WEIGHT_NORMS)
        state = TrainState(self.model, self.optimizer, source, scaler=self.scaler)
        eval_batches = self.eval_batches if evaluate_every else None
        evaluate_every = None if eval_batches is None else evaluate_every
        updates = self.steps(state, schedule, eval_batches, evaluate_every)
        with ScaleInvariantNorm(self.model) as norm, closing(updates) as steps:
            for record in steps:
                self.updates += 1
                self.warned_of_rate = self.warned_of_rate or warn_of_another_rate(self.optimizer, record)
                if record.skipped:
                    continue  # the gradient scaler is finding its scale: no update, no point
                loss = float(record.loss)
                diverged = rule.observe(loss)
                if not math.isfinite(loss):
                    state.stop = StopReason.diverged
                    break
                if not curve.lr:
                    norm.identify()
                weight_norm = norm() if record.step % norm_every == 0 else math.nan
                curve.add(schedule(record.step)["lr"], record, loss, weight_norm)
                self.report(phase, record.step + 1, schedule.total_steps, record)
                if diverged and stop_when_diverged:
                    state.stop = StopReason.diverged
                    break
                if record.step in fork_at:
                    curve.forks += self._fork(source, record.step, curve.lr[-1], fork_steps)
        curve.stop = state.stop or StopReason.completed
        return curve

    def steps(
        self, state: TrainState, schedule: Schedule, eval_batches: Iterable[Any] | None, evaluate_every: int | None
    ) -> Any:
        """The updates of one training, as records."""
        return train_steps(
            self.model,
            self.optimizer,
            self.loss_fn,
            state.source,
            schedule,
            state=state,
            cycle_momentum=False,
            metric=self.metric.metric,
            try_metric=False,  # it counts what it sees; tried once, before everything
            eval_batches=eval_batches,
            evaluate_every=evaluate_every,
            **self.options,
        )

    def _fork(self, source: BatchSource, step: int, lr: float, fork_steps: int) -> list[Fork]:
        """Clone the state, anneal the learning rate to zero, evaluate, drop the clone; none where batches ran dry."""
        self.optimizer.zero_grad()  # the ramp's next update would drop them too; kept, they would be a further copy
        final, losses = self.branch(source, cosine(fork_steps, max_lr=lr, final_lr=0.0))
        if not losses:
            return []
        fork = Fork(
            step=step,
            lr=lr,
            metric=final.metric if final else math.nan,
            loss=final.loss if final else losses[-1],
            steps=fork_steps,
            diverged=not all(map(math.isfinite, losses)),
            error=final.metric_error if final else None,
        )
        return [fork]

    def branch(
        self, source: BatchSource, schedule: Schedule, *, at_start: bool = False
    ) -> tuple[Evaluation | None, list[float]]:
        """Train a clone of the state under `schedule`: its final evaluation, and its losses; the clone is dropped.

        Losses are those of the updates that were made; NaN behind them where the gradient scaler gave up.
        `at_start`: nothing was changed since measuring began, so that no further copy of the state is needed.
        Where an iterator of batches ran dry on the way there is nothing to compare: None, and no losses.
        """
        losses: list[torch.Tensor] = []
        final: Evaluation | None = None
        with self.from_the_start() if at_start else self.preserved(source.batches):
            state = TrainState(self.model, self.optimizer, source.fork(), scaler=self.scaler)
            with closing(self.steps(state, schedule, self.eval_batches, None)) as steps:
                for record in steps:
                    self.updates += 1
                    if not record.skipped:  # else no update was made by that loss
                        losses.append(record.loss)
                    final = record.evaluation
                    self.report("branch", record.step + 1, schedule.total_steps, record)
        if state.stop is StopReason.batches_exhausted:
            return None, []
        values = torch.stack(losses).tolist() if losses else []
        # the scaler found no scale at which the gradients are finite
        return final, [*values, math.nan] if state.stop is StopReason.diverged else values
