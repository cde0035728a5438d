"""What the ranks of a torchrun job know together; the identity in a single process."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..double import double
from ..restore.random_states import seed_random_states

T = TypeVar("T")


def is_distributed() -> bool:
    """Whether several ranks train together in this process group."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def sum_over_ranks(tensor: torch.Tensor) -> torch.Tensor:
    """The elementwise sum over all ranks, on every rank; `tensor` itself in a single process."""
    if not is_distributed():
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total


def mean_over_ranks(value: torch.Tensor, samples: int) -> tuple[torch.Tensor, int]:
    """The mean of the ranks' 0-dim values, and the sum of their numbers of samples."""
    if not is_distributed():
        return value, samples
    wide = double(value)
    total, count = sum_over_ranks(torch.stack([wide, wide.new_tensor(float(samples))])).unbind()
    return (total / dist.get_world_size()).to(value), int(count)


def gather_from_ranks(value: Any) -> list[Any]:
    """What every rank passed (anything that pickles), in the order of the ranks; `[value]` in a single process."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any rank; every rank must ask."""
    if not is_distributed():
        return flag
    return bool(sum_over_ranks(torch.tensor(float(flag), device=device)))


def copy_from_first_rank(tensors: Iterable[torch.Tensor]) -> None:
    """Overwrite the tensors by those of rank 0, in place; nothing happens in a single process."""
    if is_distributed():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def inner_module(model: nn.Module) -> nn.Module:
    """The module inside of `torch.compile` and DistributedDataParallel, in either order, or the model itself.

    Its forward pass waits for no other rank, and compiles nothing: a test with another batch size than the training's
    would make the compiler begin again with sizes that vary, in the training too (ResNet-20, traced on a CPU: 69 s
    instead of 10). Both share the parameters.
    """
    while True:
        inner = getattr(model, "_orig_mod", model)
        inner = inner.module if isinstance(inner, DistributedDataParallel) else inner
        if inner is model:
            return model
        model = inner


def over_ranks(model: nn.Module) -> nn.Module:
    """The model under DistributedDataParallel, which averages gradients over the ranks; itself in a single process."""
    if not is_distributed() or not any(parameter.requires_grad for parameter in model.parameters()):
        return model
    device = next(model.parameters()).device
    ids = [device] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True)


def without_synchronisation(model: nn.Module, skip: bool) -> AbstractContextManager[None]:
    """DistributedDataParallel's `no_sync` for a micro-batch whose gradients are not used yet."""
    return model.no_sync() if skip and is_distributed() and hasattr(model, "no_sync") else nullcontext()  # type: ignore[operator]


def rank() -> int:
    """This process's number in the job; 0 in a single process."""
    return dist.get_rank() if is_distributed() else 0


def seed_random_states_of_rank(seed: int) -> None:
    """On another rank than the first: states of its own, so that dropout drops others there. Else nothing changes."""
    if rank():
        mixed = np.random.SeedSequence([seed, rank()]).generate_state(1, np.uint64)[0]
        seed_random_states(int(mixed >> np.uint64(1)))


def world_size() -> int:
    """How many processes train together; 1 in a single process."""
    return dist.get_world_size() if is_distributed() else 1


def share_of(batch_size: int) -> int:
    """Samples of a batch that one rank takes.

    Raises: ValueError: the number of ranks does not divide the batch.
    """
    ranks = world_size()
    if batch_size % ranks:
        lower = batch_size - batch_size % ranks
        near = f"{lower} or {lower + ranks}" if lower else str(ranks)
        raise ValueError(f"batch_size {batch_size} is not divisible by the {ranks} ranks; use {near}, or other ranks")
    return batch_size // ranks


def together(work: Callable[[], T]) -> T:
    """What `work` gives on this rank; where it raises on any rank every rank raises, instead of waiting for it.

    Raises: what this rank's own `work` raised, else what the first failing rank's did.
    """
    if not is_distributed():
        return work()
    value: Any = None
    own: Exception | None = None
    try:
        value = work()
    except Exception as error:
        own = error
    failures = [error for error in gather_from_ranks(None if own is None else _portable(own)) if error is not None]
    if own is not None:
        raise own
    if failures:
        raise failures[0]
    return value


def on_first_rank(work: Callable[[], T]) -> T:
    """What `work` gives on rank 0, on every rank (it must pickle); where it raises there, every rank raises."""
    if not is_distributed():
        return work()
    return gather_from_ranks(together(work if rank() == 0 else _nothing))[0]


def agree_on(values: Mapping[str, Any], what: str) -> None:
    """Compare values that must be the same on all ranks.

    Args:
        values: plain data by name.
        what: they are, for the message ("config").
    Raises: ValueError, on every rank: which rank differs from rank 0, and in what.
    """
    everyone = gather_from_ranks(dict(values))
    for number, theirs in enumerate(everyone):
        for name in sorted({*everyone[0], *theirs}):
            first, other = everyone[0].get(name), theirs.get(name)
            if repr(first) != repr(other):
                raise ValueError(
                    f"rank {number} has another {what} than rank 0: {name} is {_brief(other)} instead of "
                    f"{_brief(first)}; start all ranks with the same command on the same data"
                )


def largest_over_ranks(number: int) -> int:
    """The largest of the ranks' numbers, on every rank; every rank must ask."""
    if not is_distributed():
        return number
    value = torch.tensor(number)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return int(value)


def _nothing() -> Any:
    return None


def _portable(error: Exception) -> Exception:
    """The error if it survives a journey to another process, else one with its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
