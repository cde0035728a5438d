"""What a search may cost, from what a user writes: updates, a share of the planned training, or minutes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_FORMS = "a whole number of updates (400), a share of the planned training (0.1 or '10%'), or minutes ('5min')"
_TEXT = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*(%|min|minutes?)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Allowance:
    """Either `updates` or `seconds`; the other is None."""

    updates: int | None
    seconds: float | None


def parse_allowance(budget: int | float | str, steps: int) -> Allowance:
    """The allowance that `budget` states.

    Args:
        budget: an int, updates; a float below 1, or text with a percent sign, a share of `steps`; "5min", minutes.
        steps: length of the training that is planned.
    Raises: ValueError: none of these forms, or nothing left of it.
    Example:
        >>> parse_allowance("10%", 4000)
        Allowance(updates=400, seconds=None)
    """
    number, unit = _read(budget)
    if unit.startswith("min"):
        return Allowance(None, 60.0 * number)
    if unit == "%" or (isinstance(budget, float) or number % 1 != 0):
        share = number / 100 if unit == "%" else number
        if unit != "%" and share >= 1:
            raise ValueError(f"budget={budget!r} could be a share or updates; write '{100 * share:g}%' or {int(share)}")
        return Allowance(math.floor(share * steps + 1e-9), None)
    return Allowance(int(number), None)


def _read(budget: int | float | str) -> tuple[float, str]:
    match = _TEXT.fullmatch(str(budget)) if not isinstance(budget, bool) else None
    try:
        number = float(match.group(1)) if match is not None else math.nan
    except ValueError:
        number = math.nan
    if match is None or not (math.isfinite(number) and number > 0):
        raise ValueError(f"budget={budget!r} is not understood; write {_FORMS}")
    return number, (match.group(2) or "").lower()
