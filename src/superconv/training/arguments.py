"""What a training may be given."""

from __future__ import annotations

import inspect
from typing import Any

from torch.optim import Optimizer

from ..schedules import checks
from ..task.loss_function import check_no_class
from .evaluate import check_evaluate_with
from .inner_optimizer import torch_optimizer


def check_parts(optimizer: Any, loss_fn: Any) -> None:
    """Raise TypeError for a loss that is no function or no optimizer, ValueError for one that needs a closure."""
    if not isinstance(optimizer, Optimizer):
        torch_optimizer(optimizer)  # says what else is wrong
        raise TypeError(f"a torch.optim.Optimizer is needed, got {type(optimizer).__name__}; pass the inner one")
    check_no_class("loss_fn", loss_fn)
    if not callable(loss_fn):
        raise TypeError(
            f"loss_fn must be a function (outputs, targets) -> mean loss over the batch, got {loss_fn!r}; pass "
            "torch.nn.functional.cross_entropy, say"
        )
    if _needs_closure(optimizer):
        raise ValueError(
            f"optimizer: got {type(optimizer).__name__}, whose step() needs a closure that computes the loss several "
            "times an update; allowed are optimizers that step on the gradient at hand, such as SGD or Adam"
        )


def _needs_closure(optimizer: Optimizer) -> bool:
    try:
        closure = inspect.signature(optimizer.step).parameters.get("closure")
    except (TypeError, ValueError):  # it does not show its arguments
        return False
    return closure is not None and closure.default is inspect.Parameter.empty


def check_options(accumulation_steps: int, evaluate_every: int | None, clip: float | None, evaluate_with: str) -> None:
    """Raise ValueError for a value of these options of `train_steps` that is out of range."""
    checks.whole("accumulation_steps", accumulation_steps, at_least=1)
    if evaluate_every is not None:
        checks.whole("evaluate_every", evaluate_every, at_least=1)
    if isinstance(clip, str | bytes):
        raise ValueError(f"clip_grad_norm must be a positive number or None, got {clip!r}")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip_grad_norm must be positive or None, got {clip}")
    check_evaluate_with(evaluate_with)
