"""experiment.json: what an experiment showed, and the call that made it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import runs
from ..callers_level import callers_level
from ..runs.read import read_json

NAME = "experiment.json"
_OF_THE_CALL = ("command", "seconds")


def store_conclusion(folder: Path, conclusion: Mapping[str, Any], seconds: float) -> None:
    """Write what the report shows above the runs.

    A later call that says the same found everything: command and seconds stay those of the call that did the work.

    Args:
        folder: the experiment's.
        conclusion: kind, title, sentence, findings, tables, note, and what else belongs to its kind.
        seconds: wall time of this call.
    Raises: RunError: the file cannot be written.
    """
    path = folder / NAME
    record = {"format": 1, "name": folder.name, **conclusion}
    call = {"command": runs.environment()["command"], "seconds": round(seconds, 1)}
    runs.atomic_write(path, runs.dumps({**record, **(_first_call(path, record) or call)}, indent=1) + "\n")


def warn_of_another(folder: Path, task: str) -> None:
    """Say before the work which other task's conclusion its own will replace; one that cannot be read is no loss."""
    try:
        other = read_json(folder / NAME).get("task", task)  # older ones do not say
    except (runs.RunError, OSError):
        return
    if other != task:
        warnings.warn(
            f"{folder / NAME} says what was found for {other!r} and will be replaced by what is found for {task!r}; "
            "another experiment= keeps both",
            stacklevel=callers_level(),
        )


def _first_call(path: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of an earlier call with the same conclusion; None where there is none."""
    try:
        there = read_json(path)
    except (runs.RunError, OSError):
        return None
    call = {key: there.pop(key) for key in _OF_THE_CALL if key in there}
    return call if len(call) == len(_OF_THE_CALL) and runs.dumps(there) == runs.dumps(record) else None
