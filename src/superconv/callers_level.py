"""Where a warning points to: the line of a program of one's own that called this package."""

from __future__ import annotations

import sys

_OURS = ("superconv", "contextlib")


def callers_level() -> int:
    """What `stacklevel` a warning of the calling function needs for the first line outside this package.

    contextlib counts as part of it: a block that is left calls through it.
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1
    return level
