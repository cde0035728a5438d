"""Names of attributes in the code of functions and methods: what these may read and write."""

from __future__ import annotations

from typing import Any


def names_in(function: Any) -> set[str]:
    """All attributes that its code names; none of what has no code."""
    code = getattr(function, "__code__", None)
    return set() if code is None else set(code.co_names)


def names_in_methods(kind: type, names: set[str]) -> set[str]:
    """These names, and those in the code of the methods that they name, and so on."""
    found, waiting = set(names), list(names)
    while waiting:
        more = names_in(getattr(kind, waiting.pop(), None)) - found
        found |= more
        waiting += more
    return found
