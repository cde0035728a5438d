"""`superconv demo`: the whole method on real data in a few minutes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, DataDir, Quiet, RunsDir

if TYPE_CHECKING:
    from ..experiments.demo import DemoResult


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer steps and seeds: it runs, but shows little.")] = False,
    tune: Annotated[bool, typer.Option("--tune", help="Tune the baselines again first (about half an hour).")] = False,
    tuned: Annotated[
        Path | None,
        typer.Option(help="Tuned settings to use; with --tune: where to write, instead of the default ones."),
    ] = None,
    data_dir: DataDir = None,
    runs_dir: RunsDir = Path("runs"),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show the whole method on 5,000 real images.

    Range tests, verdicts, and 1cycle against ordinary training, tuned and not, on MNIST.
    """
    from ..experiments.demo import FULL, QUICK, run_demo
    from ..experiments.demo_tuning import load_tuned
    from ..experiments.stopping import StopSignal
    from .progress import bar

    if tune:
        if quick:
            raise ValueError("--tune tunes every length of the full demo; leave --quick out")
        _tune(runs_dir, data_dir, tuned, as_json, quiet)
        return
    stop = StopSignal()
    with stop.listening(), bar(quiet) as display:
        result = run_demo(
            QUICK if quick else FULL,
            root=runs_dir,
            data_dir=data_dir,
            report=display.show,
            stop=stop,
            tuned=load_tuned(tuned) if tuned else None,
        )
    if result.stopped:
        print("stopped; run the same command again: it goes on where it stopped", file=sys.stderr)
        raise typer.Exit(130)
    _print(result, as_json)


def _print(result: DemoResult, as_json: bool) -> None:
    from ..experiments.demo_findings import tables
    from ..report import build_report, write_pngs

    page = build_report(result.path)
    pictures = write_pngs(result.path, result.path)
    if as_json:
        where = {"report": str(page), "pictures": [str(picture) for picture in pictures]}
        print(json.dumps({**where, "tables": tables(result.findings)}))
        return
    from .plain_console import plain_console
    from .tables import print_tables

    print_tables(tables(result.findings))
    console = plain_console()
    for finding in result.findings:
        console.print(f"\n{finding.sentence}")
        for reason in finding.verdict.reasons:
            console.print(f"  {reason}")
    console.print(f"\n{result.seconds:.0f} s. The report: {page}", soft_wrap=True)


def _tune(runs_dir: Path, data_dir: Path | None, output: Path | None, as_json: bool, quiet: bool) -> None:
    from ..experiments.demo import DATA, FULL
    from ..experiments.demo_tuning import PUBLISHED, store_tuned, tune
    from .progress import bar

    with bar(quiet) as display:
        found = tune(FULL.networks, FULL.lengths, data=DATA, root=runs_dir, data_dir=data_dir, report=display.show)
    written = store_tuned(found, output or PUBLISHED, ship=output is None)
    if as_json:
        print(
            json.dumps({"cost": found["cost"], "winners": found["winners"], "files": [str(path) for path in written]})
        )
        return
    names = " and ".join(map(str, written))
    print(f"{found['cost']['updates']} updates, {found['cost']['seconds']} s; wrote {names}")
