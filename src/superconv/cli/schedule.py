"""`superconv schedule`: a preview of a schedule, in the terminal or as a picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def schedule(
    text: Annotated[str, typer.Argument(metavar="POLICY:KEY=VALUE,...", help="For example one_cycle:max_lr=3")],
    steps: Annotated[int, typer.Option(help="Length in optimizer updates.")] = 1000,
    save: Annotated[Path | None, typer.Option(help="Write the picture: .html, .png, .svg, .pdf or .txt.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the schedule as JSON.")] = False,
) -> None:
    """Show a schedule: learning rate and momentum over the steps."""
    from ..figures.terminal import columns
    from ..schedules import parse_schedule

    planned = parse_schedule(text, steps)
    if as_json:
        print(json.dumps(planned.to_dict()))
    else:
        figure = planned.plot()
        print(figure.to_text(columns(90)))
        drawn = figure.panels[0].lines[0].x  # every knot, where the extremes are: all steps may be too many
        for name, values in planned.values(drawn).items():
            span = f"from {values.min():.4g} to {values.max():.4g}"
            print(f"{name:>13}: starts {values[0]:.4g}, {span}, ends {values[-1]:.4g}")
    if save is not None:
        print(f"wrote {planned.plot().save(save)}", file=sys.stderr if as_json else sys.stdout)
