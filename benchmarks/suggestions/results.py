"""Tables and the picture of the suggestion benchmark, from its grid and its advice.

    python -m benchmarks.suggestions.results

Reads grid.json and advice.json of the folder (results/suggestions); writes regret.json, tables.md and regret.png there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from superconv import runs
from superconv.figures import Figure, Line, Mark, Panel

from ..table import Table
from .grid import environment
from .regret import (
    FALLBACKS,
    FIXED,
    OTHERS,
    OURS,
    PEERS,
    Bench,
    best_constant,
    fixed_advice,
    judged,
    meant_for,
    ranked,
    rescaled,
    row,
    with_fallbacks,
)

SETS: dict[str, int | None] = {"half 1": 1, "all": None, "half 0": 0}
COLUMNS = ("tool", "schedule", "mean regret, %", "95% interval", "worst, %", "worst task", "mean, points", "updates")
LABELS = 130  # %: where the figure ends, so that the rows' names stand beside the dots
Found = dict[str, Any]
Suggestions = dict[str, dict[str, list[float | None]]]


def advice_of(
    file: Mapping[str, Any], kind: str, entries: Mapping[str, Any]
) -> dict[str, dict[str, list[float | None]]]:
    """Tool -> task -> suggestions over seeds, of one kind of range."""
    found: Suggestions = {}
    for name, entry in entries.items():
        for each in file["tasks"][name][kind].values():
            found.setdefault(FALLBACKS, {}).setdefault(name, []).append(with_fallbacks(each, entry))
            for tool in (OURS, *OTHERS, *PEERS):
                told = each.get(tool) or each.get(tool.split()[0]) or {"lr": None}  # the latter: the whole tool failed
                found.setdefault(tool, {}).setdefault(name, []).append(told["lr"])
    return found


def updates_of(file: Mapping[str, Any], kind: str, tasks: Iterable[str]) -> dict[str, float]:
    """Tool -> mean updates it spent."""
    entries = [each for name in tasks for each in file["tasks"][name][kind].values()]
    tools = {tool for each in entries for tool in each if "updates" in each[tool]}
    spent = {tool: round(fmean(e[tool]["updates"] for e in entries if tool in e), 1) for tool in sorted(tools)}
    return spent | {FALLBACKS: spent[OURS]}


def silent_of(advice: Mapping[str, Mapping[str, list[float | None]]]) -> dict[str, int]:
    """Tool -> how often it said nothing."""
    return {tool: sum(lr is None for told in each.values() for lr in told) for tool, each in advice.items()}


def part_of(bench: Bench, file: Mapping[str, Any], kind: str) -> Found | None:
    """All that is told of the tasks with advice of this kind."""
    entries = {name: e for name, e in bench.entries.items() if file["tasks"].get(name, {}).get(kind)}
    if not entries:
        return None
    part = Bench(entries, bench.landscapes)
    advice: dict[str, Any] = advice_of(file, kind, entries)
    silent = silent_of(advice)
    advice |= fixed_advice(part)
    rows = {"meant": judged(part, advice, None), "1cycle": judged(part, advice, "1cycle")}
    scaled = {tool: row(part, rescaled(part, told, meant_for(tool)), meant_for(tool)) for tool, told in advice.items()}
    return {
        "tasks": len(entries), "names": list(entries), "families": sorted(set(part.families)), **rows,
        "constant": judged(part, advice, "constant"), "rescaled": scaled,
        "ranks": {under: ranked(part, found) for under, found in rows.items()} | {"rescaled": ranked(part, scaled)},
        "ranks with fallbacks": {under: ranked(part, found, FALLBACKS) for under, found in rows.items()},
        "best constant": row(part, best_constant(part, "1cycle"), "1cycle"),
        "updates": updates_of(file, kind, entries), "silent": silent,
    }  # fmt: skip


def cells(tool: str, found: Mapping[str, Any], updates: Mapping[str, float]) -> list[str]:
    """One row of a table."""
    low, high = found["interval"]
    spent = f"{updates[tool]:.0f}" if tool in updates else "0"
    return [
        tool, found["schedule"], f"{100 * found['mean']:.1f}", f"{100 * low:.1f} to {100 * high:.1f}",
        f"{100 * found['worst']:.0f}", found["worst_task"], f"{found['points']:.1f}", spent,
    ]  # fmt: skip


def rank_cells(tool: str, found: Mapping[str, Any]) -> list[str]:
    """One row of a table of ranks."""
    low, high = found["interval"]
    nearer, further = (100 * bound for bound in found["beyond_ours_interval"])
    beyond = f"{100 * found['beyond_ours']:+.1f}"
    shares = f"{found['mean_rank']:.1f}", f"{low:.1f} to {high:.1f}", f"{found['first']:.3f}"
    return [tool, *shares, beyond, f"{nearer:+.1f} to {further:+.1f}"]


def tables(found: Mapping[str, Found], kind: str, chosen: str) -> list[Table]:
    """Regrets, and ranks, of one kind of range on one set of tasks."""
    part, where = found[f"{chosen}, {kind}"], f"{chosen}, {kind} range"
    made = []
    for under in ("meant", "1cycle", "rescaled"):
        rows = sorted(part[under].items(), key=lambda item: item[1]["mean"])
        lines = [cells(tool, each, part["updates"]) for tool, each in rows]
        if under == "1cycle":
            lines.append(cells("(one LR an optimizer, from the other families)", part["best constant"], {}))
        note = f"n = {part['tasks']} tasks of {len(part['families'])} families"
        made.append(Table(f"Regret, {under}: {where}", COLUMNS, lines, (), [note]))
        ordered = sorted(part["ranks"][under].items(), key=lambda item: item[1]["mean_rank"])
        lines = [rank_cells(tool, each) for tool, each in ordered]
        columns = ("tool", "mean rank", "95% interval", "P(least mean)", "mean regret beyond ours, %", "95% interval")
        made.append(Table(f"Ranks, {under}: {where}", columns, lines, (), [note]))
    return made


def figure(found: Mapping[str, Found], kind: str, chosen: str) -> Figure:
    """Every tool a row: a dot a task, a bar for the mean's interval."""
    part = found[f"{chosen}, {kind}"]
    shown = [OURS, FALLBACKS, *PEERS, *FIXED]
    order = sorted(shown, key=lambda tool: -part["meant"][tool]["mean"])
    lines, marks, jitter = [], [], np.random.default_rng(0)
    for place, tool in enumerate(order):
        told, color = part["meant"][tool], 0 if tool.startswith("superconv") else 1
        values = [100 * v for v in told["tasks"]]
        heights = place + jitter.uniform(-0.22, 0.22, len(values))
        lines.append(Line(values, heights.tolist(), style="points", color=color, opacity=0.4))
        low, high = (100 * bound for bound in told["interval"])
        lines.append(Line([low, high], [place, place], width=3, color=color))
        marks.append(Mark(y=place, label=tool))
    lines.append(Line([LABELS], [0], style="points", opacity=0.0))
    title = "What a suggested learning rate costs"
    caption = (
        f"Share of the best accuracy's height above the floor that is lost, %; a dot a task ({part['tasks']} tasks of "
        f"{len(part['families'])} families), thick: 95% interval of the mean over families."
    )
    return Figure(title, [Panel(lines, "", "regret, %", "", marks=marks)], 1, caption)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("results/suggestions"))
    args = parser.parse_args()
    grid, advice = (json.loads((args.folder / name).read_text()) for name in ("grid.json", "advice.json"))
    found: dict[str, Found] = {}
    for chosen, half in SETS.items():
        for kind in ("own", "common"):
            part = part_of(Bench.of(grid["tasks"], half), advice, kind)
            found |= {} if part is None else {f"{chosen}, {kind}": part}
    runs.atomic_write(args.folder / "regret.json", json.dumps(found | {"environment": environment()}, indent=1) + "\n")
    made = [table for key in found for table in tables(found, key.split(", ")[1], key.split(", ")[0])]
    runs.atomic_write(args.folder / "tables.md", "\n".join(table.markdown() for table in made))
    figure(found, "own", "all").save(args.folder / "regret.png")
    print("\n".join(table.text() for table in made if "half 1" in table.title))


if __name__ == "__main__":
    main()
