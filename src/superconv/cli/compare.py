"""`superconv compare`: 1cycle and other ways to train, each tuned alike, over lengths and paired seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .found import count_finished, found_finished
from .options import (
    AsJson,
    NumberOfWorkers,
    Quiet,
    RunsDir,
)
from .stopped import end_stopped
from .task_options import TaskOptions, with_task_options

if TYPE_CHECKING:
    from ..experiments.compare import Comparison

ARMS = "1cycle,piecewise constant,cosine,common default"


@with_task_options
def compare(
    what: TaskOptions,
    arms: Annotated[
        str,
        typer.Option(
            help="The treatment first, then its opponents: 1cycle, piecewise constant, cosine, constant, "
            "warmup-stable-decay, AdamW cosine, schedule-free SGD, schedule-free AdamW, Prodigy, common default."
        ),
    ] = ARMS,
    recipe: Annotated[
        Path | None, typer.Option(help="A recipe.json of `superconv find`: the treatment, ahead of the other arms.")
    ] = None,
    steps: Annotated[int, typer.Option(min=2, help="Shortest planned length, in updates.")] = 100,
    ladder: Annotated[str, typer.Option(help="Planned lengths, as multiples of it.")] = "1,2,4,8",
    seeds: Annotated[int, typer.Option(min=1, help="Paired seeds; five or more give intervals.")] = 5,
    trials: Annotated[int, typer.Option(help="Of tuning, for every arm at every length.")] = 8,
    finalists: Annotated[int, typer.Option(help="Of them, trained again on fresh seeds.")] = 2,
    fresh_seeds: Annotated[int, typer.Option(help="For each finalist.")] = 2,
    margin: Annotated[
        float | None, typer.Option(help="Smallest difference of the metric that matters; half a point of accuracy.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Samples per update, of every arm; with --recipe its own, else 128.")
    ] = None,
    workers: NumberOfWorkers = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU where there is one.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this time; the same command goes on.")] = None,
    runs_dir: RunsDir = Path("runs"),
    experiment: Annotated[str, typer.Option(help="Folder below the runs.")] = "compare",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Is it really better than ordinary training, tuned as well? "No gain" is one of the answers.

    Every arm but the common default and a recipe is tuned, with the same number of trials on validation data, at every
    planned length; then all are trained on fresh seeds, paired, and the test data is read once for each of these
    trainings.
    """
    from dataclasses import replace

    from ..experiments.compare import TUNING
    from ..experiments.compare import compare as run
    from ..experiments.contenders import contenders_named
    from ..experiments.recipe import Recipe
    from ..experiments.stopping import StopSignal
    from ..experiments.tuning import Budget
    from .progress import bar
    from .recipe_options import tell_task

    plan = None if recipe is None else Recipe.load(recipe)
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, got {batch_size}")
    size = batch_size or (128 if plan is None else plan.batch_size)
    contenders = [replace(c, batch_size=size) for c in contenders_named([n.strip() for n in arms.split(",")])]
    if plan is not None:
        contenders.insert(0, plan.contender())
        tell_task(plan, what.make().name)
    folders = runs_dir / experiment, runs_dir / f"{experiment}{TUNING}"
    before = count_finished(*folders)
    stop = StopSignal(max_minutes)
    with stop.listening(), bar(quiet) as display:
        result = run(
            what.maker(), contenders, steps=steps, ladder=_whole_numbers(ladder),
            seeds=seeds, budget=Budget(trials, finalists, fresh_seeds), margin=margin, root=runs_dir,
            experiment=experiment, device=device, workers=workers, stop=stop, report=display.show,
        )  # fmt: skip
    if result is None:
        end_stopped(stop)
    found = found_finished(before, *folders)
    if found and not as_json:
        print(found)
    _print(result, as_json)


def _whole_numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--ladder must be whole numbers joined by commas, such as 1,2,4,8; got {text!r}") from None


def _print(result: Comparison, as_json: bool) -> None:
    from ..report import build_report
    from ..runs.read import read_json

    page = build_report(result.path)
    stored = read_json(result.path / "experiment.json")
    if as_json:
        print(json.dumps({"outcome": result.outcome, "report": str(page), **stored}))
        return
    from .tables import print_tables

    print_tables(stored["tables"])
    print(f"Against {result.contest.opponent_in_words}: {result.outcome}.")
    for sentence in result.sentences:
        print(sentence)
    print(f"{result.seconds:.0f} s. The report: {page}")
