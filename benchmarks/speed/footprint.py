"""What a call leaves or takes beside time: peak tensor memory, and files in the working and temporary directories."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(call: Callable[[], object]) -> int:
    """Most bytes that torch's CPU allocator held above where it stood when `call` began.

    Summed from the profiler's record of every allocation and release.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        call()
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def nbytes(tensors: list[torch.Tensor]) -> int:
    """Bytes of tensors that share no storage."""
    return sum(tensor.nbytes for tensor in tensors)


class FileWatch:
    """Notices files, also those that are gone again: a directory's time of change moves when an entry comes or goes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: set[str] = set()
        # A time of change far back: two entries in one tick of the clock would else look like none.
        for place in (folder / "work", folder / "temp"):
            os.utime(place, (0, 0))

    def look(self) -> None:
        """Note what lies there now."""
        for path in self.folder.rglob("*"):
            if path.is_file():
                self.seen.add(f"{path.suffix or path.name} {path.stat().st_size / 1e6:.1f} MB")

    def verdict(self) -> str:
        """What was written, or "none"."""
        self.look()
        touched = any((self.folder / place).stat().st_mtime != 0 for place in ("work", "temp"))
        return ", ".join(sorted(self.seen)) or ("written and removed" if touched else "none")
