"""BatchNorm whose statistics are those of all ranks' samples, on GPUs and on CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .batch_norm import NormalisedBatchNorm1d, NormalisedBatchNorm2d
from .batch_norm_over_ranks import normalised_over_ranks


class SynchronisedBatchNorm(_BatchNorm):
    """Torch's BatchNorm; in a training with several ranks its batch is the joined one.

    `torch.nn.SyncBatchNorm` does the same, on GPUs alone: this one runs wherever the process group does.
    """

    over_ranks: bool = True  # False: as torch's layer

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"BatchNorm needs at least 2 dimensions (samples, channels), got {input.ndim}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, ...); in training by the statistics of all ranks' batches."""
        alone = not dist.is_initialized() or dist.get_world_size() == 1
        if alone or not (self.training and self.over_ranks):
            return super().forward(input)
        self._check_input_dim(input)
        output, mean, variance = normalised_over_ranks(input, self.weight, self.bias, self.eps)
        if self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
                self.running_var.lerp_(variance.to(self.running_var.dtype), share)
        return output


def synchronise_batch_norm(model: nn.Module) -> nn.Module:
    """Let BatchNorm's statistics in training be those of the joined batch of all ranks.

    In a single process nothing changes. Layers of this package are told so in place; torch's own are replaced by
    `SynchronisedBatchNorm`, which shares their parameters and buffers, names included. So call it before
    DistributedDataParallel wraps the model.

    Args:
        model: any module.
    Returns: the model; another object where it is itself a BatchNorm layer of torch's.
    """
    if isinstance(model, NormalisedBatchNorm1d | NormalisedBatchNorm2d):
        model.over_ranks = True
        return model
    if isinstance(model, _BatchNorm) and not isinstance(model, SynchronisedBatchNorm):
        return _taken_over(model)
    for name, child in model.named_children():
        changed = synchronise_batch_norm(child)
        if changed is not child:
            setattr(model, name, changed)
    return model


@contextmanager
def statistics_of_this_rank(model: nn.Module) -> Iterator[None]:
    """For the block BatchNorm takes no part in what other ranks do: for batches that are no part of a joined one.

    The layers can be differentiated twice in it.
    """
    layers: list[Any] = [module for module in model.modules() if getattr(module, "over_ranks", False)]
    for layer in layers:
        layer.over_ranks = False
    try:
        yield
    finally:
        for layer in layers:
            layer.over_ranks = True


def _taken_over(layer: _BatchNorm) -> SynchronisedBatchNorm:
    options: dict[str, Any] = {"eps": layer.eps, "momentum": layer.momentum, "affine": layer.affine}
    made = SynchronisedBatchNorm(layer.num_features, track_running_stats=layer.track_running_stats, **options)
    for name, parameter in layer.named_parameters(recurse=False):
        setattr(made, name, parameter)
    for name, buffer in layer.named_buffers(recurse=False):
        setattr(made, name, buffer)
    made.train(layer.training)
    return made
