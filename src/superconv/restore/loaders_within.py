"""Loaders in a wrapper: what `tqdm(loader)`, or a class that moves or combines batches, draws its batches from."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from .reached import reached


def loaders_within(batches: Any) -> dict[str, DataLoader[Any]]:
    """The DataLoaders that an object with batches holds, by the attributes that lead there; of a DataLoader none."""
    return {path: thing for path, thing in _held(batches) if isinstance(thing, DataLoader)}


def stateful_loaders(batches: Any) -> dict[str, Any]:
    """What tells where it stands by a `state_dict`: the object itself (its path is empty), else loaders within."""
    if _tells_its_state(batches):
        return {"": batches}
    iterable = ((path, each) for path, each in _held(batches) if hasattr(each, "__iter__"))
    return {path: each for path, each in iterable if _tells_its_state(each) and not isinstance(each, nn.Module)}


def has_persistent_workers(batches: Any) -> bool:
    """Whether worker processes outlive an epoch: one order for all iterators, and random states out of reach."""
    return any(getattr(each, "persistent_workers", False) for each in (batches, *loaders_within(batches).values()))


def warn_of_persistent_workers(batches: Any, *, stacklevel: int) -> None:
    """Say, at the caller that `stacklevel` counts to from here, what of such a `DataLoader` is not restored."""
    if has_persistent_workers(batches):
        warnings.warn(
            "a DataLoader with persistent workers keeps random states inside its worker processes; they cannot be "
            "restored. Use persistent_workers=False where later training must not change",
            stacklevel=stacklevel,
        )


def _held(batches: Any) -> list[tuple[str, Any]]:
    """Containers are batches themselves."""
    closed = isinstance(batches, (DataLoader, list, tuple, dict))
    return [] if closed else list(reached(batches, closed=(DataLoader,)))


def _tells_its_state(thing: Any) -> bool:
    return hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict")
