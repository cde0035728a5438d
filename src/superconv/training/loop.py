"""The one training loop: plain arguments in, one record an update out."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..records import History, StepRecord, StopReason
from ..schedules import Schedule
from ..task import Metric
from ..task.labels import check_takes_mean
from ..task.loss_function import LossFunction
from .arguments import check_options, check_parts
from .batch_source import BatchesExhausted, BatchSource, Split, device_of, pair
from .checkpoint import TrainState
from .evaluate import EvaluateWith, check_metric, check_readable, evaluate, has_batch_statistics
from .evaluation_point import begin_training, evaluation_point
from .micro_batches import Count, check_count
from .modes import TrainingModes
from .precision import make_scaler
from .ranks_apart import warn_of_ranks_apart
from .schedule_lr import ScheduledGroups, resumed_schedule
from .unclear_scales import warn_of_unclear_scales
from .update import Update

# An fp16 scale of 2^16 that was halved this often is below 1e-10: the gradients themselves are not finite.
MAX_SKIPPED_IN_A_ROW = 50
# `train` reads the losses from the device in blocks, so that the device is not waited for at every step.
READ_EVERY = 50
# Training batches that BatchNorm's statistics are re-estimated from.
STATISTICS_BATCHES = 8


def train_steps(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: LossFunction,
    batches: Iterable[Any] | BatchSource,
    schedule: Schedule,
    *,
    accumulation_steps: int = 1,
    count: Count | None = None,
    precision: str = "fp32",
    clip_grad_norm: float | None = None,
    eval_batches: Iterable[Any] | None = None,
    evaluate_every: int | None = None,
    evaluate_with: EvaluateWith = "running",
    metric: str | Metric | None = "accuracy",
    try_metric: bool = True,
    split: Split | None = None,
    state: TrainState | None = None,
    cycle_momentum: bool | None = None,
    group_scales: list[float] | None = None,
) -> Generator[StepRecord, None, StopReason]:
    """Train under `schedule`, one update at a time; the caller stores, prints, checkpoints and stops.

    At a yield the parameters are after the update, `.grad` is that update's (unscaled), and the next batch is not yet
    drawn, so that `state.save()` there is exact. A model that is left in evaluation mode there (by a validation of
    one's own) trains on in the modes that its modules had before. `record.loss` is a detached 0-dim tensor: reading it
    waits for the device. The generator's value (also `state.stop`) says why it ended.

    Under DistributedDataParallel or FSDP the recorded loss and samples are those of all ranks, and an update equals one
    on the joined batch, also where ranks have different numbers of samples, or of labels that count: gradients are
    averaged without regard to these, so that losses are weighted before.

    Args:
        loss_fn: (outputs, targets) -> mean loss over the batch.
        batches: any iterable; a re-iterable is restarted when it ends, and told the number of the epoch where it, its
            samplers or its data set have a `set_epoch` (`BatchSource`). Batches go to the model's device.
        schedule: what the optimizer uses in update t; its `total_steps` is the length of the training.
        accumulation_steps: micro-batches per update, weighted so that an update equals one on the joined batch, where
            the loss is a mean over samples or over labels and the model has no BatchNorm and no dropout.
        count: batch -> what its loss is a mean over (the valid tokens, say), by which micro-batches are weighted. None:
            the labels that are not ignored where `loss_fn` has an `ignore_index`, takes a mean, and the targets are
            integer labels (an update without any has loss 0, where torch's is NaN); else the samples, which is wrong
            for a loss that leaves some out on its own.
        precision: "fp32", "bf16" or "fp16" (with a gradient scaler; skipped updates do not advance the schedule).
        clip_grad_norm: largest norm of all gradients together, which are scaled down to it; None: as they are.
        eval_batches, evaluate_every: evaluate after every `evaluate_every` updates and after the last; None: only
            after the last. An iterator serves for one evaluation only.
        evaluate_with, metric: as in `evaluate`.
        try_metric: try the metric on one evaluation batch before the first update (`check_metric`).
        split: batch -> (inputs, targets); by default the batch is that pair. A tensor goes in as model(x), a tuple
            as model(*x), a mapping as model(**x), a PackedSequence or a graph (with a `to` of its own) as model(x).
        state: a `TrainState` to continue, and to checkpoint from. Where `schedule` is not the one that its updates
            followed, the policy is that of `ScheduleLR`: the same levels in another length are stretched, so that
            nothing jumps.
        cycle_momentum, group_scales: as in `ScheduleLR`; those of a `state` that goes on are known.
    Warns: several ranks, and a model under neither DistributedDataParallel nor FSDP; as `ScheduleLR`.
    Raises:
        ValueError: nothing to train on; a batch that `split` cannot take apart; an option out of range; a metric that
            does not fit the outputs; an iterator to evaluate on more than once; an optimizer that needs a closure.
        TypeError: a loss that is no function, or a class.
    """
    check_parts(optimizer, loss_fn)
    check_options(accumulation_steps, evaluate_every, clip_grad_norm, evaluate_with)
    if evaluate_every is not None and eval_batches is None:
        raise ValueError(f"evaluate_every={evaluate_every} would be ignored without eval_batches; pass both or none")
    if accumulation_steps > 1:
        check_takes_mean(loss_fn, "accumulation")
    check_count(count)
    device = device_of(model)
    state = _state(state, model, optimizer, batches, precision, device)
    state.meet(loss_fn)
    if state.step and state.schedule is not None:
        schedule = resumed_schedule(state.schedule, schedule, state.step)
    scales = state.scales()  # of groups that came or were cycled earlier their present values tell no more
    if scales is None:
        warn_of_unclear_scales(optimizer, group_scales)
    groups = ScheduledGroups(
        optimizer, schedule, cycle_momentum=cycle_momentum, group_scales=group_scales, saved=scales
    )
    warn_of_ranks_apart(model)
    state.schedule, state.groups = schedule, groups
    update = Update(model, optimizer, loss_fn, split or pair, count, device, precision, state.scaler, clip_grad_norm)
    if eval_batches is not None and state.step < schedule.total_steps:
        check_readable(eval_batches, _evaluations(state.step, evaluate_every, schedule.total_steps))
        if try_metric:
            eval_batches = check_metric(
                model, eval_batches, metric=metric, loss_fn=loss_fn, split=split, precision=precision
            )
    if not model.training:
        model.train()  # a model that is training keeps its flags: a frozen BatchNorm stays frozen
    modes = TrainingModes(model)
    begin_training(optimizer)
    skipped_in_a_row = 0
    while state.step < schedule.total_steps:
        step = state.step
        values = groups.write(step)
        try:
            loss, samples, grad_norm, skipped = update(state.source, accumulation_steps)
        except BatchesExhausted:
            state.stop = StopReason.batches_exhausted
            return state.stop
        evaluation = None
        if not skipped:
            state.step, state.samples = step + 1, state.samples + samples
            if eval_batches is not None and _is_due(state.step, evaluate_every, schedule.total_steps):
                reestimated = evaluate_with == "reestimated" and has_batch_statistics(model)
                with evaluation_point(optimizer):
                    evaluation = evaluate(
                        model,
                        eval_batches,
                        loss_fn,
                        metric=metric,
                        evaluate_with=evaluate_with,
                        training_batches=state.source.sample(STATISTICS_BATCHES) if reestimated else (),
                        split=split,
                        precision=precision,
                    )
        modes.note()
        yield StepRecord(
            step,
            groups.lrs,
            values.get("momentum"),
            values.get("weight_decay"),
            loss,
            grad_norm,
            samples,
            skipped,
            evaluation,
        )
        modes.back_to_training()
        skipped_in_a_row = skipped_in_a_row + 1 if skipped else 0
        if skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            state.stop = StopReason.diverged
            return state.stop
    state.stop = StopReason.completed
    return state.stop


def _state(
    state: TrainState | None,
    model: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[Any] | BatchSource,
    precision: str,
    device: torch.device,
) -> TrainState:
    """What was given, with a gradient scaler where the precision needs one; else a new one."""
    if state is None:
        state = TrainState(model, optimizer, batches)
    elif not isinstance(state, TrainState):
        raise TypeError(f"state must be a TrainState or None, got {state!r}")
    elif batches is not state.source and batches is not state.source.batches:
        raise ValueError(
            "state was made with other batches than those passed to the training, so that one of the two would be "
            "ignored; pass the batches that the state was made with"
        )
    if state.scaler is None:
        state.scaler = make_scaler(precision, device.type)
    return state


def _is_due(done: int, every: int | None, total: int) -> bool:
    return done == total or (every is not None and done % every == 0)


def _evaluations(done: int, every: int | None, total: int) -> int:
    """How many are due after the first `done` of `total` updates."""
    return 1 if every is None else total // every - done // every + (total % every != 0)


def train(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: LossFunction,
    batches: Iterable[Any] | BatchSource,
    schedule: Schedule,
    **options: Any,
) -> History:
    """Drain `train_steps` (same arguments) into a History; stop where the loss is no longer finite.

    Returns: the History. `history.stop` is "diverged" where a loss was not finite; that step is its last.
    """
    started = time.perf_counter()
    if options.get("state") is None:
        options["state"] = TrainState(model, optimizer, batches)
    records: list[StepRecord] = []
    losses: list[float] = []
    with closing(train_steps(model, optimizer, loss_fn, batches, schedule, **options)) as steps:
        for record in steps:
            records.append(record)
            if len(records) - len(losses) == READ_EVERY:
                losses += read_losses(records[len(losses) :])
                if first_non_finite(records, losses) is not None:
                    break
    losses += read_losses(records[len(losses) :])
    bad = first_non_finite(records, losses)
    if bad is not None:
        options["state"].stop = StopReason.diverged
    stop = options["state"].stop
    return _history(records[: None if bad is None else bad + 1], losses, stop, time.perf_counter() - started)


def read_losses(records: Sequence[StepRecord]) -> list[float]:
    """The losses of `records`, read from the device in one transfer."""
    return torch.stack([record.loss for record in records]).tolist() if records else []


def first_non_finite(records: Sequence[StepRecord], losses: Sequence[float]) -> int | None:
    """Index of the first update that moved the weights by a non-finite loss; None where there is none."""
    return next((i for i, loss in enumerate(losses) if not math.isfinite(loss) and not records[i].skipped), None)


def _history(records: Sequence[StepRecord], losses: Sequence[float], stop: StopReason, seconds: float) -> History:
    return History(
        lr=tuple(record.lr[0] for record in records),
        loss=tuple(losses[: len(records)]),
        evaluations=tuple((record.step, record.evaluation) for record in records if record.evaluation is not None),
        stop=stop,
        seconds=seconds,
        momentum=tuple(record.momentum for record in records),
    )
