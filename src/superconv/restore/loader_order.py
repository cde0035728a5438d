"""LoaderOrder: what the order of a loader's batches comes from, beside the global random states."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ..callers_level import callers_level
from .loaders_within import loaders_within
from .random_states import GENERATORS, get_state, set_state
from .reached import reached

_ROLES = ("sampler", "batch_sampler")
_NUMBERS = (bool, int, float)
_READ_BY = ("dataset", "collate_fn")
_ITSELF = ""  # its path


class LoaderOrder:
    """The samplers and generators of a DataLoader, or of any other object with batches.

    Samplers are found under `sampler` and `batch_sampler` and among the attributes of samplers, where any object that
    holds a generator counts as one; generators (torch's, numpy's, Python's) under any name in the loader, its samplers
    and the containers in them, and in whatever its data set and `collate_fn` hold (`reached`: transforms, the data set
    in a Subset). Of a DataLoader itself its numbers count as well (Accelerate's counts its epochs), but not where it
    tells its state by a `state_dict`. Of data sets nothing else counts but the number of the epoch. A wrapper's
    DataLoaders count like the object itself (`tqdm(loader)`, a class that moves or combines batches), and so do
    generators that it holds anywhere. Not seen: what a sampler keeps in objects of other kinds, and where an iterator
    stands that it holds on to. Worker processes have copies of the data set, which leave the original's generator as it
    is; but copies in persistent ones go on (`warn_of_unreachable` says both).

    For a checkpoint, `get_state` gives the generators and those plain values that have changed since this object was
    made. What has not is a setting (a rank, a batch size), which the program that resumes has chosen anew. So make it
    while the samplers are as new as they will be when the state is loaded.
    """

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self._new = self._values()

    def loaders(self) -> dict[str, Any]:
        """The object itself, and the DataLoaders that it wraps, by the attributes that lead there."""
        return {_ITSELF: self.batches, **loaders_within(self.batches)}

    def data_sets(self) -> list[Any]:
        """Of all of them, where there are any."""
        return [data for loader in self.loaders().values() if (data := getattr(loader, "dataset", None)) is not None]

    def samplers(self) -> dict[str, Any]:
        """All of them, by the attributes that lead there."""
        return {path: thing for path, thing in self._walk() if not isinstance(thing, GENERATORS)}

    def generators(self) -> dict[str, Any]:
        """All of them, by the attributes that lead there."""
        return {path: thing for path, thing in self._walk() if isinstance(thing, GENERATORS)}

    def numbers(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """The loaders' own, each beside the attributes in which they stand."""
        own = map(_own, self.loaders().values())
        return [(each, {name: value for name, value in each.items() if type(value) in _NUMBERS}) for each in own]

    def data_holders(self) -> list[dict[str, Any]]:
        """Attributes of the data sets, of what collates, and of what these hold: where a generator may be made late."""
        read_by = [getattr(loader, role, None) for loader in self.loaders().values() for role in _READ_BY]
        things = [thing for each in read_by for thing in (each, *(found for _, found in _within(each)))]
        return [vars(thing) for thing in _each_once(things) if _is_holder(thing)]

    def set_epoch(self, epoch: int) -> None:
        """Tell it to whatever orders by the number of the epoch: loaders, samplers, data sets (as Lightning does)."""
        for thing in self._by_epoch():
            thing.set_epoch(epoch)

    def epoch(self) -> int:
        """The number that was told last, by the first of them that shows it; else 0."""
        shown = (getattr(thing, "epoch", None) for thing in self._by_epoch())
        return next((int(epoch) for epoch in shown if isinstance(epoch, (int, np.integer))), 0)

    def _by_epoch(self) -> list[Any]:
        things = [*self.loaders().values(), *self.samplers().values(), *self.data_sets()]
        return [thing for thing in _each_once(things) if callable(getattr(thing, "set_epoch", None))]

    def get_state(self) -> dict[str, Any]:
        """Plain data that `torch.load(weights_only=True)` accepts."""
        known = {id(generator) for generator in generators_of(self.batches)}  # saved beside the global random states
        state: dict[str, Any] = {"generators": {}, "changed": {}, "unclear": {}}
        for path, generator in self.generators().items():
            if id(generator) not in known:
                state["generators"][path] = _plain(get_state(generator))
        for path, now in self._values().items():
            new = self._new.get(path, {})
            state["changed"][path] = {name: now[name] for name in now if not _equal(now[name], new.get(name, _MISSING))}
            state["unclear"][path] = [name for name in new if name not in now]  # a generator by now, say
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Write back what `get_state` gave; what had not changed then becomes what it was at first."""
        values = self._values()
        for path, (attributes, _) in self._holders().items():
            saved, now = {**self._new.get(path, {}), **state["changed"].get(path, {})}, values[path]
            for name in saved.keys() - set(state["unclear"].get(path, ())):
                if not _equal(saved[name], now.get(name, _MISSING)):
                    attributes[name] = _written(attributes.get(name), _exact(saved[name]))
        for path, generator in self.generators().items():
            if path in state["generators"]:
                set_state(generator, _exact(state["generators"][path]))

    def warn_of_unreachable(self) -> None:
        """Say which sampler keeps an iterator, and which data set draws in persistent workers: these stay as they are.

        Warns: as it says.
        """
        for path, sampler in self.samplers().items():
            for name, value in vars(sampler).items():
                if hasattr(value, "__next__"):
                    warnings.warn(
                        f"the {path} {type(sampler).__name__} of these batches keeps an iterator in its attribute "
                        f"{name!r}, whose place cannot be restored, and so its order cannot; make the iterator in its "
                        "__iter__, from a generator or a counter among its attributes",
                        stacklevel=callers_level(),
                    )
        for loader in self.loaders().values():
            data = getattr(loader, "dataset", None)
            drawn_by = list(_generators_in(data, "")) if getattr(loader, "persistent_workers", False) else []
            if drawn_by:
                warnings.warn(
                    f"the data set {type(data).__name__} of these batches draws from a generator of its own "
                    f"({', '.join(repr(path) for path, _ in drawn_by)}), whose copies in persistent workers go on from "
                    "epoch to epoch and cannot be restored; use persistent_workers=False, or num_workers=0",
                    stacklevel=callers_level(),
                )

    def _holders(self) -> dict[str, tuple[dict[str, Any], bool]]:
        """Attributes, as they stand in their objects, and whether only numbers among them count."""
        samplers = {path: (vars(sampler), False) for path, sampler in self.samplers().items()}
        return {**samplers, **{path: (_own(loader), True) for path, loader in self.loaders().items()}}

    def _values(self) -> dict[str, dict[str, Any]]:
        """Copies of those attributes that are plain, but not the data."""
        data = {id(each) for each in self.data_sets()}
        found: dict[str, dict[str, Any]] = {}
        for path, (attributes, only_numbers) in self._holders().items():
            found[path] = {}
            for name, value in attributes.items():
                if id(value) not in data and (not only_numbers or type(value) in _NUMBERS):
                    with suppress(_NotPlain):
                        found[path][name] = _plain(value)
        return found

    def _walk(self) -> Iterator[tuple[str, Any]]:
        """Samplers and generators, each once."""
        seen = {id(data) for data in self.data_sets()}

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

        for path, loader in self.loaders().items():
            for role in _ROLES:
                yield from visit(_joined(path, role), getattr(loader, role, None), role)
            for name, entry in getattr(loader, "__dict__", {}).items():
                if isinstance(entry, GENERATORS):
                    yield from visit(_joined(path, name), entry, name)
        for place, generator in self._generators_elsewhere():
            yield from visit(place, generator, place)

    def _generators_elsewhere(self) -> Iterator[tuple[str, Any]]:
        for path, loader in self.loaders().items():
            for role in _READ_BY:
                yield from _generators_in(getattr(loader, role, None), _joined(path, role))
        if not isinstance(self.batches, (DataLoader, list, tuple, dict)):
            yield from _generators_in(self.batches, _ITSELF)


def _own(loader: Any) -> dict[str, Any]:
    """Its attributes; none where it is no loader of torch, or tells its own state."""
    return vars(loader) if isinstance(loader, DataLoader) and not hasattr(loader, "state_dict") else {}


def _generators_in(thing: Any, path: str) -> Iterator[tuple[str, Any]]:
    """All that it holds; `path` leads to it."""
    for place, each in _within(thing):
        if isinstance(each, GENERATORS):
            yield _joined(path, place), each


def _within(thing: Any) -> Iterator[tuple[str, Any]]:
    return reached(thing, closed=(DataLoader,))


def _is_holder(thing: Any) -> bool:
    return isinstance(getattr(thing, "__dict__", None), dict) and not isinstance(thing, GENERATORS)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _each_once(things: Iterable[Any]) -> list[Any]:
    return list({id(thing): thing for thing in things}.values())


def generators_of(batches: Any) -> list[torch.Generator]:
    """torch's generators where a `DataLoader` of torch has them, each once."""
    places = [batches, getattr(batches, "sampler", None), getattr(batches, "batch_sampler", None)]
    places.append(getattr(places[-1], "sampler", None))
    found = [getattr(place, "generator", None) for place in places]
    return _each_once(each for each in found if isinstance(each, torch.Generator))


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
