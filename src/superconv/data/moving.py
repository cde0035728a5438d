"""Batches on a device, whatever they are made of."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch


def moves_itself(value: Any) -> bool:
    """Whether it is one value with a `to(device)` of its own (a PackedSequence, a graph), and no nest of tensors."""
    return not isinstance(value, torch.Tensor) and callable(getattr(value, "to", None))


def move(value: Any, device: torch.device) -> Any:
    """The tensors in a nest of tuples, lists and mappings, on `device`; what `moves_itself` as a shallow copy."""
    if isinstance(value, torch.Tensor):
        return value if value.device == device else value.to(device, non_blocking=True)
    if moves_itself(value):
        return copy.copy(value).to(device)  # some change themselves: the caller's batch stays where it is
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(move(item, device) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(move(item, device) for item in value)
    if isinstance(value, Mapping):
        return {key: move(item, device) for key, item in value.items()}
    return value
