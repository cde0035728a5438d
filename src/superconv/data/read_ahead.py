"""Begins to read batches before they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

Place = tuple[int, int, int]  # epoch, first sample in its order, samples over all ranks


class Reading(Protocol):
    """A batch that is being read."""

    def wait(self) -> Any:
        """The batch. Raises: what went wrong with it."""

    def cancel(self) -> None:
        """Read no more of it than is being read already."""


class ReadAhead:
    """The batches that are being read, by their place in the order.

    It changes when a batch is read and never which: what a place holds does not depend on what was read before. So
    the order may jump (a restart, a resumption) without asking; what was begun in vain is cancelled at the next `take`.
    """

    def __init__(self) -> None:
        self._begun: dict[Place, Reading] = {}

    def take(self, place: Place, later: Iterable[Place], begin: Callable[[Place], Reading]) -> Reading:
        """The batch at `place`, which the caller waits for; those at `later` are on their way afterwards."""
        wanted = [place, *later]
        for stale in self._begun.keys() - set(wanted):
            self._begun.pop(stale).cancel()
        for each in wanted:
            if each not in self._begun:
                self._begun[each] = begin(each)
        return self._begun.pop(place)

    def clear(self) -> None:
        """Cancel everything."""
        for reading in self._begun.values():
            reading.cancel()
        self._begun.clear()

    def __reduce__(self) -> tuple[type[ReadAhead], tuple[()]]:
        """Copies and pickles begin with nothing under way."""
        return ReadAhead, ()
