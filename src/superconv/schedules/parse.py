"""A schedule from one line of text: `one_cycle:max_lr=3,initial_lr=.1`."""

from __future__ import annotations

import inspect
from typing import Any

from . import checks
from .policies import POLICIES
from .schedule import Schedule


def parse_schedule(text: str, total_steps: int) -> Schedule:
    """The schedule that `POLICY:KEY=VALUE,KEY=VALUE` names, over `total_steps` updates.

    Values are numbers, words or `none`; a list is joined by `+` (`milestones=100+200`). Where a key counts steps,
    a percentage stands for that share of `total_steps`, rounded to a step (`warmup_steps=5%`).

    Args:
        text: a policy's name and its keyword arguments, as in `superconv.one_cycle`.
        total_steps: length in optimizer updates.
    Raises: ValueError: an unknown policy or key (with the near ones and the full list), a key given twice, a
        missing one, a value that cannot be read, or whatever the policy refuses.
    Example:
        >>> parse_schedule("one_cycle:max_lr=3,initial_lr=.1", 101)(45)["lr"]
        3.0
    """
    name, given = read_line(text)
    total = checks.whole("total_steps", total_steps, at_least=1)
    parameters = _parameters(name)
    arguments = {key: _value(key, value, str(parameters[key].annotation), total) for key, value in given.items()}
    return POLICIES[name](total, **arguments)


def read_line(text: str) -> tuple[str, dict[str, str]]:
    """The policy and its arguments as they are written, before the length is known that their values may depend on.

    Raises: ValueError: as `parse_schedule`, but for values.
    """
    name, _, rest = text.strip().partition(":")
    name = name.strip()
    if name not in POLICIES:
        raise checks.unknown("schedule", name, POLICIES)
    parameters = _parameters(name)
    given: dict[str, str] = {}
    for item in (part.strip() for part in rest.split(",")):
        if not item and not rest.strip():
            continue
        key, equals, value = (part.strip() for part in item.partition("="))
        if key not in parameters:
            raise checks.unknown(f"key of {name}", key, parameters)
        if not equals or not value:
            raise ValueError(f"{name}: {key} has no value; write {key}=VALUE")
        if key in given:
            raise ValueError(f"{name}: {key} is given twice; drop one")
        given[key] = value
    missing = [k for k, p in parameters.items() if p.default is p.empty and k not in given]
    if missing:
        example = ",".join(f"{key}=..." for key in missing)
        raise ValueError(f"{name} needs {', '.join(missing)}; write {name}:{example}")
    return name, given


def _parameters(name: str) -> dict[str, inspect.Parameter]:
    """Of a policy, without the length."""
    return dict(list(inspect.signature(POLICIES[name]).parameters.items())[1:])


def _value(key: str, text: str, annotation: str, total: int) -> Any:
    """`text` as the type that the policy's signature names."""
    if annotation.startswith("Sequence"):
        return [_value(key, part.strip(), "int", total) for part in text.split("+")]
    if annotation == "str":
        return text
    if text.lower() == "none" and "None" in annotation:
        return None
    try:
        if annotation == "int" and text.endswith("%"):
            return round(float(text[:-1]) / 100 * total)
        return int(text) if annotation == "int" else float(text)
    except (ValueError, OverflowError):
        kind = "a whole number of steps or a percentage of them" if annotation == "int" else "a number"
        raise ValueError(f"{key} must be {kind}, got {text!r}") from None
