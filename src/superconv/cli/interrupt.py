"""Ctrl-C in a verb: one sentence and status 130, where typer would end in silence."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import typer

EXIT_INTERRUPTED = 130


def interruptible(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb; where Ctrl-C leaves it, what that means for what was done is said."""

    @functools.wraps(verb)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            verb(*args, **kwargs)
        except KeyboardInterrupt:
            text = "superconv: interrupted; what was finished is kept, and the same command again does the rest"
            print(text, file=sys.stderr)
            raise typer.Exit(EXIT_INTERRUPTED) from None

    return call
