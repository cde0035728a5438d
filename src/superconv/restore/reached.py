"""What an object holds: all that its attributes lead to, near things first."""

from __future__ import annotations

import types
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer

from .random_states import GENERATORS

PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes))
_CLOSED = (torch.Tensor, np.ndarray, Optimizer, type, types.ModuleType, *GENERATORS)  # looked at, not into
_DEEPEST = 8  # a transform's generator in a Compose in a Subset in a wrapper: 6
_LONGEST = 1000  # entries of a container; longer ones are data
_MOST = 10_000  # things in all


def reached(thing: Any, *, closed: tuple[type, ...] = ()) -> Iterator[tuple[str, Any]]:
    """All that is not plain in its attributes, in containers, closures and defaults among them, and so on.

    Each once, with the names that lead there. Bounded in depth and number: what lies far away is not found, nor what
    stands in long lists, in slots or in global variables.

    Args:
        closed: classes whose objects are found, but not looked into.
    """
    seen, level, found = {id(thing)}, [("", thing)], 0
    for _ in range(_DEEPEST):
        deeper = []
        for path, holder in level:
            for name, entry in _inside(holder, closed if holder is not thing else ()):
                if type(entry) in PLAIN or type(entry) in weakref.ProxyTypes or id(entry) in seen:
                    continue
                if found == _MOST:
                    return
                found += 1
                seen.add(id(entry))
                place = f"{path}.{name}" if path else str(name)
                deeper.append((place, entry))
                yield place, entry
        level = deeper


def _inside(thing: Any, closed: tuple[type, ...]) -> Iterable[tuple[Any, Any]]:
    if isinstance(thing, (*_CLOSED, *closed)):
        return ()
    if isinstance(thing, (list, tuple, set, deque)):
        return enumerate(thing) if len(thing) <= _LONGEST and not PLAIN.issuperset(map(type, thing)) else ()
    if isinstance(thing, dict):
        items = enumerate(thing.items()) if len(thing) <= _LONGEST else ()
        return [
            (key if type(key) in PLAIN else place, entry) for place, (key, entry) in items
        ]  # a tensor's name is long
    if isinstance(thing, types.MethodType):
        return [("__self__", thing.__self__), ("__func__", thing.__func__)]
    if isinstance(thing, partial):
        return [("func", thing.func), *enumerate(thing.args), *thing.keywords.items()]
    attributes = list(getattr(thing, "__dict__", {}).items())
    if isinstance(thing, types.FunctionType):
        attributes += _enclosed(thing)
    return attributes


def _enclosed(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Variables that it encloses, and defaults of its arguments."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not set yet
            continue
    yield from enumerate(function.__defaults__ or ())
    yield from (function.__kwdefaults__ or {}).items()
