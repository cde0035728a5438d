"""The report as Markdown: what a terminal, a README or a review can hold."""

from __future__ import annotations

from collections.abc import Sequence

from .chapter import Chapter, state_sentence
from .tables import Table, cell_text


def markdown_text(chapters: Sequence[Chapter]) -> str:
    """Verdicts, findings, range tests, tables, settings and problems of all chapters; no pictures."""
    return "\n".join(line for chapter in chapters for line in _chapter(chapter)).rstrip() + "\n"


def _chapter(chapter: Chapter) -> list[str]:
    lines = [f"# {_inline(chapter.title)}", "", f"**{_inline(chapter.sentence)}**", ""]
    lines += [f"- {_inline(finding)}" for finding in chapter.findings]
    lines += ["", *([_inline(chapter.note), ""] if chapter.note else []), f"{state_sentence(chapter.count)}.", ""]
    if chapter.command:
        lines += [f"Made by {_code(chapter.command)}.", ""]
    if chapter.ramps:
        lines += ["## Range tests", ""]
    for group in chapter.ramps:
        lines += [f"- **{_inline(group.arm)}**: {group.verdict.tolerance}; {_inline(group.reading)}"]
        lines += [f"  - {_inline(reason)}" for reason in group.verdict.reasons]
        lines += [f"  - {_code(group.paste)}"] if group.paste else []
    lines.append("")
    for table in (*chapter.tables, chapter.problems, chapter.shared, chapter.differing):
        if table is not None:
            lines += _table(table)
    return lines


def _table(table: Table) -> list[str]:
    lines = [f"## {_inline(table.title)}", ""] if table.title else []
    lines.append("| " + " | ".join(_inline(column) for column in table.columns) + " |")
    lines.append("|" + "---|" * len(table.columns))
    lines += ["| " + " | ".join(_inline(cell_text(cell)) for cell in row) + " |" for row in table.rows]
    return [*lines, "", *([_inline(table.note), ""] if table.note else [])]


def _inline(text: object) -> str:
    """Text that starts no markup: neither a table column, nor a line, nor HTML."""
    plain = " ".join(str(text).split())
    for character in "\\`*[]|":
        plain = plain.replace(character, "\\" + character)
    return plain.replace("&", "&amp;").replace("<", "&lt;")


def _code(text: str) -> str:
    """A code span that text with backticks cannot leave."""
    plain = " ".join(text.split())
    return f"`{plain}`" if "`" not in plain else f"`` {plain} ``"
