"""Normalisation of one batch that lies on several ranks, with its gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def normalised_over_ranks(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The input normalised by mean and variance of all ranks' samples, per channel.

        y = (x - m) / sqrt(v + eps) weight + bias,   m = sum_r n_r m_r / n,   v = sum_r n_r (v_r + (m_r - m)^2) / n

    Ranks may hold different numbers of samples. Every rank must call it, forward and backward.

    Args:
        input: (N_r, C, ...) of this rank.
        weight, bias: (C,), or None.
        eps: of the variance.
    Returns: output as the input; mean and unbiased variance (C,) of the joined batch, without gradients.
    Raises: ValueError: a single value a channel on all ranks together.
    Reference: the pairwise combination of Chan, Golub and LeVeque (1979); the gradient is torch's SyncBatchNorm's.
    """
    output, mean, variance = _Normalised.apply(input, weight, bias, eps)
    return output, mean, variance


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        channels, values = input.shape[1], input.detach()
        count = input.numel() // max(1, channels)
        mean, variance = _statistics(values, count)
        own = torch.cat([mean, variance, mean.new_tensor([float(count)])])
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        joined = torch.stack(parts)
        means, variances, counts = joined[:, :channels], joined[:, channels:-1], joined[:, -1:]
        total = counts.sum()
        if float(total) <= 1:
            raise ValueError("BatchNorm needs more than one value a channel, over all ranks; use a larger batch")
        mean = (counts * means).sum(0) / total
        variance = (counts * (variances + (means - mean).square())).sum(0) / total
        ctx.save_for_backward(input, weight, mean, torch.rsqrt(variance + eps), total)
        ctx.with_bias = bias is not None
        output = (
            F.batch_norm(values, mean, variance, weight, bias, training=False, eps=eps) if count else values.clone()
        )
        unbiased = variance * (total / (total - 1))
        ctx.mark_non_differentiable(mean, unbiased)
        return output, mean, unbiased

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:
        input, weight, mean, inverse, total = ctx.saved_tensors
        own = _gradient_sums(grad, input, mean, inverse)
        sums = torch.stack(own)
        dist.all_reduce(sums)
        mean_grad, mean_product = (sums / total).unbind()
        scale = inverse if weight is None else inverse * weight.to(mean.dtype)
        # (grad - mean grad - normalised x mean product) x scale, as a plane in grad and input: two passes
        slope = -scale * inverse * mean_product
        shape = (1, input.shape[1], *(1 for _ in input.shape[2:]))
        level, slope, scale = (each.view(shape) for each in (-scale * mean_grad - slope * mean, slope, scale))
        flow = torch.addcmul(level, _exact(input), slope).addcmul_(_exact(grad), scale)
        of_weight = None if weight is None else own[1].to(weight.dtype)
        of_bias = own[0].to(weight.dtype if weight is not None else grad.dtype) if ctx.with_bias else None
        return flow.to(input.dtype), of_weight, of_bias, None


def _statistics(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance a channel, in single precision at least; zeros where there are no values."""
    channels = values.shape[1]
    if not count:
        nothing = values.new_zeros(channels, dtype=torch.promote_types(values.dtype, torch.float32))
        return nothing, nothing
    if values.is_cpu and values.dtype in (torch.float32, torch.float64):
        # what torch's own BatchNorm uses, much faster than sums over several dimensions
        mean, variance = torch.batch_norm_update_stats(values, None, None, 0.0)
        return mean, variance
    variance, mean = torch.var_mean(_exact(values), [0, *range(2, values.ndim)], correction=0)
    return mean, variance


def _gradient_sums(grad: Tensor, input: Tensor, mean: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Sums a channel of the gradient, and of the gradient times the normalised input."""
    if grad.is_cpu and grad.dtype in (torch.float32, torch.float64) and grad.numel():
        # the gradients of scale and shift where the statistics are constants, by torch's own pass over both
        _, product, plain = torch.ops.aten.native_batch_norm_backward(
            grad, input, None, mean, inverse.pow(-2), None, None, False, 0.0, [False, True, True]
        )
        return plain, product
    dims = [0, *range(2, input.ndim)]
    grad = _exact(grad)
    shape = (1, input.shape[1], *(1 for _ in dims[1:]))
    normalised = (_exact(input) - mean.view(shape)) * inverse.view(shape)
    return grad.sum(dims), (grad * normalised).sum(dims)


def _exact(tensor: Tensor) -> Tensor:
    """In single precision at least, as sums over a batch need it."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
