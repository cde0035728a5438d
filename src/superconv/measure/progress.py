"""How a measurement tells where it stands: not at all, one line on stderr, or a function of the caller's."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ..records import StepRecord

Report = Callable[[str, int, int, StepRecord], None]
Progress = bool | Report


def reporter(progress: Progress) -> Report:
    """True: a line that is rewritten on stderr; a function (phase, done, total, record): itself; False: silence."""
    if callable(progress):
        return progress
    return _line if progress else _silent


def _silent(phase: str, done: int, total: int, record: StepRecord) -> None: ...


def _line(phase: str, done: int, total: int, record: StepRecord) -> None:
    end = "\n" if done == total else ""
    text = f"{phase} {done}/{total}  lr {record.lr[0]:.2e}  loss {float(record.loss):.4g}"
    print(f"\r{text:<70}", end=end, file=sys.stderr, flush=True)
