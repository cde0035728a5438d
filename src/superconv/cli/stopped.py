"""How a verb ends that was stopped before it was done."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, NoReturn

import typer

from ..training.launched import launched

if TYPE_CHECKING:
    from ..experiments.stopping import StopSignal


def end_stopped(stop: StopSignal) -> NoReturn:
    """Say why, and how to go on, on stderr (stdout is for results); exit 130 after a signal, 1 after a time limit."""
    reason = stop.reason()
    assert reason is not None
    print(f"{reason.message}; {reason.remedy}\n{command_again()}", file=sys.stderr)
    raise typer.Exit(130 if reason.value == "interrupted" else 1)


def command_again() -> str:
    """The command line that goes on, indented, as it can be pasted into a shell."""
    program = ["superconv"]
    if launched():
        ranks = os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"])
        program = ["torchrun", "--nproc-per-node", ranks, "-m", "superconv"]
    return "    " + shlex.join([*program, *sys.argv[1:]])
