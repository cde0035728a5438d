"""Optimizers that evaluate elsewhere than they train: schedule-free ones keep an average of the weights for that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.optim import Optimizer


def begin_training(optimizer: Optimizer) -> None:
    """Put such an optimizer into its training mode; any other is left alone."""
    if _switches(optimizer):
        optimizer.train()  # type: ignore[attr-defined]


@contextmanager
def evaluation_point(optimizer: Optimizer) -> Iterator[None]:
    """The weights at which the optimizer wants to be evaluated; afterwards, bit for bit, those that it trains.

    Such an optimizer has `train()` and `eval()`, which move the weights between the two points by interpolation, so
    that there and back again is not exact: the weights are kept and put back instead. BatchNorm's running statistics
    belong to the training point: evaluate with "reestimated" ones.

    Reference: Defazio et al., arXiv 2405.15682 (schedule-free learning): gradients at y, evaluation at the average x.
    """
    if not _switches(optimizer):
        yield
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    kept = [parameter.detach().clone() for parameter in parameters]
    optimizer.eval()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        optimizer.train()  # type: ignore[attr-defined]
        with torch.no_grad():
            torch._foreach_copy_(parameters, kept)


def _switches(optimizer: Optimizer) -> bool:
    return callable(getattr(optimizer, "train", None)) and callable(getattr(optimizer, "eval", None))
