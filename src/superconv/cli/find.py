"""`superconv find`: from a task to settings for a 1cycle training, within a budget."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .found import count_finished, found_finished
from .options import (
    AsJson,
    ClipGradNorm,
    NormWeightDecay,
    OptimizerName,
    Precision,
    Quiet,
    RunsDir,
    SamplesPerUpdate,
    workers_of,
)
from .stopped import end_stopped
from .task_options import TaskOptions, with_task_options
from .wording import in_options

if TYPE_CHECKING:
    from ..experiments.recipe import Recipe


@with_task_options
def find(
    steps: Annotated[int, typer.Option(min=2, help="Length of the training that is planned, in updates.")],
    what: TaskOptions,
    budget: Annotated[
        str, typer.Option(help="What the search may cost: 10% (of the planned updates), 400 (updates) or 5min.")
    ] = "10%",
    strategy: Annotated[str, typer.Option(help="balance, or companion (arXiv 1803.09820, Sec. 5).")] = "balance",
    optimizer: OptimizerName = "sgd",
    norm_weight_decay: NormWeightDecay = None,
    batch_size: SamplesPerUpdate = 128,
    weight_decays: Annotated[str | None, typer.Option(help="To try: 1e-5,1e-4; one value stays.")] = None,
    momenta: Annotated[str | None, typer.Option(help="To try: .95-.85,.9 (a range is cycled); one stays.")] = None,
    batch_sizes: Annotated[str | None, typer.Option(help="To try besides --batch-size; its own: not searched.")] = None,
    dropouts: Annotated[str | None, typer.Option(help="To try, where the model takes dropout: 0,.1,.2.")] = None,
    clip_grad_norm: ClipGradNorm = None,
    precision: Precision = "fp32",
    workers: Annotated[
        Any,
        typer.Option(
            parser=workers_of,
            metavar="<int|ray>",
            help="Processes: worth it where a short training takes longer than a start; ray for a Ray cluster.",
        ),
    ] = 1,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU where there is one.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this time; the same command goes on.")] = None,
    snippet: Annotated[bool, typer.Option("--snippet", help="Print the recipe as a plain PyTorch program.")] = False,
    runs_dir: RunsDir = Path("runs"),
    experiment: Annotated[str, typer.Option(help="Folder below the runs.")] = "find",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """With which settings? Range tests and short annealed trainings on validation data, within a budget.

    The recipe is saved as recipe.json in the experiment's folder; `superconv train --recipe` uses it.
    """
    from ..experiments.find import RECIPE_FILE
    from ..experiments.find import find as run
    from ..experiments.stopping import StopSignal
    from ..report import build_report
    from .progress import bar

    if as_json and snippet:
        raise ValueError("give --json or --snippet, not both")
    folder = runs_dir / experiment
    before = count_finished(folder)
    stop = StopSignal(max_minutes)
    own = {"norm_weight_decay": norm_weight_decay, "bias_weight_decay": norm_weight_decay}
    with stop.listening(), bar(quiet) as display:
        recipe = run(
            what.maker(), steps=steps, budget=_budget(budget), strategy=strategy,
            optimizer=optimizer, optimizer_options={} if norm_weight_decay is None else own, batch_size=batch_size,
            weight_decays=numbers("--weight-decays", weight_decays), momenta=_momenta(momenta),
            batch_sizes=_sizes(batch_sizes), dropouts=numbers("--dropouts", dropouts), clip_grad_norm=clip_grad_norm,
            precision=precision, root=runs_dir, experiment=experiment, device=device, workers=workers, stop=stop,
            report=display.show,
        )  # fmt: skip
    if recipe is None:
        end_stopped(stop)
    path = folder / RECIPE_FILE
    page = build_report(folder)  # whatever is printed: an earlier page may be of another search
    if snippet:
        print(recipe.snippet(), end="")
    else:
        found = found_finished(before, folder)
        if found and not as_json:
            print(found)
        _print(recipe, path, page, as_json)


def _print(recipe: Recipe, path: Path, page: Path, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**recipe.to_dict(), "schedule": recipe.schedule, "path": str(path), "report": str(page)}))
        return
    from ..experiments.recipe_tables import recipe_tables, sentences
    from .tables import print_tables

    print_tables(recipe_tables(recipe))
    for sentence in sentences(recipe):
        print(in_options(sentence))
    print(f"The recipe: {path} (superconv train --recipe {shlex.quote(str(path))} ...)")
    print(f"The report: {page}")


def _budget(text: str) -> int | str:
    return int(text) if text.strip().isdigit() else text


_EXAMPLES = {
    "--weight-decays": "1e-5,1e-4", "--momenta": ".95-.85,.9", "--batch-sizes": "64,256", "--dropouts": "0,.1,.2",
}  # fmt: skip


def numbers(option: str, text: str | None) -> list[float] | None:
    """The numbers of a list joined by commas; None where the option was not given."""
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"{option} must be numbers joined by commas, such as {_EXAMPLES[option]}; got {text!r}"
        ) from None


def _sizes(text: str | None) -> list[int] | None:
    values = numbers("--batch-sizes", text)
    if values is not None and any(value % 1 != 0 for value in values):
        raise ValueError(f"--batch-sizes must be whole numbers, such as {_EXAMPLES['--batch-sizes']}; got {text!r}")
    return None if values is None else [int(value) for value in values]


def _momenta(text: str | None) -> list[tuple[float, float]] | None:
    """Numbers, or ranges of two; a minus behind an exponent's e belongs to its number."""
    if text is None:
        return None
    found: list[tuple[float, float]] = []
    for part in text.split(","):
        try:
            first, *second = (float(value) for value in re.split(r"(?<![eE])-", part))
            (last,) = second or (first,)
        except ValueError:
            example = _EXAMPLES["--momenta"]
            raise ValueError(
                f"--momenta must be numbers or ranges joined by commas, such as {example}; got {part!r}"
            ) from None
        found.append((first, last))
    return found
