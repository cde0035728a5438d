"""Objects among an optimizer's attributes: which are parts of it, as a preconditioner is, and which are not its own."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from .random_states import GENERATORS
from .reached import reached

_OTHERS = (nn.Module, DataLoader, Dataset)  # to be named by themselves, or data
_CALLED = (type, types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType, partial)
_RESTORED = ("state", "param_groups", "defaults")
_OF_PYTHON = sys.stdlib_module_names - {"types"}  # queues, threads, locks; a SimpleNamespace holds what one puts in it


def is_part(value: Any) -> bool:
    """Whether it may be a part: an object with attributes, and no function, module, data or thing of Python's own."""
    if isinstance(value, (*_OTHERS, *_CALLED, logging.Logger)) or not isinstance(
        getattr(value, "__dict__", None), dict
    ):
        return False
    return type(value).__module__.partition(".")[0] not in _OF_PYTHON


def holds_data(value: Any) -> bool:
    """Whether it leads to data, as someone's trainer does that is no part."""
    return any(isinstance(thing, (DataLoader, Dataset)) for _, thing in reached(value, closed=_OTHERS))


def keeps_tensors(value: Any) -> bool:
    """Whether it keeps tensors, arrays or generators beside parameters."""
    things = [thing for _, thing in reached(value, closed=_OTHERS) if not isinstance(thing, nn.Parameter)]
    return any(isinstance(thing, (torch.Tensor, np.ndarray, *GENERATORS)) for thing in things)


def tensors_elsewhere(optimizer: Optimizer, kept: Mapping[int, Any]) -> dict[str, list[torch.Tensor]]:
    """Tensors that its attributes lead to, by the name of the attribute; none of those that are kept, by id."""
    found = {}
    for name, value in vars(optimizer).items():
        if name not in _RESTORED and not name.endswith("_hooks"):  # `HookMemory` looks into these
            things = [value, *(thing for _, thing in reached(value, closed=(DataLoader, Dataset)))]
            found[name] = [each for each in things if isinstance(each, torch.Tensor) and id(each) not in kept]
    return {name: tensors for name, tensors in found.items() if tensors}
