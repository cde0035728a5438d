"""`superconv data`: which data sets there are, where they lie, and fetching them."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .interrupt import interruptible
from .options import AsJson, DataDir
from .tables import print_tables

app = typer.Typer(help="List data sets, or fetch one.", no_args_is_help=False, invoke_without_command=True)


@app.callback()
def list_data(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List data sets, or fetch one."""
    if context.invoked_subcommand is not None:
        if as_json:
            raise ValueError("--json lists data sets; it does not go with fetch, which prints the folder alone")
        context.obj = data_dir
        return
    from ..data import NAMES, data_folder, where

    found = {name: where(name, data_dir) for name in NAMES}
    if as_json:
        rows = [
            {"name": name, "description": source.description, "found": str(found[name]) if found[name] else None}
            for name, source in NAMES.items()
        ]
        print(json.dumps({"folder": str(data_folder(data_dir)), "data_sets": rows}, indent=1))
        return
    cells = [
        [name, source.description, source.size, str(found[name] or source.how_to_get)] for name, source in NAMES.items()
    ]
    cells.append(["folder:PATH", "a folder per class: train/CLASS/*, val/CLASS/*", "", "--data folder:PATH"])
    print_tables([{"title": "", "columns": ["name", "what it is", "size", "where"], "rows": cells, "note": ""}])
    print(f"Data folder: {data_folder(data_dir)} (--data-dir, SUPERCONV_DATA)")


@app.command("fetch")
@interruptible
def fetch(
    context: typer.Context, name: Annotated[str, typer.Argument(help="A data set's name.")], data_dir: DataDir = None
) -> None:
    """Download a data set, checksum verified.

    It comes from its publisher; nothing is done where it lies already.
    """
    from ..data import fetch as fetch_data

    print(fetch_data(name, context.obj if data_dir is None else data_dir, progress=True))
