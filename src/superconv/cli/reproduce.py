"""`superconv reproduce`: every figure and table of the paper, beside the authors' own logs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import AsJson, DataDir, Precision, Quiet, RunsDir
from .stopped import end_stopped

if TYPE_CHECKING:
    from ..paper.catalogue import Entry
    from ..paper.reproduce import Reproduction

MOST_COLUMNS = 110  # of a list: longer lines are hard to read


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help='A claim (max-lr), an experiment (max-lr/3), a figure or table of either version ("Fig. 1a", fig1a, '
            '"v3 Table 2"), or a row (fig1a-clr).',
        ),
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="Show all experiments, or those named; do they run here?")
    ] = False,
    scale: Annotated[
        str, typer.Option(help="paper: as it was; short: the same shape in minutes on a CPU; smoke: seconds, no data.")
    ] = "short",
    seeds: Annotated[int, typer.Option(min=1, help="Of every experiment; three or more for a word.")] = 3,
    data_dir: DataDir = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one a core on a CPU, one on a GPU.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU where there is one.")] = None,
    precision: Precision = "fp32",
    compile_model: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop at a checkpoint after this time; the same command goes on.")
    ] = None,
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option(help="Where results are kept: a small JSON and a picture a claim.")] = Path(
        "results/paper"
    ),
    overview: Annotated[
        bool, typer.Option("--overview", help="Print the results in --out as a Markdown table.")
    ] = False,
    long: Annotated[bool, typer.Option("--long", help="With --overview: every effect, accuracies, pictures.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run experiments of arXiv 1708.07120 and say which of its claims hold.

    The test images are tested along the way, as in the paper; nothing is chosen by them. Finished runs are found again.
    """
    from ..paper.catalogue import entries, select

    if overview:
        from ..paper.overview import long_overview
        from ..paper.overview import overview as short_overview

        print(long_overview(out) if long else short_overview(out))
        return
    if long:
        raise ValueError("--long goes with --overview")
    if show_list:
        asked = {experiment.name for name in names or () for _, experiment in select(name)}
        _list([e for e in entries(data_dir) if not names or e.experiment.name in asked], as_json)
        return
    if not names:
        raise ValueError("say what to reproduce: a claim, a figure or a table; superconv reproduce --list shows all")
    from ..experiments.stopping import StopSignal
    from ..paper.reproduce import reproduce as run
    from ..paper.results import save
    from ..paper.setting import SCALES
    from .progress import bar

    if scale not in SCALES:
        raise ValueError(f"--scale must be {', '.join(SCALES)}, got {scale!r}")
    chosen = list({experiment.name: (claim, experiment) for n in names for claim, experiment in select(n)}.values())
    stop = StopSignal(max_minutes)
    with stop.listening(), bar(quiet) as display:
        found = run(
            chosen, scale=scale, seeds=range(seeds), data_dir=data_dir, root=runs_dir, device=device,
            precision=precision, compile=compile_model, workers=workers, stop=stop, report=display.show,
        )  # fmt: skip
    kept = [result for result in found if any(result.runs.values()) and scale != "smoke"]  # noise shows nothing
    paths = {result.claim.name: save(result, out) for result in kept}
    _print(found, paths, as_json)
    if stop.reason() is not None:
        end_stopped(stop)


def _list(found: list[Entry], as_json: bool) -> None:
    if as_json:
        print(json.dumps([entry.to_dict() for entry in found], indent=1))
        return
    from .paper_list import list_lines

    width = min(MOST_COLUMNS, shutil.get_terminal_size().columns)  # 80 in a pipe
    print("\n".join(list_lines(found, width)))


def _print(found: list[Reproduction], paths: dict[str, Path], as_json: bool) -> None:
    from ..paper.accuracies import table
    from ..paper.effects import effect_lines

    if as_json:
        print(json.dumps([_plain(result, paths) for result in found], indent=1))
        return
    from .tables import print_tables

    for result in found:
        print_tables([table(result)])
        for line in effect_lines(result):
            print(line)
        print(result.sentence)
        if result.claim.name in paths:
            print(f"Results: {paths[result.claim.name]}")


def _plain(result: Reproduction, paths: dict[str, Path]) -> dict[str, Any]:
    from ..paper.accuracies import table
    from ..paper.effects import effect_lines

    path = paths.get(result.claim.name)
    return {
        "claim": result.claim.name, "scale": result.scale, "word": result.word, "effects": effect_lines(result),
        "table": table(result), "results": None if path is None else str(path),
    }  # fmt: skip
