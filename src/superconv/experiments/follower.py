"""A run directory among ranks: the first rank's own, and what the others have in its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import runs
from ..training.distributed import on_first_rank, rank, together

Place = tuple[str | Path, str, str, int, dict[str, Any]]  # root, experiment, arm, seed, config


class Follower:
    """In place of a `Run` on a rank that is not the first: it knows the path, and writes nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: Mapping[str, Any]) -> None:
        """The first rank does."""

    def write_checkpoint(self, content: Any) -> None:
        """The first rank does."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """The first rank does."""

    def discard_checkpoints(self) -> None:
        """The first rank does."""

    def close(self) -> None:
        """There is nothing to close."""

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_together(place: Place, info: Mapping[str, Any]) -> runs.Run | Follower:
    """The run directory of `open_run(*place, info)`, locked by the first rank.

    Raises: what the first rank raised, on every rank: the directory is in use, cannot be written, or is damaged.
    """
    if rank() == 0:
        return together(lambda: runs.open_run(*place, info).lock())
    together(lambda: None)
    return Follower(runs.run_path(*place))


def summary_in(run: runs.Run | Follower) -> dict[str, Any] | None:
    """The summary in an open directory, as the first rank reads it; None: unfinished."""
    return on_first_rank(lambda: run.summary() if isinstance(run, runs.Run) else None)


def summary_of(place: Place) -> dict[str, Any] | None:
    """The summary of a finished run as the first rank reads it; None: unfinished, or not begun."""

    def read() -> dict[str, Any] | None:
        if runs.state_of(runs.run_path(*place)) != "finished":
            return None
        return runs.open_run(*place).summary()

    return on_first_rank(read)
