"""Probes of a live model: gradients and products on batches that had no part in the update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

import torch
from torch import Tensor, nn

from ...analysis.curvature.probes import Probe
from ...double import double, widest
from ...task.loss_function import LossFunction
from ...training.batch_source import Split
from .objective import BatchObjective, Method


def probe(
    model: nn.Module,
    loss_fn: LossFunction,
    a: Any,
    b: Any,
    *,
    previous: Mapping[str, Tensor] | None = None,
    split: Split | None = None,
    seed: int = 0,
    method: Method = "finite_difference",
) -> Probe:
    """Inner products on two batches; the model, its buffers, gradients and random states are as they were.

    Cost with finite differences: four gradients of a probe batch (three without `previous`); an exact product costs
    two to three gradients more.

    Args:
        a, b: batches, drawn independently of each other and of the update; equally large.
        previous: parameters before the update by name; one that is not there did not move.
        seed: of the random states in passes over A; B has another one, so that dropout masks are independent too.
        method: of the product. A finite difference is one-sided here. Where ReLU, max-pooling and BatchNorm put kinks
            between its two points it differs from the exact product, which sees none: single pairs by up to a factor
            of two, eight pooled pairs by 2% to 48% (lenet-slim-bn, mlp-bn) and 0.5% to 4% (lenet-slim, no BatchNorm).
    Returns: the products; all NaN where B's gradient is not finite (training diverged).
    Raises: ValueError: as `BatchObjective`.
    """
    on_a = BatchObjective(model, loss_fn, [a], split=split, seed=2 * seed)
    on_b = BatchObjective(model, loss_fn, [b], split=split, seed=2 * seed + 1)
    gradient_a, found = on_a.gradient(), on_b.gradient()
    by_name = dict(zip(on_b.names, found, strict=True))
    gradient_b = [by_name.get(name, torch.zeros_like(g)) for name, g in zip(on_a.names, gradient_a, strict=True)]
    square_b = _dot(gradient_b, gradient_b)
    if not square_b < float("inf"):
        return Probe(nan, nan, nan, nan, nan, nan, nan)
    given = gradient_a if method == "finite_difference" else None
    product = on_a.product(gradient_b, method=method, gradient=given)
    step = _along_step(on_a, gradient_a, previous) if previous is not None else (None, None, None)
    square_a = _dot(gradient_a, gradient_a)
    return Probe(_dot(gradient_a, gradient_b), square_a, square_b, _dot(gradient_b, product), *step)


def probe_pairs(
    model: nn.Module,
    loss_fn: LossFunction,
    batches: Sequence[Any],
    *,
    previous: Mapping[str, Tensor] | None = None,
    split: Split | None = None,
    seed: int = 0,
    method: Method = "finite_difference",
) -> list[Probe]:
    """One probe for every pair of `batches` (0 and 1, 2 and 3, ...), all at the present parameters.

    Sixteen batches give the eight probes that `conclude` asks for.

    Raises: ValueError: fewer than two batches; as `probe`.
    """
    if len(batches) < 2:
        raise ValueError(f"probes need pairs of batches, got {len(batches)}; pass at least 2, and 16 for an estimate")
    options: dict[str, Any] = {"previous": previous, "split": split, "method": method}
    return [
        probe(model, loss_fn, batches[2 * i], batches[2 * i + 1], seed=seed + i, **options)
        for i in range(len(batches) // 2)
    ]


def _along_step(
    objective: BatchObjective, gradient: Sequence[Tensor], previous: Mapping[str, Tensor]
) -> tuple[float, float, float]:
    """(s.s, s.y, y.y): the objective's gradient before and after the update that led from `previous` to here."""
    parameters: list[Tensor] = [*objective.parameters]
    now = [parameter.detach().clone() for parameter in parameters]
    before = [previous.get(name, here) for name, here in zip(objective.names, now, strict=True)]
    try:
        with torch.no_grad():
            torch._foreach_copy_(parameters, before)
        old = objective.gradient()
    finally:
        with torch.no_grad():
            torch._foreach_copy_(parameters, now)
    change = torch._foreach_sub(now, before)
    difference = torch._foreach_sub(list(gradient), old)
    return _dot(change, change), _dot(change, difference), _dot(difference, difference)


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    wide = [widest(x.device) for x in a]
    parts = [double(torch.dot(x.flatten().to(w), y.flatten().to(w))) for x, y, w in zip(a, b, wide, strict=True)]
    return float(torch.stack([part.to(parts[0].device) for part in parts]).sum())
