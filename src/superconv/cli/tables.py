"""Tables of plain data (title, columns, rows, note) in the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from .plain_console import plain_console

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_BETWEEN, _AROUND = 3, 2  # columns of the screen between two of a table, and at its two ends
_LONGEST = 32  # letters of a word that is never broken: a path may be longer than any screen


def print_tables(tables: Sequence[Mapping[str, Any]], justify: Literal["left", "right"] = "left") -> None:
    """Print them one below the other; a table too wide for whole words becomes a list."""
    console = plain_console()
    for content in tables:
        console.print(_table(content, console, justify), highlight=False)


def _table(content: Mapping[str, Any], console: Console, justify: Literal["left", "right"]) -> RenderableType:
    cells = [list(map(str, row)) for row in (content["columns"], *content["rows"])]
    widths = column_widths(cells, console.width)
    if widths is None:
        return _list(content, cells, console.width)
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=content["title"] or None, caption=content["note"] or None, box=SIMPLE_HEAD, pad_edge=False)
    for column, width in zip(cells[0], widths, strict=True):
        table.add_column(column, justify=justify, overflow="fold", width=width)
    for row in cells[1:]:
        table.add_row(*row)
    return table


def column_widths(cells: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Widths in which no word is broken, the widest columns narrowed first; None where there is no room for that.

    rich alone narrows columns below their words ("inconclu", then "sive").

    Args:
        cells: row by row, the columns' names among them.
        room: columns of the screen.
    """
    from rich.cells import cell_len

    by_column = list(zip(*cells, strict=True))
    words = [[word for cell in column for word in cell.split()] for column in by_column]
    least = [min(_LONGEST, max(map(cell_len, found), default=1)) for found in words]
    widths = [max(1, *map(cell_len, column)) for column in by_column]
    room -= _BETWEEN * (len(widths) - 1) + _AROUND
    if sum(least) > room:
        return None
    limit = max(widths, default=0)
    while sum(widths) > room:
        limit -= 1
        widths = [max(need, min(width, limit)) for need, width in zip(least, widths, strict=True)]
    return widths


def _list(content: Mapping[str, Any], cells: Sequence[Sequence[str]], width: int) -> str:
    """Row by row, below it each further cell behind its column's name."""

    def wrapped(text: str, first: str = "", further: str = "") -> str:
        return textwrap.fill(
            text, width, initial_indent=first, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
        )

    names, *rows = cells
    parts = ["", wrapped(content["title"])] if content["title"] else []
    for row in rows:
        further = [f"{name}: {cell}" for name, cell in zip(names[1:], row[1:], strict=True)]
        parts += ["", wrapped(row[0]), *(wrapped(text, "  ", "    ") for text in further)]
    return "\n".join([*parts, *(["", wrapped(content["note"])] if content["note"] else []), ""])
