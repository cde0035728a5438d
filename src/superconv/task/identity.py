"""A hash that changes when a task does: of its name, its data and the source of its functions."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .definition import Task
from .metrics import accumulates, as_new

_LIBRARIES = ("superconv", "torch", "timm", "torchmetrics", "builtins", "numpy", "functools")


def source_hash(task: Task) -> str:
    """SHA-256, as 64 hexadecimal digits, over what makes the task this task.

    Taken in: the name, and the chance level where it is given; of model, loss, metric, split and count the source, with
    that of the functions and classes of the same module that they use, and the plain values they are bound to
    (arguments of a partial, a closure's variables, defaults); of the data its name, classes, preparation and the
    checksums of its parts. Functions of libraries (torch, timm, superconv itself) count by their import path: a run
    records versions separately.

    Not seen: code in the user's other modules, values of module-level variables that are no plain data, a
    data set that is read sample by sample (it has no checksum), a function whose source cannot be had (it
    counts by its byte code, or by its name).
    """
    digest = hashlib.sha256()
    metric = as_new(task.metric) if accumulates(task.metric) else task.metric
    parts: list[Any] = [task.name, metric, task.higher_is_better, task.model, task.loss, task.split]
    parts += [part for part in (task.chance, task.count) if part is not None]  # younger than runs that are kept
    for part in parts:
        for line in _lines(part, set()):
            digest.update(f"{line}\n".encode())
    data = task.data
    preparation = None if data.preparation is None else data.preparation.to_dict()
    for content in (data.name, data.num_classes, sorted(data.checksums.items()), preparation):
        digest.update(f"{content}\n".encode())
    return digest.hexdigest()


def _lines(value: Any, seen: set[int]) -> Iterator[str]:
    """What to hash of any value, depth first; each function and class once."""
    if isinstance(value, functools.partial):
        yield "partial"
        for part in (value.func, *value.args, *(item for pair in sorted(value.keywords.items()) for item in pair)):
            yield from _lines(part, seen)
    elif isinstance(value, ModuleType):
        yield f"module {value.__name__}"
    elif inspect.isroutine(value) or inspect.isclass(value):
        yield from _code_lines(value, seen)
    elif isinstance(value, (Tensor, np.ndarray)):
        flat = torch.as_tensor(value).detach().cpu().contiguous().reshape(-1)
        yield f"{flat.dtype} {tuple(value.shape)} {hashlib.sha256(flat.view(torch.uint8).numpy().data).hexdigest()}"
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield type(value).__name__
        for entry in sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value:
            yield from _lines(entry, seen)
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield repr(key)
            yield from _lines(entry, seen)
    elif value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        yield repr(value)
    else:
        yield from _object_lines(value, seen)


def _object_lines(value: Any, seen: set[int]) -> Iterator[str]:
    """An object by its class and its attributes (never by its address)."""
    if id(value) in seen:
        return
    seen.add(id(value))
    yield from _lines(type(value), seen)
    if hasattr(value, "__dict__"):
        for key, entry in vars(value).items():
            if not isinstance(getattr(type(value), key, None), functools.cached_property):
                yield key
                yield from _lines(entry, seen)
    elif " at 0x" not in repr(value):
        yield repr(value)


def _code_lines(value: Any, seen: set[int]) -> Iterator[str]:
    value = inspect.unwrap(value)
    if inspect.ismethod(value):
        yield from _lines(value.__self__, seen)
        value = value.__func__
    if id(value) in seen:
        return
    seen.add(id(value))
    yield f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(type(value)))}"
    if str(getattr(value, "__module__", "")).split(".")[0] in _LIBRARIES:
        return
    try:
        yield inspect.getsource(value)
    except (OSError, TypeError):  # typed into a console: the byte code tells as much
        if isinstance(value, FunctionType):
            constants = [entry for entry in value.__code__.co_consts if not isinstance(entry, CodeType)]
            yield f"{value.__code__.co_code.hex()} {constants}"
    for function in _functions(value):
        for bound in (function.__defaults__, function.__kwdefaults__, _closure(function)):
            yield from _lines(bound, seen)
        for used in _used_globals(function):
            yield from _lines(used, seen)


def _functions(value: Any) -> list[FunctionType]:
    if isinstance(value, FunctionType):
        return [value]
    return (
        [entry for entry in vars(value).values() if isinstance(entry, FunctionType)] if inspect.isclass(value) else []
    )


def _closure(function: FunctionType) -> list[Any]:
    contents = []
    for cell in function.__closure__ or ():
        try:
            contents.append(cell.cell_contents)
        except ValueError:  # a cell that is filled only later
            continue
    return contents


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _used_globals(function: FunctionType) -> list[Any]:
    """Functions and classes of the same module, and plain data, that the function's code names."""
    found = []
    for name in dict.fromkeys(_names(function.__code__)):
        value = function.__globals__.get(name)
        own = inspect.isfunction(value) or inspect.isclass(value)
        local = own and value.__module__ == function.__module__
        if local or isinstance(value, (bool, int, float, str, tuple)):
            found.append(value)
    return found
