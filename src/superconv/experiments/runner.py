"""One arm with one seed, in a run directory: skipped where finished, resumed where not."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import runs
from ..analysis.curvature.statement import LRReading
from ..data import Batches, Splits
from ..data.shuffling import key
from ..measure.curvature.monitor import LRMonitor
from ..records import Evaluation, StepRecord, StopReason
from ..restore.preserve import preserved
from ..restore.random_states import seed_random_states
from ..task import Task, check_outputs, metric_name, source_hash
from ..task.labels import ignored_label
from ..training.batch_source import pair
from ..training.checkpoint import TrainState
from ..training.compiled import compiled
from ..training.distributed import (
    agree_on,
    is_distributed,
    largest_over_ranks,
    over_ranks,
    rank,
    seed_random_states_of_rank,
    share_of,
    together,
    world_size,
)
from ..training.evaluate import evaluate, has_batch_statistics
from ..training.evaluation_mode import outputs_of
from ..training.evaluation_point import evaluation_point
from ..training.loop import READ_EVERY, STATISTICS_BATCHES, first_non_finite, read_losses, train_steps
from ..training.optimizers import build_optimizer, has_momentum
from ..training.precision import make_scaler, to_channels_last, wants_channels_last
from .arm_parts import for_evaluation, loss_of, model_of, splits_of
from .config import Arm
from .device import choose_device, device_name, device_settings
from .follower import Follower, open_together, summary_in, summary_of
from .memory import naming_batch_size
from .monitoring import Monitoring, rows_of, watch
from .resuming import resume_together
from .run_result import RunResult
from .run_rows import evaluation_row, plain_evaluation, update_row
from .stopping import StopSignal

CHECKPOINT_SECONDS = 60.0  # at most this much work is lost to a kill
WEIGHTS = "weights.pt"
TRAINING = 4  # the number of this use of a seed, beside those of `data.batches`
EVALUATIONS = 10  # along a run, where `evaluate_every` is not given
NOT_FINITE_AT_FIRST = (
    "the loss is not finite at the first step, before any learning rate has acted: check the data for NaN and "
    "infinities, the model's initialisation and the loss function"
)

# done, total, record, loss, evaluation or None, the monitor's last reading or None
Progress = Callable[[int, int, StepRecord, float, Evaluation | None, LRReading | None], None]


def run_arm(
    task: Task,
    arm: Arm,
    seed: int,
    *,
    root: str | Path = "runs",
    experiment: str = "train",
    device: torch.device | str | None = None,
    read_test: bool = True,
    keep_weights: bool = False,
    monitoring: Monitoring | None = None,
    stop: StopSignal | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Train one arm with one seed in `root/experiment/arm/seed<k>-<hash>/`.

    The hash is that of the task and the arm: run the same thing again and it is skipped where it is finished, and
    goes on at its checkpoint where it is not. Validation data chooses nothing here but is measured along the way;
    the test data is read once, when the run is finished. The caller's random states are as before afterwards.

    Among ranks (a process group of several processes, all of which call it alike) the arm's batch is shared: the same
    samples enter every update as in one process, and BatchNorm's statistics are those of the joined batch, unless
    `statistics_of` says otherwise. The first rank writes the directory; any number of ranks may go on with it.

    Args:
        device: None: a GPU where there is one.
        read_test: False leaves the test data alone (tuning).
        keep_weights: store the trained model's `state_dict` as weights.pt in the run directory.
        monitoring: how often to read what curvature says about the learning rate (`LRMonitor`, on validation
            batches), which becomes rows of the run; None: not watched. The training is the same either way.
        stop: asked between two steps; where it says so the run ends with a checkpoint.
        progress: called with (done, total, record, loss, evaluation or None, reading or None) whenever losses were
            read.
    Returns: a RunResult; divergence is an outcome with a summary, being stopped is one without.
    Raises:
        ValueError: an arm that does not fit the task; a loss that is not finite before any update was made.
        RunError, a ValueError: the directory cannot be written (full disk, permissions) or is in use. What was
            written stays, and the same call goes on from there. What is raised on one rank is raised on all.
        OutOfMemory, a ValueError and a torch.OutOfMemoryError: the message names a batch size that fits.
    """
    device = choose_device(device)
    stop = stop or StopSignal()
    identity = {"name": task.name, "hash": source_hash(task)[:16]}
    config = {"task": identity, **arm.to_dict(), "read_test": read_test}
    if monitoring is not None:
        config["monitoring"] = monitoring.to_dict()
    splits = splits_of(task.data, arm)
    info = {
        **runs.environment(),
        "device": device_name(device),
        **device_settings(device),
        "data": splits.checksums,
        "note": splits.note,
    }
    info["metric"], info["ranks"] = metric_name(task.metric), world_size()
    if is_distributed():
        agree_on({part: checksum for part, checksum in splits.checksums.items() if checksum}, "data set")
        agree_on({**config, "seed": seed}, "config")
    place = (root, experiment, arm.name, seed, config)
    found = summary_of(place)
    if found is not None:
        return RunResult.found(found, runs.run_path(*place))
    with preserved():
        # first: a mistake leaves no directory
        training = together(lambda: _Training(task, arm, seed, splits, device, monitoring))
        with open_together(place, info) as run:
            found = summary_in(run)
            if found is not None:
                return RunResult.found(found, run.path)  # by another process, since we looked
            with naming_batch_size(task, arm, training.state, training.loss_fn):
                return training.go(run, stop, progress, read_test, keep_weights)


class _Training:
    """Everything of one run that is alive."""

    run: runs.Run | Follower  # from `go` on
    forward: nn.Module  # likewise: what ranks wrap waits for all of them
    monitor: LRMonitor | None  # likewise

    def __init__(
        self, task: Task, arm: Arm, seed: int, splits: Splits, device: torch.device, monitoring: Monitoring | None
    ) -> None:
        self.task, self.arm, self.splits, self.monitoring = task, arm, splits, monitoring
        seed_random_states(key(TRAINING, seed))  # else dropout draws what the weights were drawn from
        self.model = model_of(task, arm, seed, device)
        self.loss_fn = loss_of(task, arm, device)
        layout = self._channels_last(device)
        memory: dict[str, Any] = {"device": device, "channels_last": layout, "preparation": splits.preparation}
        self.memory = memory
        shared: dict[str, Any] = {**memory, "rank": rank(), "world_size": world_size()}
        batches = Batches(splits.train, share_of(arm.batch_size), seed=seed, augment=arm.augment, **shared)
        self.validation = for_evaluation(splits.validation, arm, shared)
        self.test = for_evaluation(splits.test, arm, shared)
        values = arm.schedule.values()
        cycled = "momentum" in values and has_momentum(arm.optimizer)  # without it, the loop says so once
        options = {**({"momentum": float(values["momentum"][0])} if cycled else {}), **arm.optimizer_options}
        max_lr = float(values["lr"].max())
        self.optimizer = build_optimizer(arm.optimizer, self.model, lr=max_lr, loss_fn=self.loss_fn, **options)
        scaler = make_scaler(arm.precision, device.type)
        self.state = TrainState(self.model, self.optimizer, batches, scaler=scaler, loss_fn=self.loss_fn)
        seed_random_states_of_rank(seed)
        often = max(1, arm.schedule.total_steps // EVALUATIONS)
        self.evaluate_every = often if arm.evaluate_every is None else arm.evaluate_every
        self.pending: list[StepRecord] = []
        self.last_loss = math.nan  # of the last update
        self.seconds = 0.0  # that earlier calls spent on what is kept
        self._check_model()
        if monitoring is not None:  # checked here, before there is a directory
            self._watch().close()

    def _watch(self) -> LRMonitor:
        assert self.monitoring is not None
        assert self.splits.validation is not None
        return watch(
            self.task,
            self.model,
            self.optimizer,
            self.loss_fn,
            self.splits.validation,
            batch_size=self.arm.batch_size,
            monitoring=self.monitoring,
            steps_done=self.state.step,
            memory=self.memory,
        )

    def _channels_last(self, device: torch.device) -> bool:
        arm, wanted = self.arm, self.arm.channels_last
        if wanted is None:
            # BatchNorm of parts of a batch is a view in the default layout; here it takes a pass a part, and a copy
            in_parts = arm.statistics_of is not None and arm.statistics_of < share_of(arm.batch_size)
            wanted = not in_parts and wants_channels_last(self.model, device)
        elif wanted and all(parameter.ndim != 4 for parameter in self.model.parameters()):
            raise ValueError("channels_last=True: the model has no weights of pictures (4 dimensions); leave it out")
        if wanted:
            to_channels_last(self.model)
        return wanted

    def go(
        self, run: runs.Run | Follower, stop: StopSignal, progress: Progress | None, read_test: bool, keep_weights: bool
    ) -> RunResult:
        """Train to the end, to a stop, or to divergence."""
        self.run = run
        self.forward = over_ranks(self.model)
        if self.arm.compile:
            self.forward = compiled(self.model, self.forward)  # type: ignore[assignment]
        self._begin()
        started = time.perf_counter() - self.seconds
        saved = time.monotonic()
        diverged = False
        self.monitor = None if self.monitoring is None else self._watch()
        with closing(self._steps()) as steps, closing(self.monitor) if self.monitor else nullcontext():
            for record in steps:
                self.pending.append(record)
                reason = stop.reason()
                due = record.evaluation is not None or len(self.pending) >= READ_EVERY
                save = reason is not None or self._has_passed(CHECKPOINT_SECONDS, saved, due)
                if save or due:
                    diverged = self._write(started, progress)
                if diverged:
                    break  # before a checkpoint is made of it
                if save:
                    self.run.write_checkpoint(partial(torch.save, self.state.state_dict_of_ranks()))
                    saved = time.monotonic()
                if reason is not None:
                    return RunResult(None, reason, self.run.path, self.state.step)
        diverged = diverged or self._write(started, progress)
        reason = StopReason.diverged if diverged else self.state.stop or StopReason.completed
        with evaluation_point(self.optimizer):
            if keep_weights and rank() == 0:
                runs.atomic_write(self.run.path / WEIGHTS, partial(torch.save, self.model.state_dict()))
            return self._finish(reason, time.perf_counter() - started, read_test)

    def _begin(self) -> None:
        """Go to the checkpoint, if there is one; rows that were written after it are dropped and made again."""
        for row in resume_together(self.run, self.state):
            self.seconds = max(self.seconds, row.get("seconds", 0.0))
            self.last_loss = row.get("loss", self.last_loss)

    def _has_passed(self, seconds: float, since: float, due: bool) -> bool:
        """Whether so much time has passed. Among ranks the first one's clock counts, and is asked where `due`."""
        passed = time.monotonic() - since >= seconds
        if not is_distributed():
            return passed
        return due and bool(largest_over_ranks(int(passed and rank() == 0)))

    def _steps(self) -> Any:
        arm = self.arm
        return train_steps(
            self.forward,
            self.optimizer,
            self.loss_fn,
            self.state.source,
            arm.schedule,
            accumulation_steps=arm.accumulation_steps,
            precision=arm.precision,
            clip_grad_norm=arm.clip_grad_norm,
            eval_batches=self.validation,
            evaluate_every=self.evaluate_every,
            evaluate_with=arm.evaluate_with,
            metric=self.task.metric,
            split=self.task.split,
            count=self.task.count,
            state=self.state,
        )

    def _check_model(self) -> None:
        """A model that does not fit its data is named before anything is trained."""
        inputs, targets = (self.task.split or pair)(self.state.source.sample(1)[0])
        outputs = outputs_of(self.model, inputs)
        check_outputs(outputs, targets, self.splits.num_classes, ignored_label(self.loss_fn))
        if not self.model.training:
            self.model.train()  # as the loop does: layers that are frozen in a model that trains stay so

    def _write(self, started: float, progress: Progress | None) -> bool:
        """Read the losses that are due and append their rows, up to a non-finite one; True where there is one."""
        losses = read_losses(self.pending)
        bad = first_non_finite(self.pending, losses)
        records = self.pending[: None if bad is None else bad + 1]
        self.pending = []
        if bad is not None and records[bad].step == 0:
            raise ValueError(NOT_FINITE_AT_FIRST)
        seconds = round(time.perf_counter() - started, 3)
        readings = self._new_readings()
        for record, loss in zip(records, losses, strict=False):
            if not record.skipped:
                self.run.append(update_row(record, loss, seconds))
                self.last_loss = loss
            if record.evaluation is not None:
                self.run.append(evaluation_row(record, "validation", seconds))
            while readings and readings[0]["step"] <= record.step:
                self.run.append(readings.pop(0))
        if records and progress is not None:
            last = records[-1]
            measured = next((r.evaluation for r in reversed(records) if r.evaluation is not None), None)
            reading = self.monitor.latest if self.monitor is not None else None
            progress(last.step + 1, self.arm.schedule.total_steps, last, losses[len(records) - 1], measured, reading)
        return bad is not None

    def _new_readings(self) -> list[dict[str, Any]]:
        """Rows of what the monitor read since the last call."""
        if self.monitor is None:
            return []
        rows = rows_of(self.monitor.rows)
        self.monitor.rows.clear()
        return rows

    def _finish(self, reason: StopReason, seconds: float, read_test: bool) -> RunResult:
        reestimated = self.arm.evaluate_with == "reestimated" and has_batch_statistics(self.model)
        measure = partial(
            evaluate,
            self.model,
            loss_fn=self.loss_fn,
            metric=self.task.metric,
            evaluate_with=self.arm.evaluate_with,
            training_batches=self.state.source.sample(STATISTICS_BATCHES) if reestimated else (),
            split=self.task.split,
            precision=self.arm.precision,
        )
        summary = {
            "stop": reason.value,
            "message": reason.message,
            "remedy": reason.remedy,
            "steps": self.state.step,
            "samples": self.state.samples,
            "seconds": round(seconds, 3),
            "train_loss": self.last_loss,
            "validation": plain_evaluation(measure(batches=self.validation)) if self.validation is not None else None,
            "test": plain_evaluation(measure(batches=self.test)) if read_test and self.test is not None else None,
        }
        run = self.run
        together(lambda: run.finish(summary))
        run.discard_checkpoints()
        return RunResult(summary_in(run), reason, run.path, self.state.step)
