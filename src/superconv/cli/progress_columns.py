"""The columns of the progress display: numbers keep their width, words give way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

if TYPE_CHECKING:
    from rich.progress import Task
    from rich.text import Text


class CutColumn(TextColumn):
    """Words as they are, cut with an ellipsis where the line is too long for the screen.

    Its column may shrink, which rich grants to columns that wrap alone; so the text itself says that it does not wrap.
    """

    def __init__(self, text_format: str) -> None:
        super().__init__(text_format, table_column=Column(no_wrap=False), markup=False)

    def render(self, task: Task) -> Text:
        """The text of a task."""
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


def columns(wide: bool) -> list[ProgressColumn]:
    """Description, bar, count, time spent, time left, text; bar and time spent on a wide screen alone."""
    return [
        CutColumn("{task.description}"),
        *([BarColumn(bar_width=24)] if wide else []),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        *([TimeElapsedColumn(table_column=Column(no_wrap=True))] if wide else []),
        TextColumn("left"),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        CutColumn("{task.fields[text]}"),
    ]
