"""What starting costs: `import superconv` against `pass`, `superconv --help` against an empty typer program.

    python -m benchmarks.speed.import_time [--repeats 21] [--json PATH]

Every command is a fresh process; the commands take turns, so that a machine that slows down slows all of them; the
table shows medians, quartiles and n. Goal: `import superconv` and `superconv --help` take at most 0.1 s more than the
bare program; the other lines say where time goes (numpy, mostly).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

GOAL_SECONDS = 0.1
WITH_GOAL = ("import superconv", "superconv --help")

EMPTY_TYPER = """
import typer
app = typer.Typer()
@app.command()
def main(name: str = "x"): "An empty program."
app()
"""

# name -> (arguments of the interpreter, the command it is compared with)
COMMANDS: dict[str, tuple[list[str], str | None]] = {
    "pass": (["-c", "pass"], None),
    "import superconv": (["-c", "import superconv"], "pass"),
    "import superconv.runs": (["-c", "import superconv.runs"], "pass"),
    "sc.one_cycle (schedules)": (["-c", "import superconv as sc; sc.one_cycle(100, max_lr=1.0)"], "pass"),
    "empty typer --help": (["-c", EMPTY_TYPER, "--help"], None),
    "superconv --help": (["-m", "superconv", "--help"], "empty typer --help"),
}


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def runnable() -> dict[str, list[str]]:
    """Commands that work here; the others are named with the reason and left out."""
    missing = {}
    if importlib.util.find_spec("typer") is None:
        missing = dict.fromkeys(("empty typer --help", "superconv --help"), "typer is not installed")
    elif importlib.util.find_spec("superconv.__main__") is None:
        missing = {"superconv --help": "the package has no command yet"}
    works = {}
    for name, (arguments, _) in COMMANDS.items():
        if name not in missing:
            try:
                seconds(arguments)  # also warms the file cache, and the byte code
                works[name] = arguments
                continue
            except subprocess.CalledProcessError as error:
                missing[name] = f"it ends with status {error.returncode}"
        print(f"left out: {name}: {missing[name]}", file=sys.stderr)
    return works


def measure(repeats: int) -> dict[str, list[float]]:
    commands = runnable()
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, arguments in commands.items():
            times[name].append(seconds(arguments))
    return times


def table(times: dict[str, list[float]]) -> list[dict]:
    rows = []
    for name, values in times.items():
        low, median, high = statistics.quantiles(values, n=4)
        reference = COMMANDS[name][1]
        more = median - statistics.median(times[reference]) if reference in times else None
        rows.append({"command": name, "median": median, "quartiles": [low, high], "n": len(values), "more": more})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=21, help="processes per command, at least 15")
    parser.add_argument("--json", type=Path, help="also write the table there")
    options = parser.parse_args()
    if options.repeats < 15:
        parser.error(f"--repeats is {options.repeats}, allowed is 15 or more: a median of fewer moves too much")
    rows = table(measure(options.repeats))
    print(f"{'command':26} {'median s':>9} {'quartiles':>15} {'more s':>8}   n={options.repeats}")
    for row in rows:
        low, high = row["quartiles"]
        more = "" if row["more"] is None else f"{row['more']:+8.3f}"
        print(f"{row['command']:26} {row['median']:9.3f} {low:7.3f}-{high:.3f} {more:>8}")
    late = [row["command"] for row in rows if row["command"] in WITH_GOAL and (row["more"] or 0.0) > GOAL_SECONDS]
    print(f"goal, at most {GOAL_SECONDS} s more: {'missed by ' + ', '.join(late) if late else 'met'}")
    if options.json:
        record = {"python": platform.python_version(), "machine": platform.machine(), "commands": rows}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 1 if late else 0


if __name__ == "__main__":
    raise SystemExit(main())
