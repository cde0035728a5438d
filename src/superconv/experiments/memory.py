"""A training that runs out of memory: the batch size that would fit is named."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from ..schedules import constant
from ..task import Task
from ..training.batch_source import device_of, pair, sample_count
from ..training.checkpoint import TrainState
from ..training.distributed import is_distributed
from ..training.loop import train_steps
from ..training.out_of_memory import Trial, naming_what_fits
from .config import Arm

TRIAL_LR = 1e-8


def naming_batch_size(task: Task, arm: Arm, state: TrainState, loss_fn: Any) -> AbstractContextManager[None]:
    """Turn a refused allocation of the block into an `OutOfMemory`; the network is of no use afterwards.

    Among ranks no other size is tried, as the other ranks would not take part in it.
    """
    return naming_what_fits(
        lambda: None if is_distributed() else _trial(task, arm, state, loss_fn), device_of(state.model),
        elsewhere="end what else uses the device, or use a smaller batch size",
        afterwards="What was done up to the last checkpoint is kept",
    )  # fmt: skip


def _trial(task: Task, arm: Arm, state: TrainState, loss_fn: Any) -> Trial:
    batch = state.source.sample(1)[0]
    inputs, targets = (task.split or pair)(batch)

    def update(part: Any) -> None:
        steps = train_steps(
            state.model, state.optimizer, loss_fn, [part], constant(1, lr=TRIAL_LR), precision=arm.precision,
            clip_grad_norm=arm.clip_grad_norm, split=task.split,
        )  # fmt: skip
        for _ in steps:
            pass

    return Trial(update, batch, sample_count(targets, inputs))
