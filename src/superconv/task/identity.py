"""A hash that changes when a task does: of its name, its data and the source of its functions."""

from __future__ import annotations

import hashlib
from typing import Any

from .definition import Task
from .description import described
from .metrics import accumulates, as_new

_KEPT = "_source_hash"


def source_hash(task: Task) -> str:
    """SHA-256, as 64 hexadecimal digits, over what makes the task this task.

    Taken in: the name, and the chance level where it is given; of model, loss, metric, split and count the source
    without comments and docstrings, and that of every function and class of the user's own that they come to, in other
    files too: by a global name, as a base class, a decorator, bound in a partial or a closure, or in a container; with
    the values of these names (numbers, texts, containers, tensors, objects by their attributes). Of the data its name,
    classes, preparation and the checksums of its parts; of a data set that is read sample by sample its class and
    attributes, but no absolute paths, which differ from machine to machine. What lies in the standard library or is
    installed counts by its import path: a run records versions separately.

    Not seen: what a function imports when it is called or looks up by a computed name; files that it reads; the rest of
    very large arrays and containers (`description.LARGEST`, `MANY`); what a library's object keeps outside Python.

    Taken once for a task: what training changes (a counter, a cache) must not change what it is called, nor may an
    edit of the file meanwhile.
    """
    kept = vars(task)
    if _KEPT not in kept:
        kept[_KEPT] = _hash(task)
    return str(kept[_KEPT])


def _hash(task: Task) -> str:
    digest = hashlib.sha256()
    metric = as_new(task.metric) if accumulates(task.metric) else task.metric
    parts: list[Any] = [task.name, metric, task.higher_is_better, task.model, task.loss, task.split]
    parts += [part for part in (task.chance, task.count) if part is not None]  # younger than runs that are kept
    for line in described(parts):
        digest.update(_line(line))
    data = task.data
    preparation = None if data.preparation is None else data.preparation.to_dict()
    for content in (data.name, data.num_classes, sorted(data.checksums.items()), preparation):
        digest.update(_line(content))
    samples = (data.train, data.validation, data.test)
    unread = [part for part in samples if part is not None and part.checksum is None]
    for line in described(unread, places=False):
        digest.update(_line(line))
    return digest.hexdigest()


def _line(content: object) -> bytes:
    """As bytes; a path may hold some that are no UTF-8, which Python has as lone surrogates."""
    return f"{content}\n".encode(errors="backslashreplace")
