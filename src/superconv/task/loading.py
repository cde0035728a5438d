"""A user's task by the import path of the function that makes it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ..full_memory import is_out_of_memory
from ..near_names import near
from .definition import Task
from .failure import told


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """`folder` first on the module search path, as it is for a script that lies there; after a success it stays, last.

    For what the task's functions import when they are called, in spawned workers, too, which are given the path. Last,
    it shadows no module of others.
    """
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)
    if entry not in sys.path:
        sys.path.append(entry)


def _import_file(path: Path, shown: str) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"task {shown!r}: there is no file {path}; correct the path (it is relative to {Path.cwd()})")
    name = f"superconv_task_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # pickling for worker processes and `inspect.getsource` look it up there
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_module(name: str, shown: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise ValueError(
                f"task {shown!r}: there is no module {error.name!r} in {Path.cwd()} or among the installed packages; "
                "correct the name, or give a file: path/to/file.py:function"
            ) from error
        raise


def _find(module: ModuleType, attribute: str, shown: str) -> Any:
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
            raise ValueError(f"task {shown!r}: {found.__name__!r} has no {part!r}; {near(part, public)}")
        found = getattr(found, part)
    return found


def load_task(path: str) -> Task:
    """The task that a function of the user's makes.

    Args:
        path: "package.module:function" or "path/to/file.py:function"; modules of the working directory are found, or
            of the file's folder, which stays on the module search path (last) for imports inside functions. The
            function takes no arguments and returns a Task; a Task itself may stand in its place.
    Raises: ValueError: module, file or function not there, an error inside them, something else than a Task.
    """
    where, separator, attribute = path.rpartition(":")
    if not separator or not where or not attribute:
        raise ValueError(f"task {path!r}: allowed are package.module:function and path/to/file.py:function")
    is_file = where.endswith(".py")
    folder = Path(where).resolve().parent if is_file else Path.cwd()
    with _importable(folder):
        task = _loaded(path, where, attribute, is_file)
        if not isinstance(task, Task):
            raise ValueError(f"task {path!r}: it returned a {type(task).__name__}, allowed is a superconv.Task")
        return task


def _loaded(path: str, where: str, attribute: str, is_file: bool) -> Any:
    try:
        module = _import_file(Path(where).resolve(), path) if is_file else _import_module(where, path)
    except ValueError as error:
        if str(error).startswith(f"task {path!r}"):
            raise
        raise _failed(path, "importing it", error) from error
    except (Exception, SystemExit) as error:  # a script that ends the program as it ends itself
        if is_out_of_memory(error):
            raise
        raise _failed(path, "importing it", error) from error
    found = _find(module, attribute, path)
    if isinstance(found, Task):
        return found
    if not callable(found):
        raise ValueError(f"task {path!r}: it is a {type(found).__name__}, allowed are a function or a Task")
    try:
        return found()
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        raise _failed(path, "calling it", error) from error


def _failed(path: str, doing: str, error: BaseException) -> ValueError:
    return ValueError(f"task {path!r}: {doing} failed with {told(error)}")
