"""What a loss function returned, where it is no tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def loss_tensor(loss: Any) -> torch.Tensor:
    """The loss itself. Raises: ValueError: it is no tensor; of what holds several values, how to pick one."""
    if isinstance(loss, torch.Tensor):
        return loss
    remedy = "return it from loss_fn"
    if isinstance(loss, (tuple, list)):
        remedy = "pick it: loss_fn=lambda outputs, targets: f(outputs, targets)[0]"
    elif isinstance(loss, Mapping):
        key = "loss" if "loss" in loss or not loss else next(iter(loss))
        remedy = f"pick it: loss_fn=lambda outputs, targets: f(outputs, targets)[{key!r}]"
    raise ValueError(f"the loss must be a tensor, got a {type(loss).__name__}; {remedy}")
