"""Sums in double precision, also of what lies on a device that has none."""

from __future__ import annotations

import torch
from torch import Tensor


def has_double(device: torch.device) -> bool:
    """Whether the device computes in float64; Apple's GPUs ("mps") do not."""
    return device.type != "mps"


def widest(device: torch.device) -> torch.dtype:
    """The most precise floating point type of the device."""
    return torch.float64 if has_double(device) else torch.float32


def double(value: Tensor) -> Tensor:
    """The value in float64, without gradient; on the CPU, for which it is waited for, where its device has none."""
    value = value.detach()
    return (value if has_double(value.device) else value.cpu()).double()
