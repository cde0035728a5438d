"""Modules in evaluation mode for a block, with flags, buffers and plain attributes as they were afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .batch_source import call_model
from .buffers import buffers_restore
from .forward_only import ForwardOnly
from .module_attributes import plain_attributes
from .sharded import reshard


@contextmanager
def evaluation_mode(*modules: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode; at the end, flags, buffers and plain attributes are what they were.

    Parameters are not kept: a forward pass does not change them, and they are most of a model. Buffers and plain
    attributes it may change in evaluation mode, too: ranges that fake quantisation observes, a hidden state that is
    handed on, a counter.
    """
    flags = [(part, part.training) for module in modules for part in module.modules()]
    restores = [buffers_restore(*modules), *(plain_attributes(module.modules()) for module in modules)]
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
    """What the model makes of a batch in evaluation mode, which leaves its flags and buffers as they were."""
    with evaluation_mode(model), torch.no_grad():
        return ForwardOnly(model)(lambda: call_model(model, inputs))
