"""A warning where ranks seem to train apart, although they are in one process group."""

from __future__ import annotations

import sys
import warnings

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..callers_level import callers_level
from ..restore.sharded import is_sharded
from .distributed import is_distributed, world_size


def warn_of_ranks_apart(model: nn.Module) -> None:
    """Say that nothing in the model averages gradients, although everything else is that of all ranks.

    A forgotten DistributedDataParallel trains as many networks as there are ranks, each on its share of the data, under
    losses that look like those of one. Trainings that are meant to be apart would weigh each other's batches, and wait
    for each other.
    """
    if not is_distributed() or _is_joined(model):
        return
    warnings.warn(
        f"this process group has {world_size()} ranks, and losses and numbers of samples are theirs together, but the "
        "model is under neither DistributedDataParallel nor FSDP, so that each rank would train a network of its own; "
        "wrap it, unless you average the gradients yourself, or call dist.destroy_process_group() first for trainings "
        "that are meant to be apart",
        UserWarning,
        stacklevel=callers_level(),
    )


def _is_joined(model: nn.Module) -> bool:
    """Whether a part of it averages or shards over the ranks, or nothing is trained."""
    fsdp = sys.modules.get("torch.distributed.fsdp")  # nobody has a model under it without it
    kinds = [
        DistributedDataParallel,
        *(getattr(fsdp, name, None) for name in ("FSDPModule", "FullyShardedDataParallel")),
    ]
    if any(isinstance(part, kind) for kind in kinds if kind is not None for part in model.modules()):
        return True
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return not trained or any(is_sharded(parameter) for parameter in trained)
