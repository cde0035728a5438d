"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from .errors import explained

_NOT_FOR_FOLDERS = {errno.EINVAL, errno.EBADF, errno.ENOTSUP}  # what network file systems answer that flush none
TEMPORARY = ".tmp"  # suffix of the files that become others; what a killed process left of them is litter


def atomic_write(
    path: str | Path, content: bytes | str | Callable[[BinaryIO], object], *, keep: Path | None = None,
    parents: bool = False,
) -> Path:  # fmt: skip
    """As `write_whole`, whose refusals become sentences with a remedy.

    Args:
        parents: whether the folder is made where it is missing. A run's is not: someone has deleted the run.
    Raises: RunError: the disk is full, the folder is missing or not writable. What else `content` raises passes.
    """
    path = Path(path)
    with explained(path):
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        return write_whole(path, content, keep=keep)


def write_whole(path: Path, content: bytes | str | Callable[[BinaryIO], object], *, keep: Path | None = None) -> Path:
    """Write a file so that a reader, a crash or a full disk sees the old one or the new one, never a part.

    A temporary file in the same folder is written, flushed to the disk, and renamed over `path`; then the folder is
    flushed. Whatever goes wrong, the temporary file is removed and the old file is as it was.

    Args:
        path: the file; its folder exists.
        content: bytes, text (UTF-8), or a function that writes to the binary file it is given
            (`lambda file: torch.save(state, file)`).
        keep: where the old file stays, once the new one is on the disk; None: nowhere.
    Returns: `path`.
    Raises: OSError: the disk is full, the folder is missing or not writable; its `filename` is `path`. What else
        `content` raises passes.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}{TEMPORARY}")
    try:
        _write_and_flush(temporary, content)
        if keep is not None and path.exists():
            _also_named(path, keep)
        os.replace(temporary, path)
        flush_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # a full disk's names no file, others the temporary one
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    return path


def flush_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system can."""
    if os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # the file itself is written and flushed
        if error.errno not in _NOT_FOR_FOLDERS:
            raise
    finally:
        os.close(handle)


def _also_named(path: Path, other: Path) -> None:
    """Give a file a second name, so that the first is never without one; where there are no links, move it."""
    other.unlink(missing_ok=True)
    try:
        os.link(path, other)
    except OSError:
        os.replace(path, other)


class _RememberingFile(io.FileIO):
    """A file that remembers the system's refusal: torch.save turns a full disk into an unrelated RuntimeError."""

    refusal: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.refusal = error
            raise


def _write_and_flush(path: Path, content: bytes | str | Callable[[BinaryIO], object]) -> None:
    # not made by tempfile, so that the file gets the permissions that the umask grants
    raw = _RememberingFile(path, "xb")
    try:
        with io.BufferedWriter(raw) as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
    except Exception as error:
        if raw.refusal is not None and error is not raw.refusal:
            raise raw.refusal from error
        raise
