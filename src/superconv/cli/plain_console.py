"""A console that prints text as it is: brackets and colons in names and messages are no markup."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def plain_console(*, stderr: bool = False) -> Console:
    """rich's console without its little languages.

    With them "[demo]" is a style and vanishes, "[/x]" ends the program, and ":x:" is a picture; what is printed here
    has names of others in it.
    """
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False)
