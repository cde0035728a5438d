"""Tables of plain data (title, columns, rows, note) in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def print_tables(tables: Sequence[Mapping[str, Any]]) -> None:
    """Print them one below the other; long cells are folded."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for content in tables:
        table = Table(title=content["title"], caption=content["note"] or None, box=SIMPLE_HEAD, pad_edge=False)
        for column in content["columns"]:
            table.add_column(column, overflow="fold")
        for row in content["rows"]:
            table.add_row(*map(str, row))
        console.print(table)
