"""Source of the user's own functions and classes, as they were loaded and without comments and docstrings."""

from __future__ import annotations

import ast
import functools
import linecache
import os
import sys
import sysconfig
import warnings
from collections.abc import Collection, Iterator
from pathlib import PurePath
from types import CodeType, FunctionType, ModuleType
from typing import Any

# by name, since they may lie elsewhere (a checkout) and what is built of them alone keeps its identity
_LIBRARIES = ("superconv", "torch", "timm", "torchmetrics", "builtins", "numpy", "functools")
_INSTALLED = {"site-packages", "dist-packages"}
_STANDARD = ("<frozen ", sysconfig.get_paths()["stdlib"] + os.sep)
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
_Definitions = dict[str | tuple[int, str], list[_Definition]]


def is_own(value: Any, home: Collection[str] = ()) -> bool:
    """Whether a function, class or module is the user's: neither of the standard library nor installed as a package.

    Args:
        home: modules that count as the user's, although they are installed.
    """
    if isinstance(value, FunctionType):  # of a wrapper `__module__` is that of what it wraps
        name = str(value.__globals__.get("__name__"))
        file: str | None = value.__code__.co_filename
    else:
        name = value.__name__ if isinstance(value, ModuleType) else str(getattr(value, "__module__", None))
        file = _file_of(name)
    top = name.partition(".")[0]
    if top in _LIBRARIES:
        return False
    installed = file is not None and not _INSTALLED.isdisjoint(PurePath(file).parts)
    standard = file is not None and file.startswith(_STANDARD) and not installed
    if standard or (file is None and top in sys.stdlib_module_names):
        return False
    return name in home or not installed


def _file_of(name: str) -> str | None:
    """Of a module; of its package where it has none of its own (part of a compiled one)."""
    for module in (sys.modules.get(name), sys.modules.get(name.partition(".")[0])):
        if file := getattr(module, "__file__", None):
            return str(file)
    return None


def source_of(value: FunctionType | type) -> str | None:
    """Source of a function or class; None where there is none, or where it is no longer the one that was loaded."""
    if isinstance(value, FunctionType):
        code = value.__code__
        codes, definitions = _definitions_in(code.co_filename)
        found = definitions.get((code.co_firstlineno, code.co_name), []) if code in codes else []
    else:  # first by its functions: a module's name can be given to another file
        functions = [each for each in vars(value).values() if isinstance(each, FunctionType) and is_own(each)]
        files = [each.__code__.co_filename for each in functions] + [_file_of(value.__module__) or ""]
        found = next((nodes for file in files if (nodes := _definitions_in(file)[1].get(value.__name__))), [])
    return "\n".join(map(ast.unparse, found)) or None


def _definitions_in(file: str) -> tuple[set[CodeType], _Definitions]:
    linecache.checkcache(file)
    try:
        return _definitions("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):  # it was edited since it was imported
        return set(), {}


@functools.lru_cache(maxsize=64)
def _definitions(text: str) -> tuple[set[CodeType], _Definitions]:
    """All code of a file; its functions by first line and name, which lambdas may share, and its classes by name."""
    with warnings.catch_warnings(action="ignore"):  # they were shown when it was imported
        tree = ast.parse(text)
        codes = set(codes_of(compile(tree, "", "exec", dont_inherit=True)))
    definitions: _Definitions = {}
    for node in ast.walk(tree):
        if not isinstance(node, _Definition):
            continue
        if isinstance(node, ast.Lambda):
            key: str | tuple[int, str] = node.lineno, "<lambda>"
        elif isinstance(node, ast.ClassDef):
            key = node.name
        else:
            key = min(each.lineno for each in (node, *node.decorator_list)), node.name
        if not isinstance(node, ast.Lambda) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        definitions.setdefault(key, []).append(node)
    return codes, definitions


def codes_of(code: CodeType) -> Iterator[CodeType]:
    """It, and that of the functions and classes within."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_of(constant)
