"""What the ranks of a torchrun job know together; the identity in a single process."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def is_distributed() -> bool:
    """Whether several ranks train together in this process group."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def sum_over_ranks(tensor: torch.Tensor) -> torch.Tensor:
    """The elementwise sum over all ranks, on every rank; `tensor` itself in a single process."""
    if not is_distributed():
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total


def mean_over_ranks(value: torch.Tensor, samples: int) -> tuple[torch.Tensor, int]:
    """A 0-dim mean over `samples` samples on this rank -> the mean over all ranks' samples, and their number."""
    if not is_distributed():
        return value, samples
    packed = torch.stack([value.detach().double() * samples, value.new_tensor(float(samples), dtype=torch.double)])
    total, count = sum_over_ranks(packed).unbind()
    return (total / count).to(value.dtype), int(count)


def gather_from_ranks(value: Any) -> list[Any]:
    """What every rank passed (anything that pickles), in the order of the ranks; `[value]` in a single process."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any rank; every rank must ask."""
    if not is_distributed():
        return flag
    return bool(sum_over_ranks(torch.tensor(float(flag), device=device)))


def copy_from_first_rank(tensors: Iterable[torch.Tensor]) -> None:
    """Overwrite the tensors by those of rank 0, in place; nothing happens in a single process."""
    if is_distributed():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def inner_module(model: nn.Module) -> nn.Module:
    """The module that DistributedDataParallel wraps, whose forward pass waits for no other rank; else the model."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def without_synchronisation(model: nn.Module, skip: bool) -> AbstractContextManager[None]:
    """DistributedDataParallel's `no_sync` for a micro-batch whose gradients are not used yet."""
    return model.no_sync() if skip and is_distributed() and hasattr(model, "no_sync") else nullcontext()  # type: ignore[operator]
