"""`superconv reproduce`: every figure and table of the paper, beside the authors' own logs."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..near_names import near
from .options import AsJson, ChannelsLast, DataDir, NumberOfWorkers, Precision, Quiet, RunsDir
from .stopped import end_stopped

if TYPE_CHECKING:
    from ..paper.claim import Claim, Experiment
    from ..paper.reproduce import Known, Reproduction
    from ..paper.setting import ScaleName

MOST_COLUMNS = 110  # of a list: longer lines are hard to read


def reproduce(
    context: typer.Context,
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
        str,
        typer.Option(
            help="paper: as it was; short, medium: the same shape in minutes or hours on a CPU; epochs: the paper's "
            "passes over 1,000 images; deep, rates: short with the paper's networks, or learning rates; smoke: seconds."
        ),
    ] = "short",
    seeds: Annotated[int, typer.Option(min=1, help="Of every experiment; three or more for a word.")] = 3,
    data_dir: DataDir = None,
    workers: NumberOfWorkers = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU where there is one.")] = None,
    precision: Precision = "fp32",
    compile_model: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    channels_last: ChannelsLast = None,
    subsets: Annotated[
        str,
        typer.Option(
            help="Images of a reduced training set: fixed, the same for all seeds; by-seed, so that intervals cover "
            "which images these are."
        ),
    ] = "fixed",
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
    if overview:
        _refuse_beside("--overview", context, {"overview", "long", "out", "runs_dir", "quiet"})
        _overview(out, long)
        return
    if long:
        raise ValueError("--long goes with --overview")
    if show_list:
        _refuse_beside("--list", context, {"show_list", "names", "data_dir", "as_json", "out", "runs_dir", "quiet"})
        _list(names or [], data_dir, as_json)
        return
    from ..experiments.stopping import StopSignal
    from ..figures.picture import check_installed
    from ..paper.reproduce import reproduce as run
    from ..paper.results import check_folder, known, load
    from .progress import bar

    chosen, of_scale = _chosen(names or [], scale, out)
    if of_scale != "smoke":
        check_installed()  # before hours of work and not after them
        check_folder(out)
    there = known(out, chosen, of_scale, precision, subsets)
    had = sum(there.has(experiment, seed) for _, experiment in chosen for seed in range(seeds))
    if had:
        print(f"already in {out} and not run again: {had} (another --out runs them)", file=sys.stderr)
    stop = StopSignal(max_minutes)
    with stop.listening(), bar(quiet) as display:
        found = run(
            chosen, scale=of_scale, seeds=range(seeds), data_dir=data_dir, root=runs_dir, device=device,
            precision=precision, compile=compile_model, channels_last=channels_last, subsets=subsets, workers=workers,
            known=there, stop=stop, report=display.show,
        )  # fmt: skip
    kept = _saved(found, out, there)
    # with the seeds that were there already or came from elsewhere meanwhile, and what of it was asked afterwards
    found = [load(kept[result.claim.name]) if result.claim.name in kept else result for result in found]
    _print(found, kept, as_json)
    missing = _missing(chosen, found, range(seeds))
    if missing and stop.reason() is not None:  # what was over just before the time was is done
        end_stopped(stop)
    if missing:
        left = f"Another process is at {'; '.join(missing)}: left to it. The same command finds what it finishes."
        print(left, file=sys.stderr)
        raise typer.Exit(1)


def _refuse_beside(option: str, context: typer.Context, allowed: set[str]) -> None:
    """Name what was given beside an option that has no use for it. Raises: ValueError."""
    from .recipe_options import given_options

    written = {each.name: each.opts[0] if each.opts[0].startswith("-") else "a name" for each in context.command.params}
    for name in given_options(context):
        if name not in allowed:
            raise ValueError(f"{written[name]} does not go with {option}; drop one")


def _chosen(names: list[str], scale: str, out: Path) -> tuple[list[tuple[Claim, Experiment]], ScaleName]:
    """Every experiment that the names stand for, once, and the scale.

    Raises: ValueError: no name, an unknown one or an unknown scale; nothing that can be built; results there that
        cannot be read, which is said before hours of work and not after them.
    """
    from ..paper.catalogue import select
    from ..paper.results import file_of, load
    from ..paper.setting import SCALES

    if not names:
        raise ValueError("say what to reproduce: a claim, a figure or a table; superconv reproduce --list shows all")
    if scale not in SCALES:
        raise ValueError(f"--scale {scale!r} is unknown; {near(scale, SCALES)}")
    chosen = {experiment.name: (claim, experiment) for name in names for claim, experiment in select(name)}
    missing = "; ".join(f"{name} cannot be built: {e.obstacle}" for name, (_, e) in chosen.items() if e.setting is None)
    if all(experiment.setting is None for _, experiment in chosen.values()):
        raise ValueError(missing)
    if missing:
        print(missing, file=sys.stderr)
    for path in {claim.name: file_of(out, claim, scale) for claim, _ in chosen.values()}.values():
        if path.exists():
            load(path)
    return list(chosen.values()), scale


def _saved(found: Sequence[Reproduction], out: Path, there: Known) -> dict[str, Path]:
    """Where each claim's results lie, written where there is something new; noise shows nothing, and is not kept."""
    from ..paper.results import draw, file_of, save

    kept = {}
    for result in (result for result in found if any(result.runs.values()) and result.scale != "smoke"):
        runs = {f"{result.claim.name}/{condition}": by_seed for condition, by_seed in result.runs.items()}
        new = any(set(by_seed) - set(there.runs.get(name, {})) for name, by_seed in runs.items())
        path = save(result, out) if new else file_of(out, result.claim, result.scale)
        if not path.with_suffix(".png").exists():  # an earlier call was killed, or the disk full, before its picture
            draw(path)
        kept[result.claim.name] = path
    return kept


def _missing(
    chosen: Sequence[tuple[Claim, Experiment]], found: Sequence[Reproduction], seeds: Sequence[int]
) -> list[str]:
    """Experiments with seeds that were not run, though nothing stopped them."""
    runs = {f"{result.claim.name}/{c}": by_seed for result in found for c, by_seed in result.runs.items()}
    missing = []
    for experiment in (e for _, e in chosen if e.setting is not None):
        without = [str(seed) for seed in seeds if seed not in runs.get(experiment.name, {})]
        if without:
            missing.append(f"{experiment.name}, seed {', '.join(without)}")
    return missing


def _overview(out: Path, long: bool) -> None:
    from ..paper.overview import long_overview, overview

    print(long_overview(out) if long else overview(out))


def _list(names: list[str], data_dir: Path | None, as_json: bool) -> None:
    from ..paper.catalogue import entries, select
    from .paper_list import list_lines

    asked = {experiment.name for name in names for _, experiment in select(name)}
    found = [entry for entry in entries(data_dir) if not names or entry.experiment.name in asked]
    if as_json:
        print(json.dumps([entry.to_dict() for entry in found], indent=1))
    else:
        print("\n".join(list_lines(found, _columns())))


def _columns() -> int:
    return min(MOST_COLUMNS, shutil.get_terminal_size().columns)  # 80 in a pipe


def _print(found: list[Reproduction], paths: dict[str, Path], as_json: bool) -> None:
    from ..paper.accuracies import table
    from ..paper.effects import effect_lines

    if as_json:
        print(json.dumps([_plain(result, paths) for result in found], indent=1))
        return
    from .tables import print_tables

    for result in found:
        content = table(result)
        print_tables([{**content, "note": ""}])
        print(textwrap.fill(content["note"], _columns()))
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
