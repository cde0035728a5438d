"""A RangeTest on disk: strict JSON with a format number, written atomically."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ..records import StopReason
from ..runs.atomic import write_whole
from ..runs.plain import dumps, plain
from .fork_rules import Fork
from .range_test import RangeTest

FORMAT = 1
KIND = "superconv range test"
_KINDS: dict[str, Any] = {
    "settings": dict,
    "metric_name": str,
    "higher_is_better": bool,
    "chance": int | float | None,
    "eval_samples": int | None,
    "reference_lr": int | float | None,
    "evaluate_with": str | None,
    "seconds": int | float | None,
}
_OWN_FORM = ("settings", "forks", "stop", "scout")
_REMEDY = "measure it again with lr_range_test(...).save(path)"


def save(ramp: RangeTest, path: Path) -> Path:
    """Write `ramp`; the file is complete or absent, whatever happens while writing.

    Raises: ValueError: settings that are not plain JSON data. OSError: the place cannot be written.
    """
    try:
        text = dumps({"kind": KIND, "format": FORMAT} | to_dict(ramp))
    except ValueError as error:
        raise ValueError(f"settings of a range test must be plain JSON data: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_whole(path, text + "\n")


def load(path: Path) -> RangeTest:
    """Read what `save` wrote.

    Raises: ValueError: not JSON, another kind of file, another format version, or fields that do not fit; a file that
        the system does not give, with its OSError as the cause.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_int=_whole)
    except FileNotFoundError:
        raise ValueError(f"no range test at {path}: {_REMEDY}") from None
    except OSError as error:  # what is there and not given may be whole
        reason = error.strerror or error
        raise ValueError(
            f"cannot read a range test from {path} ({reason}): check the path and its permissions"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot read a range test from {path} ({error}): {_REMEDY}") from error
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise ValueError(f"{path} is JSON, but no saved range test: {_REMEDY}")
    if data.get("format") != FORMAT:
        raise ValueError(f"{path} has range-test format {data.get('format')!r}, this version reads {FORMAT}: {_REMEDY}")
    try:
        return from_dict(data)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} is a damaged range test ({type(error).__name__}: {error}): {_REMEDY}") from error


def _whole(digits: str) -> int:
    """Counts and seeds, which have 64 bits; Python's own have no end, and many become no float."""
    value = int(digits)
    if value.bit_length() > 64:
        raise ValueError(f"no number of 64 bits: {digits[:20]}...")
    return value


def to_dict(ramp: RangeTest) -> dict[str, Any]:
    """Plain JSON data; NaN and infinities become null, and in the settings, where they mean something, their names."""
    data: dict[str, Any] = plain({f.name: getattr(ramp, f.name) for f in fields(ramp) if f.name not in _OWN_FORM})
    return data | {
        "settings": plain(ramp.settings, nonfinite="name"),
        "forks": [_plain_fork(fork) for fork in ramp.forks],
        "stop": ramp.stop.value,
        "scout": None if ramp.scout is None else to_dict(ramp.scout),
    }


def from_dict(data: dict[str, Any]) -> RangeTest:
    """Back from `to_dict`.

    Raises: KeyError, TypeError, ValueError: fields that are missing, unknown or do not fit.
    """
    values = {f.name: data[f.name] for f in fields(RangeTest)}
    for name in ("lr", "train_loss", "metric", "eval_loss", "weight_norm", "group_lrs"):
        if values[name] is not None or name in ("lr", "train_loss"):
            values[name] = _array(values[name], name == "group_lrs")
    values["forks"] = tuple(_fork(entry) for entry in data["forks"])
    values["stop"] = StopReason(data["stop"])
    values["scout"] = None if data["scout"] is None else from_dict(data["scout"])
    for name, kind in _KINDS.items():
        if not isinstance(values[name], kind) or (isinstance(values[name], bool) and kind is not bool):
            raise TypeError(f"{name} is a {type(values[name]).__name__}")
    return RangeTest(**values)


def _array(values: list[Any], two_dimensional: bool) -> np.ndarray:
    if not isinstance(values, list):
        raise TypeError(f"an array is a {type(values).__name__}")
    if two_dimensional and not values:
        return np.zeros((0, 1))
    return np.array(values, dtype=np.float64)  # None becomes NaN


def _fork(entry: dict[str, Any]) -> Fork:
    numbers = {name: math.nan if entry[name] is None else float(entry[name]) for name in ("lr", "metric", "loss")}
    # came later: only where it was measured, and a reader that does not know it passes it by
    error = entry.get("error")
    return Fork(
        int(entry["step"]),
        steps=int(entry["steps"]),
        diverged=bool(entry["diverged"]),
        error=None if error is None else float(error),
        **numbers,
    )


def _plain_fork(fork: Fork) -> dict[str, Any]:
    data: dict[str, Any] = plain({f.name: getattr(fork, f.name) for f in fields(fork)})
    if data["error"] is None:
        del data["error"]
    return data
