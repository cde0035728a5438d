"""Refusals of bad schedule arguments: each says what, got, allowed, remedy."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..near_names import near

_MOST = 2**53


def whole(name: str, value: Any, *, at_least: int) -> int:
    """`value` as a Python int (numpy integers too).

    Raises: ValueError: not a whole number, or below `at_least`.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ValueError(
            f"{name} must be a whole number of optimizer updates, got {value!r}; "
            "convert epochs or fractions once, with superconv.total_steps(...) or round(...)"
        ) from None
    if number < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {number}")
    if number > _MOST:
        raise ValueError(f"{name} must be at most 2**53, beyond which floats miss whole numbers; it is larger")
    return number


def wholes(name: str, values: Any) -> np.ndarray:
    """`values` as an array of whole numbers; those that floats hold are taken too, since arithmetic makes floats.

    Raises: ValueError: one is not a whole number.
    """
    array = np.asarray(values)
    if array.dtype.kind in "iu" or not array.size:
        return array
    odd = array[~np.isfinite(array) | (array != np.round(array))] if array.dtype.kind == "f" else array.ravel()
    if odd.size:
        raise ValueError(
            f"{name} must be whole numbers of optimizer updates, got {odd.tolist()[0]!r}; convert epochs or fractions "
            "once, with superconv.total_steps(...) or numpy.round(...)"
        )
    return array


def number(name: str, value: Any, *, low: float = 0.0, high: float = math.inf, above: bool = False) -> float:
    """`value` as a finite float in [low, high], or (low, high] where `above` is set.

    Raises: ValueError: not a number, not finite, or outside.
    """
    try:
        if isinstance(value, str | bytes | bool):
            raise TypeError
        result = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None
    except OverflowError:
        result = math.inf if value > 0 else -math.inf
    too_low = result <= low if above else result < low
    if not math.isfinite(result) or too_low or result > high:
        bounds = f"{'above' if above else 'at least'} {low:g}"
        if high != math.inf:
            bounds += f" and at most {high:g}"
        raise ValueError(f"{name} must be finite, {bounds}, got {result:g}")
    return result


def several(name: str, values: Any) -> tuple[Any, ...]:
    """`values` as a tuple. Raises: ValueError: one thing, or none."""
    try:
        if isinstance(values, str | bytes):
            raise TypeError
        return tuple(values)
    except TypeError:
        raise ValueError(f"{name} must be a list, got {values!r}") from None


def unknown(kind: str, got: object, allowed: Iterable[str]) -> ValueError:
    """The error for a name that does not exist: the near ones first, then all of them."""
    return ValueError(f"unknown {kind} {got!r}; {near(got, allowed)}")
