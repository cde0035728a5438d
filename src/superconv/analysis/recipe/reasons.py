"""A verdict's reasons as a search says them, which makes its range tests itself."""

from __future__ import annotations

import re
from collections.abc import Iterable

_REMEDY = re.compile(r"[:;] (?=(pass|lower|raise) \w+)")
NO_REFERENCE = "no reference LR: a larger budget holds the constant learning rates that a verdict compares with"


def of_search(reasons: Iterable[str]) -> tuple[str, ...]:
    """The reasons without the remedies that are arguments of a range test: a search has none of them.

    Example:
        >>> of_search(["the grid's best is its lowest; lower end_lr, or pass reference_lr=", "noise: use more steps"])
        ("the grid's best is its lowest", 'noise: use more steps')
    """
    told = (_REMEDY.split(reason)[0] if "reference_lr=" in reason else reason for reason in reasons)
    return tuple(NO_REFERENCE if reason == "no reference LR" else reason for reason in told)
