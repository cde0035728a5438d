"""Step hooks of an optimizer: those of this package, off in a measurement, and what those of others keep."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from ..double import widest
from .code_names import names_in, names_in_methods
from .plain_types import PLAIN
from .sharded import shard

Hook = TypeVar("Hook", bound=Callable[..., Any])

_TABLES = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


def off_while_preserved(hook: Hook) -> Hook:
    """Mark a method as a hook that only watches the training and follows it: no measurement concerns it."""
    hook.off_while_preserved = True  # type: ignore[attr-defined]
    return hook


def switch_off(optimizer: Optimizer) -> None:
    """Take the hooks so marked from their tables."""
    for table in _tables(optimizer):
        for key in [key for key, hook in table.items() if _is_marked(hook)]:
            del table[key]


def hooks_of_others(optimizer: Optimizer) -> list[Callable[..., Any]]:
    """Those that act in a measurement as well, such as one that clips gradients."""
    return [hook for table in _tables(optimizer) for hook in table.values() if not _is_marked(hook)]


def _tables(optimizer: Optimizer) -> list[dict[int, Any]]:
    return [vars(optimizer)[name] for name in _TABLES if name in vars(optimizer)]


def _is_marked(hook: Any) -> bool:
    return getattr(hook, "off_while_preserved", False)


class HookMemory:
    """What a hook counts in: variables that it encloses, attributes of its owner that it names, what these contain.

    Named are attributes in the code of the hook and of the owner's methods that it calls. Others are left alone: the
    owner may be someone's trainer, which keeps results in them meanwhile.
    `restore` brings back numbers and what containers hold, as references: no tensor is copied. `changed` tells whether
    tensors found on the way (an average of the weights, say) have other contents by now. Not seen: global variables,
    files, and objects within objects.

    Args:
        kept: what is restored anyway, by id, such as the parameters that a hook clips.
    """

    def __init__(self, hook: Callable[..., Any], kept: Mapping[int, Any]) -> None:
        self.name = getattr(hook, "__qualname__", type(hook).__name__)
        self._seen: dict[int, Any] = {}
        self._kept = kept
        self._restores: list[Callable[[], None]] = []
        self._tensors: list[tuple[torch.Tensor, str]] = []
        self._named: set[str] = set()
        self._follow(hook, objects=1)

    def restore(self) -> None:
        """Numbers and containers as they were."""
        for restore in self._restores:
            restore()

    def changed(self) -> bool:
        """Whether a tensor is not as it was."""
        return any(content_sum(tensor) != before for tensor, before in self._tensors)

    def _follow(self, thing: Any, *, objects: int) -> None:
        """`objects`: how many more of them deep."""
        if type(thing) in PLAIN or id(thing) in self._seen or id(thing) in self._kept:
            return
        self._seen[id(thing)] = thing
        if isinstance(thing, torch.Tensor):
            self._tensors.append((thing, content_sum(thing)))
        elif isinstance(thing, nn.Module):
            for tensor in (*thing.parameters(), *thing.buffers()):
                self._follow(tensor, objects=0)
            numbers = {name: value for name, value in vars(thing).items() if type(value) in PLAIN}
            self._restores.append(partial(vars(thing).update, numbers))
        elif isinstance(thing, types.MethodType):
            self._follow(thing.__func__, objects=objects)
            self._attributes(thing.__self__, objects)
        elif isinstance(thing, types.FunctionType):
            self._named |= names_in(thing)
            self._follow(vars(thing), objects=objects)
            for cell in thing.__closure__ or ():
                self._cell(cell, objects)
        elif isinstance(thing, partial):
            self._follow([thing.func, *thing.args, *thing.keywords.values()], objects=objects)
        elif isinstance(thing, (dict, list, set, deque, tuple)):
            self._container(thing, objects)
        elif (
            objects
            and hasattr(thing, "__dict__")
            and not isinstance(thing, (Optimizer, DataLoader, type, types.ModuleType))
        ):
            self._named |= {"__call__"}
            self._attributes(thing, objects)

    def _attributes(self, owner: Any, objects: int) -> None:
        """Those that are named, there or not; a module's parameters and buffers as of any module."""
        if isinstance(owner, nn.Module):
            self._follow(owner, objects=objects)
        if not objects or not hasattr(owner, "__dict__"):
            return
        names = names_in_methods(type(owner), self._named)
        present = {name: value for name, value in vars(owner).items() if name in names}

        def restore() -> None:
            for name in names & vars(owner).keys() - present.keys():
                del vars(owner)[name]
            vars(owner).update(present)

        self._restores.append(restore)
        for value in present.values():
            self._follow(value, objects=objects - 1)

    def _cell(self, cell: Any, objects: int) -> None:
        try:
            content = cell.cell_contents
        except ValueError:  # not set yet
            return
        self._restores.append(lambda: setattr(cell, "cell_contents", content))
        self._follow(content, objects=objects)

    def _container(self, thing: Any, objects: int) -> None:
        entries: Any = dict(thing) if isinstance(thing, dict) else list(thing)

        def restore() -> None:
            thing.clear()
            (thing.extend if isinstance(thing, (list, deque)) else thing.update)(entries)

        if not isinstance(thing, tuple):
            self._restores.append(restore)
        for entry in entries.values() if isinstance(entries, dict) else entries:
            self._follow(entry, objects=objects)


def content_sum(tensor: torch.Tensor) -> str:
    """A number that another content would hardly give."""
    tensor = shard(tensor)  # else every rank would have to ask
    if tensor.layout is not torch.strided or tensor.is_meta:
        return ""
    kind = None if tensor.is_complex() else widest(tensor.device)
    return str(tensor.detach().sum(dtype=kind).item())
