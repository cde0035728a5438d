"""Modules in evaluation mode for a block, with flags and buffers as they were afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..restore.buffers import buffers_restore
from ..restore.module_attributes import plain_attributes
from ..restore.sharded import reshard
from .batch_source import call_model
from .forward_only import ForwardOnly


@contextmanager
def evaluation_mode(*modules: nn.Module, on_trial: bool = False) -> Iterator[None]:
    """Every module in evaluation mode; at the end, flags and buffers are what they were.

    Parameters are not kept: a forward pass does not change them, and they are most of a model. Buffers it may change in
    evaluation mode, too: ranges that fake quantisation observes, a hidden state that is handed on. Plain attributes
    stay as the passes leave them, since what is recorded there (attention maps, features) may be what someone evaluates
    for; but for passes that nobody asked for (`on_trial`).
    """
    flags = [(part, part.training) for module in modules for part in module.modules()]
    restores = [buffers_restore(*modules)]
    if on_trial:
        restores += [plain_attributes(module.modules()) for module in modules]
    try:
        for module in modules:
            module.eval()
        yield
    finally:
        for module in modules:
            reshard(module)
        for part, training in flags:
            part.training = training
        for restore in restores:
            restore()


def outputs_of(model: nn.Module, inputs: Any) -> Any:
    """What the model makes of a batch in evaluation mode, which leaves nothing behind."""
    with evaluation_mode(model, on_trial=True), torch.no_grad():
        return ForwardOnly(model)(lambda: call_model(model, inputs))
