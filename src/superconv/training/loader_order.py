"""LoaderOrder: what the order of a loader's batches comes from, beside the global random states."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from .callers_level import callers_level
from .random_states import GENERATORS, get_state, set_state

_ROLES = ("sampler", "batch_sampler")
_NUMBERS = (bool, int, float)
_LOADER = ""  # its path


class LoaderOrder:
    """The samplers and generators of a DataLoader, or of any other object with batches.

    Samplers are found under `sampler` and `batch_sampler` and among the attributes of samplers, where any object that
    holds a generator counts as one; generators (torch's, numpy's, Python's) under any name in the loader, its samplers
    and the containers in them. Of a DataLoader itself its numbers count as well (Accelerate's counts its epochs), but
    not where it tells its state by a `state_dict`. Data sets are left out, but for the number of the epoch. Not seen:
    what a sampler keeps in objects of other kinds, and where an iterator stands that it holds on to
    (`warn_of_iterators`).

    For a checkpoint, `get_state` gives the generators and those plain values that have changed since this object was
    made. What has not is a setting (a rank, a batch size), which the program that resumes has chosen anew. So make it
    while the samplers are as new as they will be when the state is loaded.
    """

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self._new = {path: self._plain_values(path, attributes) for path, attributes in self._holders().items()}

    @property
    def data(self) -> Any:
        """The data set, where there is one."""
        return getattr(self.batches, "dataset", None)

    def samplers(self) -> dict[str, Any]:
        """All of them, by the attributes that lead there."""
        return {path: thing for path, thing in self._walk() if not isinstance(thing, GENERATORS)}

    def generators(self) -> dict[str, Any]:
        """All of them, by the attributes that lead there."""
        return {path: thing for path, thing in self._walk() if isinstance(thing, GENERATORS)}

    def numbers(self) -> dict[str, Any]:
        """The loader's own."""
        return {name: value for name, value in self._own().items() if type(value) in _NUMBERS}

    def set_epoch(self, epoch: int) -> None:
        """Tell it to whatever orders by the number of the epoch: loader, samplers, data set (as Lightning does)."""
        for thing in self._by_epoch():
            thing.set_epoch(epoch)

    def epoch(self) -> int:
        """The number that was told last, by the first of them that shows it; else 0."""
        shown = (getattr(thing, "epoch", None) for thing in self._by_epoch())
        return next((int(epoch) for epoch in shown if isinstance(epoch, (int, np.integer))), 0)

    def _by_epoch(self) -> list[Any]:
        things = [self.batches, *self.samplers().values(), self.data]
        return [thing for thing in things if callable(getattr(thing, "set_epoch", None))]

    def get_state(self) -> dict[str, Any]:
        """Plain data that `torch.load(weights_only=True)` accepts."""
        known = {id(generator) for generator in generators_of(self.batches)}  # saved beside the global random states
        state: dict[str, Any] = {"generators": {}, "changed": {}, "unclear": {}}
        for path, generator in self.generators().items():
            if id(generator) not in known:
                state["generators"][path] = _plain(get_state(generator))
        for path, attributes in self._holders().items():
            new, now = self._new.get(path, {}), self._plain_values(path, attributes)
            state["changed"][path] = {name: now[name] for name in now if not _equal(now[name], new.get(name, _MISSING))}
            state["unclear"][path] = [name for name in new if name not in now]  # a generator by now, say
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Write back what `get_state` gave; what had not changed then becomes what it was at first."""
        for path, attributes in self._holders().items():
            saved = {**self._new.get(path, {}), **state["changed"].get(path, {})}
            now = self._plain_values(path, attributes)
            for name in saved.keys() - set(state["unclear"].get(path, ())):
                if not _equal(saved[name], now.get(name, _MISSING)):
                    attributes[name] = _written(attributes.get(name), _exact(saved[name]))
        for path, generator in self.generators().items():
            if path in state["generators"]:
                set_state(generator, _exact(state["generators"][path]))

    def warn_of_iterators(self) -> None:
        """Say which sampler keeps an iterator: there nothing can be restored."""
        for path, sampler in self.samplers().items():
            for name, value in vars(sampler).items():
                if hasattr(value, "__next__"):
                    warnings.warn(
                        f"the {path} {type(sampler).__name__} of these batches keeps an iterator in its attribute "
                        f"{name!r}, whose place cannot be restored, and so its order cannot; make the iterator in its "
                        "__iter__, from a generator or a counter among its attributes",
                        stacklevel=callers_level(),
                    )

    def _holders(self) -> dict[str, dict[str, Any]]:
        """Attributes, as they stand in their objects."""
        return {**{path: vars(sampler) for path, sampler in self.samplers().items()}, _LOADER: self._own()}

    def _plain_values(self, path: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Copies of those attributes that are plain, but not the data; of the loader's, of its numbers."""
        found = {}
        for name, value in attributes.items():
            if value is not self.data and (path != _LOADER or type(value) in _NUMBERS):
                with suppress(_NotPlain):
                    found[name] = _plain(value)
        return found

    def _own(self) -> dict[str, Any]:
        """The loader's attributes; none where it is no loader of torch, or tells its own state."""
        itself = isinstance(self.batches, DataLoader) and not hasattr(self.batches, "state_dict")
        return vars(self.batches) if itself else {}

    def _walk(self) -> Iterator[tuple[str, Any]]:
        seen = {id(self.data)}

        def visit(path: str, thing: Any, name: Any) -> Iterator[tuple[str, Any]]:
            inside: Any = ()
            if isinstance(thing, (list, tuple)) and not set(map(type, thing)) <= {*_NUMBERS, str}:
                inside = enumerate(thing)
            elif isinstance(thing, dict):
                inside = thing.items()
            elif isinstance(thing, GENERATORS):
                inside = ()
            elif isinstance(thing, Sampler) or _is_like_one(thing, name):
                inside = vars(thing).items()
            else:
                return
            if id(thing) in seen:
                return
            seen.add(id(thing))
            if not isinstance(thing, (list, tuple, dict)):
                yield path, thing
            for name, entry in inside:
                yield from visit(f"{path}.{name}", entry, name)

        for role in _ROLES:
            yield from visit(role, getattr(self.batches, role, None), role)
        for name, entry in getattr(self.batches, "__dict__", {}).items():
            if isinstance(entry, GENERATORS):
                yield from visit(name, entry, name)


def generators_of(batches: Any) -> list[torch.Generator]:
    """torch's generators where a `DataLoader` of torch has them, each once."""
    places = [batches, getattr(batches, "sampler", None), getattr(batches, "batch_sampler", None)]
    places.append(getattr(places[-1], "sampler", None))
    found = [getattr(place, "generator", None) for place in places]
    return list({id(each): each for each in found if isinstance(each, torch.Generator)}.values())


def _is_like_one(thing: Any, name: Any) -> bool:
    """Whether it stands where a sampler does, or holds a generator, as an object that shuffles for a sampler does."""
    attributes = {} if isinstance(thing, (Dataset, type)) else getattr(thing, "__dict__", {})
    return bool(attributes) and (name in _ROLES or any(isinstance(each, GENERATORS) for each in attributes.values()))


_MISSING = object()
_ARRAY, _DEQUE = "numpy array", "deque"  # which weights_only refuses


class _NotPlain(Exception):
    """Another kind of value than those that a checkpoint can hold."""


def _plain(value: Any) -> Any:
    """A copy in containers, numbers, strings and tensors."""
    if value is None or type(value) in (*_NUMBERS, str):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item())
    if type(value) is torch.Tensor:
        return value.detach().clone()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {_ARRAY: torch.from_numpy(value.copy())}
    if type(value) in (list, tuple, set):
        return type(value)([_plain(item) for item in value])
    if type(value) is deque:
        return {_DEQUE: [_plain(item) for item in value]}
    if isinstance(value, dict) and all(type(key) in (*_NUMBERS, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    raise _NotPlain


def _exact(value: Any) -> Any:
    """A new copy of what `_plain` copied."""
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return value[_ARRAY].numpy().copy()
        if value.keys() == {_DEQUE}:
            return deque(_exact(item) for item in value[_DEQUE])
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return type(value)([_exact(item) for item in value])
    return value.clone() if isinstance(value, torch.Tensor) else value


def _equal(a: Any, b: Any) -> bool:
    """Of two plain values."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return a == b


def _written(old: Any, new: Any) -> Any:
    """`new`, in the old object where that can take it: an iterator of the epoch may be reading it."""
    if type(old) is not type(new):
        return new
    if isinstance(old, (list, deque)):
        old.clear()
        old.extend(new)
    elif isinstance(old, (dict, set)):
        old.clear()
        old.update(new)
    elif isinstance(old, torch.Tensor) and old.shape == new.shape and old.dtype == new.dtype:
        old.copy_(new)
    elif isinstance(old, np.ndarray) and old.shape == new.shape and old.dtype == new.dtype:
        np.copyto(old, new)
    else:
        return new
    return old
