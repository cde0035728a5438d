"""Plain attributes of modules, beside parameters, buffers and flags: such as a number that a pass counts in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from .code_names import names_in_methods
from .plain_types import PLAIN

_LISTS = (list, set, dict)
_LONGEST = 100  # entries of a list that is copied at every probe of the curvature; longer ones are data
_OF_TORCH = frozenset(vars(nn.Module()))  # tables and hooks, and the flag `training`
_MACHINERY = ("torch.distributed", "torch.nn.parallel", "torch._dynamo", "torch.fx", "torch.jit")


def plain_attributes(modules: Iterable[nn.Module]) -> Callable[[], None]:
    """What brings the plain attributes of modules back: a number of passes, a temperature, "is set up".

    Plain are numbers, strings, None, tensors without a graph (which one it is, not its content), tuples of such, and
    short lists, sets and dicts of such, whose entries come back in the same object. Attributes that were not there go
    where the code of a forward pass names them, whatever they are: of two that are made together none must stay alone.
    Others stay, since someone may keep results there. So does whatever torch's own wrappers keep (DDP, FSDP, a
    compiled module): their first pass sets up more than their attributes.
    """
    parts, containers = [], []
    for part in modules:
        if type(part).__module__.startswith(_MACHINERY):
            continue
        attributes = vars(part)
        values = {}
        for name in attributes.keys() - _OF_TORCH:
            value = attributes[name]
            if type(value) in PLAIN or _is_plain(value):
                values[name] = value
            elif type(value) in _LISTS and _is_plain_inside(value):
                values[name] = value
                containers.append((value, value.copy()))
        parts.append((part, tuple(attributes), len(part._modules), values))

    def restore() -> None:
        for part, names, modules, values in parts:
            attributes = vars(part)
            for name, value in values.items():
                if attributes.get(name, _MISSING) is not value:
                    attributes[name] = value
            # Behind a module that the pass made, and that stays, attributes may be its settings
            if len(attributes) != len(names) and len(part._modules) == modules:
                for name in attributes.keys() - set(names) & names_in_methods(type(part), {"forward"}):
                    del attributes[name]
        for container, entries in containers:
            container.clear()
            (container.extend if isinstance(container, list) else container.update)(entries)

    return restore


_MISSING = object()


def _is_plain(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.grad_fn is None  # else its whole graph would be kept
    return type(value) in PLAIN or (isinstance(value, tuple) and _is_plain_inside(value))


def _is_plain_inside(container: Any) -> bool:
    """Types first, at the speed of C: a convolution has six tuples."""
    entries = container.values() if isinstance(container, dict) else container
    return len(entries) <= _LONGEST and (PLAIN.issuperset(map(type, entries)) or all(map(_is_plain, entries)))
