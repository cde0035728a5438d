"""One run directory: asked, written row by row, finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

from .atomic import TEMPORARY, atomic_write
from .errors import RunError, explained
from .folder_names import check_name
from .lock import FolderLock
from .plain import canonical, dumps, identity, plain
from .read import FORMAT, read_json, read_run_file
from .rows import RowLog, read_rows


class Run:
    """A run directory that `open_run` has opened. Reading needs no lock; the first write takes it.

        run.json        format, experiment, arm, seed, hash, config, info: written first
        rows.jsonl      rows, append-only
        checkpoint.pt   whatever the caller writes to go on from
        previous.pt     the checkpoint before it
        summary.json    written last, by atomic rename: its presence means finished
        .lock           see `FolderLock`

    Example:
        with run.lock():
            run.truncate_rows(checkpoint_step)     # what was written after the checkpoint is made again
            for step in ...:
                run.append({"step": step, "loss": loss})
            run.finish({"accuracy": accuracy})
    """

    def __init__(self, path: Path, record: Mapping[str, Any]) -> None:
        self.path = path
        self.record = record
        self._lock = FolderLock(path)
        self._log: RowLog | None = None

    @property
    def state(self) -> Literal["unfinished", "finished"]:
        """As it is on disk now."""
        return "finished" if (self.path / "summary.json").exists() else "unfinished"

    @property
    def config(self) -> dict[str, Any]:
        """What was asked, as it was stored: the identity."""
        return self.record["config"]

    @property
    def info(self) -> dict[str, Any]:
        """What else was known when the run was first opened (versions, device): not part of the identity."""
        return self.record["info"]

    @property
    def checkpoint_path(self) -> Path:
        """Where the state to go on from lies, if there is one."""
        return self.path / "checkpoint.pt"

    def checkpoints(self) -> list[Path]:
        """The checkpoints that there are, the newest first: should it turn out damaged, there is the one before."""
        return [path for path in (self.checkpoint_path, self._previous) if path.exists()]

    def discard_checkpoints(self) -> None:
        """Remove them: the run is finished, or they are of no use. Nothing happens where there are none."""
        for path in self.checkpoints():
            path.unlink(missing_ok=True)

    def lock(self) -> Run:
        """Take the directory for this process; also a context manager, which gives it back and closes the files.

        Cuts a half-written last row, and removes temporary files that a killed process left.

        Raises:
            RunLocked: another process writes it.
            RunError: the directory cannot be written.
        """
        if not self._lock.held:
            self._lock.acquire()
            try:
                with explained(self.path):
                    for litter in self.path.glob(f".*{TEMPORARY}"):
                        litter.unlink(missing_ok=True)
            except BaseException:
                self._lock.release()
                raise
        return self

    def __enter__(self) -> Run:
        return self.lock()

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row (buffered, see `RowLog`).

        Raises: RunError: the run is finished, locked by another, or the disk is full.
        """
        self._writable().append(row)

    def flush(self, *, sync: bool = False) -> None:
        """Write buffered rows; with `sync`, wait for the disk.

        Raises: RunError: the disk is full.
        """
        if self._log is not None:
            self._log.flush(sync=sync)

    def truncate_rows(self, after_step: int) -> int:
        """Drop the rows from the first whose "step" is above `after_step`; -1 drops all that have a step.

        Returns: how many were dropped.
        """
        return self._writable().truncate(after_step)

    def rows(self) -> list[dict[str, Any]]:
        """All rows, those still in the buffer too.

        Raises: RunError: a line in the middle is damaged.
        """
        self.flush()
        return read_rows(self.path)

    def write_checkpoint(self, content: bytes | Callable[[BinaryIO], object]) -> None:
        """Write a checkpoint atomically, after the rows up to it are on the disk: it never runs ahead of them.

        The one before is kept beside it, and the one before that removed.

        Raises: RunError: the run is finished, locked by another, removed, or the disk is full; the old ones are kept.
        """
        self._writable().flush(sync=True)
        self._lock.check()
        atomic_write(self.checkpoint_path, content, keep=self._previous)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, after all rows are on the disk. From then on the run is finished and refuses rows.

        Raises: RunError: it is finished already, locked by another, removed, or the disk is full.
        """
        text = dumps(summary, indent=1)
        self._writable().flush(sync=True)
        self._lock.check()
        atomic_write(self.path / "summary.json", text + "\n")

    def summary(self) -> dict[str, Any] | None:
        """The summary; None while unfinished.

        Raises: RunError: the file is damaged.
        """
        path = self.path / "summary.json"
        return read_json(path) if path.exists() else None

    def close(self) -> None:
        """Write what is buffered and give the lock back. The run may be written again later."""
        log, self._log = self._log, None
        try:
            if log is not None:
                log.close()
        finally:
            self._lock.release()

    @property
    def _previous(self) -> Path:
        return self.path / "previous.pt"

    def _writable(self) -> RowLog:
        if self.state == "finished":
            raise RunError(f"{self.path} is finished; delete the directory to run it again")
        self.lock()
        if self._log is None:
            self._log = RowLog(self.path / "rows.jsonl")
        return self._log


def open_run(
    root: str | Path,
    experiment: str,
    arm: str,
    seed: int,
    config: Mapping[str, Any],
    info: Mapping[str, Any] | None = None,
) -> Run:
    """Open `root/experiment/arm/seed<k>-<hash>`, and make it where it is not there.

    Args:
        root: folder of all runs.
        experiment: its name; letters, digits, spaces and ._+=@,- only, as it is a folder (`folder_name` makes one).
        arm: likewise.
        seed: of this run.
        config: everything that changes the result: its hash is the identity, so that the same run is found again.
        info: what does not (versions, device, git revision): stored when the run is first opened.
    Returns: a Run; its `state` says whether there is anything left to do. Nothing is locked yet.
    Raises:
        ValueError: a name that is no folder name, a negative seed, or a value that JSON cannot hold.
        RunError: the directory cannot be made or written, its run.json is damaged or of another format.
    """
    experiment_path(root, experiment)
    check_name("arm", arm)
    if seed < 0:
        raise ValueError(f"seed is {seed}, allowed is 0 or more")
    path = run_path(root, experiment, arm, seed, config)
    if (path / "run.json").exists():
        return Run(path, _matching(path, config))
    record = {"format": FORMAT, "experiment": experiment, "arm": arm, "seed": int(seed), "hash": identity(config)}
    record["config"] = plain(config, nonfinite="name")
    record["info"] = plain(dict(info or {}), nonfinite="name")
    try:
        atomic_write(path / "run.json", dumps(record, indent=1) + "\n", parents=True)
    except RunError:  # nothing is locked yet: who wrote it meanwhile took our temporary file for litter
        if not (path / "run.json").exists():
            raise
        return Run(path, _matching(path, config))
    return Run(path, record)


def experiment_path(root: str | Path, experiment: str) -> Path:
    """Where the runs of an experiment lie; nothing is made.

    Raises: ValueError: a name that is no folder name. TypeError: `root` is no path, or the name no string.
    """
    if not isinstance(root, (str, Path)):
        raise TypeError(f"root must be a folder's path, got {root!r}")
    check_name("experiment", experiment)
    return Path(root) / experiment


def run_path(root: str | Path, experiment: str, arm: str, seed: int, config: Mapping[str, Any]) -> Path:
    """Where `open_run` puts a run; nothing is made."""
    return Path(root) / experiment / arm / f"seed{seed}-{identity(config)}"


def _matching(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    record = read_run_file(path)
    if canonical(record["config"]) != canonical(config):
        raise RunError(f"{path / 'run.json'} holds another config than this run's; move or delete the directory")
    return record
