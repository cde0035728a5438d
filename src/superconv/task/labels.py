"""Which labels a loss leaves out (`ignore_index`), and over how many its mean is taken."""

from __future__ import annotations

import functools
import inspect
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..double import widest


class LabelCount(NamedTuple):
    """What a mean loss over class labels was divided by.

    Args:
        weight: of the labels that count: their number, or the sum of their classes' weights where the loss has some.
        counted: how many count.
        places: how many there are.
    """

    weight: Tensor
    counted: Tensor
    places: int


def ignored_label(loss_fn: Any) -> int | None:
    """The loss's `ignore_index`: its attribute, what a partial sets, or the default of its argument; else None."""
    value = _option(loss_fn, "ignore_index")
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def counts(labels: Tensor, ignored: int | None) -> Tensor:
    """True where a label counts in a metric: negative ones and the loss's `ignore_index` do not."""
    counted = labels >= 0
    return counted if ignored is None or ignored < 0 else counted & (labels != ignored)


def label_count(loss_fn: Any, targets: Any) -> LabelCount | None:
    """What the mean of `loss_fn` over these targets is divided by; None where it does not ignore labels.

    That is where it has an `ignore_index`, its reduction is the mean, and the targets are integer labels. Nothing is
    read from the device.
    """
    ignored = ignored_label(loss_fn)
    if ignored is None or _option(loss_fn, "reduction") != "mean" or not isinstance(targets, Tensor):
        return None
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool or not targets.ndim:
        return None
    kept = targets != ignored
    counted = kept.sum()
    by_class = _option(loss_fn, "weight")
    if not isinstance(by_class, Tensor):
        return LabelCount(counted, counted, targets.numel())
    labels = torch.where(kept, targets, 0).long()  # an ignored label may be no class
    weight = (by_class.detach().to(targets.device, widest(targets.device))[labels] * kept).sum()
    return LabelCount(weight, counted, targets.numel())


def check_takes_mean(loss_fn: Any, use: str) -> None:
    """Where batches are put together, their losses must be means: sums of batches of unequal sizes are neither.

    Args:
        use: what they are put together for.
    Raises: ValueError: the loss's `reduction` is "sum" or "none".
    """
    reduction = _option(loss_fn, "reduction")
    if reduction in ("sum", "none"):
        raise ValueError(f"loss_fn: got reduction={reduction!r}; {use} weights the mean losses of batches: pass 'mean'")


def _option(loss_fn: Any, name: str) -> Any:
    if isinstance(loss_fn, functools.partial):
        return loss_fn.keywords[name] if name in loss_fn.keywords else _option(loss_fn.func, name)
    if hasattr(loss_fn, name):
        return getattr(loss_fn, name)
    function = inspect.unwrap(loss_fn) if inspect.isfunction(loss_fn) else None
    if not inspect.isfunction(function):
        return None
    code, named = function.__code__, function.__kwdefaults__ or {}  # a signature takes as long as a small batch's loss
    defaults = zip(reversed(code.co_varnames[: code.co_argcount]), reversed(function.__defaults__ or ()), strict=False)
    return {**dict(defaults), **named}.get(name)
