"""What an error says, in one line; some say nothing."""

from __future__ import annotations


def line_of(error: BaseException, which: int = 0) -> str:
    """The first line of its message, or another; its class where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[which].strip() if lines else type(error).__name__


def kind_and_line_of(error: BaseException) -> str:
    """Its class and the first line of its message; the class alone where it says nothing."""
    kind = type(error).__name__
    return f"{kind}: {line_of(error)}" if str(error).strip() else kind
