"""`superconv report`: one HTML file, Markdown, JSON or PNG pictures from a folder of runs or results."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path
from typing import Annotated

import typer


def report(
    directory: Annotated[
        Path, typer.Argument(help="An experiment's folder, such as runs/demo, or results of reproduce (results/paper).")
    ] = Path("runs"),
    output: Annotated[Path | None, typer.Option(help="The HTML file; DIRECTORY/report.html by default.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write the figures as PNG into this folder, too.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the report as Markdown instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON instead.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Turn a folder of runs, or of results of `reproduce`, into a report that opens offline."""
    from .. import report as reports

    if not directory.exists():
        raise ValueError(f"{directory} is not a folder of runs; give one such as runs/demo, or results/paper")
    if as_json or markdown:
        _refuse({"--markdown": as_json and markdown, "--output": output, "--png": png, "--open": show})
    if as_json:
        print(json.dumps(reports.report_json(directory), indent=1))
        return
    if markdown:
        print(reports.report_markdown(directory))
        return
    page = reports.build_report(directory, output)
    print(f"wrote {page}")
    if png is not None:
        for picture in reports.write_pngs(directory, png):
            print(f"wrote {picture}")
    if show:
        webbrowser.open(page.resolve().as_uri())


def _refuse(given: dict[str, object]) -> None:
    """Options that a text on stdout has no use for are named, not ignored."""
    for option, value in given.items():
        if value:
            raise ValueError(f"{option} does not go with a report that is printed (--json, --markdown); leave one out")
