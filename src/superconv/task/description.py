"""What values are made of, line by line: the same lines in every process, others where code or data differ."""

from __future__ import annotations

import contextlib
import dis
import functools
import hashlib
import inspect
import itertools
import os
import sys
from argparse import Namespace
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from types import CodeType, FunctionType, MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .source import codes_of, is_own, source_of

MOST = 100_000  # values that are looked at, in all
MANY = 1_000  # entries of a container, where they are no plain data: of more, that many evenly spaced
LARGEST = 2**26  # bytes of an array that are read whole; of a larger one 4,096 elements
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_CONTAINERS = (list, tuple, set, frozenset, dict, deque, MappingProxyType)
_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_CELL = ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")
_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD")
_Parts = tuple[str, list[Any]]


def described(roots: Sequence[Any], *, places: bool = True) -> Iterator[str]:
    """What to hash of values: a line for each, then for what it is made of, depth first.

    Followed are containers, attributes, bound arguments, closures, defaults, base classes, and the global names that a
    function's code uses, `module.name` too where the module is the user's. What belongs to a library counts by its
    name, what cannot be described by its type. Nothing is imported, and nothing raised.

    Args:
        places: whether absolute paths count, which differ from machine to machine.
    """
    home: set[str] = set()
    for root in roots:
        with contextlib.suppress(Exception):
            home.add(_module_of(root))
    seen: dict[int, tuple[int, Any]] = {}  # with the value: the id of one that is gone is given to another
    waiting = list(reversed(roots))
    for _ in range(MOST):
        if not waiting:
            return
        value = waiting.pop()
        if id(value) in seen:
            yield f"again {seen[id(value)][0]}"
            continue
        try:
            line, parts = _described(value, home, places)
        except Exception:  # attributes and representations are foreign code
            line, parts = _name(type(value)), []
        if parts and not isinstance(value, (tuple, frozenset)):  # which of these are one depends on the compiler
            seen[id(value)] = len(seen), value
        yield line
        waiting.extend(reversed(parts))


def _module_of(root: Any) -> str:
    """Where what the task was given was written: that is the user's, even where it is installed."""
    while isinstance(root, functools.partial):
        root = root.func
    return str(getattr(inspect.unwrap(root) if callable(root) else root, "__module__", None))


def _described(value: Any, home: set[str], places: bool) -> _Parts:
    if not places and isinstance(value, (str, PurePath)) and os.path.isabs(value):
        return "path", []
    if value is None or isinstance(value, _PLAIN):
        return repr(value), []
    if isinstance(value, functools.partial):
        keywords = itertools.chain.from_iterable(sorted(value.keywords.items()))
        return "partial", [value.func, *value.args, *keywords]
    if isinstance(value, ModuleType):
        return f"module {value.__name__}", []
    if inspect.ismethod(value):
        return "method", [value.__self__, value.__func__]
    if isinstance(value, FunctionType):
        return _function(value, home)
    if isinstance(value, type):
        return _class(value) if is_own(value, home) else (_name(value), [])
    if isinstance(value, _CONTAINERS):
        return _container(value, places)
    if isinstance(value, Tensor):
        return _tensor(value)
    if isinstance(value, np.ndarray) or _as_array(value):
        return _array(value)
    if inspect.isroutine(value) or isinstance(value, property | functools.cached_property | functools.partialmethod):
        return f"{_name(type(value))} {_name(value)}", _inside(value)
    return _object(value, home)


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(type(value)))}"


def _function(function: FunctionType, home: set[str]) -> _Parts:
    closure = _closure(function)
    if not is_own(function, home):  # a library's decorator around the user's function
        within = (*closure.values(), getattr(function, "__wrapped__", None))
        return _name(function), [v for v in within if isinstance(v, (FunctionType, type)) and is_own(v, home)]
    bound = [function.__defaults__, function.__kwdefaults__, closure, _used(function, closure)]
    source = source_of(function)
    if source is not None:
        return f"function {source}", bound
    codes = list(codes_of(function.__code__))  # typed into a console, or edited since it was loaded
    constants = [c for code in codes for c in code.co_consts if not isinstance(c, CodeType)]
    names = [(code.co_name, *code.co_names, *code.co_varnames) for code in codes]
    return f"code {' '.join(code.co_code.hex() for code in codes)}", [constants, names, *bound]


def _closure(function: FunctionType) -> dict[str, Any]:
    contents = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            contents[name] = cell.cell_contents
        except ValueError:  # a cell that is filled only later
            continue
    return contents


def _used(function: FunctionType, closure: Mapping[str, Any]) -> dict[str, Any]:
    """What the function's code names: globals, and what it reaches through modules of the user's (`nets.Net`)."""
    found: dict[str, Any] = {}
    nothing = object()
    for code in codes_of(function.__code__):
        name, value = "", nothing
        for instruction in dis.get_instructions(code):
            if instruction.opname in _GLOBAL:
                name = instruction.argval
                value = function.__globals__.get(name, nothing)
            elif instruction.opname in _CELL:
                name = instruction.argval
                value = closure.get(name, nothing)
            elif instruction.opname in _ATTRIBUTE and isinstance(value, ModuleType) and is_own(value):
                name = f"{name}.{instruction.argval}"
                value = vars(value).get(instruction.argval, nothing)
            elif instruction.opname != "EXTENDED_ARG":
                value = nothing
            if value is not nothing:
                found[name] = value
    return dict(sorted(found.items()))


def _class(kind: type) -> _Parts:
    """A class by its source, its bases and its attributes; of those that Python makes, the functions alone."""
    attributes = {
        name: entry
        for name, entry in vars(kind).items()
        if not name.startswith("__") or isinstance(entry, FunctionType | classmethod | staticmethod)
    }
    made_by = [] if type(kind) is type else [type(kind)]
    return f"class {kind.__name__} {source_of(kind)}", [*made_by, list(kind.__bases__), attributes]


def _inside(value: Any) -> list[Any]:
    """The functions that a descriptor or a built-in wrapper holds, and the object that a built-in method is of."""
    owner = getattr(value, "__self__", None)
    names = ("fget", "fset", "fdel", "func", "__wrapped__")
    found = [getattr(value, name, None) for name in names]
    return [each for each in (None if isinstance(owner, ModuleType) else owner, *found) if each is not None]


def _container(value: Any, places: bool) -> _Parts:
    kind, count = type(value), len(value)
    entries: Any = value
    if isinstance(value, (set, frozenset)):
        keyed = sorted(((_key(entry), entry) for entry in value), key=lambda pair: pair[0])
        entries = [entry for key, entry in keyed if " at 0x" not in key]
    elif isinstance(value, (dict, MappingProxyType)):
        entries = value.items()
    head = kind.__name__ if kind is tuple and count == 2 else f"{kind.__name__} {count}"  # as in runs that are kept
    own = [] if kind.__module__ == "builtins" else [kind, dict(getattr(value, "__dict__", {}))]
    if count > MANY:
        flat = _flat(entries)
        if flat is not None:
            if not places:
                flat = [entry for entry in flat if not (isinstance(entry, str) and os.path.isabs(entry))]
            return f"{head} {hashlib.sha256(repr(flat).encode()).hexdigest()}", own
        entries = itertools.islice(entries, 0, None, -(-count // MANY))
    pairs = isinstance(value, (dict, MappingProxyType))
    return head, [*own, *(itertools.chain.from_iterable(entries) if pairs else entries)]


def _key(value: Any) -> str:
    """What to sort the entries of a set by: not by what differs between processes."""
    if isinstance(value, (frozenset, tuple)):
        keys = [_key(entry) for entry in value]
        return f"{type(value).__name__} {sorted(keys) if isinstance(value, frozenset) else keys}"
    return _name(value) if isinstance(value, (FunctionType, type)) else repr(value)


def _flat(entries: Any) -> list[Any] | None:
    """Plain data in lists and tuples, with their lengths; None where there is something else."""
    found: list[Any] = []
    for entry in entries:
        if type(entry) in _PLAIN:
            found.append(entry)
        elif type(entry) in (list, tuple):
            within = _flat(entry)
            if within is None:
                return None
            found += [(len(entry),), *within]
        else:
            return None
    return found


def _tensor(tensor: Tensor) -> _Parts:
    flat = tensor.detach().reshape(-1)
    chosen = flat[:: _step(flat.numel(), flat.element_size())].cpu().contiguous()
    data = chosen.view(torch.uint8).numpy().data  # bytes, since numpy has no bfloat16
    return f"{tensor.dtype} {tuple(tensor.shape)} {hashlib.sha256(data).hexdigest()}", [type(tensor)]


def _as_array(value: Any) -> bool:
    """Whether numpy reads it (a table, a number of numpy's), and it is small: one on disk would be read as a whole."""
    size = getattr(value, "size", None) if hasattr(type(value), "__array__") else None
    return isinstance(size, int) and 8 * size <= LARGEST


def _array(value: Any) -> _Parts:
    array = np.asarray(value)
    if array.dtype.hasobject:
        return f"objects {array.shape}", [type(value), array.tolist()]
    chosen = array.reshape(-1)[:: _step(array.size, array.itemsize)]
    return f"{array.dtype} {array.shape} {hashlib.sha256(chosen.tobytes()).hexdigest()}", [type(value)]


def _step(count: int, size: int) -> int:
    return 1 if count * size <= LARGEST else count // 4096


def _object(value: Any, home: set[str]) -> _Parts:
    """An object by its class and its attributes (never by its address)."""
    kind = type(value)
    if isinstance(value, torch.device):  # where it is trained is no part of what is trained
        return _name(kind), []
    standard = kind.__module__.partition(".")[0] in sys.stdlib_module_names and not is_own(kind, home)
    attributes = {} if standard and not isinstance(value, (SimpleNamespace, Namespace)) else _attributes(value)
    if attributes or hasattr(value, "__dict__") or " at 0x" in (text := repr(value)):
        text = ""  # of the standard library's a logger, a lock, a file, the environment: by the class alone
    return f"object {text}", [kind, attributes]


def _attributes(value: Any) -> dict[str, Any]:
    state = object.__getstate__(value)  # `__dict__`, or that and the slots
    found: dict[str, Any] = {}
    for part in state if isinstance(state, tuple) else (state,):
        found |= part or {}
    computed = functools.cached_property  # there or not, as they were read
    return {name: entry for name, entry in found.items() if not isinstance(getattr(type(value), name, None), computed)}
