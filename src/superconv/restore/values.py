"""Optimizers, generators and nests of containers, tensors and arrays, brought back in the same objects."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from .kept import Kept, Restore, nothing, run_all
from .optimizer_parts import holds_data, is_part, keeps_tensors
from .plain_types import PLAIN
from .random_states import GENERATORS, get_state, set_state
from .step_hooks import HookMemory, hooks_of_others, switch_off
from .tensors import parameter_restore, tensor_restore

_CONTAINERS = (dict, list, set, deque)
_DEEPEST = 8  # objects in objects
_RESTORED = (torch.Tensor, np.ndarray, Optimizer, torch.amp.GradScaler, *GENERATORS, *_CONTAINERS, tuple)


def _left_alone(thing: Any) -> Restore:
    return nothing


def value_restore(value: Any, kept: Kept, *, into: Callable[[Any], Restore] = _left_alone) -> Restore:
    """What brings the content of any nest of containers, tensors, arrays and optimizers back, in the same objects.

    Each object once, by whatever ways it is reached: a wrapper may share groups and state with what it wraps, and
    refer to itself.

    Args:
        into: what of other objects is restored; functions and modules are left to whoever else they belong to.
    """
    if type(value) in PLAIN or id(value) in kept.seen:
        return nothing
    if isinstance(value, nn.Parameter):
        return parameter_restore(value, kept)
    if not isinstance(value, _RESTORED):
        return into(value) if is_part(value) else nothing
    kept.seen[id(value)] = value
    if isinstance(value, torch.Tensor):
        return tensor_restore(value, kept.copies)
    if isinstance(value, np.ndarray) and value.flags.writeable:
        array = value.copy()
        return lambda: np.copyto(value, array)
    if isinstance(value, Optimizer):
        return _optimizer(value, kept)
    if isinstance(value, torch.amp.GradScaler):
        return value_restore(vars(value), kept)
    if isinstance(value, GENERATORS):
        return _generator(value)
    if isinstance(value, _CONTAINERS):
        return _container(value, kept, into)
    if isinstance(value, tuple):
        restores = [value_restore(item, kept, into=into) for item in value]
        return lambda: run_all(restores)
    return nothing


def _container(value: Any, kept: Kept, into: Callable[[Any], Restore]) -> Restore:
    entries: Any = dict(value) if isinstance(value, dict) else list(value)
    within = entries.values() if isinstance(value, dict) else entries
    contents = [value_restore(entry, kept, into=into) for entry in within]
    contents = [content for content in contents if content is not nothing]  # of a long list of numbers, none

    def restore() -> None:
        value.clear()
        (value.extend if isinstance(value, (list, deque)) else value.update)(entries)
        run_all(contents)

    return restore


def _optimizer(optimizer: Optimizer, kept: Kept) -> Restore:
    """All of its attributes; in a wrapper (Lookahead, SAM) the optimizers among them, under whatever name they are."""
    # First, so that whatever else refers to a parameter (groups, slow weights by parameter, a flat list) copies nothing
    parameters = [parameter_restore(each, kept) for group in optimizer.param_groups for each in group["params"]]
    into = partial(_attributes, kept=kept, depth=_DEEPEST)  # whatever is in the state is the optimizer's own
    state = value_restore(vars(optimizer).get("state"), kept, into=into)
    attributes = value_restore(vars(optimizer), kept, into=partial(_later, kept=kept))  # groups and hooks among them
    kept.optimizers.append(optimizer)
    memories = [HookMemory(hook, kept.seen) for hook in hooks_of_others(optimizer)]
    kept.memories.extend(memories)
    switch_off(optimizer)
    kept.renewals.append(partial(switch_off, optimizer))
    return lambda: run_all([attributes, state, *parameters, *(memory.restore for memory in memories)])


def _later(thing: Any, kept: Kept) -> Restore:
    kept.parts.append(thing)
    return nothing


def part_restore(part: Any, kept: Kept) -> Restore:
    """What restores an object among an optimizer's attributes.

    One without tensors may be anything, such as settings that all share, and is left.
    """
    if holds_data(part):
        return nothing
    kept_tensors = keeps_tensors(part)
    content = _attributes(part, kept, _DEEPEST)
    return lambda: content() if kept_tensors or keeps_tensors(part) else None


def _attributes(thing: Any, kept: Kept, depth: int) -> Restore:
    """Of an object and of those in it, so many deep."""
    if depth == 0 or id(thing) in kept.seen:
        return nothing
    kept.seen[id(thing)] = thing
    return value_restore(vars(thing), kept, into=partial(_attributes, kept=kept, depth=depth - 1))


def _generator(generator: Any) -> Restore:
    state = get_state(generator)
    return lambda: set_state(generator, state)
