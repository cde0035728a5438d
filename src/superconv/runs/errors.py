"""What can go wrong with a run directory, each in one sentence with its remedy."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RunError(ValueError):
    """A run directory cannot be used: the message says what, where and what to do."""


class RunLocked(RunError):
    """Another process writes this run directory.

    Args:
        path: the run directory.
        pid: the other process, None where it could not be read.
        host: the machine it runs on, likewise.
    """

    def __init__(self, path: Path, pid: int | None, host: str | None) -> None:
        self.path, self.pid, self.host = path, pid, host
        who = f"process {pid} on {host}" if pid is not None else "another process"
        super().__init__(f"{path} is being written by {who}; wait for it to end, or stop it, then run this again")

    def __reduce__(self) -> tuple[type[RunLocked], tuple[Path, int | None, str | None]]:
        return type(self), (self.path, self.pid, self.host)  # so that it travels from a worker process


_AGAIN = "run the same command again: what was finished is kept"
_DENIED = ("writing there is not allowed", "choose another directory for the runs, or change its permissions")
_IN_THE_WAY = ("a file stands where a directory is needed, or the reverse", "move it, or choose another directory")
_FULL = ("the disk or the quota is full", f"free some space, then {_AGAIN}")
_KNOWN = {
    errno.ENOSPC: _FULL,
    getattr(errno, "EDQUOT", errno.ENOSPC): _FULL,  # Windows has no quota error
    errno.EFBIG: ("the file would exceed the allowed size", f"raise the limit (ulimit -f), then {_AGAIN}"),
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: _DENIED,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
}


def explain(error: OSError, path: Path) -> RunError:
    """The operating system's refusal to write `path`, as one sentence with the remedy."""
    other = (error.strerror or type(error).__name__, f"check the disk and the path, then {_AGAIN}")
    why, remedy = _KNOWN.get(error.errno or 0, other)
    return RunError(f"cannot write {path}: {why}; {remedy}")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a RunError about `path`."""
    try:
        yield
    except OSError as error:
        raise explain(error, path) from error
