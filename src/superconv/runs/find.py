"""All run directories under a root, damaged ones reported and not hidden."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from .errors import RunError
from .read import read_json, read_run_file
from .rows import read_rows

State = Literal["absent", "unfinished", "finished", "damaged"]

_FOLDER = re.compile(r"seed(\d+)-([0-9a-f]{10})")


@dataclass(frozen=True)
class FoundRun:
    """What lies in one run directory.

    Args:
        path: the directory.
        experiment: folder names say it, so that it is known of a damaged run too.
        arm: likewise.
        seed: likewise.
        hash: likewise.
        state: "unfinished", "finished" or "damaged".
        config: what was asked; empty where damaged.
        info: versions and the like; empty where damaged.
        summary: None where unfinished or damaged.
        problem: of a damaged run, in a sentence; else empty.
    """

    path: Path
    experiment: str
    arm: str
    seed: int
    hash: str
    state: State
    config: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] | None = None
    problem: str = ""

    def rows(self) -> list[dict[str, Any]]:
        """The run's rows.

        Raises: RunError: a line in the middle is damaged.
        """
        return read_rows(self.path)


def find_runs(root: str | Path) -> list[FoundRun]:
    """Run directories `root/experiment/arm/seed<k>-<hash>`, by experiment, arm, seed and hash.

    Args:
        root: folder of all runs; one that does not exist holds none.
    Returns: one value each; a directory that cannot be read is "damaged" with its problem, and stops nothing.
    """
    folders = [path for path in Path(root).glob("*/*/seed*-*") if path.is_dir() and _FOLDER.fullmatch(path.name)]
    return sorted((found_run(path) for path in folders), key=lambda run: (run.experiment, run.arm, run.seed, run.hash))


def state_of(path: str | Path) -> State:
    """The state of one run directory; "absent" where there is none.

    Args:
        path: the run directory.
    """
    path = Path(path)
    return found_run(path).state if path.is_dir() and _FOLDER.fullmatch(path.name) else "absent"


def found_run(path: Path) -> FoundRun:
    """What lies in a run directory, named as `open_run` names it; one that cannot be read is "damaged"."""
    match = _FOLDER.fullmatch(path.name)
    assert match is not None
    blank = FoundRun(path, path.parent.parent.name, path.parent.name, int(match[1]), match[2], "unfinished")
    try:
        record = read_run_file(path)
        done = path / "summary.json"
        summary = read_json(done) if done.exists() else None
    except RunError as error:
        return replace(blank, state="damaged", problem=str(error))
    state: State = "unfinished" if summary is None else "finished"
    return replace(blank, state=state, config=record["config"], info=record["info"], summary=summary)
