"""Normalisation of one batch that lies on several ranks, with its gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
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
        channels, values = input.shape[1], _exact(input.detach())
        count = input.numel() // max(1, channels)
        dims = [0, *range(2, input.ndim)]
        if count:
            variance, mean = torch.var_mean(values, dims, correction=0)
        else:
            variance = mean = values.new_zeros(channels)
        own = torch.cat([mean, variance, values.new_tensor([float(count)])])
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        joined = torch.stack(parts)
        means, variances, counts = joined[:, :channels], joined[:, channels:-1], joined[:, -1:]
        total = counts.sum()
        if float(total) <= 1:
            raise ValueError("BatchNorm needs more than one value a channel, over all ranks; use a larger batch")
        mean = (counts * means).sum(0) / total
        variance = (counts * (variances + (means - mean).square())).sum(0) / total
        inverse = torch.rsqrt(variance + eps)
        ctx.save_for_backward(input, weight, mean, inverse, total)
        ctx.with_bias = bias is not None
        shape = (1, channels, *(1 for _ in dims[1:]))
        scale = inverse if weight is None else inverse * weight.to(mean.dtype)
        shift = -mean * scale if bias is None else bias.to(mean.dtype) - mean * scale
        output = torch.addcmul(shift.view(shape), values, scale.view(shape)).to(input.dtype)
        unbiased = variance * (total / (total - 1))
        ctx.mark_non_differentiable(mean, unbiased)
        return output, mean, unbiased

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:
        input, weight, mean, inverse, total = ctx.saved_tensors
        dims = [0, *range(2, input.ndim)]
        shape = (1, input.shape[1], *(1 for _ in dims[1:]))
        grad, values = _exact(grad), _exact(input)
        normalised = (values - mean.view(shape)) * inverse.view(shape)
        sums = torch.stack([grad.sum(dims), (grad * normalised).sum(dims)])
        own = sums.clone()
        dist.all_reduce(sums)
        mean_grad, mean_product = (sums / total).unbind()
        scale = inverse if weight is None else inverse * weight.to(mean.dtype)
        flow = (grad - mean_grad.view(shape) - normalised * mean_product.view(shape)) * scale.view(shape)
        of_weight = None if weight is None else own[1].to(weight.dtype)
        of_bias = own[0].to(weight.dtype if weight is not None else grad.dtype) if ctx.with_bias else None
        return flow.to(input.dtype), of_weight, of_bias, None


def _exact(tensor: Tensor) -> Tensor:
    """In single precision at least, as sums over a batch need it."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
