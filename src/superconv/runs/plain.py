"""Values as strict JSON: numpy and torch scalars made plain, NaN and infinity never written as such."""

from __future__ import annotations

import enum
import hashlib
import json
import math
import os
from collections.abc import Mapping
from typing import Any, Literal

NonFinite = Literal["null", "name"]
_NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}


def plain(value: Any, *, nonfinite: NonFinite = "null") -> Any:
    """The same value in dicts, lists, strings, numbers, booleans and None.

    Args:
        value: of plain types; tuples become lists, paths and enum members (by name) strings; whatever has `tolist()`
            (numpy arrays and scalars, torch tensors on any device) becomes numbers.
        nonfinite: what NaN and +-infinity become. "null" for measurements: a number that is none was not measured.
            "name" for settings, where they mean something: "NaN", "Infinity", "-Infinity".
    Returns: the plain value, which strict JSON can hold.
    Raises: ValueError: a type that JSON does not know, or two keys that are one as text; names the place.
    """
    return _plain(value, nonfinite, "")


def dumps(value: Any, *, nonfinite: NonFinite = "null", indent: int | None = None) -> str:
    """`plain(value)` as strict JSON text, keys in their own order.

    Args:
        value: as in `plain`.
        nonfinite: as in `plain`.
        indent: None: one line.
    Raises: ValueError: as `plain`.
    """
    return _writable(json.dumps(plain(value, nonfinite=nonfinite), indent=indent, allow_nan=False, ensure_ascii=False))


def canonical(config: Mapping[str, Any]) -> str:
    """The one text that stands for a config: strict JSON with sorted keys, no spaces, UTF-8.

    A float that is a whole number is written as an integer, so that 3 and 3.0 are one setting, and -0.0 is 0. NaN and
    infinity are kept apart by name. The text depends neither on the order of keys nor on Python's hash seed.

    Args:
        config: as in `plain`.
    Raises: ValueError: as `plain`.
    """
    value = _whole_numbers(plain(config, nonfinite="name"))
    return _writable(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False))


def identity(config: Mapping[str, Any]) -> str:
    """Ten hexadecimal digits that stand for a config: the first of the SHA-256 of its `canonical` text.

    Args:
        config: as in `plain`. A float32 scalar is not the float of the same literal: pass Python numbers.
    Returns: 40 bits: among 10,000 configs some two collide with a chance of 5e-5, and `open_run` would notice.
    Raises: ValueError: as `plain`.
    """
    return hashlib.sha256(canonical(config).encode()).hexdigest()[:10]


def _writable(text: str) -> str:
    """JSON that UTF-8 holds: a byte of a path that is no UTF-8, a lone surrogate in Python, as JSON's own escape."""
    return text.encode(errors="backslashreplace").decode()


def _plain(value: Any, nonfinite: NonFinite, place: str) -> Any:
    if value is None or (isinstance(value, (bool, str)) and not isinstance(value, enum.Enum)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _number(float(value), nonfinite)
    if isinstance(value, Mapping):
        return _plain_mapping(value, nonfinite, place)
    if isinstance(value, (list, tuple)):
        return [_plain(item, nonfinite, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # numpy and torch, without importing either
        return _plain(value.tolist(), nonfinite, place)
    raise ValueError(
        f"{place or 'value'} is a {type(value).__name__}, which JSON cannot hold; "
        "pass numbers, strings, lists or dicts (of an object, the settings that define it)"
    )


def _plain_mapping(value: Mapping[Any, Any], nonfinite: NonFinite, place: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        name = key.name if isinstance(key, enum.Enum) else str(key)
        if name in result:
            raise ValueError(f"{place or 'value'} has two keys that are {name!r} as text; rename one")
        result[name] = _plain(item, nonfinite, f"{place}.{name}" if place else name)
    return result


def _number(value: float, nonfinite: NonFinite) -> float | str | None:
    if math.isfinite(value):
        return value
    return None if nonfinite == "null" else _NAMES.get(value, "NaN")


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
