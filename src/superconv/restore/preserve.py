"""`preserved`: a context after which everything that was named is as it was, bit for bit."""

from __future__ import annotations

import copy
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from .copies import Copies
from .kept import Kept, Restore, run_all
from .loader_order import LoaderOrder
from .loaders_within import warn_of_persistent_workers
from .modules import module_restore
from .not_restored import other_tensors, own_states, warn_of_others, warn_of_state, warn_of_tensors
from .orders import order_restore
from .random_states import GENERATORS, get_random_states, set_random_states
from .values import part_restore, value_restore


@contextmanager
def preserved(*things: Any, keep_copy_on: str | torch.device | None = None) -> Iterator[Restore]:
    """Restore every named thing, and all random states, when the block is left: normally, by an exception or by Ctrl-C.

    * `nn.Module`: parameters and all buffers (non-persistent, sparse and expanded ones too), the very same tensor
      objects; `.grad` (None stays None); `requires_grad`; the train/eval flag and the plain attributes of every
      submodule (`plain_attributes`), such as a number of passes that a forward pass counts.
    * `Optimizer`: its state, its param groups (keys that were added included), its other attributes (numbers, tensors,
      arrays, generators and containers of them) and the parameters that it holds, whether or not a module among
      `things` has them; the optimizers among its attributes likewise (Lookahead's, SAM's), and objects that keep
      tensors for it (a preconditioner), with what they count. A warning says where its `state_dict()` shows that
      something else changed, or where tensors behind its attributes did (of a module that is not named, say). Step
      hooks of `ScheduleLR` and `LRMonitor` are off in the block: they see only the training's own updates. Those of
      others act, since they may be part of the training (one that clips gradients); what they count in is restored,
      and a warning says where they changed tensors (`HookMemory`).
    * a gradient scaler, a generator of torch, numpy or Python;
    * a `DataLoader`: its generators, those that its data set and its transforms draw from, and all that its samplers
      hold, the number of the epoch among it (`LoaderOrder`). A warning says where a sampler keeps an iterator, whose
      place nothing can restore;
    * anything else with `state_dict` and `load_state_dict`.
    * always: the random states of Python, numpy, torch and every CUDA device.

    Not claimed: other attributes of a module (objects of one's own, long lists, the content of tensors that are no
    buffers); `.grad` and buffers of a module that is not named but that the loss runs through (the discriminator
    beside a generator: name it too); the state of a data set but for its generators; and the random states inside
    persistent `DataLoader` workers (a warning says so).

    The block is given a function that restores everything at once and goes on with the same copy:
    `with preserved(model, optimizer) as rewind: ...; rewind(); ...` tries several things from one state.

    Where one thing cannot be brought back, all others are, and the error is raised then.

    Leave the block before you look at the restored things. In a generator the block is only left when the generator
    is closed, not when its consumer raises: let it wrap the consumer.

    Args:
        things: what to restore.
        keep_copy_on: device for the copies of parameters, buffers and optimizer state ("cpu" saves GPU memory), or
            "disk", which saves both (`Copies`); None keeps each copy beside its original.
    Raises:
        TypeError: a thing that cannot be restored.
        ValueError: `keep_copy_on` is no place. OSError: the disk is full; nothing was changed.
    """
    kept = Kept(Copies(keep_copy_on))
    restores: list[Restore] = []
    comparisons: list[Restore] = []

    def rewind() -> None:
        with _interrupts_deferred():
            run_all([*reversed(restores), *kept.renewals])

    try:
        with _interrupts_deferred():
            restores.append(_random_states())
            for thing in things:
                restores.append(_capture(thing, kept))
            restores += [part_restore(part, kept) for part in kept.parts]  # to which some add others
            comparisons += [partial(warn_of_state, *pair) for pair in own_states(kept.optimizers, kept.seen)]
            comparisons += [partial(warn_of_others, *found) for found in other_tensors(kept.optimizers, kept.seen)]
            comparisons += [partial(warn_of_tensors, memory) for memory in kept.memories]
        yield rewind
    finally:
        with _interrupts_deferred():
            run_all([*reversed(restores), *comparisons, kept.copies.close])


def _capture(thing: Any, kept: Kept) -> Restore:
    if isinstance(thing, nn.Module):
        return module_restore(thing, kept)
    if isinstance(thing, (Optimizer, torch.amp.GradScaler, *GENERATORS)):
        return value_restore(thing, kept)
    if isinstance(thing, DataLoader):
        warn_of_persistent_workers(thing, stacklevel=5)  # past the generator of preserved() and contextlib
        thing = LoaderOrder(thing)
        thing.warn_of_unreachable()
    if isinstance(thing, LoaderOrder):
        return order_restore(thing, kept)
    if hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
        saved = copy.deepcopy(thing.state_dict())
        return lambda: thing.load_state_dict(copy.deepcopy(saved))
    raise TypeError(
        f"preserved() cannot restore a {type(thing).__name__}; it takes modules, optimizers, gradient scalers, "
        "generators, DataLoaders and objects with state_dict and load_state_dict"
    )


def _random_states() -> Restore:
    states = get_random_states()
    return lambda: set_random_states(states)


@contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Hold Ctrl-C back while state is copied: a second one must not leave it half restored."""
    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        yield
        return
    pending: list[tuple[int, Any]] = []
    previous = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *arguments: pending.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous if previous is not None else signal.SIG_DFL)
        if pending:  # also where the block failed: its error goes along as the context
            signal.raise_signal(signal.SIGINT)
