"""The device of a run: the one that was named, or a GPU where there is one."""

from __future__ import annotations

import torch


def choose_device(device: torch.device | str | None) -> torch.device:
    """The named device; for None a GPU where there is one. Raises: ValueError: this machine does not have it."""
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {str(name)!r} cannot be used here ({reason}); use 'cpu', or leave it out") from None


def device_name(device: torch.device) -> str:
    """How a run records its device: a GPU by its model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
