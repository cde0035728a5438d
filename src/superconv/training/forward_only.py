"""Passes that are forward only, of models and losses that may differentiate on the way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from ..restore.buffers import buffers_restore
from ..restore.kept import Restore, nothing
from ..restore.random_states import get_random_states, set_random_states


class ForwardOnly:
    """Makes passes without a graph; with one from where the model or the loss turns out to differentiate by itself.

    Forces (-dE/dx of an energy), the residuals of a PINN and gradient penalties call autograd within the forward pass,
    which without a graph ends in torch's "does not require grad". Such a pass is made again with a graph, and so are
    those after it; what they return comes without it. That costs the memory of a training step.

    Args:
        modules: whose buffers are what they were when a first pass, which failed, is made again. Random states are so,
            too; of a later one that fails neither.
    """

    def __init__(self, *modules: nn.Module) -> None:
        self._modules = modules
        self._first = True
        self._with_graph = False

    def __call__(self, forward: Callable[[], Any]) -> Any:
        """What `forward` returns, detached."""
        if not self._with_graph:
            rewind = self._rewind() if self._first else nothing
            self._first = False
            try:
                with torch.no_grad():
                    return forward()
            except RuntimeError as error:
                if not asks_for_a_graph(error):
                    raise
            rewind()
            self._with_graph = True
        with torch.enable_grad():
            return _detached(forward())

    def _rewind(self) -> Restore:
        buffers, states = buffers_restore(*self._modules), get_random_states()

        def rewind() -> None:
            buffers()
            set_random_states(states)

        return rewind


def asks_for_a_graph(error: BaseException) -> bool:
    """Whether torch says that something was to be differentiated which has no graph."""
    return isinstance(error, RuntimeError) and "require grad" in str(error)


def _detached(value: Any) -> Any:
    """The tensors in a nest of tuples, lists and mappings without their graphs; a mapping keeps its class."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_detached, value))
    if type(value) in (tuple, list):
        return type(value)(map(_detached, value))
    if isinstance(value, Mapping) and hasattr(value, "__setitem__"):
        twin = copy.copy(value)
        for key, entry in value.items():
            twin[key] = _detached(entry)
        return twin
    return value
