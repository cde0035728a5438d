"""What a benchmark found: a table, its goals and its notes, as text, Markdown or plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Goal:
    """A claim and what was measured of it; `met` is None where that does not decide it."""

    claim: str
    measured: str
    met: bool | None

    def __str__(self) -> str:
        return f"{ {True: 'met', False: 'MISSED', None: 'undecided'}[self.met] }: {self.claim}; {self.measured}"


@dataclass(frozen=True)
class Table:
    """One table of a benchmark.

    Args:
        title: what was measured, and the unit.
        columns: headings; every row has as many cells. None at all: the notes are all there is, in their own lines.
        rows: cells, text already.
        goals: what was promised.
        notes: n, conditions, peers that are missing.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = field(default=())

    def text(self) -> str:
        """Aligned columns, for a terminal."""
        lines = [self.columns, *self.rows] if self.columns else []
        widths = [max(len(str(line[i])) for line in lines) for i in range(len(self.columns))]
        body = ["  ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([self.title, "-" * len(self.title), *body, *map(str, self.goals), *self.notes, ""])

    def markdown(self) -> str:
        """The same as a section of a Markdown file."""
        if not self.columns:
            return "\n".join([f"## {self.title}", "", "```", *map(str, self.goals), *self.notes, "```", ""])
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        body = ["| " + " | ".join(map(str, line)) + " |" for line in lines]
        rest = [f"* {'**' + str(goal) + '**' if goal.met is False else goal}" for goal in self.goals]
        rest += [f"* {note}" for note in self.notes]
        return "\n".join([f"## {self.title}", "", *body, "", *rest, ""])

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
