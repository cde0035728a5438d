"""Where an error of the user's code came from, in words."""

from __future__ import annotations

import traceback
from pathlib import Path


def told(error: BaseException) -> str:
    """Its kind, what it says, and its line."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" (line {frames[-1].lineno} of {Path(frames[-1].filename).name})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
