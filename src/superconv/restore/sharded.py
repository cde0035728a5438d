"""Tensors that are sharded over the ranks, as FSDP's `fully_shard` and tensor parallelism make them (DTensor)."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether it is a DTensor, of which this rank holds a part."""
    module = sys.modules.get("torch.distributed.tensor")  # slow to import, and nobody has a DTensor without it
    return module is not None and isinstance(tensor, module.DTensor)


def shard(tensor: Any) -> Any:
    """This rank's part, in the same memory; a tensor that is not sharded itself."""
    if not is_sharded(tensor):
        return tensor
    with torch.no_grad():  # else a view for autograd
        return tensor.to_local()


def whole(tensor: Any) -> Any:
    """All parts together, summed where they are partial sums, for which every rank must ask; else the tensor itself."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def refuse_sharded(model: nn.Module, what: str) -> None:
    """Raise ValueError where a parameter is sharded; `what` needs it whole."""
    name = next((name for name, parameter in model.named_parameters() if is_sharded(parameter)), None)
    if name is not None:
        raise ValueError(
            f"{what} needs whole parameters on every rank, but {name} is sharded over them (FSDP or tensor "
            "parallelism); use one process or DistributedDataParallel"
        )


def reshard(model: nn.Module) -> None:
    """Drop the whole parameters that FSDP holds on to between a pass forward and its pass back.

    A pass that is only forward leaves them there, and the next one would use them whatever the shards hold by then.
    """
    module = sys.modules.get("torch.distributed.fsdp")
    kind = getattr(module, "FSDPModule", None)
    if kind is not None:
        for part in model.modules():
            if isinstance(part, kind):
                part.reshard()
