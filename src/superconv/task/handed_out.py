"""Tensors that come back in a later model of a task: a run must not go on where another one ended."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

_Key = tuple[Any, ...]
_Present = Callable[[], Tensor | None]
"""The tensor as it is now; None where it is gone."""


class HandedOut:
    """The tensors of all models that were built under one name, as long as they are alive, as each was at first.

    One of them in a later model is harmless where it holds what it held at first (a backbone that is frozen, or put
    back into its first state; a table of constants), and where the function that makes the model has just written to
    it (initialised it anew). What else differs was changed by what came before: by the updates of a run, or in a frozen
    BatchNorm by its passes. Compared are contents, not counters of writes or `requires_grad`: so nothing that a run
    leaves behind is missed, and nothing that it leaves alone is complained about.

    A tensor is known by its place in a module, which both models share; a buffer as an object too, wherever it stands.
    Not seen are parameters that are handed on to other modules, one by one, and new parameters over old memory, as
    `load_state_dict(assign=True)` of a state dict that calls share makes them.
    """

    def __init__(self) -> None:
        self._first: dict[_Key, tuple[_Present, int | None]] = {}

    def now(self) -> dict[_Key, int | None]:
        """What there is, as it is now: to be taken just before a model is made."""
        found, sums = {}, _Sums()
        for key, (present, _) in list(self._first.items()):
            tensor = present()
            if tensor is None:
                del self._first[key]
            else:
                found[key] = sums(tensor)
        return found

    def changed(self, model: nn.Module, before: dict[_Key, int | None]) -> str | None:
        """The name of the first tensor that a new model holds as something else has left it; None where none is so.

        Args:
            before: `now()`, from before the model was made.
        """
        sums = _Sums()
        for name, tensor, keys in _tensors(model):
            content = sums(tensor)
            for key, present in keys:
                first = self._first.get(key)
                if first is None or content != before.get(key, first[1]):
                    self._first[key] = present, content  # new, or made anew under this run's seed
                elif content is not None and content != first[1]:
                    return name
        return None


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor, list[tuple[_Key, _Present]]]]:
    for path, module in model.named_modules():
        for table in ("_parameters", "_buffers"):
            for name, tensor in getattr(module, table).items():
                if tensor is not None:
                    place = ("place", id(module), table, name), _at(weakref.ref(module), table, name)
                    signs: list[tuple[_Key, _Present]] = [place]
                    if table == "_buffers":  # torch swaps no parameter that has a weak reference (Module.to)
                        signs.append((("object", id(tensor)), weakref.ref(tensor)))
                    yield f"{path}.{name}".lstrip("."), tensor, signs


def _at(module: Callable[[], nn.Module | None], table: str, name: str) -> _Present:
    def present() -> Tensor | None:
        alive = module()
        return None if alive is None else getattr(alive, table).get(name)

    return present


class _Sums:
    """A number for a content, each tensor's once: the sum of its bits as integers, each times an odd number of its own.

    Exact, so it depends neither on the device nor on the layout. None where the bits cannot be read; such a tensor is
    not compared.
    """

    def __init__(self) -> None:
        self._known: dict[_Key, int | None] = {}

    def __call__(self, tensor: Tensor) -> int | None:
        try:
            key = tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()
        except (RuntimeError, NotImplementedError):  # it has no memory of its own
            return _sum(tensor)
        if key not in self._known or not key[0]:
            self._known[key] = _sum(tensor)
        return self._known[key]


_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_AT_ONCE = 2**20  # elements: of a large tensor no copy is made


@torch.no_grad()
def _sum(tensor: Tensor) -> int | None:
    if nn.parameter.is_lazy(tensor) or tensor.is_meta:
        return 0  # filled later, it differs from that
    try:
        flat = _integers(tensor.detach()).reshape(-1)
        odd = torch.arange(1, 2 * min(len(flat), _AT_ONCE) + 1, 2, device=flat.device)
        total = torch.zeros((), dtype=torch.int64, device=flat.device)
        for place, part in enumerate(flat.split(_AT_ONCE)):
            total += (part * odd[: len(part)]).sum() * (2 * place + 1)
        return int(total)
    except (RuntimeError, NotImplementedError, TypeError, KeyError):
        return None


def _integers(tensor: Tensor) -> Tensor:
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce().values()
    elif tensor.layout is not torch.strided:
        tensor = tensor.values()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.view(_INTEGERS[tensor.element_size()])


_OF_NAMES: dict[str, HandedOut] = {}


def handed_out(name: str) -> HandedOut:
    """What models of tasks of this name were made of in this process: a task that is made again is the same."""
    return _OF_NAMES.setdefault(name, HandedOut())
