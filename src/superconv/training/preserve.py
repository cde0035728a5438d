"""`preserved`: a context after which everything that was named is as it was, bit for bit."""

from __future__ import annotations

import copy
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from .copies import Copies
from .expanded import write
from .inner_optimizer import updating_optimizer
from .random_states import get_random_states, set_random_states
from .sharded import reshard, shard

Restore = Callable[[], None]


@contextmanager
def preserved(*things: Any, keep_copy_on: str | torch.device | None = None) -> Iterator[Restore]:
    """Restore every named thing, and all random states, when the block is left: normally, by an exception or by Ctrl-C.

    * `nn.Module`: parameters and all buffers (non-persistent, sparse and expanded ones too), the very same tensor
      objects; `.grad` (None stays None); `requires_grad`; the train/eval flag of every submodule.
    * `Optimizer`: its state, its param groups (keys that were added included) and the parameters that it holds, whether
      or not a module among `things` has them. Its step hooks are off in the block, so that a scheduler or monitor that
      watches it sees only the training's own updates.
    * a gradient scaler, a `torch.Generator`, a `DataLoader` (its generators);
      anything else with `state_dict` and `load_state_dict`.
    * always: the random states of Python, numpy, torch and every CUDA device.

    Not claimed: plain attributes of a module that are neither parameter nor buffer; `.grad` and buffers of a module
    that is not named but that the loss runs through (the discriminator beside a generator: name it too); the state of
    a data set; and the random states inside persistent `DataLoader` workers (a warning says so).

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
    kept = _Kept(Copies(keep_copy_on))
    restores: list[Restore] = []

    def rewind() -> None:
        with _interrupts_deferred():
            _each([*reversed(restores), *kept.renewals])

    try:
        with _interrupts_deferred():
            restores.append(_random_states())
            for thing in things:
                restores.append(_capture(thing, kept))
        yield rewind
    finally:
        with _interrupts_deferred():
            _each([*reversed(restores), kept.copies.close])


@dataclass(frozen=True)
class _Kept:
    """What a block holds on to.

    Args:
        copies: of tensors.
        renewals: what must be done anew whenever the block begins again.
        parameters: ids of those that are kept: module and optimizer share them, and one copy of each is enough.
    """

    copies: Copies
    renewals: list[Restore] = field(default_factory=list)
    parameters: set[int] = field(default_factory=set)


def _capture(thing: Any, kept: _Kept) -> Restore:
    if isinstance(thing, nn.Module):
        return _module(thing, kept)
    if isinstance(thing, Optimizer):
        return _optimizer(thing, kept)
    if isinstance(thing, torch.amp.GradScaler):
        return _value(vars(thing), kept)[1]
    if isinstance(thing, torch.Generator):
        return _generator(thing)
    if isinstance(thing, DataLoader):
        return _loader(thing)
    if hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
        saved = copy.deepcopy(thing.state_dict())
        return lambda: thing.load_state_dict(copy.deepcopy(saved))
    raise TypeError(
        f"preserved() cannot restore a {type(thing).__name__}; it takes modules, optimizers, gradient scalers, "
        "generators, DataLoaders and objects with state_dict and load_state_dict"
    )


def _each(restores: Iterable[Restore]) -> None:
    """Run them in order, all of them: the error of one must not leave the others undone. It is raised in the end."""
    with ExitStack() as stack:
        for restore in reversed(list(restores)):
            stack.callback(restore)


def tensor_restore(tensor: torch.Tensor, copies: Copies) -> Restore:
    """The same tensor object with the same content again, and with the same storage (but for sparse tensors)."""
    tensor = shard(tensor)
    saved = copies.keep(tensor)
    if tensor.layout is not torch.strided:
        return lambda: _sparse(tensor, saved())
    storage = tensor.data  # a view: brings the old storage back where `.data` was exchanged

    def restore() -> None:
        if tensor.data_ptr() != storage.data_ptr() or tensor.shape != storage.shape:
            tensor.data = storage
        write(tensor, saved())

    return restore


def _sparse(tensor: torch.Tensor, saved: torch.Tensor) -> None:
    """Content and number of entries as before. CSR and its kin ignore an exchange of `.data`; the others need it."""
    if tensor.layout in (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc):
        with torch.no_grad():
            if tensor._nnz() != saved._nnz():
                tensor.resize_as_sparse_(saved)
            tensor.copy_(saved)
    else:
        tensor.data = saved.to(tensor.device, copy=True)


def _tensor(tensor: torch.Tensor, kept: _Kept) -> Restore:
    return tensor_restore(tensor, kept.copies)


def _module(module: nn.Module, kept: _Kept) -> Restore:
    reshard(module)
    restores: list[Restore] = []
    tables: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for part in module.modules():
        tables += [(part._parameters, dict(part._parameters)), (part._buffers, dict(part._buffers))]
    flags = [(part, part.training) for part in module.modules()]
    restores += [_parameter(parameter, kept) for parameter in module.parameters()]
    restores += [_tensor(buffer, kept) for buffer in module.buffers()]

    def restore() -> None:
        reshard(module)
        for table, saved in tables:
            table.clear()
            table.update(saved)
        for part, training in flags:
            part.training = training
        _each(restores)

    return restore


def _parameter(parameter: torch.Tensor, kept: _Kept) -> Restore:
    if id(parameter) in kept.parameters:
        return _nothing
    kept.parameters.add(id(parameter))
    restores = [_tensor(parameter, kept), _gradient(parameter, kept)]
    return lambda: _each(restores)


def _gradient(parameter: torch.Tensor, kept: _Kept) -> Restore:
    requires_grad, gradient = parameter.requires_grad, parameter.grad
    content: Restore = _nothing
    if gradient is not None and gradient._is_view():
        content = _tensor(gradient, kept)  # into a bucket that others write to (DistributedDataParallel)
    elif gradient is not None:
        # The block gets the copy, which it drops at its first zero_grad; the original waits unchanged. Copying its
        # content as well would hold the gradients three times.
        _lend(parameter, gradient)
        kept.renewals.append(partial(_lend, parameter, gradient))

    def restore() -> None:
        parameter.requires_grad_(requires_grad)
        parameter.grad = gradient
        content()

    return restore


def _lend(parameter: torch.Tensor, gradient: torch.Tensor) -> None:
    parameter.grad = gradient.clone()


def _optimizer(optimizer: Optimizer, kept: _Kept) -> Restore:
    # Keys of `state` are the parameters themselves; a parameter list inside a group is kept as it is.
    state = _value(optimizer.state, kept)[1]
    groups = list(optimizer.param_groups)
    settings = [_value({**group, "params": tuple(group["params"])}, kept) for group in groups]
    parameters = [_parameter(each, kept) for group in groups for each in group["params"]]
    hooks = [(table, dict(table)) for table in _step_hooks(optimizer)]

    def silence() -> None:
        for table, _ in hooks:
            table.clear()

    silence()
    kept.renewals.append(silence)

    def restore() -> None:
        silence()  # those that the block has added go
        for table, own in hooks:
            table.update(own)
        optimizer.param_groups[:] = groups
        for group, (values, _) in zip(groups, settings, strict=True):
            group.clear()
            group.update({**values, "params": list(values["params"])})
        _each([state, *(content for _, content in settings), *parameters])

    return restore


def _step_hooks(optimizer: Any) -> list[dict[int, Any]]:
    """Those that run before and after an update: a wrapper's, and of the optimizer in it that makes the updates."""
    names = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
    both = {id(each): each for each in (optimizer, updating_optimizer(optimizer))}.values()
    return [each.__dict__[name] for each in both for name in names if name in each.__dict__]


def _value(value: Any, kept: _Kept) -> tuple[Any, Restore]:
    """Any nest of dicts, lists and tensors: the object that stood there, and how to bring its content back."""
    if isinstance(value, torch.Tensor):
        return value, _tensor(value, kept)
    if isinstance(value, dict):
        entries = {key: _value(entry, kept) for key, entry in value.items()}

        def restore_dict() -> None:
            value.clear()
            value.update({key: entry for key, (entry, _) in entries.items()})
            _each(restore for _, restore in entries.values())

        return value, restore_dict
    if isinstance(value, list):
        items = [_value(item, kept) for item in value]

        def restore_list() -> None:
            value[:] = [item for item, _ in items]
            _each(restore for _, restore in items)

        return value, restore_list
    return value, _nothing  # numbers, strings, tuples, functions: not changed in place


def _nothing() -> None: ...


def generators_of(batches: Any) -> list[torch.Generator]:
    """The generators that a `DataLoader` draws its order and its workers' seeds from, each once."""
    places = [batches, getattr(batches, "sampler", None), getattr(batches, "batch_sampler", None)]
    places.append(getattr(places[-1], "sampler", None))
    found = [getattr(place, "generator", None) for place in places]
    return list({id(each): each for each in found if isinstance(each, torch.Generator)}.values())


def warn_of_persistent_workers(batches: Any, *, stacklevel: int) -> None:
    """Say, at the caller that `stacklevel` counts to from here, what of such a `DataLoader` is not restored."""
    if getattr(batches, "persistent_workers", False):
        warnings.warn(
            "a DataLoader with persistent workers keeps random states inside its worker processes; they cannot be "
            "restored. Use persistent_workers=False where later training must not change",
            stacklevel=stacklevel,
        )


def _loader(loader: DataLoader) -> Restore:
    warn_of_persistent_workers(loader, stacklevel=6)  # past _capture, the generator of preserved() and contextlib
    restores = [_generator(generator) for generator in generators_of(loader)]

    def restore() -> None:
        for each in restores:
            each()

    return restore


def _generator(generator: torch.Generator) -> Restore:
    state = generator.get_state()

    def restore() -> None:
        generator.set_state(state)

    return restore


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
    if pending:
        signal.raise_signal(signal.SIGINT)
