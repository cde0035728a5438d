"""What each micro-batch weighs in an update, so that their mean is that of the joined batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..double import double, widest
from ..task.labels import label_count
from .distributed import is_distributed, sum_over_ranks, world_size

Count = Callable[[Any], Any]


def weights(
    batches: Sequence[Any],
    targets: Sequence[Any],
    samples: Sequence[int],
    loss_fn: Any,
    count: Count | None,
    device: torch.device,
) -> Sequence[float | torch.Tensor]:
    """The share of each micro-batch in the mean over the joined one, of all ranks where there are several.

        weight_i = n_i / sum_j n_j                  n_i: what the loss of micro-batch i is a mean over
        weight_i = n_i R / sum_j n_j                over R ranks, whose gradients are averaged; j over all theirs

    n_i is what `count` says; else the labels that count, where the loss ignores some (`label_count`: of a loss with
    weights by class the sum of these); else the samples. Where not one label counts the weights are 0: torch's mean is
    NaN there and its gradient 0, which is no divergence. Labels on a device stay there, if it knows float64: nothing
    waits for it.

    Args:
        batches: as drawn.
        targets, samples: of each.
        device: where ranks exchange their numbers.
    Raises: ValueError: `count` gives no number, a negative one, or nothing for the whole update.
    """
    alone = len(batches) == 1 and not is_distributed()
    if count is not None:
        if alone:
            return [1.0]
        numbers = _placed(torch.tensor([_number(count(batch)) for batch in batches], dtype=torch.float64), device)
        return _shares(numbers, "count gave 0 for all of them; leave such out")
    labels = [label_count(loss_fn, part) for part in targets]
    if alone:
        return [1.0 if labels[0] is None else _if_any(labels[0].weight)]
    if not any(part is None for part in labels):
        return _shares(_placed(torch.stack([double(part.weight) for part in labels if part is not None]), device))
    return _shares(_placed(torch.tensor(samples, dtype=torch.float64), device), "none of them holds a sample")


def weighted(loss: torch.Tensor, weight: float | torch.Tensor) -> torch.Tensor:
    """Their product; 0 at weight 0, where a mean over no labels is NaN (and its gradient, in torch, 0)."""
    if isinstance(weight, torch.Tensor):
        weight = weight.to(loss.device)
        return torch.where(weight > 0, loss, 0.0) * weight.to(loss.dtype)
    if weight == 0.0:
        return loss.masked_fill(torch.ones_like(loss, dtype=torch.bool), 0.0)
    return loss if weight == 1.0 else loss * weight


def check_count(count: Any) -> None:
    """Raise ValueError for what is no function."""
    if count is not None and not callable(count):
        raise ValueError(f"count must be a function batch -> number (of valid labels, say) or None, got {count!r}")


def _placed(numbers: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Where ranks can exchange them, if there are several."""
    place = device if is_distributed() else numbers.device
    return numbers.to(place, widest(place))


def _joined(numbers: torch.Tensor) -> torch.Tensor:
    """Their sum; with several ranks the mean of the ranks' sums."""
    return sum_over_ranks(numbers.sum()) / world_size()


def _shares(numbers: torch.Tensor, nothing: str | None = None) -> Sequence[float | torch.Tensor]:
    """Of their sum, where that is not 0; `nothing`: what it would mean, if that is a mistake."""
    total = _joined(numbers)
    if nothing is not None and numbers.device.type == "cpu" and not total:
        raise ValueError(f"micro-batches cannot be weighted: {nothing}")
    shares = torch.where(total > 0, numbers / total, 0.0)
    return shares.tolist() if numbers.device.type == "cpu" else list(shares.unbind())


def _if_any(weight: torch.Tensor) -> float | torch.Tensor:
    """1, but 0 where nothing counts."""
    return float(weight > 0) if weight.device.type == "cpu" else (weight > 0).to(torch.float32)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"count must give a number for each batch, got {value!r}") from None
    if not (math.isfinite(number) and number >= 0.0):
        raise ValueError(f"count must give a number of 0 or more for each batch, got {number}")
    return number
