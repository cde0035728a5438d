"""An append-only file of rows, one strict JSON object a line, whole after any crash."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import RunError, explained
from .plain import dumps

BUFFER_BYTES = 64 * 1024
BUFFER_SECONDS = 2.0


class RowLog:
    """Appends rows, in a buffer that is written out when it is large, old, or asked to.

    On opening, a half-written last line (a crash, a power cut) is cut off. A write that fails part-way (full disk) is
    taken back, so that the file stays whole; its rows stay in the buffer for a later `flush`.

    Args:
        path: the file; made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with explained(path):
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - held open until close()
            self._size = _whole_bytes(self._file)
            self._file.truncate(self._size)
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._written_at = time.monotonic()

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row; NaN and infinity become null.

        Raises:
            ValueError: the row is not a mapping of plain values.
            RunError: the buffer was due and could not be written.
        """
        line = dumps(row).encode() + b"\n"
        self._buffer.append(line)
        self._buffered += len(line)
        if self._buffered >= BUFFER_BYTES or time.monotonic() - self._written_at >= BUFFER_SECONDS:
            self.flush()

    def flush(self, *, sync: bool = False) -> None:
        """Hand the buffered rows to the system; with `sync`, wait until the disk has them.

        Raises: RunError: full disk or file limit; the file holds whole lines still.
        """
        with explained(self.path):
            if self._buffer:
                rows, self._buffer, self._buffered = self._buffer, [], 0  # first: no interrupt writes them twice
                try:
                    self._write(b"".join(rows))
                except OSError:  # the file holds whole lines still, and none of these
                    self._buffer, self._buffered = rows, sum(map(len, rows))
                    raise
            self._written_at = time.monotonic()
            if sync:
                os.fsync(self._file.fileno())

    def truncate(self, after_step: int) -> int:
        """Drop the first row whose "step" is above `after_step`, and all after it.

        Returns: how many rows were dropped. Rows without "step" before that one stay.
        """
        self.flush()
        keep, dropped = None, 0
        for offset, row in _numbered(self.path):
            step = row.get("step")
            if keep is None and step is not None and step > after_step:
                keep = offset
            dropped += keep is not None
        if keep is not None:
            with explained(self.path):
                self._file.truncate(keep)
                os.fsync(self._file.fileno())
            self._size = keep
        return dropped

    def close(self) -> None:
        """Write what is buffered and close the file, even where the writing fails."""
        try:
            self.flush()
        finally:
            self._file.close()

    def _write(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += self._file.write(memoryview(data)[done:]) or 0
        except OSError:
            self._file.truncate(self._size)
            raise
        self._size += len(data)


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """All whole rows of a run directory, or of its `rows.jsonl`; a half-written last line is left out.

    Args:
        path: the run directory or the file; where there is none, there are no rows.
    Returns: the rows in order.
    Raises: RunError: a line in the middle is damaged, or the file cannot be read.
    """
    path = Path(path)
    path = path / "rows.jsonl" if path.is_dir() else path
    return [row for _, row in _numbered(path)] if path.exists() else []


def _numbered(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(byte offset, row) of every whole line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; check the path and its permissions") from error
    offset, lines = 0, data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        row = _row(line)
        if row is not None:
            yield offset, row
        elif any(_row(later) is not None for later in lines[number:]):
            raise RunError(f"{path}, line {number} is damaged; delete the run directory and run it again")
        else:
            return  # the tail that a crash left
        offset += len(line) + 1


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(row, dict) and isinstance(row.get("step", 0), int | float | None)
    return row if whole else None


def _whole_bytes(file: Any) -> int:
    """Length of the file up to its last whole line that is a row."""
    file.seek(0)
    data = file.read()
    end = data.rfind(b"\n") + 1
    while end:
        start = data.rfind(b"\n", 0, end - 1) + 1
        if _row(data[start : end - 1]) is not None:
            break
        end = start  # a line that is none: zeros after a power cut
    return end
