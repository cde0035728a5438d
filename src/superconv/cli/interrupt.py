"""Ctrl-C, SIGTERM and a closed terminal in a verb: one sentence, the command that goes on, and status 130."""

from __future__ import annotations

import _thread
import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from .stopped import command_again

EXIT_INTERRUPTED = 130
_LATER_SECONDS = 0.05
_HANGUP = getattr(signal, "SIGHUP", None)  # the terminal is closed


def interruptible(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb; where a signal leaves it, what that means for what was done is said.

    A scheduler's SIGTERM and a hangup are Ctrl-C, so that everything is tidied up likewise; verbs that end at a
    checkpoint catch them themselves (`StopSignal.listening`).
    """

    @functools.wraps(verb)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            with _signals_interrupt():
                verb(*args, **kwargs)
        except KeyboardInterrupt:
            text = "superconv: interrupted; what was finished is kept, and the same command again does the rest:"
            print(f"{text}\n{command_again()}", file=sys.stderr)
            raise typer.Exit(EXIT_INTERRUPTED) from None

    return call


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a hangup raise KeyboardInterrupt in the block, but not before an import of torch is over.

    torch imports numpy from C, and takes whatever goes wrong there for a numpy that cannot be used: an interrupt would
    be lost, and numpy with it. A signal that comes meanwhile is sent again a little later.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    later: list[threading.Timer] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not _in_torch_import(frame):
            if number == _HANGUP:
                signal.signal(number, signal.SIG_IGN)  # the shell sends a second one, into the tidying up
            raise KeyboardInterrupt
        later.append(threading.Timer(_LATER_SECONDS, _send, (number,)))
        later[-1].daemon = True
        later[-1].start()

    caught = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell ignores it in the background
        caught.append(signal.SIGINT)
    if _HANGUP is not None and signal.getsignal(_HANGUP) is signal.SIG_DFL:  # nohup ignores it
        caught.append(_HANGUP)
    previous = {number: signal.signal(number, interrupt) for number in caught}
    try:
        yield
    finally:
        for timer in later:
            timer.cancel()
        for number, handler in previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _in_torch_import(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "torch":
            return True
        frame = frame.f_back
    return False


def _send(number: int) -> None:
    if sys.platform == "win32":
        _thread.interrupt_main(number)
    else:  # a real one, which ends waiting too
        signal.pthread_kill(threading.main_thread().ident or 0, number)
