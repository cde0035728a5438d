"""From a directory of runs to the report in each of its forms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..runs.atomic import atomic_write
from .chapter import Chapter, build_chapters
from .find_results import results_files
from .markdown import markdown_text
from .page import html_page
from .pictures import distinct
from .plain import plain_report
from .read import read_tree


def build_report(directory: str | Path, output: str | Path | None = None) -> Path:
    """Write one HTML file about all runs and results at and below a directory; it opens offline.

    Args:
        directory: one experiment, a folder of experiments, a single run, or a folder of results files of `reproduce`;
            or one results file.
        output: the file, whose name ends in ".html"; None: `report.html` in the directory, or the results file's name
            with ".html".
    Returns: where the file lies.
    Raises:
        ValueError: no directory, or no run and no results in it; a file that is no results file.
        ModuleNotFoundError: plotly is not installed.
        RunError: the file cannot be written (full disk, permissions); an older one is as it was.
    """
    path = Path(directory)
    target = path.with_suffix(".html") if path.is_file() else path / "report.html"
    target = target if output is None else Path(output)
    if target.suffix.lower() not in (".html", ".htm"):  # a slip must not cost a file that is something else
        raise ValueError(f"{target} would hold an HTML page; give it a name that ends in .html")
    page = html_page(_chapters(path), f"superconv: {path.resolve().name}")
    return atomic_write(target, page.encode(errors="replace"), parents=True)  # what of a path is no UTF-8 becomes "?"


def report_markdown(directory: str | Path) -> str:
    """The report as Markdown, without pictures. Raises: ValueError: no directory, or no run in it."""
    return markdown_text(_chapters(directory))


def report_json(directory: str | Path) -> dict[str, Any]:
    """The report as plain values, strict JSON. Raises: ValueError: no directory, or no run in it."""
    return plain_report(_chapters(directory))


def write_pngs(directory: str | Path, output_dir: str | Path) -> list[Path]:
    """Write the report's figures as PNG files, named by experiment (where there are several) and figure.

    Args:
        directory: as for `build_report`.
        output_dir: made where it is missing.
    Returns: the files, in the order of the report.
    Raises:
        ValueError: no directory, or no run in it.
        ModuleNotFoundError: matplotlib is not installed.
    """
    chapters = _chapters(directory)
    written = []
    for chapter in chapters:
        folder = Path(output_dir) / (chapter.anchor if len(chapters) > 1 else "")
        written += [picture.figure.save(folder / f"{picture.slug}.png") for picture in chapter.pictures]
    return written


def _chapters(directory: str | Path) -> list[Chapter]:
    """Of all runs, then of the results files of `reproduce`, which alone need torch."""
    path = Path(directory)
    results = results_files(path)
    if not results:
        return build_chapters(read_tree(path))
    from .paper_results import results_chapters

    chapters = [*_runs_beside(path), *results_chapters(results, strict=path.is_file())]
    anchors = distinct([chapter.anchor for chapter in chapters])
    return [replace(chapter, anchor=anchor) for chapter, anchor in zip(chapters, anchors, strict=True)]


def _runs_beside(path: Path) -> list[Chapter]:
    """Chapters of the runs in a folder that holds results files as well; most hold none."""
    try:
        return build_chapters(read_tree(path))
    except ValueError:
        return []
