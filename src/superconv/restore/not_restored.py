"""Warnings about what a measurement changed and could not bring back: states of optimizers, tensors that they hold."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from ..callers_level import callers_level
from .optimizer_parts import tensors_elsewhere
from .step_hooks import HookMemory, content_sum

_QUICKLY_COMPARED = 10_000  # numbers of a tensor


def own_states(
    optimizers: Iterable[Optimizer], kept: Mapping[int, Any]
) -> Iterator[tuple[Optimizer, Callable[[], Any], Any]]:
    """Optimizers that have a way of their own to tell their state, with that way as `warn_of_state` calls it.

    torch's own tells `state` and groups, which are attributes and are restored as such.

    Args:
        kept: tensors that come back themselves, by id.
    """
    for optimizer in optimizers:
        if type(optimizer).state_dict is Optimizer.state_dict:
            continue

        def shown(state_dict: Callable[[], Any] = optimizer.state_dict) -> Any:
            return _shown(state_dict(), kept)

        try:
            before = shown()
        except Exception:  # it cannot tell it now, such as one that must gather it from other ranks before
            continue
        yield optimizer, shown, before


def warn_of_state(optimizer: Optimizer, shown: Callable[[], Any], before: Any) -> None:
    """Where the state that an optimizer tells is not what it was."""
    if shown() != before:
        warnings.warn(
            f"the state of the optimizer {type(optimizer).__name__} was not restored as a whole: its state_dict() "
            "differs from before, by something that it keeps neither in its attributes nor in the optimizers, lists "
            "and dicts among them; save its state before, and load it again",
            stacklevel=callers_level(),
        )


def other_tensors(
    optimizers: Iterable[Optimizer], kept: Mapping[int, Any]
) -> Iterator[tuple[Optimizer, str, list[tuple[torch.Tensor, str]]]]:
    """Tensors behind the optimizers' attributes that do not come back, as `warn_of_others` takes them.

    Those of a module that is not named, in a function's closure, in an object that is no part of the optimizer.

    Args:
        kept: tensors that come back themselves, by id.
    """
    for optimizer in optimizers:
        for name, tensors in tensors_elsewhere(optimizer, kept).items():
            yield optimizer, name, [(tensor, content_sum(tensor)) for tensor in tensors]


def warn_of_others(optimizer: Optimizer, name: str, tensors: list[tuple[torch.Tensor, str]]) -> None:
    """Where one of them is not what it was."""
    if any(content_sum(tensor) != before for tensor, before in tensors):
        warnings.warn(
            f"the optimizer {type(optimizer).__name__} keeps tensors behind its attribute {name!r} that a measurement "
            "changed and that are not restored; name the module that has them, or save them and load them again",
            stacklevel=callers_level(),
        )


def warn_of_tensors(memory: HookMemory) -> None:
    """Where a step hook changed tensors of its own."""
    if memory.changed():
        warnings.warn(
            f"the optimizer's step hook {memory.name} acted in a measurement as in training, and changed tensors that "
            "it keeps (an average of the weights, say), which are not restored; remove the hook before, or save them "
            "and load them again",
            stacklevel=callers_level(),
        )


def _shown(value: Any, kept: Mapping[int, Any]) -> Any:
    """A nest in strings. Tensors that come back themselves stand for themselves; large others are not looked at."""
    if isinstance(value, dict):
        return [(_shown(key, kept), _shown(entry, kept)) for key, entry in value.items()]
    if isinstance(value, (list, tuple)):
        return [_shown(item, kept) for item in value]
    if isinstance(value, torch.Tensor):
        if id(value) in kept:
            return f"tensor {id(value)}"
        return repr(value.tolist()) if value.numel() <= _QUICKLY_COMPARED else "large"
    return repr(value)
