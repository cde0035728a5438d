"""Figures as files: the suffix decides the format, and a file is either whole or not there."""

from __future__ import annotations

from pathlib import Path

from ..runs.atomic import write_whole
from .spec import Figure

SUFFIXES = (".html", ".png", ".svg", ".pdf", ".txt")


def save(figure: Figure, path: Path) -> Path:
    """Write the figure and return where it lies; missing folders are made.

    `.html` opens offline; `.png`, `.svg` and `.pdf` are drawn by matplotlib; `.txt` is for terminals.

    Raises:
        ValueError: another suffix.
        OSError: it cannot be written; its `filename` is `path`.
        ModuleNotFoundError: the package that draws the format is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"figure file {path.name!r}: suffix must be one of {', '.join(SUFFIXES)}, got {suffix!r}")
    content = _content(figure, suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_whole(path, content)


def _content(figure: Figure, suffix: str) -> bytes:
    if suffix == ".html":
        from . import html

        return html.page(figure).encode()
    if suffix == ".txt":
        from . import terminal

        return terminal.render(figure, 90, 18).encode()
    from . import picture

    return picture.draw(figure, suffix[1:])
