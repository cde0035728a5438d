"""BatchNorm as in Caffe on several GPUs: a normalised running average, and statistics of a part of the batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .batch_norm_over_ranks import normalised_over_ranks

DEFAULT_AVERAGING_FRACTION = 0.9  # torch's momentum of 0.1; the companion's networks (arXiv 1803.09820) have it too


class _NormalisedAverage(_BatchNorm):
    """What the two sizes share: torch's BatchNorm, with a normalised average.

    With f = averaging fraction = 1 - momentum, update t of a batch statistic b is

        count   <- f count + 1                           count = 1, 1 + f, 1 + f + f^2, ... from 0
        running <- running + (b - running) / count       = (sum_k f^(t-k) b_k) / (sum_k f^(t-k))

    so after the first batch `running` is that batch's statistic, whatever it was before. For t >> 1 / (1 - f) this is
    torch's `running <- f running + (1 - f) b`, which after t updates still holds a share f^t of its starting
    values (mean 0, variance 1). As in torch, `momentum=None` is the plain mean over all batches (f = 1), and momentum 0
    leaves the statistics alone.

    Buffers are torch's plus `averaging_count`, so that whatever reads or copies `running_mean` and `running_var`
    works as it does for torch's layer. A state dict without the count (from torch's layer) loads as if it had
    counted `num_batches_tracked` batches. The variance is the unbiased one, as in torch and Caffe. Cost: about 14 us a
    layer and training step on a CPU (0.2% of a ResNet-20 step at batch 128), without waiting for the device.

    Reference: BVLC/caffe, batch_norm_layer.cpp (blobs mean, variance, count; tests use S / count).
    Differs: Caffe stores the sums and divides on reading; dividing on writing gives the same up to rounding. Before any
        batch torch's mean 0 and variance 1 are used, where Caffe has variance 0 (its logs show loss 87.34 there).
    """

    averaging_count: Tensor | None
    statistics_of: int | None = None  # samples that share statistics in training; None: the whole batch
    over_ranks: bool = False  # whether the whole batch is that of all ranks

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        count = torch.zeros((), device=self.running_mean.device) if self.running_mean is not None else None
        self.register_buffer("averaging_count", count)

    def reset_running_stats(self) -> None:
        """Forget every batch: the next one alone decides again."""
        super().reset_running_stats()
        if getattr(self, "averaging_count", None) is not None:  # torch's constructor calls this before it exists
            self.averaging_count.zero_()  # type: ignore[union-attr]

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C) or (N, C, H, W); in training by the batch's statistics, which then enter the average."""
        if not (self.training and self.track_running_stats) or self.running_mean is None or self.momentum == 0.0:
            return super().forward(input)  # momentum 0: torch's way to leave the running statistics alone
        self._check_input_dim(input)
        output, batch = self._normalised(input)
        with torch.no_grad():
            fraction = 1.0 if self.momentum is None else 1.0 - self.momentum
            self.averaging_count.mul_(fraction).add_(1.0)  # type: ignore[union-attr]
            share = self.averaging_count.reciprocal()  # type: ignore[union-attr]
            self.running_mean.lerp_(batch[0], share)
            self.running_var.lerp_(batch[1], share)  # type: ignore[union-attr]
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        return output

    def _normalised(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """The normalised input, and mean and variance (2, C) of the first group: what Caffe's tested GPU sees."""
        if self.over_ranks and self.statistics_of is None and dist.is_initialized() and dist.get_world_size() > 1:
            output, mean, variance = normalised_over_ranks(input, self.weight, self.bias, self.eps)
            return output, torch.stack([mean, variance])
        samples, channels = len(input), self.num_features
        groups = 1 if self.statistics_of is None else -(-samples // self.statistics_of)
        if groups > 1 and (samples % groups or not input.is_contiguous()):
            # channels_last has no view with the groups among the channels; nor has a batch that does not divide
            # (sizes as of `tensor_split`; the gradient of `split` is one concatenation, that of the other a sum of all)
            few, more = divmod(samples, groups)
            parts = [self._batch_norm(p, 1) for p in input.split([few + 1] * more + [few] * (groups - more))]
            return torch.cat([output for output, _ in parts]), parts[0][1]
        if groups == 1:
            return self._batch_norm(input, 1)  # no view: a ReLU in place on one would cost two copies backward
        # group g is the samples g, g + groups, ...: so a group's channels are channels of a view, and nothing is copied
        output, batch = self._batch_norm(input.view(samples // groups, groups * channels, *input.shape[2:]), groups)
        # likewise for autograd: nothing else refers to `output`, which is what `_unsafe_view` asks for
        return torch.ops.aten._unsafe_view(output, input.shape), batch[:, :channels]

    def _batch_norm(self, input: Tensor, groups: int) -> tuple[Tensor, Tensor]:
        # momentum 1 writes the batch's own statistics into a scratch tensor: no second pass over the input
        batch = input.new_zeros(2, input.shape[1], dtype=self.running_mean.dtype)  # type: ignore[union-attr]
        weight: Tensor | None = self.weight
        bias: Tensor | None = self.bias
        if groups > 1 and weight is not None and bias is not None:
            weight, bias = weight.repeat(groups), bias.repeat(groups)
        return F.batch_norm(input, batch[0], batch[1], weight, bias, True, 1.0, self.eps), batch

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        key, batches = prefix + "averaging_count", state_dict.get(prefix + "num_batches_tracked")
        if self.averaging_count is not None and key not in state_dict and batches is not None:
            fraction = 1.0 if self.momentum is None else 1.0 - self.momentum
            seen = int(batches)
            count = float(seen) if fraction == 1.0 else (1.0 - fraction**seen) / (1.0 - fraction)
            state_dict[key] = torch.full_like(self.averaging_count, count)
        super()._load_from_state_dict(state_dict, prefix, *args)


class NormalisedBatchNorm1d(_NormalisedAverage, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` with Caffe's normalised average: see the formula in this file's `_NormalisedAverage`."""


class NormalisedBatchNorm2d(_NormalisedAverage, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` with Caffe's normalised average: see the formula in this file's `_NormalisedAverage`."""


def check_averaging_fraction(fraction: float) -> float:
    """The fraction as a float.

    Raises: ValueError: outside [0, 1).
    """
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0.0 <= fraction < 1.0:
        raise ValueError(
            f"averaging_fraction: got {fraction!r}, allowed is 0 <= fraction < 1 (the share of the old average that "
            "is kept; 1 - torch's momentum)"
        )
    return float(fraction)


def has_batch_norm(model: nn.Module) -> bool:
    """Whether any of its layers is a BatchNorm."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def set_averaging_fraction(model: nn.Module, fraction: float) -> int:
    """Set how slowly BatchNorm's running statistics move, in every BatchNorm layer: torch's `momentum` = 1 - fraction.

    Works on torch's layers and on ours, in the middle of a training too.

    Args:
        model: any module.
        fraction: share of the old average that one batch leaves, 0 <= fraction < 1 (Caffe: moving_average_fraction).
    Returns: how many layers were set: 0 where the model has none.
    Raises: ValueError: a fraction outside [0, 1).
    Example:
        >>> set_averaging_fraction(nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4)), 0.95)
        1
    """
    fraction = check_averaging_fraction(fraction)
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for layer in layers:
        layer.momentum = 1.0 - fraction
    return len(layers)


def set_statistics_of(model: nn.Module, samples: int | None) -> int:
    """Let every group of `samples` in a training batch have BatchNorm statistics of its own.

    What data-parallel training does without synchronisation, and without the devices: a batch of 1,000 with
    samples=125 is normalised like 125 on each of eight GPUs. The running statistics are those of the first group, as in
    Caffe, where the first GPU's network is tested. Evaluation is not touched.

    Args:
        model: with BatchNorm layers of this package (`NormalisedBatchNorm1d`, `NormalisedBatchNorm2d`).
        samples: in a group, at least 2; None: the whole batch. A batch of N falls into ceil(N / samples) groups, whose
            sizes differ by one at most.
    Returns: how many layers were set.
    Raises: ValueError: fewer than two samples; BatchNorm layers of torch's own, which cannot do it.
    Reference: "ghost batch normalisation", Hoffer et al., arXiv 1705.08741v2, Sec. 4; the eight GPUs with 125 images
        each of arXiv 1708.07120.
    Differs: Hoffer et al. let all groups enter the running statistics.
    """
    if samples is not None and (isinstance(samples, bool) or samples < 2):
        raise ValueError(f"statistics_of: got {samples!r}, allowed are 2 samples or more, or None for the whole batch")
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    foreign = next((layer for layer in layers if not isinstance(layer, _NormalisedAverage)), None)
    if foreign is not None and samples is not None:
        raise ValueError(
            f"statistics_of={samples}: the model has a {type(foreign).__name__} of torch, which normalises whole "
            "batches; build it with superconv.models.NormalisedBatchNorm2d"
        )
    for layer in layers:
        if isinstance(layer, _NormalisedAverage):
            layer.statistics_of = samples
    return len(layers)


def averaging_fraction_for(total_steps: int) -> float:
    """The averaging fraction that fits a training of this length.

        f = 1 - 600 / total_steps, held within [0.8, 0.999]

    The average then looks back over about 1 / (1 - f) = total_steps / 600 batches: short against the last, small-LR
    phase of the run, long enough to smooth. 0.999 in a short run remembers weights that are long gone.

    Args:
        total_steps: length of the training in optimizer updates, at least 1.
    Raises: ValueError: fewer than one step.
    Example:
        >>> [round(averaging_fraction_for(n), 3) for n in (300, 2000, 6000, 10000, 20000)]
        [0.8, 0.8, 0.9, 0.94, 0.97]

    Reference: fitted to Table 1 of arXiv 1708.07120v1, run length: fraction. 2,000: .80, 4,000: .85, 6,000: .90,
        8,000: .93, 10,000: .95, 20,000: .97; the formula is within .01 of all six.
    Differs: outside 2,000 to 20,000 steps it is an extrapolation; the authors used .95 for all range tests.
    """
    if total_steps < 1:
        raise ValueError(f"total_steps: got {total_steps!r}, allowed are integers from 1")
    return min(max(1.0 - 600.0 / total_steps, 0.8), 0.999)
