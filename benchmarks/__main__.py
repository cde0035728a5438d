"""Run benchmarks: `python -m benchmarks [names] [--quick] [--threads N] [--json FILE] [--markdown FILE]`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy
import torch

import superconv

from .peers import packages
from .table import Goal, Table

# The first give tables; the others are scripts that print, and run alone as well.
TABLES = (
    "speed.loop_overhead",
    "speed.range_test",
    "suggestions.suggested_lrs",
    "suggestions.stability",
    "curvature.echo_exponents",
    "curvature.cost",
    "curvature.advice",
)
SCRIPTS = ("suggestions.error", "speed.scheduler_step", "speed.import_time")


def run_script(name: str) -> Table:
    """A script's own output as the notes of a table without rows."""
    module = importlib.import_module(f"benchmarks.{name}")
    printed, arguments = io.StringIO(), sys.argv
    sys.argv = [name]
    try:
        with contextlib.redirect_stdout(printed):
            status = module.main()
    finally:
        sys.argv = arguments
    title = (module.__doc__ or name).splitlines()[0]
    goals = [] if status is None else [Goal(f"{name}'s own", "see its output", status == 0)]
    return Table(title, (), (), goals, printed.getvalue().rstrip().splitlines())


def run(name: str, quick: bool) -> list[Table]:
    """The tables of one benchmark; one with the reason where it needs what is not here."""
    try:
        if name in SCRIPTS:
            return [run_script(name)]
        return importlib.import_module(f"benchmarks.{name}").run(quick)
    except ImportError as error:
        return [Table(name, (), (), (), [f"left out: {error}"])]


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """What the numbers depend on."""
    quick = ["--quick"] if options.quick else []
    return {
        "command": " ".join(["python -m benchmarks", *options.names, *quick]),
        "python": platform.python_version(),
        "superconv": superconv.__version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        **packages.versions(),
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "machine": f"{platform.system()} {platform.machine()}",
        "date": time.strftime("%Y-%m"),
    }


def load() -> str:
    """Programs that wanted a processor in the last minute, this one among them; "unknown" where it is not told."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which of {', '.join(TABLES + SCRIPTS)}; all")
    parser.add_argument("--quick", action="store_true", help="few repeats: to see that it works, not to quote")
    parser.add_argument("--threads", type=int, default=1, help="of torch; 1, so that other programs disturb less")
    parser.add_argument("--json", type=Path, help="also write everything there")
    parser.add_argument("--markdown", type=Path, help="also write the tables there")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in TABLES + SCRIPTS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(TABLES + SCRIPTS)}")
    if options.threads < 1:
        parser.error(f"--threads is {options.threads}, allowed is 1 or more")
    for path in (options.json, options.markdown):
        if path is not None and not path.resolve().parent.is_dir():
            parser.error(f"there is no directory for {path}; make it first")
    return options


def markdown(about: dict[str, Any], tables: list[Table]) -> str:
    """The whole run as a Markdown file."""
    head = ["# Benchmarks", "", *(f"* {key}: `{value}`" for key, value in about.items()), ""]
    return "\n".join([*head, *(table.markdown() for table in tables)])


def main() -> int:
    """Run, print as results come, write; 1 where a goal is missed."""
    options = parse()
    torch.set_num_threads(options.threads)
    about = conditions(options)
    print(", ".join(f"{key} {value}" for key, value in about.items()), end="\n\n")
    tables: list[Table] = []
    for name in options.names or TABLES + SCRIPTS:
        before, started = load(), time.perf_counter()
        found = run(name, options.quick)
        seconds = time.perf_counter() - started
        about[f"{name}"] = f"{seconds:.0f} s, load {before} before, {load()} after"
        for table in found:
            print(table.text(), flush=True)
        tables += found
    if options.json:
        options.json.write_text(json.dumps({"about": about, "tables": [table.plain() for table in tables]}, indent=1))
    if options.markdown:
        options.markdown.write_text(markdown(about, tables))
    missed = [goal for table in tables for goal in table.goals if goal.met is False]
    print(f"{len(missed)} goals missed" if missed else "no goal missed", *map(str, missed), sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
