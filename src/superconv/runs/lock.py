"""An exclusive lock of the operating system on a folder: it vanishes with the process that holds it."""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import RunError, RunLocked, explained

_BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


class FolderLock:
    """Held by one object in one process at a time; released by `release`, or when the process ends in any way.

    The lock is on the file `.lock`, which stays; what it holds (process id and host) is only for the message. A forked
    child (a DataLoader's worker) does not keep the lock of a parent that was killed: it closes its copy when it starts.
    Where a file system offers no locks, a RuntimeWarning says so and writing goes on.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._handle: int | None = None

    def check(self) -> None:
        """Make sure that the folder is still the one that was locked.

        Raises: RunError: it was removed meanwhile, and another may stand in its place, with another's lock.
        """
        path = self.folder / ".lock"
        if self._handle is not None and not _is_open_as(self._handle, path):
            raise RunError(f"{self.folder} was removed while it was written; run the same command again")

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._handle is not None

    def acquire(self) -> None:
        """Take the lock, at once or not at all.

        Raises:
            RunLocked: another process, or another object of this one, holds it.
            RunError: the lock file cannot be opened.
        """
        if self.held:
            return
        path = self.folder / ".lock"
        with explained(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle)
        except OSError as error:
            if error.errno in _BUSY:
                owner = _owner(handle)
                os.close(handle)
                raise RunLocked(self.folder, *owner) from None
            warnings.warn(
                f"{self.folder}: the file system has no locks ({error.strerror}); "
                "make sure that only one process writes these runs, or put them on a local disk",
                RuntimeWarning,
                stacklevel=3,
            )
        if not _is_open_as(handle, path):  # who held it removed the folder before letting go
            os.close(handle)
            raise RunLocked(self.folder, None, None)
        self._handle = handle
        _held.add(self)
        text = json.dumps({"pid": os.getpid(), "host": platform.node()}).encode()
        try:
            with explained(path):
                os.ftruncate(handle, 0)
                os.pwrite(handle, text, 0) if hasattr(os, "pwrite") else os.write(handle, text)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the lock back; nothing happens where it is not held."""
        if self._handle is not None:
            os.close(self._handle)  # closing the only handle unlocks
            self._handle = None
            _held.discard(self)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process after another into the block, for a file that is read, added to, and written again.

    The lock is on the folder itself, so that nothing is left in it. Where there are none (Windows, some network file
    systems) nobody waits.

    Args:
        folder: an existing folder.
    """
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _is_open_as(handle: int, path: Path) -> bool:
    """Whether the open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def _owner(handle: int) -> tuple[int | None, str | None]:
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        owner = json.loads(os.read(handle, 4096))
        return int(owner["pid"]), str(owner["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, None


def _drop_inherited() -> None:
    for lock in list(_held):
        lock.release()


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        """Lock one byte far behind the text, so that the text stays readable to the others."""
        os.lseek(handle, 1 << 30, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    # closing a copy does not unlock; only the parent's own closing or end does
    os.register_at_fork(after_in_child=_drop_inherited)
