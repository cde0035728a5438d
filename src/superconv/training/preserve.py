"""`preserved`: a context after which everything that was named is as it was, bit for bit."""

from __future__ import annotations

import copy
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from .copies import Copies
from .expanded import write
from .loader_order import LoaderOrder, generators_of
from .loaders_within import warn_of_persistent_workers
from .module_attributes import plain_attributes
from .not_restored import other_tensors, own_states, warn_of_others, warn_of_state, warn_of_tensors
from .optimizer_parts import holds_data, is_part, keeps_tensors
from .random_states import GENERATORS, get_random_states, get_state, set_random_states, set_state
from .sharded import reshard, shard
from .step_hooks import HookMemory, hooks_of_others, switch_off

Restore = Callable[[], None]

_IMMUTABLE = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)
_CONTAINERS = (dict, list, set, deque)
_DEEPEST = 8  # objects in objects
_RESTORED = (torch.Tensor, np.ndarray, Optimizer, torch.amp.GradScaler, *GENERATORS, *_CONTAINERS, tuple)


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
    kept = _Kept(Copies(keep_copy_on))
    restores: list[Restore] = []
    comparisons: list[Restore] = []

    def rewind() -> None:
        with _interrupts_deferred():
            _each([*reversed(restores), *kept.renewals])

    try:
        with _interrupts_deferred():
            restores.append(_random_states())
            for thing in things:
                restores.append(_capture(thing, kept))
            restores += [_part(part, kept) for part in kept.parts]  # to which some add others
            comparisons += [partial(warn_of_state, *pair) for pair in own_states(kept.optimizers, kept.seen)]
            comparisons += [partial(warn_of_others, *found) for found in other_tensors(kept.optimizers, kept.seen)]
            comparisons += [partial(warn_of_tensors, memory) for memory in kept.memories]
        yield rewind
    finally:
        with _interrupts_deferred():
            _each([*reversed(restores), *comparisons, kept.copies.close])


@dataclass(frozen=True)
class _Kept:
    """What a block holds on to.

    Args:
        copies: of tensors.
        renewals: what must be done anew whenever the block begins again.
        seen: objects that are kept, by id: module, optimizers and a wrapper share them, and one copy is enough.
        optimizers: those that are kept, wrapped ones too.
        memories: of their hooks that act.
        parts: objects among their attributes. They come last, so that hooks, too, are followed into them.
    """

    copies: Copies
    renewals: list[Restore] = field(default_factory=list)
    seen: dict[int, Any] = field(default_factory=dict)
    optimizers: list[Optimizer] = field(default_factory=list)
    memories: list[HookMemory] = field(default_factory=list)
    parts: list[Any] = field(default_factory=list)


def _capture(thing: Any, kept: _Kept) -> Restore:
    if isinstance(thing, nn.Module):
        return _module(thing, kept)
    if isinstance(thing, (Optimizer, torch.amp.GradScaler, *GENERATORS)):
        return _value(thing, kept)
    if isinstance(thing, DataLoader):
        warn_of_persistent_workers(thing, stacklevel=5)  # past the generator of preserved() and contextlib
        thing = LoaderOrder(thing)
        thing.warn_of_unreachable()
    if isinstance(thing, LoaderOrder):
        return _order(thing, kept)
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
    parts = list(module.modules())
    for part in parts:
        tables += [(part._parameters, dict(part._parameters)), (part._buffers, dict(part._buffers))]
    flags = [(part, part.training) for part in parts]
    restores += [_parameter(parameter, kept) for parameter in module.parameters()]
    restores += [_buffer(buffer, kept) for buffer in module.buffers()]
    restores.append(plain_attributes(parts))

    def restore() -> None:
        reshard(module)
        for table, saved in tables:
            table.clear()
            table.update(saved)
        for part, training in flags:
            part.training = training
        _each(restores)

    return restore


def _buffer(buffer: torch.Tensor, kept: _Kept) -> Restore:
    kept.seen[id(buffer)] = buffer
    return _tensor(buffer, kept)


def _parameter(parameter: torch.Tensor, kept: _Kept) -> Restore:
    if id(parameter) in kept.seen:
        return _nothing
    kept.seen[id(parameter)] = parameter
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
    """All of its attributes; in a wrapper (Lookahead, SAM) the optimizers among them, under whatever name they are."""
    # First, so that whatever else refers to a parameter (groups, slow weights by parameter, a flat list) copies nothing
    parameters = [_parameter(each, kept) for group in optimizer.param_groups for each in group["params"]]
    into = partial(_attributes, kept=kept, depth=_DEEPEST)  # whatever is in the state is the optimizer's own
    state = _value(vars(optimizer).get("state"), kept, into=into)
    attributes = _value(vars(optimizer), kept, into=partial(_later, kept=kept))  # groups and hooks among them
    kept.optimizers.append(optimizer)
    memories = [HookMemory(hook, kept.seen) for hook in hooks_of_others(optimizer)]
    kept.memories.extend(memories)
    switch_off(optimizer)
    kept.renewals.append(partial(switch_off, optimizer))
    return lambda: _each([attributes, state, *parameters, *(memory.restore for memory in memories)])


def _later(thing: Any, kept: _Kept) -> Restore:
    kept.parts.append(thing)
    return _nothing


def _part(part: Any, kept: _Kept) -> Restore:
    """Of an object among an optimizer's attributes. One without tensors may be anything: settings that all share."""
    if holds_data(part):
        return _nothing
    kept_tensors = keeps_tensors(part)
    content = _attributes(part, kept, _DEEPEST)
    return lambda: content() if kept_tensors or keeps_tensors(part) else None


def _attributes(thing: Any, kept: _Kept, depth: int) -> Restore:
    """Of an object and of those in it, so many deep."""
    if depth == 0 or id(thing) in kept.seen:
        return _nothing
    kept.seen[id(thing)] = thing
    return _value(vars(thing), kept, into=partial(_attributes, kept=kept, depth=depth - 1))


def _left_alone(thing: Any) -> Restore:
    return _nothing


def _value(value: Any, kept: _Kept, *, into: Callable[[Any], Restore] = _left_alone) -> Restore:
    """What brings the content of any nest of containers, tensors, arrays and optimizers back, in the same objects.

    Each object once, by whatever ways it is reached: a wrapper may share groups and state with what it wraps, and
    refer to itself.

    Args:
        into: what of other objects is restored; functions and modules are left to whoever else they belong to.
    """
    if type(value) in _IMMUTABLE or id(value) in kept.seen:
        return _nothing
    if isinstance(value, nn.Parameter):
        return _parameter(value, kept)
    if not isinstance(value, _RESTORED):
        return into(value) if is_part(value) else _nothing
    kept.seen[id(value)] = value
    if isinstance(value, torch.Tensor):
        return _tensor(value, kept)
    if isinstance(value, np.ndarray) and value.flags.writeable:
        array = value.copy()
        return lambda: np.copyto(value, array)
    if isinstance(value, Optimizer):
        return _optimizer(value, kept)
    if isinstance(value, torch.amp.GradScaler):
        return _value(vars(value), kept)
    if isinstance(value, GENERATORS):
        return _generator(value)
    if isinstance(value, _CONTAINERS):
        return _container(value, kept, into)
    if isinstance(value, tuple):
        restores = [_value(item, kept, into=into) for item in value]
        return lambda: _each(restores)
    return _nothing


def _container(value: Any, kept: _Kept, into: Callable[[Any], Restore]) -> Restore:
    entries: Any = dict(value) if isinstance(value, dict) else list(value)
    within = entries.values() if isinstance(value, dict) else entries
    contents = [_value(entry, kept, into=into) for entry in within]
    contents = [content for content in contents if content is not _nothing]  # of a long list of numbers, none

    def restore() -> None:
        value.clear()
        (value.extend if isinstance(value, (list, deque)) else value.update)(entries)
        _each(contents)

    return restore


def _nothing() -> None: ...


def _order(order: LoaderOrder, kept: _Kept) -> Restore:
    data_sets, numbers = order.data_sets(), order.numbers()
    kept.seen.update({id(data): data for data in data_sets})  # one may be a list, to which a sampler refers
    places = [vars(sampler) for sampler in order.samplers().values()]
    generators = [*generators_of(order.batches), *order.generators().values()]
    restores = [_value(each, kept) for each in (*places, *generators)]
    restores += [_bound_generators(attributes) for attributes in order.data_holders()]
    epochs = [(data, getattr(data, "epoch", None)) for data in data_sets if hasattr(data, "set_epoch")]

    def restore() -> None:
        for data, epoch in epochs:
            if epoch is not None:
                data.set_epoch(epoch)
        for attributes, values in numbers:
            attributes.update(values)
        _each(restores)

    return restore


def _bound_generators(attributes: dict[str, Any]) -> Restore:
    """The generators that stand there, and none where one is made at the first draw."""
    before = {name: value for name, value in attributes.items() if value is None or isinstance(value, GENERATORS)}

    def restore() -> None:
        made = [name for name, value in attributes.items() if isinstance(value, GENERATORS)]
        for name in made:
            if name in before:
                attributes[name] = before[name]
            else:
                del attributes[name]

    return restore


def _generator(generator: Any) -> Restore:
    state = get_state(generator)
    return lambda: set_state(generator, state)


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
