"""How a verb ends that was stopped before it was done."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from ..experiments.stopping import StopSignal


def end_stopped(stop: StopSignal) -> NoReturn:
    """Say why, and how to go on; exit 130 after a signal, 1 after a time limit."""
    reason = stop.reason()
    assert reason is not None
    print(f"{reason.message}; {reason.remedy}")
    raise typer.Exit(130 if reason.value == "interrupted" else 1)
