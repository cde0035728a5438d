"""Ctrl-C and SIGTERM in a verb: one sentence, the command that goes on, and status 130."""

from __future__ import annotations

import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from .stopped import command_again

EXIT_INTERRUPTED = 130


def interruptible(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb; where a signal leaves it, what that means for what was done is said.

    A scheduler's SIGTERM is Ctrl-C, so that everything is tidied up likewise; verbs that end at a checkpoint catch
    both themselves (`StopSignal.listening`).
    """

    @functools.wraps(verb)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            with _sigterm_interrupts():
                verb(*args, **kwargs)
        except KeyboardInterrupt:
            text = "superconv: interrupted; what was finished is kept, and the same command again does the rest:"
            print(f"{text}\n{command_again()}", file=sys.stderr)
            raise typer.Exit(EXIT_INTERRUPTED) from None

    return call


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous if previous is not None else signal.SIG_DFL)
