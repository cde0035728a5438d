"""Ending a training between two steps: by a signal, or when its time is over."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ..records import StopReason
from ..training.distributed import largest_over_ranks

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
HANGUP = getattr(signal, "SIGHUP", None)  # the terminal is closed
_REASONS = (None, StopReason.time_limit, StopReason.interrupted)


class StopSignal:
    """Asked between two steps: is there a reason to stop here?

    Args:
        max_minutes: stop when this much time has passed since the object was made; None: no limit.
        event: a threading or multiprocessing event that another thread or process sets to stop this one.
    """

    def __init__(self, max_minutes: float | None = None, event: Any = None) -> None:
        if max_minutes is not None and not max_minutes > 0:
            raise ValueError(f"max_minutes must be positive, got {max_minutes}")
        self._deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        self._signalled = False
        self._event = event

    def reason(self) -> StopReason | None:
        """`interrupted`, `time_limit`, or None to go on. Among ranks all must ask, and get the same answer."""
        own = 0
        if self._deadline is not None and time.monotonic() >= self._deadline:
            own = 1
        if self._signalled or (self._event is not None and self._event.is_set()):
            own = 2
        return _REASONS[largest_over_ranks(own)]

    @contextmanager
    def listening(self) -> Iterator[StopSignal]:
        """Ctrl-C, SIGTERM and a closed terminal set `reason` while the block runs; a second signal interrupts at once.

        A hangup never does: the system and the shell both send one. Under nohup it stays without effect.
        Outside the main thread signals cannot be caught and are left alone.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return

        def handle(number: int, frame: FrameType | None) -> None:
            if self._signalled and number != HANGUP:
                raise KeyboardInterrupt
            self._signalled = True

        caught = [number for number in SIGNALS if number != HANGUP or signal.getsignal(number) is not signal.SIG_IGN]
        previous = {number: signal.signal(number, handle) for number in caught}
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
