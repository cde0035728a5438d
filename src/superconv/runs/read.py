"""The JSON files of a run directory, read with one clear sentence where they are damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .errors import RunError

FORMAT = 1  # of the directory's files; raised when an older reader would misread them

_FIELDS = {"experiment": str, "arm": str, "seed": int, "hash": str, "config": dict, "info": dict}
_REMEDY = "delete the run directory and run it again"
_WITHHELD = "check the path and its permissions"  # what is there and not given may be whole


def read_json(path: Path, remedy: str = _REMEDY) -> dict[str, Any]:
    """One JSON object.

    Args:
        remedy: what to do where it is missing or damaged; by default that of a run directory.
    Raises: RunError: the file is missing, unreadable, or holds something else.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        remedy = remedy if isinstance(error, FileNotFoundError) else _WITHHELD
        raise RunError(f"cannot read {path}: {error.strerror}; {remedy}") from error
    except (ValueError, RecursionError) as error:
        if path.suffix != ".json":  # named by a user: superconv's own all end so
            raise RunError(
                f"{path} is no JSON file of superconv ({error}); pass the .json file that superconv wrote, such as an "
                "experiment's recipe.json"
            ) from error
        raise RunError(f"{path} is damaged: {error}; {remedy}") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged: no JSON object; {remedy}")
    return value


def read_run_file(folder: Path) -> dict[str, Any]:
    """The `run.json` of a run directory, with all its fields.

    Raises: RunError: it is missing, damaged, or of another format.
    """
    path = folder / "run.json"
    record = read_json(path)
    if record.get("format") != FORMAT:
        raise RunError(
            f"{path} has format {record.get('format')!r}, this version of superconv reads {FORMAT}; "
            "use the version that wrote it, or choose another directory for the runs"
        )
    for key, kind in _FIELDS.items():
        if not isinstance(record.get(key), kind):
            raise RunError(f"{path} is damaged: {key!r} is missing; {_REMEDY}")
    return record
