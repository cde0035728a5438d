"""The report as one HTML page that opens offline and asks the network for nothing."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib.resources import files

import superconv

from ..figures.html import fragment, library
from .chapter import Chapter, state_sentence
from .pictures import Picture, slug
from .ramps import RampGroup
from .tables import Table, cell_text

# The browser itself refuses whatever would leave the page.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
_SHORT = 20  # letters of a cell that is not broken into lines
_LONG = 80  # letters of one that would be a tower in a narrow column
_SECTIONS = ("Results", "Range tests", "Training curves", "Schedules", "What curvature says")

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{css}
</style>
{library}
</head>
<body>
<a class="skip" href="#main">Skip to the report</a>
<main id="main">
{body}
</main>
<footer>Made by superconv {version}. The paper: Smith and Topin, Super-Convergence, arXiv 1708.07120.</footer>
</body>
</html>
"""


def html_page(chapters: Sequence[Chapter], title: str) -> str:
    """All chapters on one page, with plotly's JavaScript once.

    Raises: ModuleNotFoundError: plotly is not installed.
    """
    single = len(chapters) == 1
    body = [] if single else [f"<h1>{_text(title)}</h1>", _contents(chapters)]
    for chapter in chapters:
        body.append(_chapter(chapter, level=1 if single else 2))
    css = files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    return _PAGE.format(
        policy=html.escape(_POLICY), title=_text(chapters[0].title if single else title), css=css,
        library=library() if any(chapter.pictures for chapter in chapters) else "",
        body="\n".join(body), version=_text(superconv.__version__),
    )  # fmt: skip


def _text(value: object) -> str:
    return html.escape(str(value))


def _anchor(chapter: Chapter, section: str) -> str:
    return f"{chapter.anchor}-{slug(section)}"


def _contents(chapters: Sequence[Chapter]) -> str:
    entries = "".join(
        f'<li><a href="#{chapter.anchor}">{_text(chapter.title)}</a>: {_text(chapter.sentence)}</li>'
        for chapter in chapters
    )
    return f'<nav aria-label="Experiments"><ul class="contents">{entries}</ul></nav>'


def _chapter(chapter: Chapter, level: int) -> str:
    parts = [
        f'<article id="{chapter.anchor}">',
        f"<h{level}>{_text(chapter.title)}</h{level}>",
        f'<p class="verdict">{_text(chapter.sentence)}</p>',
        f'<p class="state">{_text(_provenance(chapter))}</p>',
        _list(chapter.findings, "findings"),
    ]
    sections = {name: _section(chapter, name) for name in _SECTIONS}
    if chapter.problems is not None:
        sections[chapter.problems.title] = _table(chapter.problems, 4, "problems", titled=False)
    sections["Settings and versions"] = _settings(chapter)
    shown = {name: content for name, content in sections.items() if content}
    links = [f'<a href="#{_anchor(chapter, name)}">{name}</a>' for name in shown]
    parts.append(f'<nav class="sections" aria-label="Sections of {_text(chapter.title)}">{" ".join(links)}</nav>')
    for name, content in shown.items():
        anchor = _anchor(chapter, name)
        heading = f'<h{level + 1} id="{anchor}-h">{name}</h{level + 1}>'
        parts.append(f'<section id="{anchor}" aria-labelledby="{anchor}-h">{heading}{content}</section>')
    return "\n".join([*(part for part in parts if part), "</article>"])


def _provenance(chapter: Chapter) -> str:
    parts = [part for part in (chapter.note, state_sentence(chapter.count)) if part]
    if chapter.seconds is not None:
        seconds = chapter.seconds
        parts.append(f"made in {seconds:.0f} s" if seconds < 600 else f"made in {seconds / 60:.0f} min")
    if chapter.created:
        parts.append(chapter.created)
    if chapter.command:
        parts.append(f"command: {chapter.command}")
    return "; ".join(parts)


def _section(chapter: Chapter, name: str) -> str:
    """Verdict cards or tables, then the figures of one section."""
    parts = []
    if name == "Range tests":
        parts += [_card(group) for group in chapter.ramps]
        if parts:
            parts = ['<div class="cards">', *parts, "</div>"]
    if name == "Results":
        parts += [_table(table, 4) for table in chapter.tables]
    pictures = [picture for picture in chapter.pictures if picture.section == name]
    figures = [_picture(picture, chapter) for picture in pictures]
    return "\n".join([*figures, *parts] if name == "Results" else [*parts, *figures])


def _picture(picture: Picture, chapter: Chapter) -> str:
    return fragment(picture.figure, with_library=False, name=f"plot-{chapter.anchor}-{picture.slug}")


def _card(group: RampGroup) -> str:
    """Badge, suggestion, the line to paste and the reasons of one range test."""
    paste = f"<pre tabindex=0><code>{_text(group.paste)}</code></pre>" if group.paste else ""
    return (
        f'<div class="card"><h4>{_text(group.arm)}</h4>'
        f'<p><span class="badge {_text(group.verdict.tolerance)}">{_text(group.verdict.tolerance)}</span> '
        f"<strong>{_text(group.headline)}</strong></p>{paste}{_list(group.verdict.reasons)}</div>"
    )


def _list(items: Sequence[str], kind: str = "") -> str:
    if not items:
        return ""
    return f'<ul class="{kind}">' + "".join(f"<li>{_text(item)}</li>" for item in items) + "</ul>"


def _settings(chapter: Chapter) -> str:
    parts = []
    for table in (chapter.shared, chapter.differing):
        if table is not None:
            count = f"{len(table.rows)} {'settings' if table is chapter.shared else 'arms'}"
            summary = f"<summary>{_text(table.title)} ({count})</summary>"
            parts.append(f"<details>{summary}{_table(table, 4, titled=False)}</details>")
    return "\n".join(parts)


def _table(table: Table, level: int, kind: str = "", *, titled: bool = True) -> str:
    """A table in a frame that scrolls by itself, also by keyboard."""
    head = "".join(f'<th scope="col">{_text(column)}</th>' for column in table.columns)
    rows = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in table.rows)
    title = f"<h{level}>{_text(table.title)}</h{level}>" if titled and table.title else ""
    note = f'<p class="quiet">{_text(table.note)}</p>' if table.note else ""
    return (
        f'{title}<div class="scroll {kind}" tabindex="0" role="region" aria-label="{_text(table.title or "table")}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}"
    )


def _cell(cell: object) -> str:
    text = cell_text(cell)
    kind = " class=short" if len(text) <= _SHORT else " class=long" if len(text) > _LONG else ""
    return f"<td{kind}>{_text(text)}</td>"
