"""What a run is made of, from its task and its arm: data, network, loss."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch
from torch import nn

from ..data import Batches, Samples, Splits
from ..models import set_averaging_fraction, set_statistics_of
from ..models.synchronised import synchronise_batch_norm
from ..task import Task
from ..task.loss_function import loss_module
from ..training.distributed import is_distributed, share_of
from .config import Arm

VALIDATION_SAMPLES = 0.1  # of the training set, where a data set has no validation part


def splits_of(splits: Splits, arm: Arm) -> Splits:
    """With a validation part, and a training set reduced to the arm's size."""
    splits = splits.with_validation(VALIDATION_SAMPLES)
    return splits if arm.train_samples is None else splits.subset(arm.train_samples, arm.train_subset_seed)


def model_of(task: Task, arm: Arm, seed: int, device: torch.device) -> nn.Module:
    """The network, its BatchNorm as the arm wants it. Raises: ValueError: it cannot be had so."""
    model = task.build_model(seed).to(device)
    if arm.averaging_fraction is not None:
        set_averaging_fraction(model, arm.averaging_fraction)
    if is_distributed() and (arm.statistics_of is None or arm.statistics_of >= arm.batch_size):
        model = synchronise_batch_norm(model)
    elif arm.statistics_of is not None:
        layers = set_statistics_of(model, arm.statistics_of)
        if layers == 0:
            raise ValueError(f"statistics_of={arm.statistics_of}: the model has no BatchNorm; leave it out")
        if is_distributed() and arm.statistics_of > share_of(arm.batch_size):
            raise ValueError(
                f"statistics_of={arm.statistics_of} reaches over ranks of {share_of(arm.batch_size)} samples each; "
                "use at most that, or leave it out: then statistics are those of all ranks"
            )
    return model


def loss_of(task: Task, arm: Arm, device: torch.device) -> Any:
    """The run's own loss, its targets smoothed as the arm says. Raises: ValueError: it takes no label smoothing."""
    loss: Any = loss_on_ranks(task, device)
    if not arm.label_smoothing:
        return loss
    try:
        called = loss.forward if isinstance(loss, nn.Module) else loss  # a module's own __call__ takes anything
        inspect.signature(called).bind(None, None, label_smoothing=arm.label_smoothing)
    except TypeError:
        raise ValueError(
            f"label_smoothing={arm.label_smoothing:g}, but the loss of task {task.name!r} takes no "
            "such argument; use a cross entropy that does, or 0"
        ) from None
    return partial(loss, label_smoothing=arm.label_smoothing)


def loss_on_ranks(task: Task, device: torch.device) -> Any:
    """The loss of one run. Raises: ValueError: several ranks, and it has parameters, which each would train alone."""
    loss = task.build_loss(device)
    module = loss_module(loss)
    if is_distributed() and module is not None and any(each.requires_grad for each in module.parameters()):
        raise ValueError(
            f"task {task.name!r}: the loss has parameters, whose gradients several ranks do not share; make them the "
            "model's (it returns them with its outputs), or train in one process"
        )
    return loss


def for_evaluation(samples: Samples | None, arm: Arm, memory: dict[str, Any]) -> Batches | None:
    """Batches of what there is to measure on."""
    size = {} if arm.evaluation_batch_size is None else {"batch_size": arm.evaluation_batch_size}
    return None if samples is None else Batches.for_evaluation(samples, **size, **memory)
