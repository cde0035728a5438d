"""Sums over the ranks of a torchrun job; the identity in a single process."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import nn


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


def without_synchronisation(model: nn.Module, skip: bool) -> AbstractContextManager[None]:
    """DistributedDataParallel's `no_sync` for a micro-batch whose gradients are not used yet."""
    return model.no_sync() if skip and is_distributed() and hasattr(model, "no_sync") else nullcontext()  # type: ignore[operator]
