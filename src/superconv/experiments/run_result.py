"""What a run left behind, here or as it was found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..records import StopReason
from ..runs import RunError


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    Args:
        summary: the content of summary.json; None where the run is unfinished.
        stop: why it ended.
        path: its directory.
        steps: updates done.
        skipped: True where it was found finished and nothing was done.
    """

    summary: dict[str, Any] | None
    stop: StopReason
    path: Path
    steps: int
    skipped: bool = False

    @classmethod
    def found(cls, summary: dict[str, Any], path: Path) -> RunResult:
        """Of a finished run. Raises: RunError: its summary says no stop and steps."""
        try:
            stop, steps = StopReason(summary["stop"]), int(summary["steps"])
        except (KeyError, ValueError, TypeError):
            where = path / "summary.json"
            raise RunError(
                f"{where} is damaged: no stop and steps; delete the run directory and run it again"
            ) from None
        return cls(summary, stop, path, steps, skipped=True)
